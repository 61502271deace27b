//! Aggregation: record format of the KPL, latency, memory, and streams that are resharded or switched to AUTO.

#[path = "../support/mod.rs"]
mod support;

mod auto_distribution;
mod aws_kinesis_agg;
mod damaged_aggregates;
mod decode_memory;
mod format;
mod linger;
mod reshard_order;
mod resharding;
mod retention;
mod sink;
