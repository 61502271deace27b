use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;

use foldhash::fast::RandomState;

use crate::pipeline::buffered::BufferedRecord;
use crate::pipeline::entry::QueuedEntry;
use crate::record::{HashKey, Key};

/// What keeps its order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum OrderingKey {
    /// The records of a partition key.
    Key(Key),
    /// The records of the shard whose range starts here: their aggregates have several partition keys.
    Shard(HashKey),
}

/// The number of an ordering key that is busy. Numbers are reused.
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

/// Which ordering keys have a released entry, and what waits behind it.
///
/// An entry is released from the moment in which it may be sent until all of its records are delivered or have
/// failed, also while it waits for a retry. At most one entry of each key is.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    /// The busy keys.
    ids: HashMap<OrderingKey, OrderId, RandomState>,
    /// What waits, by the number of the key. `None` in unused slots.
    slots: Vec<Option<Slot>>,
    unused: Vec<OrderId>,
    /// The waiting entries by sequence number.
    waiting: BTreeMap<u64, OrderId>,
    records: usize,
}

#[derive(Debug)]
struct Slot {
    key: OrderingKey,
    /// The number of released entries. More than one only if isolated entries have come to share the key.
    released: usize,
    /// In the order of sequence numbers.
    waiting: VecDeque<QueuedEntry>,
}

/// What follows a released entry that has left.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next entry of the key, released.
    Entry(QueuedEntry),
    /// Nothing waits: the key is not busy any more.
    Free(OrderingKey),
}

impl KeyOrder {
    /// The number of waiting records.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let (slots, unused) = (self.slots.len(), self.unused.len());
        self.ids.is_empty() && self.waiting.is_empty() && self.records == 0 && slots == unused
    }

    pub(crate) fn is_busy(&self, key: &OrderingKey) -> bool {
        self.ids.contains_key(key)
    }

    /// Returns the entry, released, if its key is not busy. Otherwise the entry waits.
    pub(crate) fn enter(
        &mut self,
        key: OrderingKey,
        mut entry: QueuedEntry,
    ) -> Option<QueuedEntry> {
        if let Some(id) = self.ids.get(&key) {
            return self.wait(*id, entry);
        }
        entry.route.order = Some(self.occupy(key));
        Some(entry)
    }

    /// Records that an entry of a key was released. Returns the number of the key.
    pub(crate) fn occupy(&mut self, key: OrderingKey) -> OrderId {
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
        let slot = Slot { key: vacant.key().clone(), released: 1, waiting: VecDeque::new() };
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
    pub(crate) fn wait(&mut self, id: OrderId, mut entry: QueuedEntry) -> Option<QueuedEntry> {
        let Some(slot) = self.slots.get_mut(id.slot()).and_then(Option::as_mut) else {
            debug_assert!(false, "the key is busy");
            entry.route.order = None;
            return Some(entry);
        };
        entry.route.order = Some(id);
        self.records += entry.len();
        self.waiting.insert(entry.seq(), id);
        insert_sorted(&mut slot.waiting, entry);
        None
    }

    /// Removes the released entry of a key. The next one is released.
    pub(crate) fn leave(&mut self, id: OrderId) -> Option<Next> {
        let slot = self.slots.get_mut(id.slot())?;
        let busy = slot.as_mut()?;
        if busy.released > 1 {
            busy.released -= 1;
            return None;
        }
        let Some(entry) = busy.waiting.pop_front() else {
            let key = slot.take()?.key;
            self.ids.remove(&key);
            self.unused.push(id);
            return Some(Next::Free(key));
        };
        self.waiting.remove(&entry.seq());
        self.records -= entry.len();
        Some(Next::Entry(entry))
    }

    /// The oldest waiting record.
    pub(crate) fn oldest(&self) -> Option<&BufferedRecord> {
        let (_, id) = self.waiting.first_key_value()?;
        self.slots[id.slot()].as_ref()?.waiting.front().map(QueuedEntry::oldest)
    }

    /// Removes the waiting entry with the oldest record if `condition` is true for that record.
    pub(crate) fn pop_oldest_if(
        &mut self,
        condition: impl FnOnce(&BufferedRecord) -> bool,
    ) -> Option<(OrderId, QueuedEntry)> {
        if !condition(self.oldest()?) {
            return None;
        }
        let (_, id) = self.waiting.pop_first()?;
        let entry = self.slots[id.slot()].as_mut()?.waiting.pop_front()?;
        self.records -= entry.len();
        Some((id, entry))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.slots.iter().flatten().flat_map(|slot| &slot.waiting)
    }

    /// Removes everything that waits. No key is busy afterwards.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = QueuedEntry> + use<> {
        std::mem::take(self).slots.into_iter().flatten().flat_map(|slot| slot.waiting)
    }
}

/// Nearly always at the back.
fn insert_sorted(waiting: &mut VecDeque<QueuedEntry>, entry: QueuedEntry) {
    let at = match waiting.back() {
        Some(last) if entry.seq() < last.seq() => {
            waiting.partition_point(|other| other.seq() < entry.seq())
        }
        _ => waiting.len(),
    };
    waiting.insert(at, entry);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use fastrand::Rng;

    use super::*;
    use crate::record::Record;

    fn entry(seq: u64) -> QueuedEntry {
        let rng = &mut Rng::with_seed(0);
        QueuedEntry::single(BufferedRecord::new(Record::from("x"), seq, Instant::now(), rng))
    }

    fn key(name: &str) -> OrderingKey {
        OrderingKey::Key(Key::from(name))
    }

    #[test]
    fn key_order_releases_one_entry_at_a_time() {
        let mut order = KeyOrder::default();
        let first = order.enter(key("a"), entry(1)).expect("nothing is released");
        let id = first.route.order.expect("it has the number of its key");
        assert!(order.enter(key("a"), entry(3)).is_none());
        assert!(order.enter(key("b"), entry(4)).is_some(), "another key");
        assert!(order.wait(id, entry(2)).is_none());
        assert_eq!((order.records(), order.oldest().map(|oldest| oldest.seq)), (2, Some(2)));
        for seq in [2, 3] {
            let Some(Next::Entry(next)) = order.leave(id) else { panic!("{seq} waits") };
            assert_eq!((next.seq(), next.route.order), (seq, Some(id)));
        }
        assert!(matches!(order.leave(id), Some(Next::Free(freed)) if freed == key("a")));
        assert!(!order.is_busy(&key("a")) && order.is_busy(&key("b")));
        assert!(order.leave(id).is_none(), "the key left already");
    }

    #[test]
    fn key_order_waits_for_all_released_entries() {
        let mut order = KeyOrder::default();
        let id = order.occupy(key("a"));
        assert_eq!(order.occupy(key("a")), id);
        assert!(order.enter(key("a"), entry(1)).is_none());
        assert!(order.leave(id).is_none(), "another entry is released");
        assert!(matches!(order.leave(id), Some(Next::Entry(next)) if next.seq() == 1));
        assert!(matches!(order.leave(id), Some(Next::Free(_))));
    }

    #[test]
    fn key_order_reuses_numbers() {
        let mut order = KeyOrder::default();
        for n in 0..1_000 {
            let released = order.enter(key(&n.to_string()), entry(n)).unwrap();
            order.leave(released.route.order.unwrap());
        }
        assert_eq!(order.slots.len(), 1);
        assert!(order.is_empty());
    }
}
