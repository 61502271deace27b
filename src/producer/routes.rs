use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fastrand::Rng;

use crate::pipeline::{Admission, LaneId, UNROUTED, share_of_lane};
use crate::record::{Key, PartitionKey, Record};
use crate::shard::{Ring, hash_of};

/// Shards of the stream as the handles of a producer know them. The driver updates them.
#[derive(Debug)]
pub(super) struct Routes {
    /// `None` while fewer than two shards are known.
    ring: RwLock<Option<Arc<Ring<LaneId>>>>,
    rng: Mutex<Rng>,
}

impl Routes {
    pub(super) fn new(seed: Option<u64>) -> Self {
        // Inverted, because the sink draws other keys from the seed itself.
        let rng = seed.map_or_else(Rng::new, |seed| Rng::with_seed(!seed));
        Self { ring: RwLock::default(), rng: Mutex::new(rng) }
    }

    pub(super) fn publish(&self, ring: &Arc<Ring<LaneId>>) {
        let ring = ring.has_multiple_owners().then(|| ring.clone());
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
    }

    /// Returns the share of a record: that of its shard, if several shards are known.
    pub(super) fn admission(&self, record: &Record) -> Admission {
        let mut admission = Admission::default();
        if self.is_empty() {
            return admission;
        }
        admission.hash_key = match (record.explicit_hash_key(), record.partition_key()) {
            (_, PartitionKey::ServiceManaged) => return admission,
            (Some(hash_key), _) => Some(hash_key),
            (None, PartitionKey::Explicit(key)) => Some(hash_of(key)),
            (None, PartitionKey::Random) => {
                self.draw(&mut admission);
                return admission;
            }
        };
        self.locate(&mut admission);
        admission
    }

    /// Draws another random key. Returns `false` if the shard of the record does not depend on a random key.
    pub(super) fn redraw(&self, admission: &mut Admission) -> bool {
        if admission.random.is_some() {
            self.draw(admission);
        }
        admission.random.is_some()
    }

    fn draw(&self, admission: &mut Admission) {
        let random = self.rng.lock().unwrap_or_else(PoisonError::into_inner).u64(..);
        admission.random = Some(random);
        admission.hash_key = Some(hash_of(&Key::random(random)));
        self.locate(admission);
    }

    fn is_empty(&self) -> bool {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn locate(&self, admission: &mut Admission) {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let lane = ring.as_ref().zip(admission.hash_key);
        let lane = lane.and_then(|(ring, hash_key)| ring.find(hash_key.get()));
        admission.share = lane.map_or(UNROUTED, share_of_lane);
    }
}
