use std::collections::HashSet;
use std::sync::Arc;

use smol_str::SmolStr;

use super::verify::PlacementCheck;
use crate::limits::MAX_LEARNED_SHARDS;
use crate::pipeline::entry::QueuedEntry;
use crate::record::HashKey;
use crate::shard::{Shard, ShardMap};

/// Latest list of the stream's shards. Predicts the shards of aggregates and proves where written ones belong.
#[derive(Debug, Default)]
pub(super) struct ListedShards {
    list: Option<ShardMap>,
    /// Set to `false` by a failed listing or a new shard.
    predicts: bool,
    /// Shards without predictions until the next list.
    suspended: HashSet<SmolStr>,
    /// Shards that only responses name.
    unlisted: HashSet<SmolStr>,
    /// Set to `true` if the service does not place records according to this list.
    is_invalid: bool,
    /// Set to `true` if the next list becomes invalid unless it differs.
    is_invalid_if_repeated: bool,
}

impl ListedShards {
    /// Replaces the list. An invalid list stays invalid until it changes.
    pub(super) fn replace(&mut self, list: ShardMap, predicts: bool) {
        let is_same = self.list.as_ref() == Some(&list);
        let is_invalid = is_same && (self.is_invalid || self.is_invalid_if_repeated);
        *self = Self { list: Some(list), predicts, is_invalid, ..Self::default() };
    }

    pub(super) fn forget(&mut self) -> bool {
        std::mem::take(self).predicts()
    }

    fn valid(&self) -> Option<&ShardMap> {
        self.list.as_ref().filter(|_| !self.is_invalid)
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
        let shard = self.valid().filter(|_| self.predicts)?.find(hash_key)?;
        Some(shard)
            .filter(|shard| self.suspended.is_empty() || !self.suspended.contains(shard.id()))
    }

    /// Returns `true` if shards were predicted.
    pub(super) fn suspend_all(&mut self) -> bool {
        let predicted = self.predicts();
        self.predicts = false;
        predicted
    }

    /// Suspends the predictions for one shard. Returns `true` if there were any.
    pub(super) fn suspend(&mut self, shard: &Shard) -> bool {
        let listed = self.valid().and_then(|list| list.by_id(shard.id()));
        let is_listed = listed.is_some_and(|listed| **listed == *shard);
        is_listed && self.predicts && self.suspended.insert(SmolStr::new(shard.id()))
    }

    /// Suspends all predictions. If the next list is the same, no reshard explains the wrong prediction. Returns
    /// `false` if the list has changed since the prediction.
    pub(super) fn invalidate_if_repeated(&mut self, predicted: &Shard) -> bool {
        let listed = self.valid().and_then(|list| list.by_id(predicted.id()));
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

    /// Returns `true` if the shard is new and not in the list.
    pub(super) fn record_named(&mut self, shard_id: &str) -> bool {
        if self.list.as_ref().is_none_or(|list| list.by_id(shard_id).is_some()) {
            return false;
        }
        if self.unlisted.len() >= MAX_LEARNED_SHARDS {
            self.unlisted.clear();
        }
        self.unlisted.insert(SmolStr::new(shard_id))
    }

    /// Returns `true` if the shard is listed with another range. No reshard changes the range of a shard.
    pub(super) fn rules_out(&self, entry: &QueuedEntry, shard_id: &str) -> bool {
        let oldest = entry.oldest();
        let listed = self.list.as_ref().and_then(|list| list.by_id(shard_id));
        let rules_out = |shard: &Arc<Shard>| !shard.range().contains(oldest.hash_key());
        oldest.has_hash_key() && listed.is_some_and(rules_out)
    }

    /// Aggregates of one key are checked against an invalid list as well. If it is right about the shard, they need not
    /// be retried.
    pub(super) fn check(&self, entry: &QueuedEntry, shard_id: &str) -> PlacementCheck {
        let listed = self.list.as_ref().and_then(|list| list.by_id(shard_id));
        let is_usable = |shard: &&Arc<Shard>| {
            let is_suspended = self.predicts && self.suspended.contains(shard.id());
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
    // The list precedes the prediction: a recreated stream reuses the ids for other ranges.
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
