//! Redaction: no payload, key, or credential in logs, errors, `Debug` output, metrics, and panics.
//!
//! A separate binary, because it installs a subscriber for all targets and a panic hook.

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
