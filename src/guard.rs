use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls user code. Returns `None` if it panics, so that a panic in a classifier or a service affects no other record.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}
