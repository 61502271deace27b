//! Metrics of a sink and of `MetricsLayer`, and their documentation.

#![cfg(feature = "metrics")]

#[path = "../support/mod.rs"]
mod support;

mod invariants;
mod names;
mod recorder;
mod shards;
mod sink;
