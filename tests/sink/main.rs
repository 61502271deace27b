//! Tests of `KinesisSink`: the contract of `futures::Sink`, failures, settings, and input limits.

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
