use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;

use foldhash::fast::RandomState;

use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::record::{HashKey, Key};

/// Key within which the order of records is preserved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum OrderingKey {
    Key(Key),
    /// Start of the range of a shard. Used for aggregates by shard, which contain several partition keys.
    Shard(HashKey),
}

/// Number of a busy ordering key. It is reused when the key is no longer busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderId(NonZeroU32);

impl OrderId {
    fn of_slot(slot: usize) -> Self {
        let number = u32::try_from(slot + 1).ok().and_then(NonZeroU32::new);
        Self(number.expect("at most 10^8 records are buffered"))
    }

    fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Releases at most one entry of each ordering key at a time, and queues the others. A released entry keeps its key
/// busy, even while it is retried, until each of its records has been delivered or has failed.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    ids: HashMap<OrderingKey, OrderId, RandomState>,
    /// Busy keys by number. `None` in unused slots.
    slots: Vec<Option<Slot>>,
    unused: Vec<OrderId>,
    /// Number of the key of each queued entry, by the sequence number of the entry.
    queued: BTreeMap<u64, OrderId>,
    records: usize,
}

#[derive(Debug)]
struct Slot {
    key: OrderingKey,
    /// Number of released entries. It exceeds one only if isolated entries share the key.
    released: usize,
    queued: VecDeque<QueuedEntry>,
}

/// Result of releasing the next entry of a key.
#[derive(Debug)]
pub(crate) enum Next {
    Entry(QueuedEntry),
    Free(OrderingKey),
}

impl KeyOrder {
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let has_busy_key = self.slots.len() > self.unused.len();
        self.ids.is_empty() && self.queued.is_empty() && self.records == 0 && !has_busy_key
    }

    pub(crate) fn is_busy(&self, key: &OrderingKey) -> bool {
        self.ids.contains_key(key)
    }

    /// Releases and returns the entry if its key is not busy. Otherwise, queues the entry.
    pub(crate) fn push(&mut self, key: OrderingKey, mut entry: QueuedEntry) -> Option<QueuedEntry> {
        if let Some(id) = self.ids.get(&key) {
            return self.push_behind(*id, entry);
        }
        entry.route.order = Some(self.mark_released(key));
        Some(entry)
    }

    pub(crate) fn mark_released(&mut self, key: OrderingKey) -> OrderId {
        let vacant = match self.ids.entry(key) {
            Entry::Occupied(busy) => {
                let id = *busy.get();
                if let Some(slot) = &mut self.slots[id.slot()] {
                    slot.released += 1;
                }
                return id;
            }
            Entry::Vacant(vacant) => vacant,
        };
        let slot = Slot { key: vacant.key().clone(), released: 1, queued: VecDeque::new() };
        let id = if let Some(id) = self.unused.pop() {
            self.slots[id.slot()] = Some(slot);
            id
        } else {
            self.slots.push(Some(slot));
            OrderId::of_slot(self.slots.len() - 1)
        };
        vacant.insert(id);
        id
    }

    /// Queues an entry behind the released one. Returns the entry if the key is not busy.
    #[must_use]
    pub(crate) fn push_behind(
        &mut self,
        id: OrderId,
        mut entry: QueuedEntry,
    ) -> Option<QueuedEntry> {
        let Some(slot) = self.slots.get_mut(id.slot()).and_then(Option::as_mut) else {
            debug_assert!(false, "the key is busy");
            entry.route.order = None;
            return Some(entry);
        };
        entry.route.order = Some(id);
        self.records += entry.len();
        self.queued.insert(entry.seq(), id);
        insert_sorted(&mut slot.queued, entry);
        None
    }

    pub(crate) fn release_next(&mut self, id: OrderId) -> Option<Next> {
        let slot = self.slots.get_mut(id.slot())?;
        let busy = slot.as_mut()?;
        if busy.released > 1 {
            busy.released -= 1;
            return None;
        }
        let Some(entry) = busy.queued.pop_front() else {
            let key = slot.take()?.key;
            self.ids.remove(&key);
            self.unused.push(id);
            return Some(Next::Free(key));
        };
        self.queued.remove(&entry.seq());
        self.records -= entry.len();
        Some(Next::Entry(entry))
    }

    pub(crate) fn oldest(&self) -> Option<&BufferedRecord> {
        let (_, id) = self.queued.first_key_value()?;
        self.slots[id.slot()].as_ref()?.queued.front().map(QueuedEntry::oldest)
    }

    pub(crate) fn pop_oldest_if(
        &mut self,
        condition: impl FnOnce(&BufferedRecord) -> bool,
    ) -> Option<(OrderId, QueuedEntry)> {
        if !condition(self.oldest()?) {
            return None;
        }
        let (_, id) = self.queued.pop_first()?;
        let entry = self.slots[id.slot()].as_mut()?.queued.pop_front()?;
        self.records -= entry.len();
        Some((id, entry))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.slots.iter().flatten().flat_map(|slot| &slot.queued)
    }

    /// Releases the memory if no key is busy.
    pub(crate) fn rest(&mut self) {
        if self.ids.is_empty() {
            *self = Self::default();
        }
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        std::mem::take(self).slots.into_iter().flatten().flat_map(|slot| slot.queued)
    }
}

