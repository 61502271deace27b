use std::collections::HashSet;
use std::sync::Arc;

use smol_str::SmolStr;

use super::verify::PlacementCheck;
use crate::limits::MAX_LEARNED_SHARDS;
use crate::pipeline::entry::QueuedEntry;
use crate::record::HashKey;
use crate::shard::{Shard, ShardMap};

/// Latest shard list of the stream. Predicts and verifies the shards of aggregates.
#[derive(Debug, Default)]
pub(super) struct ListedShards {
    list: Option<Box<List>>,
    /// Set to `true` if shards are predicted from this list. A failed listing or a new shard suspends predictions.
    predicts: bool,
    /// Set to `true` if the service does not distribute records according to this list.
    is_invalid: bool,
    /// Set to `true` if the next list is invalid unless it differs from this one.
    is_invalid_if_repeated: bool,
}

#[derive(Debug)]
struct List {
    map: ShardMap,
    /// Shards that are not predicted until the next list arrives.
    suspended: HashSet<SmolStr>,
    /// Shards that occur in responses but not in the list.
    unlisted: HashSet<SmolStr>,
}

impl ListedShards {
    /// Replaces the list. An invalid list stays invalid until it changes.
    pub(super) fn replace(&mut self, list: ShardMap, predicts: bool) {
        let is_same = self.list.as_ref().is_some_and(|known| known.map == list);
        let is_invalid = is_same && (self.is_invalid || self.is_invalid_if_repeated);
        let list = List { map: list, suspended: HashSet::new(), unlisted: HashSet::new() };
        *self = Self { list: Some(Box::new(list)), predicts, is_invalid, ..Self::default() };
    }

    pub(super) fn forget(&mut self) -> bool {
        std::mem::take(self).predicts()
    }

    fn valid(&self) -> Option<&List> {
        self.list.as_deref().filter(|_| !self.is_invalid)
    }

    fn by_id(&self, shard_id: &str) -> Option<&Arc<Shard>> {
        self.list.as_ref()?.map.by_id(shard_id)
    }

    /// Returns `true` if there is a list, valid or not.
    pub(super) fn is_known(&self) -> bool {
        self.list.is_some()
    }

    pub(super) fn is_valid(&self) -> bool {
        self.valid().is_some()
    }

    pub(super) fn is_invalid(&self) -> bool {
        self.is_invalid
    }

    pub(super) fn predicts(&self) -> bool {
        self.predicts && self.is_valid()
    }

    pub(super) fn predict(&self, hash_key: HashKey) -> Option<&Arc<Shard>> {
        let List { map, suspended, .. } = self.valid().filter(|_| self.predicts)?;
        let shard = map.find(hash_key)?;
        Some(shard).filter(|shard| suspended.is_empty() || !suspended.contains(shard.id()))
    }

    /// Suspends all predictions. Returns `true` if shards were predicted before.
    pub(super) fn suspend_all(&mut self) -> bool {
        let predicted = self.predicts();
        self.predicts = false;
        predicted
    }

    /// Suspends predictions of one shard. Returns `true` if the shard was predicted before.
    pub(super) fn suspend(&mut self, shard: &Shard) -> bool {
        let is_active = self.predicts();
        let Some(List { map, suspended, .. }) = self.list.as_deref_mut() else { return false };
        let is_listed = map.by_id(shard.id()).is_some_and(|listed| **listed == *shard);
        is_active && is_listed && suspended.insert(SmolStr::new(shard.id()))
    }

    /// Suspends all predictions after a wrong one. If the next list is the same, it becomes invalid, because no reshard
    /// explains the wrong prediction. Does nothing and returns `false` if the list has changed since the prediction.
    pub(super) fn invalidate_if_repeated(&mut self, predicted: &Shard) -> bool {
        let listed = self.valid().and_then(|list| list.map.by_id(predicted.id()));
        let is_invalid_if_repeated = listed.is_some_and(|listed| **listed == *predicted);
        if is_invalid_if_repeated {
            self.is_invalid_if_repeated = true;
            self.predicts = false;
        }
        is_invalid_if_repeated
    }

    #[cfg(test)]
    pub(super) fn invalidate_for_test(&mut self) {
        self.is_invalid = true;
    }

    /// Records a shard named in a response. Returns `true` if the shard is not listed and has not been recorded before.
    pub(super) fn record_named(&mut self, shard_id: &str) -> bool {
        let Some(List { map, unlisted, .. }) = self.list.as_deref_mut() else { return false };
        if map.by_id(shard_id).is_some() {
            return false;
        }
        if unlisted.len() >= MAX_LEARNED_SHARDS {
            unlisted.clear();
        }
        unlisted.insert(SmolStr::new(shard_id))
    }

    /// Returns `true` if the listed range of the shard, which can never change, does not contain the entry.
    pub(super) fn rules_out(&self, entry: &QueuedEntry, shard_id: &str) -> bool {
        let oldest = entry.oldest();
        let listed = self.by_id(shard_id);
        let rules_out = |shard: &Arc<Shard>| !shard.range().contains(oldest.hash_key());
        oldest.has_hash_key() && listed.is_some_and(rules_out)
    }

    fn is_suspended(&self, shard: &Shard) -> bool {
        self.list.as_ref().is_some_and(|list| list.suspended.contains(shard.id()))
    }

    /// Checks the shard of a written entry against the list. Even an invalid list can confirm the shard of an aggregate
    /// with one key, so that the aggregate is not retried.
    pub(super) fn check(&self, entry: &QueuedEntry, shard_id: &str) -> PlacementCheck {
        let listed = self.by_id(shard_id);
        let is_usable = |shard: &&Arc<Shard>| {
            let is_suspended = self.predicts && self.is_suspended(shard);
            entry.predicted().is_none() || !(self.is_invalid || is_suspended)
        };
        check_against(listed.filter(is_usable).map(|shard| &**shard), entry, shard_id)
    }
}

pub(super) fn check_outdated(
    list: &ShardMap,
    entry: &QueuedEntry,
    shard_id: &str,
) -> PlacementCheck {
    check_against(list.by_id(shard_id).map(|shard| &**shard), entry, shard_id)
}

fn check_against(listed: Option<&Shard>, entry: &QueuedEntry, shard_id: &str) -> PlacementCheck {
    if !entry.is_aggregate() {
        return PlacementCheck::Placed;
    }
    // The list takes precedence over the prediction, because a recreated stream reuses shard ids for other ranges.
    match (listed, entry.predicted()) {
        (Some(shard), Some((aggregate, _))) if aggregate.fits_shard(shard) => {
            PlacementCheck::Placed
        }
        (Some(shard), None) if shard.range().contains(entry.oldest().hash_key()) => {
            PlacementCheck::Placed
        }
        (Some(_), _) => PlacementCheck::Misplaced,
        (None, Some((_, predicted))) if predicted.id() == shard_id => PlacementCheck::Placed,
        (None, _) => PlacementCheck::Unknown,
    }
}
