use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::hash_of;
use crate::record::{HashKey, Key};

/// Keys that are remembered: with an entry of 40 bytes each 320 KiB. Keys of more than 23 bytes have theirs
/// beside that, 1 KiB each at most.
const SLOTS: usize = 8_192;

/// The [hashes](hash_of) of the partition keys that came lately.
///
/// Streams have far fewer keys than records, and an MD5 costs ten times what it takes to look here. Where
/// keys never come again, looking in vain costs a tenth of the MD5.
#[derive(Debug, Default)]
pub(crate) struct HashCache {
    /// Each key has one slot, which it shares with others: the latest is kept.
    slots: Vec<Option<(Key, HashKey)>>,
    hasher: RandomState,
}

impl HashCache {
    /// [`hash_of`] this key.
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
        let mut memo = HashCache::default();
        for _ in 0..2 {
            for n in 0..3 * SLOTS {
                let key = Key::from(n.to_string());
                assert_eq!(memo.hash_of(&key), hash_of(&key), "{n}");
                assert_eq!(memo.hash_of(&key), hash_of(&key), "{n} once more");
            }
        }
        assert_eq!(memo.slots.len(), SLOTS);
    }
}
