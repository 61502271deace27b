//! Tests of the examples: the programs, and those of their parts that could lose records.

#![cfg(feature = "aws-config")]

#[path = "../support/mod.rs"]
mod support;

mod aggregate;
mod observe;
mod pipe;
mod pipelines;
mod producer;
mod soak;
