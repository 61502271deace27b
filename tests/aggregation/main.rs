//! Tests of aggregation: record format of the KPL, latency, memory, and streams that are resharded or switched to AUTO.
//!
//! | topic                                                 | module               |
//! |-------------------------------------------------------|----------------------|
//! | encoding and decoding, test vectors                   | `format`             |
//! | compatibility with AWS's Python library               | `aws_kinesis_agg`    |
//! | randomly damaged aggregates                           | `damaged_aggregates` |
//! | memory allocated by `deaggregate`                     | `decode_memory`      |
//! | memory of an aggregate after it is split up           | `retention`          |
//! | settings, shard listings, receipts, buffer limits     | `sink`               |
//! | linger: latency and members per aggregate             | `linger`             |
//! | resharding without data loss                          | `resharding`         |
//! | resharding and the order of records with the same key | `reshard_order`      |
//! | switch to AUTO distribution                           | `auto_distribution`  |

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
