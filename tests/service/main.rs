//! Tests of the `tower::Service` below a sink: layers, AWS SDK, credentials, and wire formats.

#[path = "../support/mod.rs"]
mod support;

mod cbor;
#[cfg(feature = "aws-config")]
mod check;
mod credentials;
mod default_stack;
mod fuzz_corpus;
mod json_body;
mod layer_builder;
mod layers;
mod sdk;
