//! Aggregation: the record format of the KPL, latency, memory, and aggregates on streams that are resharded.

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
