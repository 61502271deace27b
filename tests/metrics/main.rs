//! Metrics: what a sink and `MetricsLayer` record, and that the documentation names all of it.

#![cfg(feature = "metrics")]

#[path = "../support/mod.rs"]
mod support;

mod invariants;
mod names;
mod recorder;
mod shards;
mod sink;
