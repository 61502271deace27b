use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub(crate) use super::fair_share::{AcquireError, MemberId};
use super::fair_share::{FairShare, MIN_RESERVES, Ticket, Waiting};
use crate::pipeline::Size;

/// A [`FairShare`] that several tasks share.
#[derive(Debug)]
pub(crate) struct Shares(Mutex<FairShare>);

/// Waiters that were served. They must be woken when the caller holds no lock, because wakers can run user code.
#[derive(Debug, Default)]
#[must_use = "the waiters must be woken"]
pub(crate) struct Woken(Vec<Waker>);

impl Woken {
    pub(crate) fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}

/// The queue of a [`Shares`] was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl Shares {
    /// Creates shares of a budget, to which members are [added](Self::add_member) later.
    pub(crate) fn of_budget(bounds: Size) -> Self {
        Self(Mutex::new(FairShare::new(bounds, MIN_RESERVES)))
    }

    /// Creates shares of a buffer, whose members are [set](Self::set_members).
    pub(crate) fn of_buffer(bounds: Size) -> Self {
        Self(Mutex::new(FairShare::new(bounds, 1)))
    }

    fn lock(&self) -> MutexGuard<'_, FairShare> {
        // A poisoned lock is ignored, because wakers are neither called nor dropped while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_member(&self) -> MemberId {
        let (id, woken) = self.lock().add();
        Woken(woken).wake();
        id
    }

    pub(crate) fn remove_member(&self, id: MemberId) {
        let woken = self.lock().remove(id);
        Woken(woken).wake();
    }

    /// Sets the number of members, and whether they are limited to their share. Members are never removed.
    pub(crate) fn set_members(&self, members: usize, has_shares: bool) {
        let woken = self.lock().set_members(members, has_shares);
        Woken(woken).wake();
    }

    /// Acquires a permit for one record if it fits and no earlier request has to be served first.
    pub(crate) fn try_acquire(
        self: &Arc<Self>,
        member: MemberId,
        bytes: usize,
    ) -> Result<Permit, AcquireError> {
        self.lock().try_acquire(member, bytes)?;
        Ok(Permit { shares: Some(self.clone()), member, bytes })
    }

    /// Waits for a permit for one record. Dropping the future loses the place in the queue.
    pub(crate) fn acquire(self: &Arc<Self>, member: MemberId, bytes: usize) -> Acquire {
        Acquire { shares: self.clone(), member, bytes, state: AcquireState::New }
    }

    /// Charges a member even beyond the bounds, then releases. The charge comes first, so that no waiter is granted the
    /// released space in between.
    pub(crate) fn exchange(
        &self,
        charge: (MemberId, Size),
        releases: impl IntoIterator<Item = (MemberId, Size)>,
    ) -> Woken {
        let mut shares = self.lock();
        shares.charge(charge.0, charge.1);
        Woken(shares.release(releases))
    }

    pub(crate) fn close(&self) -> Woken {
        Woken(self.lock().close())
    }

    /// Releases the memory of members without a charge. Must not be called if members were [added](Self::add_member).
    pub(crate) fn rest(&self) {
        self.lock().rest();
    }

    pub(crate) fn used(&self) -> Size {
        self.lock().used()
    }

    /// Returns `true` if the member has waiters.
    pub(crate) fn is_waiting(&self, member: MemberId) -> bool {
        self.lock().is_waiting(member)
    }

    /// Returns `true` if a record would exceed the share of its member.
    pub(crate) fn exceeds_share(&self, member: MemberId, bytes: usize) -> bool {
        self.lock().exceeds_share(member, bytes)
    }

    /// Returns `true` if a record fits, regardless of waiters.
    pub(crate) fn fits(&self, member: MemberId, bytes: usize) -> bool {
        self.lock().fits(member, bytes)
    }

    /// Returns the number of charged records, without the permits that no record uses.
    pub(crate) fn committed_records(&self) -> usize {
        let shares = self.lock();
        shares.used().records - shares.permits()
    }

    /// Returns the size of all charges, or `None` while there are permits.
    pub(crate) fn committed(&self) -> Option<Size> {
        let shares = self.lock();
        (shares.permits() == 0).then(|| shares.used())
    }
}

/// Charge for one record that has not been accepted yet. Dropping the permit releases the charge.
#[derive(Debug)]
pub(crate) struct Permit {
    /// `None` once the permit was committed.
    shares: Option<Arc<Shares>>,
    member: MemberId,
    bytes: usize,
}

impl Permit {
    /// Turns the permit into the charge of a record, which can belong to another member and have another size.
    pub(crate) fn commit(mut self, member: MemberId, bytes: usize) -> Woken {
        let granted = (self.member, self.bytes);
        match self.shares.take() {
            Some(shares) => Woken(shares.lock().commit(granted, member, bytes)),
            None => Woken::default(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shares) = self.shares.take() {
            let woken = shares.lock().release_permit(self.member, self.bytes);
            Woken(woken).wake();
        }
    }
}

/// Future of a [`Permit`].
#[derive(Debug)]
pub(crate) struct Acquire {
    shares: Arc<Shares>,
    member: MemberId,
    bytes: usize,
    state: AcquireState,
}

#[derive(Debug, Clone, Copy)]
enum AcquireState {
    New,
    Queued(Ticket),
    Done,
}

impl Acquire {
    fn permit(&self) -> Permit {
        let Self { member, bytes, .. } = *self;
        Permit { shares: Some(self.shares.clone()), member, bytes }
    }
}

impl Future for Acquire {
    type Output = Result<Permit, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { member, bytes, state, .. } = *self;
        let mut shares = self.shares.lock();
        let (waiting, replaced) = match state {
            AcquireState::Done => panic!("`Acquire` polled after completion"),
            AcquireState::Queued(ticket) => shares.poll(member, ticket, cx.waker()),
            AcquireState::New => match shares.try_acquire(member, bytes) {
                Ok(()) => (Waiting::Granted, None),
                Err(AcquireError::Closed) => (Waiting::Closed, None),
                Err(AcquireError::Full | AcquireError::Share) => {
                    let (ticket, woken) = shares.enqueue(member, bytes, cx.waker().clone());
                    drop(shares);
                    self.state = AcquireState::Queued(ticket);
                    Woken(woken).wake();
                    return Poll::Pending;
                }
            },
        };
        drop(shares);
        drop(replaced);
        let acquired = match waiting {
            Waiting::Queued => return Poll::Pending,
            Waiting::Granted => Ok(self.permit()),
            Waiting::Closed => Err(Closed),
        };
        self.state = AcquireState::Done;
        Poll::Ready(acquired)
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let AcquireState::Queued(ticket) = self.state {
            let (removed, woken) = self.shares.lock().cancel(self.member, ticket, self.bytes);
            Woken(woken).wake();
            drop(removed);
        }
    }
}
