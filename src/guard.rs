use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls user code, such as a classifier or a service. Returns `None` if the code panics, so that the panic does not
/// affect other records.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}
