use std::collections::HashSet;
use std::sync::Arc;

use smol_str::SmolStr;

use super::verify::PlacementCheck;
use crate::limits::MAX_LEARNED_SHARDS;
use crate::pipeline::entry::QueuedEntry;
use crate::record::HashKey;
use crate::shard::{Shard, ShardMap};

/// The latest list of the stream's shards. It predicts the shards of aggregates, and proves that a written aggregate
/// is in a shard that holds all its members.
#[derive(Debug, Default)]
pub(super) struct ListedShards {
    list: Option<ShardMap>,
    /// Whether shards are predicted: a listing may have failed since, or a response has named a new shard.
    predicts: bool,
    /// Shards for which nothing is predicted until the next list, since a prediction was wrong.
    doubted: HashSet<SmolStr>,
    /// Shards that responses have named and the list lacks.
    unlisted: HashSet<SmolStr>,
    /// Whether the list is not what the service does. Nothing is predicted from it before it changes.
    is_disbelieved: bool,
    /// Whether it is disbelieved if the next list is the same.
    is_suspect: bool,
}

impl ListedShards {
    /// Replaces the list. Predictions start if `predicts` is true, unless the list is disbelieved and has not changed.
    pub(super) fn replace(&mut self, list: ShardMap, predicts: bool) {
        let is_same = self.list.as_ref() == Some(&list);
        let is_disbelieved = is_same && (self.is_disbelieved || self.is_suspect);
        *self = Self { list: Some(list), predicts, is_disbelieved, ..Self::default() };
    }

    /// Forgets the list. Returns whether it predicted shards.
    pub(super) fn forget(&mut self) -> bool {
        std::mem::take(self).predicts()
    }

    /// The list, if it is believed.
    fn believed(&self) -> Option<&ShardMap> {
        self.list.as_ref().filter(|_| !self.is_disbelieved)
    }

    /// Whether there is a list, believed or not.
    pub(super) fn is_known(&self) -> bool {
        self.list.is_some()
    }

    /// Whether there is a list that is believed.
    pub(super) fn is_believed(&self) -> bool {
        self.believed().is_some()
    }

    pub(super) fn is_disbelieved(&self) -> bool {
        self.is_disbelieved
    }

    pub(super) fn predicts(&self) -> bool {
        self.predicts && self.is_believed()
    }

    /// The shard that is predicted for a hash key.
    pub(super) fn predict(&self, hash_key: HashKey) -> Option<&Arc<Shard>> {
        let shard = self.believed().filter(|_| self.predicts)?.find(hash_key)?;
        Some(shard).filter(|shard| self.doubted.is_empty() || !self.doubted.contains(shard.id()))
    }

    /// Predicts nothing before the next list. Returns whether something was predicted.
    pub(super) fn suspend(&mut self) -> bool {
        let predicted = self.predicts();
        self.predicts = false;
        predicted
    }

    /// Predicts nothing for a shard before the next list. Returns whether something was predicted.
    pub(super) fn doubt(&mut self, shard: &Shard) -> bool {
        let listed = self.believed().and_then(|list| list.by_id(shard.id()));
        let is_listed = listed.is_some_and(|listed| **listed == *shard);
        is_listed && self.predicts && self.doubted.insert(SmolStr::new(shard.id()))
    }

    /// Predicts nothing before the next list, if this one has the shard for which a prediction was wrong. If the next
    /// list is the same, no reshard explains that, and nothing is predicted from it. Returns false if the list has
    /// changed since the prediction.
    pub(super) fn suspect(&mut self, predicted: &Shard) -> bool {
        let listed = self.believed().and_then(|list| list.by_id(predicted.id()));
        let is_suspect = listed.is_some_and(|listed| **listed == *predicted);
        if is_suspect {
            self.is_suspect = true;
            self.predicts = false;
        }
        is_suspect
    }

    #[cfg(test)]
    pub(super) fn disbelieve_for_test(&mut self) {
        self.is_disbelieved = true;
    }

    /// Records a shard that a response names. Returns whether it is new, and not in the list.
    pub(super) fn record_named(&mut self, shard_id: &str) -> bool {
        if self.list.as_ref().is_none_or(|list| list.by_id(shard_id).is_some()) {
            return false;
        }
        if self.unlisted.len() >= MAX_LEARNED_SHARDS {
            self.unlisted.clear();
        }
        self.unlisted.insert(SmolStr::new(shard_id))
    }

    /// Whether the entry's partition key rules this shard out: it is listed with another range, and no reshard changes
    /// the range of a shard.
    pub(super) fn rules_out(&self, entry: &QueuedEntry, shard_id: &str) -> bool {
        let oldest = entry.oldest();
        let listed = self.list.as_ref().and_then(|list| list.by_id(shard_id));
        let rules_out = |shard: &Arc<Shard>| !shard.range().contains(oldest.hash_key());
        oldest.has_hash_key() && listed.is_some_and(rules_out)
    }

    /// Whether the shard that an entry was written to holds all its members. Aggregates of one key are checked against
    /// a disbelieved list as well: if it is right about the shard, they need not be sent again.
    pub(super) fn check(&self, entry: &QueuedEntry, shard_id: &str) -> PlacementCheck {
        let listed = self.list.as_ref().and_then(|list| list.by_id(shard_id));
        let is_usable = |shard: &&Arc<Shard>| {
            let is_doubted = self.predicts && self.doubted.contains(shard.id());
            entry.predicted().is_none() || !(self.is_disbelieved || is_doubted)
        };
        check_against(listed.filter(is_usable).map(|shard| &**shard), entry, shard_id)
    }
}

/// Whether an outdated list says that the shard that an entry was written to holds all its members.
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
    // The list comes first: a stream that was created again uses its old ids for other ranges.
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
