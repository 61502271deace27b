use std::fmt;

use md5::{Digest, Md5};

use crate::record::HashKey;

/// Returns the hash key of a partition key.
///
/// The hash key is the MD5 digest of the UTF-8 bytes of the partition key, as a big-endian number. If a record has an
/// explicit hash key, the service uses that key instead. Streams with the distribution
/// [`Auto`](crate::stream::Distribution::Auto) ignore both keys.
///
/// The PutRecords API reference states that "an MD5 hash function is used to map partition keys to 128-bit integer
/// values and to map associated data records to shards". The byte order is that of the Kinesis Producer Library.
///
/// ```
/// use kinesis_sink::shard::hash_of;
///
/// assert_eq!(hash_of("a").get(), 16955237001963240173058271559858726497);
/// ```
#[must_use]
pub fn hash_of(partition_key: &str) -> HashKey {
    HashKey::new(u128::from_be_bytes(Md5::digest(partition_key).into()))
}

/// An inclusive range of hash keys.
///
/// ```
/// use kinesis_sink::record::HashKey;
/// use kinesis_sink::shard::HashRange;
///
/// let range = HashRange::new(HashKey::new(10), HashKey::new(19)).expect("in order");
/// assert!(range.contains(HashKey::new(19)) && !range.contains(HashKey::new(20)));
/// assert_eq!(HashRange::new(HashKey::new(19), HashKey::new(10)), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashRange {
    start: HashKey,
    end: HashKey,
}

impl HashRange {
    /// Creates the range from `start` to `end`, both included. Returns `None` if `start` is greater than `end`.
    #[must_use]
    pub fn new(start: HashKey, end: HashKey) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// Returns the first hash key of the range.
    #[must_use]
    pub fn start(&self) -> HashKey {
        self.start
    }

    /// Returns the last hash key of the range.
    #[must_use]
    pub fn end(&self) -> HashKey {
        self.end
    }

    /// Returns `true` if the range contains `hash`.
    #[must_use]
    pub fn contains(&self, hash: HashKey) -> bool {
        (self.start..=self.end).contains(&hash)
    }
}

impl fmt::Display for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

impl fmt::Debug for HashRange {
    // Unlike a `HashKey`, a range reveals no partition key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashRange({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_is_big_endian_md5() {
        assert_eq!(hash_of("a").get(), 16955237001963240173058271559858726497);
        assert_eq!(hash_of("b").get(), 195289424170611159128911017612795795343);
        // Test suite of RFC 1321, A.5.
        assert_eq!(hash_of("").get(), 0xd41d8cd98f00b204e9800998ecf8427e);
        assert_eq!(hash_of("message digest").get(), 0xf96b697d7cb7938d525a2f31aaf161d0);
    }

    #[test]
    fn range_contains_both_ends() {
        let key = HashKey::new;
        let range = HashRange::new(key(255), key(256)).unwrap();
        let contained = [254, 255, 256, 257].map(|value| range.contains(key(value)));
        assert_eq!(contained, [false, true, true, false]);
        let whole = HashRange::new(key(0), key(u128::MAX)).unwrap();
        assert!(whole.contains(key(0)) && whole.contains(key(u128::MAX)));
        let one = HashRange::new(key(7), key(7)).unwrap();
        assert!(one.contains(key(7)) && !one.contains(key(6)) && !one.contains(key(8)));
        assert_eq!(HashRange::new(key(8), key(7)), None);
        assert_eq!(format!("{range} {range:?}"), "255 to 256 HashRange(255 to 256)");
    }
}
