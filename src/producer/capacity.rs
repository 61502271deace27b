use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use super::routes::Routes;
use crate::budget::{AcquireError, Member, MemberPermit, Shares, Woken};
use crate::pipeline::{
    Admission, BufferChange, FAILED, LaneId, ShareId, Size, UNROUTED, share_of_lane,
};
use crate::record::Record;
use crate::shard::Ring;

/// Maximum number of random keys that are drawn to find a shard whose share has capacity. If one of two shards has
/// capacity, 1 in 65,536 records does not find it and waits.
const MAX_DRAWS: usize = 16;

/// Capacity of a producer's buffer, which is shared fairly between the shards of the stream.
///
/// Each record needs a [`Permit`], and is charged to the share of its shard as long as it counts towards the buffer
/// bounds: until it is settled or, if it fails permanently, until a caller takes it.
#[derive(Debug)]
pub(super) struct Capacity {
    bounds: Size,
    shares: Arc<Shares>,
    /// Membership in a budget that several producers share.
    member: Option<Arc<Member>>,
    routes: Routes,
    largest_record: AtomicUsize,
    /// `true` if the budget has rejected a record since the driver was last polled.
    budget_rejected: AtomicBool,
}

/// Capacity for one record.
#[derive(Debug)]
pub(super) struct Permit {
    share: ShareId,
    buffer: crate::budget::Permit,
    budget: Option<Box<MemberPermit>>,
    /// Set to `true` for a record that is written to a spool before it enters the buffer.
    is_staged: bool,
}

impl Permit {
    /// Returns `true` if the record is written to a spool before it enters the buffer.
    pub(super) fn is_staged(&self) -> bool {
        self.is_staged
    }

    #[cfg(feature = "spool")]
    pub(super) fn staged(self) -> Self {
        Self { is_staged: true, ..self }
    }

    /// Returns the share to which the permit belongs.
    pub(super) fn share(&self) -> ShareId {
        self.share
    }
}

impl Capacity {
    pub(super) fn new(bounds: Size, member: Option<Arc<Member>>, seed: Option<u64>) -> Self {
        Self::with_shares(bounds, Arc::new(Shares::of_buffer(bounds)), member, seed)
    }

    /// Creates the capacity for records that are about to be written to a spool.
    #[cfg(feature = "spool")]
    pub(super) fn of_staging(bounds: Size, shares: Arc<Shares>) -> Self {
        Self::with_shares(bounds, shares, None, None)
    }

    fn with_shares(
        bounds: Size,
        shares: Arc<Shares>,
        member: Option<Arc<Member>>,
        seed: Option<u64>,
    ) -> Self {
        shares.set_members(usize::from(FAILED) + 1, false);
        Self {
            bounds,
            shares,
            member,
            routes: Routes::new(seed),
            largest_record: AtomicUsize::new(0),
            budget_rejected: AtomicBool::new(false),
        }
    }

    pub(super) fn bounds(&self) -> Size {
        self.bounds
    }

