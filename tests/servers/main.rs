//! Tests over real sockets.
//!
//! | module | contents |
//! |---|---|
//! | `compatibility` | the sink and the producer with three independent servers |
//! | `sockets` | connections through a proxy that injects faults, dead connections, and TLS |
//! | `embedded` | delivery to a server in this process, with and without throttling, and the example `forward` |
//! | `shards` | lookups of shards and streams on a server in this process |

#![cfg(feature = "aws-config")]

#[path = "../support/mod.rs"]
mod support;

mod compatibility;
mod embedded;
mod shards;
mod sockets;
