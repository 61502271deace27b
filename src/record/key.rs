use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use smol_str::SmolStr;

use crate::parse_error::ParseError;

/// Length of the partition keys generated for [`PartitionKey::Random`].
pub(crate) const RANDOM_KEY_BYTES: usize = 8;

/// Partition key of a record. It determines the shard to which the record is written.
///
/// The `Debug` output contains the length of a key but not its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PartitionKey {
    /// Explicit key. Records with the same key are written to the same shard.
    Explicit(Key),
    /// Random key. The sink draws the key when it accepts the record, uniformly distributed over the hash ring.
    ///
    /// If the record is throttled, the sink draws another key, so that the record does not wait for a busy shard.
    #[default]
    Random,
    /// The record has no key, and the service chooses its shard.
    ///
    /// Only on-demand streams whose `RecordDistributionStrategy` is `AUTO` accept records without a key.
    ServiceManaged,
}

impl<K: Into<Key>> From<K> for PartitionKey {
    fn from(key: K) -> Self {
        Self::Explicit(key.into())
    }
}

/// String that contains a partition key.
///
/// A string of up to 23 bytes is stored inline, and a longer string is shared between clones. Keys are compared and
/// hashed like strings, so a map whose keys are `Key`s can be queried with a `&str`. The `Display` output is the
/// string, and the `Debug` output is only its length.
///
/// ```
/// use std::collections::HashMap;
///
/// use kinesis_sink::record::Key;
///
/// let key = Key::from("device-7");
/// assert_eq!(key, "device-7");
/// assert_eq!(format!("{key} {key:?}"), "device-7 8 bytes");
///
/// let records_per_key = HashMap::from([(key, 3)]);
/// assert_eq!(records_per_key.get("device-7"), Some(&3));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Key(SmolStr);

impl Key {
    /// Returns the key as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Creates a key of eight characters that encode the upper 40 bits of `bits`.
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

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
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

impl From<Box<str>> for Key {
    fn from(key: Box<str>) -> Self {
        Self(SmolStr::from(key))
    }
}

impl From<Cow<'_, str>> for Key {
    fn from(key: Cow<'_, str>) -> Self {
        Self(SmolStr::from(key))
    }
}

/// Position on the hash ring of a stream: 0 to 2^128 - 1.
///
/// The `Display` output is the number. The `Debug` output hides it, because the number could reveal a partition key.
///
/// ```
/// use kinesis_sink::record::HashKey;
///
/// let top: HashKey = "340282366920938463463374607431768211455".parse()?;
/// assert_eq!(top, HashKey::new(u128::MAX));
/// assert!("340282366920938463463374607431768211456".parse::<HashKey>().is_err());
/// # Ok::<_, kinesis_sink::error::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey([u8; 16]); // Big-endian bytes, because the alignment of a `u128` would add 16 bytes to each record.

impl HashKey {
    /// Creates a hash key.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    /// Returns the value.
    #[must_use]
    pub const fn get(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Returns the number of decimal digits.
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

impl From<HashKey> for u128 {
    fn from(hash_key: HashKey) -> Self {
        hash_key.get()
    }
}

impl FromStr for HashKey {
    type Err = ParseError;

    /// Parses a hash key in the format of the service: decimal digits without a sign or leading zeros.
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
    fn hash_key_parses_service_format() {
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
    fn random_key_encodes_upper_forty_bits() {
        assert_eq!(Key::random(0).as_str(), "aaaaaaaa");
        assert_eq!(Key::random(u64::MAX).as_str(), "77777777");
        assert_ne!(Key::random(1 << 63), Key::random(1 << 62));
        assert_ne!(Key::random(1 << 24), Key::random(0), "the lowest of the 40 bits is encoded");
        assert_eq!(Key::random(5).len(), RANDOM_KEY_BYTES);
    }
}
