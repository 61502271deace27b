//! Tests that logs, errors, `Debug` output, metrics, and panic messages contain no payload, key, or credential.
//!
//! These tests are in a separate binary because they install a panic hook and a subscriber for all targets.
//!
//! | topic                                      | module       |
//! |--------------------------------------------|--------------|
//! | logs and errors of the SDK and of failures | `failures`   |
//! | responses that quote the request           | `responses`  |
//! | `Debug` and `Display` output               | `formatting` |
//! | panic messages                             | `panics`     |
//! | number of metric labels                    | `labels`     |
//! | log collector used by the tests            | `logs`       |
//! | secrets and assertions used by the tests   | `secrets`    |

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
