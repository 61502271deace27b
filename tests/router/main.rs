//! Tests of `Router`, a producer that sends to many streams.
//!
//! | topic                                                      | module                               |
//! |------------------------------------------------------------|--------------------------------------|
//! | send, receipts, errors, one client for all streams         | `handle`                             |
//! | settings in configuration files, and their ranges          | `settings`                           |
//! | opening on first use, `configure_stream`, build errors     | `open`                               |
//! | idle streams are closed                                    | `idle`                               |
//! | memory of idle streams, and their next use                 | `idle_memory`                        |
//! | the maximum number of open streams, waiting calls          | `max_streams`                        |
//! | missing and denied streams                                 | `refused`                            |
//! | flush, `take_failed`, close, merged errors, drop           | `close`                              |
//! | `RouterStatus` and statuses of streams                     | `status`                             |
//! | `RouterSink`                                               | `sink`                               |
//! | contract of `futures::Sink`                                | `contract`, `support::sink_contract` |
//! | `Router` as a `tower::Service`                             | `service`                            |
//! | eviction and shutdown while threads send                   | `races`                              |

#[path = "../support/mod.rs"]
mod support;

mod close;
mod contract;
mod fixtures;
mod handle;
mod idle;
mod idle_memory;
mod max_streams;
mod open;
mod races;
mod refused;
mod service;
mod settings;
mod sink;
mod status;
