//! Seeded tests on virtual time, except for those of the spool.
//!
//! | module | contents |
//! |---|---|
//! | `hot_shards` | a hot shard delays only its records, in a producer that many tasks share |
//! | `model` | random calls and faults; a model accounts for every record |
//! | `pacing` | throughput, throttling, and fairness of the rate limiters, and seeded scenarios |
//! | `router` | random streams, calls and faults; a model accounts for every record of a router |
//! | `simulator` | the simulated stream itself, through its public API |
//! | `spool` | producers with a spool, restarts, random calls and faults; a model accounts for every record |

#![cfg(feature = "sim")]

#[path = "../support/mod.rs"]
mod support;

mod hot_shards;
mod model;
mod pacing;
mod router;
mod simulator;
#[cfg(feature = "spool")]
mod spool;
