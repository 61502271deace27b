use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::routes::Routes;
use crate::budget::{AcquireError, Member, MemberPermit, Shares, Woken};
use crate::pipeline::{Admission, BufferChange, FAILED, LaneId, ShareId, Size, UNROUTED};
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
}

/// Capacity for one record.
#[derive(Debug)]
pub(super) struct Permit {
    share: ShareId,
    buffer: crate::budget::Permit,
    budget: Option<Box<MemberPermit>>,
}

impl Permit {
    /// Returns the share to which the permit belongs.
    pub(super) fn share(&self) -> ShareId {
        self.share
    }
}

impl Capacity {
    pub(super) fn new(bounds: Size, member: Option<Arc<Member>>, seed: Option<u64>) -> Self {
        let shares = Shares::new(bounds);
        shares.set_shares(false);
        Self {
            bounds,
            shares: Arc::new(shares),
            member,
            routes: Routes::new(seed),
            largest_record: AtomicUsize::new(0),
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
    pub(super) fn set_shards(&self, ring: &Ring<LaneId>) {
        // While the shards are being learned again, the previous ones are the best guess.
        if !ring.is_empty() {
            self.routes.publish(ring);
            self.shares.set_shares(ring.has_multiple_owners());
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
                Some(Box::new(member.try_acquire(size).map_err(|_| AcquireError::Full)?))
            }
            None => None,
        };
        Ok(Permit { share, buffer, budget })
    }

    /// Waits for a permit. Returns `None` if the producer was closed.
    pub(super) fn acquire(
        &self,
        share: ShareId,
        size: usize,
    ) -> impl Future<Output = Option<Permit>> + Send + Sync + use<> {
        let buffer = self.shares.acquire(share as usize, self.permit_bytes(size));
        let member = self.member.clone();
        async move {
            let buffer = buffer.await.ok()?;
            let budget = match member {
                Some(member) => Some(Box::new(member.acquire(size).await.ok()?)),
                None => None,
            };
            Some(Permit { share, buffer, budget })
        }
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

    pub(super) fn waits_for_budget(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.is_waiting())
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
