use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::hash_of;
use crate::record::{HashKey, Key};

/// Number of cached keys. A slot takes 40 bytes, 320 KiB in all. A key of more than 23 bytes has up to 1 KiB on the
/// heap.
const SLOTS: usize = 8_192;

/// Cache of the [hashes](hash_of) of recent partition keys.
///
/// An MD5 takes ten times as long as a lookup, so a miss costs a tenth of an MD5.
#[derive(Debug, Default)]
pub(crate) struct HashCache {
    /// Each key maps to one slot, which contains the latest of the keys that map to it.
    slots: Vec<Option<(Key, HashKey)>>,
    hasher: RandomState,
}

impl HashCache {
    pub(crate) fn hash_of(&mut self, key: &Key) -> HashKey {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let slot = &mut self.slots[self.hasher.hash_one(key.as_str()) as usize % SLOTS];
        match slot {
            Some((known, hash)) if known == key => *hash,
            _ => {
                let hash = hash_of(key);
                *slot = Some((key.clone(), hash));
                hash
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colliding_keys_keep_their_hashes() {
        let mut cache = HashCache::default();
        for _ in 0..2 {
            for n in 0..3 * SLOTS {
                let key = Key::from(n.to_string());
                assert_eq!(cache.hash_of(&key), hash_of(&key), "{n}");
                assert_eq!(cache.hash_of(&key), hash_of(&key), "{n}, cached");
            }
        }
        assert_eq!(cache.slots.len(), SLOTS);
    }
}
