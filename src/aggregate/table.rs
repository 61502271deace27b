use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// Up to so many entries are compared one by one; beyond, an index is kept.
const SCANNED: usize = 8;

/// Distinct entries in the order in which they were first seen.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<T>,
    /// Place of each entry, once there are more than [`SCANNED`] of them: most aggregates have few keys,
    /// and then need neither the memory nor the hashing.
    index: HashMap<T, u32, RandomState>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: HashMap::default() }
    }
}

impl<T: Clone + Eq + Hash> Table<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    /// The place of `entry`, or of the next new one. `likely` is looked at first.
    pub(super) fn place(&self, entry: &T, likely: Option<u32>) -> u32 {
        if let Some(likely) = likely
            && self.entries[likely as usize] == *entry
        {
            return likely;
        }
        let found = if self.entries.len() <= SCANNED {
            self.entries.iter().position(|known| known == entry).map(|place| place as u32)
        } else {
            self.index.get(entry).copied()
        };
        found.unwrap_or(self.entries.len() as u32)
    }

    /// Adds an entry that is not there yet.
    pub(super) fn push(&mut self, entry: T) {
        self.entries.push(entry);
        let all = self.entries.len();
        let unknown = match all {
            0..=SCANNED => return,
            _ if self.index.is_empty() => 0,
            _ => all - 1,
        };
        for place in unknown..all {
            self.index.insert(self.entries[place].clone(), place as u32);
        }
    }

    /// Puts `entry` in the place of the only one.
    pub(super) fn replace_only(&mut self, entry: T) {
        debug_assert_eq!(self.entries.len(), 1, "there is one entry");
        self.entries[0] = entry;
    }
}
