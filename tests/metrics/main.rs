//! Tests of the metrics of a sink and of `MetricsLayer`, and of their documentation.

#![cfg(feature = "metrics")]

#[path = "../support/mod.rs"]
mod support;

mod invariants;
mod names;
mod recorder;
mod shards;
mod sink;
