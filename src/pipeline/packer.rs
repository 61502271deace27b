use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::aggregation::Packing;
use super::lane::Lane;
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

/// What is being filled, one entry for each group. It is an aggregate only from its second record on, so
/// that many keys with a record each cost little memory.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    open: HashMap<Group, Unit>,
    /// The groups by the place of their oldest record in the order of acceptance.
    order: BTreeMap<u64, Group>,
    records: usize,
}

impl Packer {
    /// Records in open entries.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The oldest record.
    pub(crate) fn oldest(&self) -> Option<&Pending> {
        let (_, group) = self.order.first_key_value()?;
        self.open.get(group).map(Unit::oldest)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.open.values().flat_map(Unit::members)
    }

    /// Adds a record that was accepted after all others of its group. What is full, or what it does not
    /// fit into, goes to `lane`.
    pub(crate) fn add(
        &mut self,
        pending: Pending,
        group: Group,
        shard: Option<Arc<Shard>>,
        packing: &Packing,
        lane: &mut Lane,
    ) {
        if let Some(Unit::Aggregate(open)) = self.open.get_mut(&group)
            && open.fits(&pending, packing)
        {
            open.push(pending);
            self.records += 1;
            if open.is_full(packing) {
                lane.extend(self.take(&group));
            }
            return;
        }
        let unit = match self.take(&group) {
            Some(Unit::Single(first)) => {
                let mut pair = Aggregate::pack(vec![first, pending], shard, packing);
                let last = pair.pop();
                lane.extend(pair);
                last
            }
            full => {
                lane.extend(full);
                Some(Unit::Single(pending))
            }
        };
        let Some(unit) = unit else { return };
        if unit.is_full(packing) {
            lane.insert(unit);
            return;
        }
        self.records += unit.len();
        self.order.insert(unit.seq(), group.clone());
        self.open.insert(group, unit);
    }

    /// Takes what is open of this group.
    pub(crate) fn take(&mut self, group: &Group) -> Option<Unit> {
        let taken = self.open.remove(group)?;
        self.records -= taken.len();
        self.order.remove(&taken.seq());
        Some(taken)
    }

    /// Takes the entry with the oldest record if `condition` holds for that record.
    pub(crate) fn take_oldest_if(
        &mut self,
        condition: impl FnOnce(&Pending) -> bool,
    ) -> Option<Unit> {
        if !condition(self.oldest()?) {
            return None;
        }
        let (_, group) = self.order.pop_first()?;
        self.take(&group)
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        let Self { open, .. } = std::mem::take(self);
        open.into_values().flat_map(Unit::into_members)
    }
}
