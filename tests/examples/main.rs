//! Tests of the examples: the programs, and those of their parts that could lose records.
//!
//! | topic                                                           | module      |
//! |-----------------------------------------------------------------|-------------|
//! | `pipe`: formats, options, failures, dead letters, spool, memory | `pipe`      |
//! | `http_ingest`, `lambda`, `offsets`, `socket`, demo runs         | `pipelines` |
//! | `checkpoint` and `fan_in`                                       | `producer`  |
//! | `aggregate`                                                     | `aggregate` |
//! | `observe` and the Grafana dashboard                             | `observe`   |
//! | `soak`                                                          | `soak`      |
//! | `spool_kill`, and spools whose process, directory or disk fails | `spool`     |

#![cfg(feature = "aws-config")]

#[path = "../support/mod.rs"]
mod support;

mod aggregate;
mod observe;
mod pipe;
mod pipelines;
mod producer;
mod soak;
mod spool;
