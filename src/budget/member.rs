use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::Budget;
use super::shares::{Acquire, AcquireError, Closed, MemberId, Permit, Shares, Woken};
use crate::pipeline::Size;

/// Membership of a sink or producer in a [`Budget`]. Dropping it releases everything that the member still holds.
#[derive(Debug)]
pub(crate) struct Member {
    budget: Budget,
    buffer: MemberId,
    requests: MemberId,
}

/// Charge of a member. It keeps the member until it is released, because the numbers of members are reused.
#[derive(Debug)]
pub(crate) struct MemberPermit {
    permit: Permit,
    member: Arc<Member>,
}

/// Future of a [`MemberPermit`].
#[derive(Debug)]
pub(crate) struct MemberAcquire {
    acquire: Acquire,
    member: Arc<Member>,
}

impl Member {
    pub(crate) fn new(budget: &Budget) -> Arc<Self> {
        let buffer = budget.buffer().add_member();
        let requests = budget.requests().add_member();
        Arc::new(Self { budget: budget.clone(), buffer, requests })
    }

    fn buffer(&self) -> &Arc<Shares> {
        self.budget.buffer()
    }

    /// Acquires capacity for one record without waiting.
    pub(crate) fn try_acquire(self: &Arc<Self>, size: usize) -> Result<MemberPermit, AcquireError> {
        let permit = self.buffer().try_acquire(self.buffer, self.permit_bytes(size))?;
        Ok(MemberPermit { permit, member: self.clone() })
    }

    /// Waits for capacity for one record.
    pub(crate) fn acquire(self: &Arc<Self>, size: usize) -> MemberAcquire {
        let acquire = self.buffer().acquire(self.buffer, self.permit_bytes(size));
        MemberAcquire { acquire, member: self.clone() }
    }

    /// Waits for a permit for a request.
    pub(crate) fn acquire_request(self: &Arc<Self>) -> MemberAcquire {
        let acquire = self.budget.requests().acquire(self.requests, 0);
        MemberAcquire { acquire, member: self.clone() }
    }

    /// Returns `true` if a record would exceed the share of the member.
    pub(crate) fn exceeds_share(&self, size: usize) -> bool {
        self.buffer().exceeds_share(self.buffer, self.permit_bytes(size))
    }

    /// Returns `true` if a record waits for capacity.
    pub(crate) fn is_waiting(&self) -> bool {
        self.buffer().is_waiting(self.buffer)
    }

    /// Charges records even beyond the bounds, then releases others.
    pub(crate) fn exchange(&self, charge: Size, release: Size) -> Woken {
        self.buffer().exchange((self.buffer, charge), [(self.buffer, release)])
    }

    /// Limits a request to half of the budget, so that a large record does not have to wait for all others.
    fn permit_bytes(&self, size: usize) -> usize {
        size.min(self.budget.settings().buffer_bytes.div_ceil(2))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.budget.buffer().remove_member(self.buffer);
        self.budget.requests().remove_member(self.requests);
    }
}

impl MemberPermit {
    /// Turns the permit into the charge of a record of `size` bytes.
    pub(crate) fn commit(self, size: usize) -> Woken {
        self.permit.commit(self.member.buffer, size)
    }
}

impl Future for MemberAcquire {
    type Output = Result<MemberPermit, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let permit = ready!(Pin::new(&mut self.acquire).poll(cx));
        let member = self.member.clone();
        Poll::Ready(permit.map(|permit| MemberPermit { permit, member }))
    }
}
