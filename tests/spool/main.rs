//! Tests of the durable spool of a producer, on real files.
//!
//! | topic                                                     | module         |
//! |-----------------------------------------------------------|----------------|
//! | kills, restarts, duplicates, order                        | `restart`      |
//! | outages longer than the buffer, memory                    | `outage`       |
//! | `WhenFull`: wait, refuse, drop the oldest                 | `full`         |
//! | one owner, files, permissions, settings, build errors     | `open`         |
//! | instant close, draining close, aborts, fatal errors       | `close`        |
//! | receipts, flush, cancelled calls                          | `handle`       |
//! | dead letters                                              | `dead_letters` |
//! | `SpoolMode::Overflow`                                     | `overflow`     |
//! | routers whose streams have spools                         | `router`       |
//! | status and metrics                                        | `status`       |

#[path = "../support/mod.rs"]
mod support;

mod close;
mod dead_letters;
mod fixtures;
mod found;
mod full;
mod handle;
mod open;
mod outage;
mod overflow;
mod restart;
mod router;
mod status;
