use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::aggregation::Packing;
use super::lane::Lane;
use super::pending::Pending;
use super::unit::Aggregate;
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

/// The aggregates that are being filled, one for each group.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    open: HashMap<Group, Aggregate>,
    /// The groups by the place of their oldest record in the order of acceptance.
    order: BTreeMap<u64, Group>,
    records: usize,
}

impl Packer {
    /// Records in open aggregates.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The oldest record.
    pub(crate) fn oldest(&self) -> Option<&Pending> {
        let (_, group) = self.order.first_key_value()?;
        self.open[group].members().first()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.open.values().flat_map(Aggregate::members)
    }

    /// Adds a record that was accepted after all others of its group. An aggregate that is full, or that
    /// it does not fit into, goes to `lane`.
    pub(crate) fn add(
        &mut self,
        pending: Pending,
        group: Group,
        shard: Option<Arc<Shard>>,
        packing: &Packing,
        lane: &mut Lane,
    ) {
        if self.open.get(&group).is_some_and(|open| !open.fits(&pending, packing)) {
            self.seal(&group, lane);
        }
        self.records += 1;
        let full = match self.open.get_mut(&group) {
            Some(open) => {
                open.push(pending);
                open.is_full(packing)
            }
            None => {
                let (seq, open) = (pending.seq, Aggregate::new(pending, shard, packing));
                let full = open.is_full(packing);
                self.order.insert(seq, group.clone());
                self.open.insert(group.clone(), open);
                full
            }
        };
        if full {
            self.seal(&group, lane);
        }
    }

    fn seal(&mut self, group: &Group, lane: &mut Lane) {
        if let Some(sealed) = self.take(group) {
            lane.insert(sealed.seal());
        }
    }

    fn take(&mut self, group: &Group) -> Option<Aggregate> {
        let taken = self.open.remove(group)?;
        self.records -= taken.members().len();
        self.order.remove(&taken.members()[0].seq);
        Some(taken)
    }

    /// Moves the aggregate with the oldest record to `lane` if `condition` holds for that record.
    pub(crate) fn seal_oldest_if(
        &mut self,
        condition: impl FnOnce(&Pending) -> bool,
        lane: &mut Lane,
    ) -> bool {
        if !self.oldest().is_some_and(condition) {
            return false;
        }
        let Some((_, group)) = self.order.pop_first() else { return false };
        self.seal(&group, lane);
        true
    }

    /// Takes the members of the aggregate with the oldest record if `condition` holds for that record.
    pub(crate) fn take_oldest_if(
        &mut self,
        condition: impl FnOnce(&Pending) -> bool,
    ) -> Option<Vec<Pending>> {
        if !condition(self.oldest()?) {
            return None;
        }
        let (_, group) = self.order.pop_first()?;
        self.take(&group).map(Aggregate::into_members)
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        let Self { open, .. } = std::mem::take(self);
        open.into_values().flat_map(Aggregate::into_members)
    }
}