    /// Returns the size of the largest record so far.
    pub(super) fn largest_record(&self) -> Option<usize> {
        Some(self.largest_record.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Returns the bytes that a record waits for: at most half of all, so that it does not wait for all others.
    pub(super) fn permit_bytes(&self, size: usize) -> usize {
        size.min(self.bounds.bytes.div_ceil(2))
    }

    pub(super) fn admission(&self, record: &Record) -> Admission {
        self.routes.admission(record)
    }

    /// Replaces the shards of the stream.
    pub(super) fn set_shards(&self, ring: &Arc<Ring<LaneId>>) {
        // While the shards are being learned again, the previous ones are the best guess.
        if !ring.is_empty() {
            let last = ring.owners().map(share_of_lane).max().unwrap_or(FAILED);
            self.shares.set_members(usize::from(last) + 1, ring.has_multiple_owners());
            // Must follow, so that a share exists before it is used.
            self.routes.publish(ring);
        }
    }

    /// Acquires a permit without waiting. Draws other random keys while the share of the shard has no capacity.
    pub(super) fn try_acquire(
        &self,
        admission: &mut Admission,
        size: usize,
    ) -> Result<Permit, AcquireError> {
        let mut draws = 1;
        loop {
            match self.try_acquire_share(admission.share, size) {
                Err(AcquireError::Share) if draws < MAX_DRAWS && self.routes.redraw(admission) => {
                    draws += 1;
                }
                acquired => return acquired,
            }
        }
    }

    pub(super) fn try_acquire_share(
        &self,
        share: ShareId,
        size: usize,
    ) -> Result<Permit, AcquireError> {
        let buffer = self.shares.try_acquire(share as usize, self.permit_bytes(size))?;
        let budget = match &self.member {
            // Another share of the buffer would not help.
            Some(member) => {
                let permit = member.try_acquire(size).map_err(|_| {
                    self.budget_rejected.store(true, Ordering::Relaxed);
                    AcquireError::Full
                })?;
                Some(Box::new(permit))
            }
            None => None,
        };
        Ok(Permit { share, buffer, budget, is_staged: false })
    }

    /// Waits for a permit. Returns `None` if the producer was closed. Calls `on_budget` when it begins to wait for the
    /// budget.
    pub(super) async fn acquire(
        &self,
        share: ShareId,
        size: usize,
        on_budget: impl FnOnce() + Send + Sync,
    ) -> Option<Permit> {
        let buffer = self.shares.acquire(share as usize, self.permit_bytes(size)).await.ok()?;
        let Some(member) = &self.member else {
            return Some(Permit { share, buffer, budget: None, is_staged: false });
        };
        let mut acquire = member.acquire(size);
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut acquire).poll(cx)));
        let budget = match first.await {
            Poll::Ready(budget) => budget,
            Poll::Pending => {
                on_budget();
                acquire.await
            }
        };
        let budget = Some(Box::new(budget.ok()?));
        Some(Permit { share, buffer, budget, is_staged: false })
    }

    /// Returns `true` if a record cannot be accepted until failed records are taken: there are no other records, and
    /// the failed ones use up the buffer, the share of the record, or the share of the budget.
    pub(super) fn is_blocked_by(&self, failed: Size, share: ShareId, size: usize) -> bool {
        let bytes = self.permit_bytes(size);
        let fills_buffer =
            failed.records >= self.bounds.records || failed.bytes + bytes > self.bounds.bytes;
        fills_buffer
            || self.has_only(failed)
                && (!self.shares.fits(share as usize, bytes)
                    || self.member.as_ref().is_some_and(|member| member.exceeds_share(size)))
    }

    /// Charges a record that uses a permit. The permit may have been acquired for another share and size.
    pub(super) fn commit(&self, permit: Permit, share: ShareId, size: usize) -> [Woken; 2] {
        self.largest_record.fetch_max(size, Ordering::Relaxed);
        let budget = permit.budget.map(|permit| permit.commit(size)).unwrap_or_default();
        [permit.buffer.commit(share as usize, size), budget]
    }

    /// Charges a record that has no permit, beyond the bounds.
    pub(super) fn charge(&self, share: ShareId, size: usize) -> [Woken; 2] {
        self.largest_record.fetch_max(size, Ordering::Relaxed);
        self.exchange((share, Size { records: 1, bytes: size }), [])
    }

    /// Charges the records that were in the sink when the driver was attached. A budget has counted them already.
    pub(super) fn occupy(&self, unsettled: Size, failed: Size) {
        for (share, size) in [(UNROUTED, unsettled), (FAILED, failed)] {
            self.shares.exchange((share as usize, size), []).wake();
        }
    }

    /// Charges records that stay in the producer after it has ended.
    pub(super) fn charge_failed(&self, left: Size) -> [Woken; 2] {
        self.exchange((FAILED, left), [])
    }

    /// Applies the change of the buffer that the driver has caused.
    pub(super) fn apply(&self, change: &mut BufferChange) -> [Woken; 2] {
        let failed = std::mem::take(&mut change.failed);
        self.exchange((FAILED, failed), change.take_released())
    }

    /// Releases failed records that a caller has taken.
    pub(super) fn release_failed(&self, taken: Size) -> [Woken; 2] {
        self.exchange((FAILED, Size::default()), [(FAILED, taken)])
    }

    fn exchange(
        &self,
        (share, charge): (ShareId, Size),
        releases: impl IntoIterator<Item = (ShareId, Size)>,
    ) -> [Woken; 2] {
        let mut released = Size::default();
        let releases = releases.into_iter().map(|(share, size)| {
            released += size;
            (share as usize, size)
        });
        let buffer = self.shares.exchange((share as usize, charge), releases);
        let budget = self.member.as_ref().map(|member| member.exchange(charge, released));
        [buffer, budget.unwrap_or_default()]
    }

    /// Releases unused memory.
    pub(super) fn rest(&self) {
        self.shares.rest();
    }

    /// Returns `true` if a record waits for the budget, or was rejected since the last call.
    pub(super) fn waits_for_budget(&self) -> bool {
        let was_rejected = self.budget_rejected.swap(false, Ordering::Relaxed);
        was_rejected || self.member.as_ref().is_some_and(|member| member.is_waiting())
    }

    /// Returns `true` if there are no other records than the failed ones.
    pub(super) fn has_only(&self, failed: Size) -> bool {
        self.shares.committed_records() <= failed.records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shares.used().records == 0
    }

    /// Returns the size of all charges, or `None` while there are permits that no record uses.
    pub(super) fn committed(&self) -> Option<Size> {
        self.shares.committed()
    }

    /// Rejects all waiters.
    pub(super) fn close(&self) -> Woken {
        self.shares.close()
    }
}
