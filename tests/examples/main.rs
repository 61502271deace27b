//! The examples as programs, and the parts of them that could lose records.

#![cfg(feature = "aws-config")]

#[path = "../support/mod.rs"]
mod support;

mod aggregate;
mod observe;
mod pipe;
mod pipelines;
mod producer;
mod soak;
