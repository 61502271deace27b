//! Tests of `Producer`, a sink that many tasks share: its receipts, its capacity, and its shutdown.

#[path = "../support/mod.rs"]
mod support;

mod abandoned;
mod capacity;
mod close;
mod contract;
mod fatal;
mod flush;
mod handle;
mod put_all;
mod races;
mod receipts;
mod sink;
