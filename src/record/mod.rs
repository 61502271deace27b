//! Records, receipts, and undelivered records.

mod key;
mod receipt;
#[cfg(feature = "serde")]
mod serialized;
mod undelivered;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

pub(crate) use key::RANDOM_KEY_BYTES;
pub use key::{HashKey, Key, PartitionKey};
pub use receipt::{Delivery, Receipt};
pub(crate) use receipt::{PendingReceipt, Tracker};
pub(crate) use undelivered::SharedHandler;
pub use undelivered::{Attempt, AttemptError, DeadLetterHandler, FailureReason, Undelivered};

use crate::stream::StreamId;

/// Record with data, a partition key, and an optional explicit hash key.
///
/// A record created from bytes or from a string has a random partition key. A `(key, data)` pair sets the key. Owned
/// data (`Vec<u8>`, `String`, boxes, [`Bytes`]) is moved, and borrowed data is copied once. Use [`Bytes::from_static`]
/// to avoid the copy of static data. Cloning a record does not copy its data.
///
/// ```
/// use bytes::Bytes;
/// use kinesis_sink::record::HashKey;
/// use kinesis_sink::Record;
///
/// let plain = Record::from("a line");
/// let keyed = Record::from(("device-7", Bytes::from_static(b"\xff\x00"))); // Not copied.
/// let placed = Record::from(vec![1, 2, 3])
///     .with_partition_key("device-7")
///     .with_explicit_hash_key(HashKey::new(0));
/// assert_eq!(keyed.partition_key(), placed.partition_key());
/// assert_eq!(plain.data(), "a line");
/// ```
///
/// The `Debug` output contains sizes but neither the data nor the keys.
///
/// # Serialized form
///
/// With the feature `serde`, a record can be serialized and deserialized, but its receipt is not serialized. The fields
/// are
///
/// - `data`: base64 with the standard alphabet and padding in human-readable formats, bytes in others;
/// - `partition_key`: `{"explicit": "device-7"}`, `"random"`, or `"service_managed"`. Default: `"random"`;
/// - `explicit_hash_key`: a string of decimal digits in human-readable formats, 16 big-endian bytes in others. Default:
///   none.
///
/// An unknown field is an error, because otherwise a misspelled `partition_key` would be ignored and the record would
/// be sent to another shard. Lengths are checked when the record is sent, not when it is deserialized.
///
/// ```
/// use kinesis_sink::Record;
///
/// # #[cfg(feature = "serde")] {
/// let record: Record = serde_json::from_str(r#"{"data": "aGk="}"#)?;
/// assert_eq!(record, Record::from("hi"));
/// let record: Record = serde_json::from_str(
///     r#"{"data": "aGk=", "partition_key": {"explicit": "device-7"}, "explicit_hash_key": "0"}"#,
/// )?;
/// assert_eq!(record, Record::from(("device-7", "hi")).with_explicit_hash_key(0_u128));
/// # }
/// # Ok::<_, serde_json::Error>(())
/// ```
pub struct Record {
    data: Bytes,
    partition_key: PartitionKey,
    /// Boxed, because most records have none of these fields.
    extra: Option<Box<Extra>>,
}

#[derive(Debug, Default)]
struct Extra {
    explicit_hash_key: Option<HashKey>,
    tracker: Option<Tracker>,
}

impl Record {
    /// Creates a record with a [random](PartitionKey::Random) partition key.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), partition_key: PartitionKey::Random, extra: None }
    }

    /// Sets the partition key, which can be a string or a [`PartitionKey`]. Default: [`PartitionKey::Random`].
    ///
    /// A key has 1 to 256 Unicode characters. The length is checked when the record is sent. If it is invalid, sending
    /// returns [`ErrorKind::InvalidPartitionKey`](crate::ErrorKind::InvalidPartitionKey).
    #[must_use]
    pub fn with_partition_key(mut self, key: impl Into<PartitionKey>) -> Self {
        self.partition_key = key.into();
        self
    }

    /// Sets the explicit hash key, which determines the shard instead of the partition key. Default: none.
    #[must_use]
    pub fn with_explicit_hash_key(mut self, hash_key: impl Into<HashKey>) -> Self {
        self.extra.get_or_insert_default().explicit_hash_key = Some(hash_key.into());
        self
    }

    /// Adds a receipt to the record. The receipt completes with the outcome of the record.
    ///
    /// The record can be sent with any sink or producer. A clone of a record has no receipt. If the record already has
    /// a receipt, that receipt completes as if the record had been dropped, because a record has at most one receipt.
    /// If `start_send` returns the record in an error, the receipt stays open, because the record can be sent again.
    ///
    /// A receipt costs two small allocations.
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    /// use kinesis_sink::{KinesisSink, Record};
    ///
    /// # async fn run(mut sink: KinesisSink) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut receipts = Vec::new();
    /// let records = stream::iter(["one", "two"]).map(|line| {
    ///     let (record, receipt) = Record::from(line).tracked();
    ///     receipts.push(receipt);
    ///     Ok(record)
    /// });
    /// records.forward(&mut sink).await?;
    /// for receipt in receipts {
    ///     println!("{}", receipt.await?.sequence_number());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn tracked(mut self) -> (Self, Receipt) {
        if let Some(earlier) = self.take_tracker() {
            earlier.record_dropped(self.clone());
        }
        let (tracker, receipt) = Tracker::new();
        self.extra.get_or_insert_default().tracker = Some(tracker);
        (self, receipt)
    }

    /// Sets the stream of the sink that accepted the record.
    pub(crate) fn accepted(mut self, stream: &StreamId) -> Self {
        if let Some(tracker) = self.tracker_mut() {
            tracker.stream = Some(stream.clone());
        }
        self
    }

    pub(crate) fn tracker_mut(&mut self) -> Option<&mut Tracker> {
        self.extra.as_mut()?.tracker.as_mut()
    }

    #[inline]
    pub(crate) fn take_tracker(&mut self) -> Option<Tracker> {
        self.extra.as_mut()?.tracker.take()
    }

    /// Adds the receipt of an equal record.
    #[cfg(feature = "spool")]
    pub(crate) fn with_tracker(mut self, tracker: Tracker) -> Self {
        self.extra.get_or_insert_default().tracker = Some(tracker);
        self
    }

    /// Replaces the data with an equal copy, so that the record shares the memory of the copy.
    pub(crate) fn share_data(&mut self, copy: Bytes) {
        debug_assert!(self.data == copy, "the copy differs from the data");
        self.data = copy;
    }

    /// Returns the data.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Returns the partition key.
    #[must_use]
    pub fn partition_key(&self) -> &PartitionKey {
        &self.partition_key
    }

    /// Returns the explicit hash key, if one was set.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.extra.as_ref()?.explicit_hash_key
    }

    /// Converts the record into its data, without copying.
    #[must_use]
    pub fn into_data(mut self) -> Bytes {
        std::mem::take(&mut self.data)
    }

    /// Returns the size in bytes as counted by the service: the data plus the UTF-8 bytes of the partition key.
    ///
    /// A random partition key has 8 bytes.
    #[inline]
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
            .field("explicit_hash_key", &self.explicit_hash_key().is_some())
            .finish()
    }
}

