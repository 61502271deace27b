use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;

/// Cooperative budget of a tokio task per poll. Also limits the loop in [`poll_units`] for tasks without a budget.
const MAX_UNITS: usize = 128;

/// Takes `units` from the task's budget, and wakes the task if it is used up. Always `Ready` outside of tokio's tasks.
pub(crate) fn poll_units(cx: &mut Context<'_>, units: usize) -> Poll<()> {
    for _ in 0..units.min(MAX_UNITS + 1) {
        ready!(poll_proceed(cx)).made_progress();
    }
    Poll::Ready(())
}

/// Uses up the task's budget and wakes the task, so that other tasks and timers run before its next poll.
pub(crate) fn yield_to_others(cx: &mut Context<'_>) {
    if poll_units(cx, MAX_UNITS + 1).is_ready() {
        cx.waker().wake_by_ref();
    }
}
