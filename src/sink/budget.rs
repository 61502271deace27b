//! Cooperative budget of the task that polls a sink.

use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;

/// tokio's budget of a task. Limits the loop in [`poll_units`] where the budget is unconstrained.
const MAX_UNITS: usize = 128;

/// Takes units from the task's budget. If it is used up, wakes the waker and returns `Pending`. Always ready outside of
/// tokio's tasks.
pub(crate) fn poll_units(cx: &mut Context<'_>, units: usize) -> Poll<()> {
    for _ in 0..units.min(MAX_UNITS + 1) {
        ready!(poll_proceed(cx)).made_progress();
    }
    Poll::Ready(())
}

/// Wakes the task after other tasks and timers have run.
pub(crate) fn yield_to_others(cx: &mut Context<'_>) {
    if poll_units(cx, MAX_UNITS + 1).is_ready() {
        cx.waker().wake_by_ref();
    }
}
