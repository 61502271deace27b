//! Tests that run the pipeline examples, and tests of how their parts handle records in virtual time.
//!
//! `PIPELINES_SEEDS=1000 cargo test --test examples committed` runs more seeds than the default of 30.
#![cfg(feature = "aws-config")]

#[path = "../../../examples/socket/connection.rs"]
mod connection;
mod demos;
#[path = "../../../examples/offsets/forward.rs"]
mod forward;
mod gated_server;
mod http_ingest;
mod lambda;
#[path = "../../../examples/offsets/log.rs"]
mod log;
mod offsets;
#[path = "../../../examples/lambda/runtime_api.rs"]
mod runtime_api;
mod server_process;
mod socket;
