//! Tests of the examples as programs, and of the parts that could lose records.

#![cfg(feature = "aws-config")]

#[path = "../support/mod.rs"]
mod support;

mod aggregate;
mod observe;
mod pipe;
mod pipelines;
mod producer;
mod soak;
