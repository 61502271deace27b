//! What the user hands in: a payload and where it belongs.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use bytes::Bytes;
use smol_str::SmolStr;

/// Bytes of the keys that the sink draws for [`PartitionKey::Random`].
pub(crate) const RANDOM_KEY_BYTES: usize = 8;

/// One record for the stream: its data, its partition key and, if wanted, an explicit hash key.
///
/// Made from anything that holds bytes; a `(key, data)` pair sets the partition key. Cloning a record
/// copies no payload.
///
/// ```
/// use bytes::Bytes;
/// use kinesis_sink::{HashKey, Record};
///
/// let plain = Record::from("a line");
/// let keyed = Record::from(("device-7", Bytes::from_static(b"\xff\x00")));
/// let placed = Record::from(vec![1, 2, 3])
///     .with_partition_key("device-7")
///     .with_explicit_hash_key(HashKey::new(0));
/// assert_eq!(keyed.partition_key(), placed.partition_key());
/// assert_eq!(plain.data(), "a line");
/// ```
///
/// `Debug` shows sizes, never the payload or the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    data: Bytes,
    partition_key: PartitionKey,
    explicit_hash_key: Option<HashKey>,
}

impl Record {
    /// A record with this data and a [random](PartitionKey::Random) partition key.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), partition_key: PartitionKey::Random, explicit_hash_key: None }
    }

    /// A record whose data is `value` as JSON, without a line break at its end.
    ///
    /// # Errors
    ///
    /// `value` cannot be written as JSON, for example a map whose keys are not strings.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        match serde_json::to_vec(value) {
            Ok(data) => Ok(Self::new(data)),
            Err(error) => Err(JsonError(error)),
        }
    }

    /// Sets the partition key: a string, or a [`PartitionKey`].
    ///
    /// A key is 1 to 256 Unicode characters; [`start_send`](futures::Sink::start_send) hands a record
    /// with another one back.
    #[must_use]
    pub fn with_partition_key(mut self, key: impl Into<PartitionKey>) -> Self {
        self.partition_key = key.into();
        self
    }

    /// Sets the place on the hash ring, which then decides on the shard instead of the partition key.
    #[must_use]
    pub fn with_explicit_hash_key(mut self, hash_key: impl Into<HashKey>) -> Self {
        self.explicit_hash_key = Some(hash_key.into());
        self
    }

    /// The payload.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Where the record belongs.
    #[must_use]
    pub fn partition_key(&self) -> &PartitionKey {
        &self.partition_key
    }

    /// The explicit hash key, if one was set.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// Takes the payload out, without a copy.
    #[must_use]
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Bytes as the service counts them: data plus the UTF-8 bytes of the partition key. A random key
    /// has 8.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len()
            + match &self.partition_key {
                PartitionKey::Explicit(key) => key.len(),
                PartitionKey::Random => RANDOM_KEY_BYTES,
                PartitionKey::ServiceManaged => 0,
            }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("data_bytes", &self.data.len())
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key.is_some())
            .finish()
    }
}

impl From<Bytes> for Record {
    fn from(data: Bytes) -> Self {
        Self::new(data)
    }
}

impl From<Vec<u8>> for Record {
    fn from(data: Vec<u8>) -> Self {
        Self::new(data)
    }
}

impl From<String> for Record {
    fn from(data: String) -> Self {
        Self::new(data)
    }
}

impl From<&str> for Record {
    /// Copies the string once, into the record.
    fn from(data: &str) -> Self {
        Self::new(Bytes::copy_from_slice(data.as_bytes()))
    }
}

impl From<&'static [u8]> for Record {
    fn from(data: &'static [u8]) -> Self {
        Self::new(data)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Record {
    fn from(data: &'static [u8; N]) -> Self {
        Self::new(data.as_slice())
    }
}

impl<K: Into<PartitionKey>, D: Into<Record>> From<(K, D)> for Record {
    fn from((key, data): (K, D)) -> Self {
        data.into().with_partition_key(key)
    }
}

/// Decides on which shard a record lands.
///
/// `Debug` shows a key's length, never the key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
/// ```
/// use kinesis_sink::HashKey;
///
/// let top: HashKey = "340282366920938463463374607431768211455".parse()?;
/// assert_eq!(top, HashKey::new(u128::MAX));
/// assert!("340282366920938463463374607431768211456".parse::<HashKey>().is_err());
/// # Ok::<_, kinesis_sink::HashKeyError>(())
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
}