impl Clone for Record {
    /// Returns a copy of the record that shares the data and has no receipt.
    fn clone(&self) -> Self {
        let copy = Self {
            data: self.data.clone(),
            partition_key: self.partition_key.clone(),
            extra: None,
        };
        match self.explicit_hash_key() {
            Some(hash_key) => copy.with_explicit_hash_key(hash_key),
            None => copy,
        }
    }
}

impl PartialEq for Record {
    /// Compares data, partition key and explicit hash key.
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
            && self.partition_key == other.partition_key
            && self.explicit_hash_key() == other.explicit_hash_key()
    }
}

impl Eq for Record {}

impl Drop for Record {
    /// Completes the receipt of the record, if it is open.
    fn drop(&mut self) {
        let Some(tracker) = self.take_tracker() else { return };
        let record = std::mem::replace(self, Self::new(Bytes::new()));
        tracker.record_dropped(record);
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

impl From<Box<[u8]>> for Record {
    fn from(data: Box<[u8]>) -> Self {
        Self::new(data)
    }
}

impl From<Box<str>> for Record {
    fn from(data: Box<str>) -> Self {
        Self::new(data.into_boxed_bytes())
    }
}

impl From<&[u8]> for Record {
    /// Copies the bytes. [`Bytes::from_static`] wraps static data without a copy.
    fn from(data: &[u8]) -> Self {
        Self::new(Bytes::copy_from_slice(data))
    }
}

impl<const N: usize> From<&[u8; N]> for Record {
    /// Copies the bytes. [`Bytes::from_static`] wraps static data without a copy.
    fn from(data: &[u8; N]) -> Self {
        data.as_slice().into()
    }
}

impl From<&str> for Record {
    /// Copies the string. [`Bytes::from_static`] wraps static data without a copy.
    fn from(data: &str) -> Self {
        data.as_bytes().into()
    }
}

impl From<&String> for Record {
    /// Copies the string.
    fn from(data: &String) -> Self {
        data.as_str().into()
    }
}

impl From<Cow<'_, [u8]>> for Record {
    /// Copies the bytes if they are borrowed.
    fn from(data: Cow<'_, [u8]>) -> Self {
        data.into_owned().into()
    }
}

impl From<Cow<'_, str>> for Record {
    /// Copies the string if it is borrowed.
    fn from(data: Cow<'_, str>) -> Self {
        data.into_owned().into()
    }
}

impl From<Undelivered> for Record {
    /// Converts an undelivered record into the record, so that it can be sent again.
    fn from(undelivered: Undelivered) -> Self {
        undelivered.into_record()
    }
}

impl<K: Into<PartitionKey>, D: Into<Record>> From<(K, D)> for Record {
    fn from((key, data): (K, D)) -> Self {
        data.into().with_partition_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_converts_from_bytes_and_strings() {
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
    fn record_does_not_copy_owned_data() {
        let vec = vec![7; 1000];
        let at = vec.as_ptr();
        let record = Record::from(vec);
        assert_eq!(record.data().as_ptr(), at);
        assert_eq!(record.clone().data().as_ptr(), at);
        assert_eq!(record.into_data().as_ptr(), at);
        let boxed = "text".to_owned().into_boxed_str();
        let at = boxed.as_ptr();
        assert_eq!(Record::from(boxed).data().as_ptr(), at);
        let owned = Cow::<str>::Owned("text".to_owned());
        let at = owned.as_ptr();
        assert_eq!(Record::from(owned).data().as_ptr(), at);
    }

    #[test]
    fn debug_hides_payload_and_keys() {
        let record = Record::from(("MARKER-key", "MARKER-data")).with_explicit_hash_key(77_u128);
        let shown = format!("{record:?}");
        assert!(!shown.contains("MARKER") && !shown.contains("77"), "{shown}");
        assert!(shown.contains("11") && shown.contains("10 bytes"), "{shown}");
    }

    #[test]
    fn record_fits_in_64_bytes() {
        assert!(size_of::<Record>() <= 64, "{}", size_of::<Record>());
    }
}
