use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// Maximum number of entries that are searched linearly. Larger tables have a hash index.
const LINEAR_SCAN_MAX: usize = 8;

/// Table of distinct entries in order of first occurrence.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<T>,
    /// Position of each entry. Empty for up to [`LINEAR_SCAN_MAX`] entries, because most aggregates have few keys.
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

    /// Returns the index of `entry`, or the next free index if it is new. Checks the entry at `hint` first.
    pub(super) fn index_of(&self, entry: &T, hint: Option<u32>) -> u32 {
        if let Some(hint) = hint
            && self.entries[hint as usize] == *entry
        {
            return hint;
        }
        let found = if self.entries.len() <= LINEAR_SCAN_MAX {
            self.entries.iter().position(|known| known == entry).map(|index| index as u32)
        } else {
            self.index.get(entry).copied()
        };
        found.unwrap_or(self.entries.len() as u32)
    }

    pub(super) fn push(&mut self, entry: T) {
        self.entries.push(entry);
        let all = self.entries.len();
        let first = match all {
            0..=LINEAR_SCAN_MAX => return,
            _ if self.index.is_empty() => 0,
            _ => all - 1,
        };
        for index in first..all {
            self.index.insert(self.entries[index].clone(), index as u32);
        }
    }

    pub(super) fn replace_only(&mut self, entry: T) {
        debug_assert_eq!(self.entries.len(), 1, "the table has one entry");
        self.entries[0] = entry;
    }
}
