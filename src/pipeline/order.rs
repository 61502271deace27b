//! The order in which records with the same key are sent.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::pending::Pending;
use super::unit::Unit;
use crate::record::{HashKey, Key};

/// In which order consumers find the records of a partition key.
///
/// An entry of a request can fail while the next one is written, requests overtake each other, and what
/// failed is sent again after what did not. So without more ado there is no order, not even among records
/// that were sent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Ordering {
    /// In no certain order. The default.
    #[default]
    Unordered,
    /// In the order in which the sink accepted them, for records with the same partition key: through
    /// failures, time-outs and resharding. Records without a key have no order to keep.
    ///
    /// # What it costs
    ///
    /// Of a key one Kinesis record is under way at a time: the next one goes when it was delivered or
    /// given up. A request still carries up to 500 different keys, so a stream of many keys is as fast as
    /// without. A single key moves one record in each round trip; with [`Aggregation`](crate::Aggregation)
    /// what comes in the meantime gathers in its next aggregate, and one key can fill its shard: at 20 ms
    /// a round trip, aggregates of 50 KiB make 2.5 MB a second. With longer round trips raise
    /// [`with_aggregate_units`](crate::SinkBuilder::with_aggregate_units). With
    /// [`PerShard`](crate::Aggregation::PerShard) a shard has one aggregate under way at a time, and when
    /// the stream is resharded the sink waits once for what is in flight.
    ///
    /// # What consumers find
    ///
    /// A record whose request has an unknown outcome (a time-out, a broken connection) is sent again, and
    /// can be in the stream twice: both times before everything that is sent after it. The members of an
    /// aggregate come again together: 1 2 3 1 2 3. The first copies of a key's records are in order, and so
    /// are the last ones. A record that fails for good is left out, unless an attempt of unknown outcome
    /// has written it. Consumers that read a closed shard to its end before its children, as
    /// the KCL does, find the order across resharding, too. With
    /// [`PerShard`](crate::Aggregation::PerShard) a reshard can misplace an aggregate, which the KCL discards;
    /// consumers without that rule find its records a second time, out of order.
    ///
    /// One thing no producer can rule out: a request that was given up after its
    /// [time-out](crate::SinkBuilder::with_request_timeout) can still lie somewhere on its way, and be
    /// written when later records are. Its records then come once more, out of order. A longer time-out
    /// makes that rarer.
    ///
    /// On streams that [distribute their records themselves](crate::Distribution::ByService) no key has an
    /// order. The sink refuses such a stream if it may have it
    /// [described](crate::SinkBuilder::with_describe_stream).
    ///
    /// Records with the same partition key and different explicit hash keys can lie in different shards;
    /// with `PerShard` their order is kept within each shard. Where such records alternate, aggregates are
    /// small: of one key only records with the same hash key share one.
    PerKey,
}

/// Records that keep their order among themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Strand {
    /// Those of a partition key.
    Key(Key),
    /// Those of the shard whose range begins here: their aggregates have many keys.
    Shard(HashKey),
}

/// Which strands have an entry under way, and what waits behind it.
///
/// An entry is under way from the moment in which it may be sent until all of its records are delivered
/// or given up, also while it waits to be sent again.
#[derive(Debug, Default)]
pub(crate) struct Strands {
    /// Those with an entry under way, and those behind it in the order of acceptance.
    busy: HashMap<Strand, VecDeque<Unit>, RandomState>,
    /// What waits.
    order: BTreeMap<u64, Strand>,
    records: usize,
}

impl Strands {
    /// Records that wait behind others.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.busy.is_empty() && self.order.is_empty() && self.records == 0
    }

    pub(crate) fn is_busy(&self, strand: &Strand) -> bool {
        self.busy.contains_key(strand)
    }

    /// Hands the entry back if nothing of its strand is under way: from now on it is.
    pub(crate) fn enter(&mut self, strand: Strand, unit: Unit) -> Option<Unit> {
        match self.busy.entry(strand) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                return Some(unit);
            }
            Entry::Occupied(busy) => {
                self.records += unit.len();
                self.order.insert(unit.seq(), busy.key().clone());
                line_up(busy.into_mut(), unit);
            }
        }
        None
    }

    /// Notes that an entry of the strand is under way.
    pub(crate) fn occupy(&mut self, strand: Strand) {
        self.busy.entry(strand).or_default();
    }

    /// Puts an entry behind the one that is under way.
    pub(crate) fn wait(&mut self, strand: Strand, unit: Unit) {
        self.records += unit.len();
        self.order.insert(unit.seq(), strand.clone());
        line_up(self.busy.entry(strand).or_default(), unit);
    }

    /// Notes that nothing of the strand is under way any more. The next entry comes back, and is under
    /// way from now on; if there is none, the strand is free.
    pub(crate) fn leave(&mut self, strand: &Strand) -> Option<Unit> {
        let waiting = self.busy.get_mut(strand)?;
        let Some(unit) = waiting.pop_front() else {
            self.busy.remove(strand);
            return None;
        };
        self.order.remove(&unit.seq());
        self.records -= unit.len();
        Some(unit)
    }

    /// The oldest record that waits.
    pub(crate) fn oldest(&self) -> Option<&Pending> {
        let (_, strand) = self.order.first_key_value()?;
        self.busy.get(strand)?.front().map(Unit::oldest)
    }

    /// Takes the waiting entry with the oldest record if `condition` holds for that record.
    pub(crate) fn take_oldest_if(
        &mut self,
        condition: impl FnOnce(&Pending) -> bool,
    ) -> Option<(Strand, Unit)> {
        if !condition(self.oldest()?) {
            return None;
        }
        let (_, strand) = self.order.pop_first()?;
        let unit = self.busy.get_mut(&strand)?.pop_front()?;
        self.records -= unit.len();
        Some((strand, unit))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.busy.values().flatten().flat_map(Unit::members)
    }

    /// Takes everything that waits. Nothing is under way any more.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Unit> + use<> {
        std::mem::take(self).busy.into_values().flatten()
    }
}

/// Puts an entry where it belongs in the order: nearly always behind all others.
fn line_up(waiting: &mut VecDeque<Unit>, unit: Unit) {
    let at = match waiting.back() {
        Some(last) if unit.seq() < last.seq() => {
            waiting.partition_point(|other| other.seq() < unit.seq())
        }
        _ => waiting.len(),
    };
    waiting.insert(at, unit);
}
