//! Tests of `KinesisSink`: the contract of `futures::Sink`, failures, settings, and input limits.
//!
//! | topic                                                      | module                               |
//! |------------------------------------------------------------|--------------------------------------|
//! | backpressure, flush, close, cancel safety, wakers          | `contract`, `support::sink_contract` |
//! | retries, backoff, dead letters, fatal errors, panics       | `failures`                           |
//! | poison records, bisection of failing requests              | `poison_records`                     |
//! | log lines of outages and throttling                        | `outages`                            |
//! | services that several sinks share, permits                 | `readiness`                          |
//! | kinds and texts of errors                                  | `errors`                             |
//! | `Status`, `Condition`, health checks                       | `status`                             |
//! | lookups of the stream description and the shard list       | `discovery`                          |
//! | how a sink uses the stream description and the shard list  | `stream_description`                 |
//! | conversions and serialized forms of records                | `conversions`                        |
//! | `Settings` from files and environment variables            | `settings`                           |
//! | `Settings` compared with the setters of `SinkBuilder`      | `settings_file`                      |
//! | minimum and maximum of keys, payloads, sizes, and settings | `boundaries`                         |
//! | behavior of the Python class `KinesisWriter`               | `kinesis_writer`                     |

#[path = "../support/mod.rs"]
mod support;

mod boundaries;
mod contract;
mod conversions;
mod discovery;
mod errors;
mod failures;
mod kinesis_writer;
mod outages;
mod poison_records;
mod readiness;
mod settings;
mod settings_file;
mod status;
mod stream_description;
