//! Tests against independent Kinesis servers over real sockets: ferrokinesis in this process, kinesis-local and
//! kinesalite on Node.

#![cfg(feature = "aws-config")]

#[path = "../support/mod.rs"]
mod support;

mod compatibility;
mod embedded;
mod shards;
mod sockets;