/// Inserts an entry in the order of acceptance. New entries usually belong at the back.
fn insert_sorted(queued: &mut VecDeque<QueuedEntry>, entry: QueuedEntry) {
    let at = match queued.back() {
        Some(last) if entry.seq() < last.seq() => {
            queued.partition_point(|other| other.seq() < entry.seq())
        }
        _ => queued.len(),
    };
    queued.insert(at, entry);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use fastrand::Rng;

    use super::*;
    use crate::pipeline::Admission;
    use crate::record::Record;

    fn entry(seq: u64) -> QueuedEntry {
        let rng = &mut Rng::with_seed(0);
        QueuedEntry::single(BufferedRecord::new(
            Record::from("x"),
            seq,
            Admission::default(),
            Instant::now(),
            rng,
        ))
    }

    fn key(name: &str) -> OrderingKey {
        OrderingKey::Key(Key::from(name))
    }

    #[test]
    fn key_order_releases_one_entry_at_a_time() {
        let mut order = KeyOrder::default();
        let first = order.push(key("a"), entry(1)).expect("nothing is released");
        let id = first.route.order.expect("a released entry has an order id");
        assert!(order.push(key("a"), entry(3)).is_none());
        assert!(order.push(key("b"), entry(4)).is_some(), "another key");
        assert!(order.push_behind(id, entry(2)).is_none());
        assert_eq!((order.records(), order.oldest().map(|oldest| oldest.seq)), (2, Some(2)));
        for seq in [2, 3] {
            let Some(Next::Entry(next)) = order.release_next(id) else { panic!("{seq} is queued") };
            assert_eq!((next.seq(), next.route.order), (seq, Some(id)));
        }
        assert!(matches!(order.release_next(id), Some(Next::Free(freed)) if freed == key("a")));
        assert!(!order.is_busy(&key("a")) && order.is_busy(&key("b")));
        assert!(order.release_next(id).is_none(), "the key left already");
    }

    #[test]
    fn key_order_waits_for_all_released_entries() {
        let mut order = KeyOrder::default();
        let id = order.mark_released(key("a"));
        assert_eq!(order.mark_released(key("a")), id);
        assert!(order.push(key("a"), entry(1)).is_none());
        assert!(order.release_next(id).is_none(), "another entry is released");
        assert!(matches!(order.release_next(id), Some(Next::Entry(next)) if next.seq() == 1));
        assert!(matches!(order.release_next(id), Some(Next::Free(_))));
    }

    #[test]
    fn key_order_reuses_order_ids() {
        let mut order = KeyOrder::default();
        for n in 0..1_000 {
            let released = order.push(key(&n.to_string()), entry(n)).unwrap();
            order.release_next(released.route.order.unwrap());
        }
        assert_eq!(order.slots.len(), 1);
        assert!(order.is_empty());
    }
}
