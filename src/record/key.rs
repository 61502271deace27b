use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use smol_str::SmolStr;

use crate::parse_error::ParseError;

/// Bytes of the keys that the sink draws for [`PartitionKey::Random`].
pub(crate) const RANDOM_KEY_BYTES: usize = 8;

/// Decides on which shard a record lands.
///
/// `Debug` shows a key's length, never the key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PartitionKey {
    /// The user's own: records with the same key go to the same shard.
    Explicit(Key),
    /// Drawn by the sink when it takes the record, spread evenly over the hash ring, and drawn again
    /// when the record was throttled, so that it need not wait for the shard that was busy.
    #[default]
    Random,
    /// None at all: the service spreads the records itself. Only on-demand streams whose
    /// `RecordDistributionStrategy` is `AUTO` take such records.
    ServiceManaged,
}

impl<K: Into<Key>> From<K> for PartitionKey {
    fn from(key: K) -> Self {
        Self::Explicit(key.into())
    }
}

/// A partition key's text. Short ones (up to 23 bytes) sit inside the value, longer ones are shared
/// between clones.
///
/// `Debug` shows the length, never the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(SmolStr);

impl Key {
    /// The key as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text on the wire of a random key: eight characters that hold the upper 40 bits of `bits`.
    pub(crate) fn random(bits: u64) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut text = [0; RANDOM_KEY_BYTES];
        for (place, byte) in text.iter_mut().enumerate() {
            *byte = ALPHABET[(bits >> (59 - 5 * place)) as usize & 31];
        }
        Self(SmolStr::new_inline(std::str::from_utf8(&text).expect("the alphabet is ASCII")))
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(SmolStr::new(key))
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(SmolStr::from(key))
    }
}

impl From<&String> for Key {
    fn from(key: &String) -> Self {
        Self(SmolStr::new(key))
    }
}

/// A place on the hash ring, 0 to 2^128 - 1: a value of this type is always in range.
///
/// `Display` shows the number, `Debug` does not: it may tell of a partition key.
///
/// ```
/// use kinesis_sink::HashKey;
///
/// let top: HashKey = "340282366920938463463374607431768211455".parse()?;
/// assert_eq!(top, HashKey::new(u128::MAX));
/// assert!("340282366920938463463374607431768211456".parse::<HashKey>().is_err());
/// # Ok::<_, kinesis_sink::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey([u8; 16]); // Big-endian bytes: a u128's alignment would cost 16 bytes a record.

impl HashKey {
    /// The hash key with this value.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    /// Its value.
    #[must_use]
    pub const fn get(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// How many decimal digits it is written with.
    #[inline]
    pub(crate) fn digits(self) -> usize {
        self.get().checked_ilog10().map_or(1, |power| power as usize + 1)
    }
}

impl From<u128> for HashKey {
    fn from(value: u128) -> Self {
        Self::new(value)
    }
}

impl FromStr for HashKey {
    type Err = ParseError;

    /// Reads the service's notation: decimal digits, no sign, no leading zeros.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(ParseError::hash_key_notation());
        }
        text.parse().map(Self::new).map_err(|_| ParseError::hash_key_range())
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_keys_are_read_as_the_service_reads_them() {
        assert_eq!("0".parse(), Ok(HashKey::new(0)));
        assert_eq!(HashKey::new(u128::MAX).to_string().parse(), Ok(HashKey::new(u128::MAX)));
        for text in ["", "-1", "+1", "007", "1e3", " 1", "0x10", "١"] {
            assert_eq!(text.parse::<HashKey>(), Err(ParseError::hash_key_notation()), "{text:?}");
        }
        let beyond = "340282366920938463463374607431768211456";
        assert_eq!(beyond.parse::<HashKey>(), Err(ParseError::hash_key_range()));
        assert_eq!("9".repeat(400).parse::<HashKey>(), Err(ParseError::hash_key_range()));
    }

    #[test]
    fn random_keys_hold_forty_bits() {
        assert_eq!(Key::random(0).as_str(), "aaaaaaaa");
        assert_eq!(Key::random(u64::MAX).as_str(), "77777777");
        assert_ne!(Key::random(1 << 63), Key::random(1 << 62));
        assert_ne!(Key::random(1 << 24), Key::random(0), "the lowest of the forty bits counts");
        assert_eq!(Key::random(5).len(), RANDOM_KEY_BYTES);
    }
}
