//! Tests of `Producer`, a sink that many tasks share: its receipts, its capacity, and its shutdown.
//!
//! | topic                                                   | module                               |
//! |---------------------------------------------------------|--------------------------------------|
//! | send, receipts, clones, linger                          | `handle`                             |
//! | receipts without await, dead-letter channels            | `receipts`                           |
//! | backpressure, permits, fairness of waiting senders      | `capacity`                           |
//! | budgets that several sinks and producers share         | `budget`                             |
//! | flush, cancel safety, `take_failed`, dead letters       | `flush`                              |
//! | shutdown: close, abort, drop, panic, end of the runtime | `close`                              |
//! | drivers and sinks that are dropped early                | `abandoned`                          |
//! | shutdown while threads send                             | `races`                              |
//! | fatal errors and `FatalPolicy`                          | `fatal`                              |
//! | `Producer::put_all`                                     | `put_all`                            |
//! | `Producer` as a `tower::Service` of records             | `service`                            |
//! | `Producer` compared with `ProducerSink`                 | `sink`                               |
//! | contract of `futures::Sink`                             | `contract`, `support::sink_contract` |

#[path = "../support/mod.rs"]
mod support;

mod abandoned;
mod budget;
mod capacity;
mod close;
mod contract;
mod fatal;
mod fixtures;
mod flush;
mod handle;
mod put_all;
mod races;
mod receipts;
mod service;
mod sink;
