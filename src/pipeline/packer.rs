use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::aggregation::Packing;
use super::order::Strand;
use super::pending::Pending;
use super::unit::{Aggregate, Unit};
use crate::record::{HashKey, Key};
use crate::shard::Shard;

/// Records that may share an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// The same partition key and explicit hash key.
    Key(Key, Option<HashKey>),
    /// No partition key of their own, and the same explicit hash key: they get a random key together.
    Random(Option<HashKey>),
    /// Predicted for the shard whose range begins here. With explicit hash keys or without: AWS's Python
    /// library reads a hash key into members that have none, if another member has one.
    Shard { begins: HashKey, placed: bool },
}

impl Group {
    /// Those with whom its records keep their order, if they have any to keep.
    pub(crate) fn strand(self) -> Option<Strand> {
        match self {
            Self::Key(key, _) => Some(Strand::Key(key)),
            Self::Random(_) => None,
            Self::Shard { begins, .. } => Some(Strand::Shard(begins)),
        }
    }
}

/// What is being filled, one entry for each group. It is an aggregate only from its second record on, so
/// that many keys with a record each cost little memory.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    open: HashMap<Group, Unit, RandomState>,
    /// The groups by the place of their oldest record in the order of acceptance.
    order: BTreeMap<u64, Group>,
    /// Those that go on filling, since an entry of their strand is under way.
    held: BTreeMap<u64, Group>,
    /// Whether order is kept.
    ordered: bool,
    /// Then the one open group of each strand.
    of_strand: HashMap<Strand, Group, RandomState>,
    records: usize,
}

/// What is closed when a record comes: it is full, or the record does not fit into it.
pub(crate) type Sealed = [Option<Unit>; 2];

impl Packer {
    pub(crate) fn new(ordered: bool) -> Self {
        Self { ordered, ..Self::default() }
    }

    /// Records in open entries.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn keeps_nothing(&self) -> bool {
        let order = self.order.is_empty() && self.held.is_empty();
        self.open.is_empty() && order && self.of_strand.is_empty() && self.records == 0
    }

    /// The oldest record.
    pub(crate) fn oldest(&self) -> Option<&Pending> {
        self.open.get(self.oldest_group()?).map(Unit::oldest)
    }

    /// The group with the oldest record, held or not.
    fn oldest_group(&self) -> Option<&Group> {
        let heads = [self.order.first_key_value(), self.held.first_key_value()];
        heads.into_iter().flatten().min_by_key(|(seq, _)| **seq).map(|(_, group)| group)
    }

    /// The oldest record that is not held.
    pub(crate) fn oldest_free(&self) -> Option<&Pending> {
        let (_, group) = self.order.first_key_value()?;
        self.open.get(group).map(Unit::oldest)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.open.values().flat_map(Unit::members)
    }

    /// Adds a record that was accepted after all others of its group.
    pub(crate) fn add(
        &mut self,
        pending: Pending,
        group: Group,
        shard: Option<&Arc<Shard>>,
        packing: &Packing,
    ) -> Sealed {
        if let Some(Unit::Aggregate(open)) = self.open.get_mut(&group)
            && open.makes_room(&pending, packing)
        {
            open.push(pending);
            self.records += 1;
            let full = open.is_full(packing);
            return [if full { self.take(&group) } else { None }, None];
        }
        let (sealed, unit) = match self.take(&group) {
            Some(Unit::Single(first)) => {
                let mut pair = Aggregate::pack(vec![first, pending], shard, packing).into_iter();
                match (pair.next(), pair.next()) {
                    (first, Some(last)) => (first, last),
                    (Some(both), None) => (None, both),
                    (None, None) => return [None, None],
                }
            }
            full => (full, Unit::Single(pending)),
        };
        if unit.is_full(packing) {
            return [sealed, Some(unit)];
        }
        self.records += unit.len();
        self.order.insert(unit.seq(), group.clone());
        if self.ordered
            && let Some(strand) = group.clone().strand()
        {
            self.of_strand.insert(strand, group.clone());
        }
        self.open.insert(group, unit);
        [sealed, None]
    }

    /// Takes what is open of another group of this one's strand: what comes must neither join it nor
    /// overtake it.
    pub(crate) fn take_other(&mut self, group: &Group) -> Option<Unit> {
        let strand = group.clone().strand()?;
        let earlier = self.of_strand.get(&strand).filter(|earlier| *earlier != group)?.clone();
        self.take(&earlier)
    }

    /// Takes what is open of this group.
    pub(crate) fn take(&mut self, group: &Group) -> Option<Unit> {
        let taken = self.open.remove(group)?;
        self.records -= taken.len();
        let seq = taken.seq();
        if self.order.remove(&seq).is_none() {
            self.held.remove(&seq);
        }
        if self.ordered
            && let Some(strand) = group.clone().strand()
        {
            self.of_strand.remove(&strand);
        }
        Some(taken)
    }

    /// Takes the entry with the oldest record if `condition` holds for that record. Those whose strand
    /// `is_busy` are held until it is [free](Self::free).
    pub(crate) fn take_oldest_if(
        &mut self,
        condition: impl Fn(&Pending) -> bool,
        is_busy: impl Fn(&Strand) -> bool,
    ) -> Option<Unit> {
        loop {
            if !condition(self.oldest_free()?) {
                return None;
            }
            let (seq, group) = self.order.pop_first()?;
            match group.clone().strand().filter(|strand| is_busy(strand)) {
                None => {
                    self.order.insert(seq, group.clone());
                    return self.take(&group);
                }
                Some(_) => drop(self.held.insert(seq, group)),
            }
        }
    }

    /// Takes the entry with the oldest record, held or not, if `condition` holds for that record.
    pub(crate) fn take_any_oldest_if(
        &mut self,
        condition: impl FnOnce(&Pending) -> bool,
    ) -> Option<Unit> {
        if !condition(self.oldest()?) {
            return None;
        }
        let group = self.oldest_group()?.clone();
        self.take(&group)
    }

    /// Lets what was held because of this strand go.
    pub(crate) fn free(&mut self, strand: &Strand) {
        let open = self.of_strand.get(strand).and_then(|group| self.open.get(group));
        let Some(seq) = open.map(Unit::seq) else { return };
        if let Some(group) = self.held.remove(&seq) {
            self.order.insert(seq, group);
        }
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        let Self { open, .. } = std::mem::replace(self, Self::new(self.ordered));
        open.into_values().flat_map(Unit::into_members)
    }
}
