use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::core::Core;
use crate::budget::{Budget, Member, MemberAcquire, MemberPermit};
use crate::limits::DEFAULT_RECORD_BYTES;
use crate::pipeline::{BufferChange, Size};
use crate::record::FailureReason;

/// Use of a shared budget by a sink.
#[derive(Debug)]
pub(super) struct Membership {
    member: Arc<Member>,
    request: PermitState,
    /// Capacity for the next record. A producer's driver does not use it.
    capacity: PermitState,
    largest_record: usize,
}

/// State of a permit of a budget.
#[derive(Debug, Default)]
enum PermitState {
    #[default]
    None,
    Waiting(MemberAcquire),
    Granted(MemberPermit),
}

impl PermitState {
    fn poll(&mut self, cx: &mut Context<'_>, acquire: impl FnOnce() -> MemberAcquire) -> Poll<()> {
        if matches!(self, Self::None) {
            *self = Self::Waiting(acquire());
        }
        if let Self::Waiting(waiting) = self {
            // The queues of a budget are never closed.
            *self = ready!(Pin::new(waiting).poll(cx)).map_or(Self::None, Self::Granted);
        }
        Poll::Ready(())
    }

    /// Takes the permit if it was granted. Otherwise keeps the place in the queue.
    fn take(&mut self) -> Option<MemberPermit> {
        match std::mem::take(self) {
            Self::Granted(permit) => Some(permit),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Membership {
    pub(super) fn new(budget: &Budget) -> Self {
        let member = Member::new(budget);
        Self { member, request: PermitState::None, capacity: PermitState::None, largest_record: 0 }
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    pub(super) fn release_capacity(&mut self) {
        self.capacity = PermitState::None;
    }

    /// Applies a change of the buffer to the budget.
    pub(super) fn apply(&self, change: &mut BufferChange) {
        let charge = std::mem::take(&mut change.failed);
        let mut release = Size::default();
        for (_, size) in change.take_released() {
            release += size;
        }
        self.member.exchange(charge, release).wake();
    }
}

/// Use of the shared budget. Without a budget, everything is granted.
impl Core {
    pub(super) fn poll_request_permit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Membership { member, request, .. }) = self.membership.as_deref_mut() else {
            return Poll::Ready(());
        };
        request.poll(cx, || member.acquire_request())
    }

    pub(super) fn take_request_permit(&mut self) -> Option<MemberPermit> {
        self.membership.as_mut()?.request.take()
    }

    pub(super) fn release_request_permit(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.request = PermitState::None;
        }
    }

    /// Polls for capacity for a record as large as the largest so far.
    pub(super) fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let default = self.pipeline.settings().limits.record_bytes().min(DEFAULT_RECORD_BYTES);
        let Some(membership) = &mut self.membership else { return Poll::Ready(()) };
        let Membership { member, capacity, largest_record, .. } = &mut **membership;
        let expected = if *largest_record == 0 { default } else { *largest_record };
        capacity.poll(cx, || member.acquire(expected))
    }

    /// Returns the latest failure reason if only failed records are buffered, and they use up the share of the sink.
    pub(super) fn budget_used_up_by_failed(&self) -> Option<FailureReason> {
        let Membership { member, largest_record, .. } = self.membership.as_deref()?;
        let reason = self.pipeline.settlement().last_failure()?;
        let is_used_up = self.pipeline.is_settled() && member.exceeds_share(*largest_record);
        is_used_up.then(|| reason.clone())
    }

    /// Charges an accepted record to the budget.
    pub(super) fn charge_budget(&mut self, size: usize) {
        let Some(membership) = &mut self.membership else { return };
        membership.largest_record = membership.largest_record.max(size);
        let woken = match membership.capacity.take() {
            Some(permit) => permit.commit(size),
            None => membership.member.exchange(Size { records: 1, bytes: size }, Size::default()),
        };
        woken.wake();
    }

    pub(super) fn release_budget_capacity(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.release_capacity();
        }
    }
}
