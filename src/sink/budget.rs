//! The cooperative budget of the task that polls a sink.

use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;

/// No less than tokio gives a task in a turn. More units change nothing but where there is no budget, which takes as
/// long as it has units.
const MOST_UNITS: usize = 128;

/// Takes units from the task's budget. Pending if there are too few: then the waker is woken, and the units count as
/// taken. Outside of tokio's tasks it is always ready.
pub(crate) fn poll_units(cx: &mut Context<'_>, units: usize) -> Poll<()> {
    for _ in 0..units.min(MOST_UNITS + 1) {
        ready!(poll_proceed(cx)).made_progress();
    }
    Poll::Ready(())
}

/// Wakes the task's waker, so that other tasks and timers come first.
pub(crate) fn yield_to_others(cx: &mut Context<'_>) {
    if poll_units(cx, MOST_UNITS + 1).is_ready() {
        cx.waker().wake_by_ref();
    }
}
