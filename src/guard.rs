//! A guard around code of the user's.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the user's. `None` if it panics, so that a panic in a classifier or a service costs no
/// other record.
pub(crate) fn unless_it_panics<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}
