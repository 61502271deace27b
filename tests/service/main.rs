//! Tests of the `tower::Service` below a sink: layers, AWS SDK, credentials, and wire formats.
//!
//! | topic                                                           | module          |
//! |-----------------------------------------------------------------|-----------------|
//! | SDK errors, HTTP statuses, request timeout                      | `sdk`           |
//! | lookups made by a sink with the default stack                   | `default_stack` |
//! | credentials and clock skew                                      | `credentials`   |
//! | `KinesisSink::check`                                            | `check`         |
//! | concurrency limit, rate limit, timeout, retry, tracing, metrics | `layers`        |
//! | custom layers, hooks of the trace layer, boxed sinks            | `layer_builder` |
//! | JSON requests and responses                                     | `json_body`     |
//! | CBOR requests and responses                                     | `cbor`          |
//! | inputs of the fuzzing corpus                                    | `fuzz_corpus`   |

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