impl From<u128> for HashKey {
    fn from(value: u128) -> Self {
        Self::new(value)
    }
}

impl FromStr for HashKey {
    type Err = HashKeyError;

    /// Reads the service's notation: decimal digits, no sign, no leading zeros.
    fn from_str(text: &str) -> Result<Self, HashKeyError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(HashKeyError::NotDecimal);
        }
        text.parse().map(Self::new).map_err(|_| HashKeyError::OutOfRange)
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

/// Why a text is not an explicit hash key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashKeyError {
    /// Something else than decimal digits without leading zeros.
    #[error("a hash key is a decimal number without sign or leading zeros")]
    NotDecimal,
    /// More than 2^128 - 1.
    #[error("a hash key lies between 0 and 2^128 - 1 (340282366920938463463374607431768211455)")]
    OutOfRange,
}

/// A value that could not be written as JSON.
#[cfg(feature = "json")]
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as JSON")]
pub struct JsonError(#[source] serde_json::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_keeps_its_bytes() {
        static SLICE: &[u8] = b"\xff\x00slice";
        assert_eq!(Record::from("str").data(), "str");
        assert_eq!(Record::from(String::from("String")).data(), "String");
        assert_eq!(Record::from(vec![0xff, 0x00]).data(), &b"\xff\x00"[..]);
        assert_eq!(Record::from(SLICE).data(), SLICE);
        assert_eq!(Record::from(b"array").data(), "array");
        assert_eq!(Record::from(Bytes::from_static(SLICE)).data(), SLICE);
        let keyed = Record::from(("key", "data"));
        assert_eq!(keyed.data(), "data");
        assert_eq!(keyed.partition_key(), &PartitionKey::from("key"));
    }

    #[test]
    fn owned_sources_are_not_copied() {
        let vec = vec![7; 1000];
        let at = vec.as_ptr();
        let record = Record::from(vec);
        assert_eq!(record.data().as_ptr(), at);
        assert_eq!(record.clone().data().as_ptr(), at);
        assert_eq!(record.into_data().as_ptr(), at);
    }

    #[test]
    fn debug_shows_neither_payload_nor_key() {
        let record = Record::from(("MARKER-key", "MARKER-data")).with_explicit_hash_key(77_u128);
        let shown = format!("{record:?}");
        assert!(!shown.contains("MARKER") && !shown.contains("77"), "{shown}");
        assert!(shown.contains("11") && shown.contains("10 bytes"), "{shown}");
    }

    #[test]
    fn hash_keys_are_read_as_the_service_reads_them() {
        assert_eq!("0".parse(), Ok(HashKey::new(0)));
        assert_eq!(HashKey::new(u128::MAX).to_string().parse(), Ok(HashKey::new(u128::MAX)));
        for text in ["", "-1", "+1", "007", "1e3", " 1", "0x10", "١"] {
            assert_eq!(text.parse::<HashKey>(), Err(HashKeyError::NotDecimal), "{text:?}");
        }
        let beyond = "340282366920938463463374607431768211456";
        assert_eq!(beyond.parse::<HashKey>(), Err(HashKeyError::OutOfRange));
        assert_eq!("9".repeat(400).parse::<HashKey>(), Err(HashKeyError::OutOfRange));
    }

    #[test]
    fn random_keys_hold_forty_bits() {
        assert_eq!(Key::random(0).as_str(), "aaaaaaaa");
        assert_eq!(Key::random(u64::MAX).as_str(), "77777777");
        assert_ne!(Key::random(1 << 63), Key::random(1 << 62));
        assert_ne!(Key::random(1 << 24), Key::random(0), "the lowest of the forty bits counts");
        assert_eq!(Record::from("x").size(), 1 + Key::random(5).len());
    }

    #[test]
    fn a_record_stays_small() {
        // One per buffered record: growth here is paid by every user.
        assert!(size_of::<Record>() <= 80, "{}", size_of::<Record>());
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_is_compact_and_its_errors_are_told() {
        assert_eq!(Record::json(&[1, 2]).unwrap().data(), "[1,2]");
        let map = std::collections::HashMap::from([(vec![1], 1)]);
        let error = Record::json(&map).unwrap_err();
        assert_eq!(error.to_string(), "the value cannot be written as JSON");
    }
}
