//! Tests of the metrics of a sink and of `MetricsLayer`, and of their documentation.
//!
//! | topic                                         | module       |
//! |-----------------------------------------------|--------------|
//! | counters, gauges, and histograms of a sink    | `sink`       |
//! | metrics per shard, limit of shard labels      | `shards`     |
//! | labels of the streams of a router             | `streams`    |
//! | documented metric names                       | `names`      |
//! | relations between metrics under random faults | `invariants` |
//! | recorder used by the tests                    | `recorder`   |

#![cfg(feature = "metrics")]

#[path = "../support/mod.rs"]
mod support;

mod invariants;
mod names;
mod recorder;
mod shards;
mod sink;
mod streams;
