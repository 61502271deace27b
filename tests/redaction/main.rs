//! Redaction: logs, errors, `Debug` output, metrics, and panic messages contain no payload, key, or credential.
//!
//! These tests are in a separate binary because they install a panic hook and a subscriber for all targets.

#[path = "../support/mod.rs"]
mod support;

mod failures;
mod formatting;
#[cfg(feature = "metrics")]
mod labels;
mod logs;
mod panics;
mod responses;
mod secrets;
