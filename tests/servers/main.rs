//! Tests against independent Kinesis servers over real sockets.

#![cfg(feature = "aws-config")]

#[path = "../support/mod.rs"]
mod support;

mod compatibility;
mod embedded;
mod shards;
mod sockets;
