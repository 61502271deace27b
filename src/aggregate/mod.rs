//! Aggregated records in the format of the KPL: several user records in the data of one Kinesis record.
//!
//! A shard accepts 1,000 Kinesis records per second, however small they are. The Kinesis Producer Library (KPL)
//! therefore packs several user records into one Kinesis record. The Kinesis Client Library (KCL), the libraries for
//! Lambda, and other consumers deaggregate them. This module reads and writes the same format.
//!
//! # Reading
//!
//! Pass the data of every Kinesis record to [`deaggregate`]. It returns the user records in order. Data that is not an
//! aggregate is returned unchanged, so that a stream may contain both:
//!
//!
//! ```
//! use bytes::Bytes;
//! use kinesis_sink::aggregate::deaggregate;
//!
//! fn handle(record: aws_sdk_kinesis::types::Record) {
//!     let data = Bytes::from(record.data.into_inner());
//!     for member in deaggregate(&data) {
//!         // A plain record has the key of the Kinesis record.
//!         let key = member.partition_key().map(|key| key.as_str());
//!         let key = key.or(record.partition_key.as_deref()).unwrap_or("no key");
//!         // Both numbers identify the user record: checkpoint with both.
//!         let position = (&record.sequence_number, member.sub_sequence_number());
//!         println!("{position:?} {key}: {} bytes", member.data().len());
//!     }
//! }
//! # let data = aws_sdk_kinesis::primitives::Blob::new("plain");
//! # let record = aws_sdk_kinesis::types::Record::builder();
//! # handle(record.data(data).partition_key("k").sequence_number("1").build().unwrap());
//! ```
//!
//! # Writing
//!
//! ```
//! use kinesis_sink::record::HashKey;
//! use kinesis_sink::aggregate::{Member, deaggregate, encode};
//!
//! let members = [
//!     Member::new("device-7", "on"),
//!     Member::new("device-8", "off").with_explicit_hash_key(HashKey::new(0)),
//! ];
//! let data = encode(&members).expect("each member has a key");
//!
//! let read = deaggregate(&data);
//! assert!(read.is_aggregate());
//! assert_eq!(read.len(), 2);
//! for (index, (member, written)) in read.zip(&members).enumerate() {
//!     assert_eq!(member.data(), written.data());
//!     assert_eq!(member.partition_key(), written.partition_key());
//!     assert_eq!(member.explicit_hash_key(), written.explicit_hash_key());
//!     assert_eq!(member.sub_sequence_number(), Some(index as u64));
//! }
//! ```
//!
//! # Format
//!
//! | bytes | content |
//! |---|---|
//! | 4 | the magic `F3 89 9A C2` |
//! | rest | an `AggregatedRecord` in protobuf |
//! | 16 | the MD5 digest of that message |
//!
//! ```proto
//! message AggregatedRecord {
//!   repeated string partition_key_table     = 1;
//!   repeated string explicit_hash_key_table = 2; // decimal, 0 to 2^128 - 1
//!   repeated Record records                 = 3;
//! }
//! message Record {
//!   required uint64 partition_key_index     = 1; // from 0
//!   optional uint64 explicit_hash_key_index = 2;
//!   required bytes  data                    = 3;
//!   repeated Tag    tags                    = 4;
//! }
//! ```
//!
//! Each key is written once, in the order of first occurrence. A member has an explicit hash key only if its producer
//! set one. Tags are never written. Source: the KPL's `aggregation-format.md`.
//!
//! # Size
//!
//! | part | bytes |
//! |---|---|
//! | aggregate | 20 |
//! | distinct key | the length of its text, and 2 |
//! | member | the length of its payload, and 6, or 8 with an explicit hash key |
//!
//! A length of 128 bytes or more takes one byte more, and one of 16 KiB or more takes two. This applies to the text of
//! a key, to a payload, and to the member that contains the payload: a payload of 1 KiB adds 8 bytes. A reference to a
//! key after the first 128 of its table also takes one byte more. A payload of 100 bytes with an existing key takes 106
//! bytes.
//!
//! The size is not checked against the maximum record size of a stream, which applies to data and partition key
//! together.
//!
//! # Behavior of readers
//!
//! - Data is an aggregate if it is longer than 20 bytes, begins with the magic, ends with the digest of the message,
//!   and the message is valid: valid protobuf, with all required fields, every index within its table, keys in UTF-8,
//!   hash keys in decimal notation, and at least one member. All other data is plain. [`deaggregate`] never returns a
//!   part of an invalid aggregate: it returns all of the data as one plain member, so that nothing is lost.
//! - Unknown fields and tags are skipped. If a field that is not repeated occurs several times, the last one counts.
//!   Groups, which are deprecated in protobuf, are not read.
//! - Members have sub-sequence numbers from 0 and share the sequence number of the Kinesis record.
//! - Aggregates are not nested: a member whose payload is an aggregate is returned with that payload. A plain record
//!   whose payload is an aggregate is read as that aggregate, and the key of the record is lost. The format cannot mark
//!   a payload as plain.
//! - The KCL discards a **whole aggregate** if the hash key of one member is outside of its shard. The hash key of a
//!   member is its explicit hash key, or else the MD5 digest of its partition key, as for plain records. All members
//!   must therefore belong to one shard. Send the aggregate with a partition key or explicit hash key of that shard. If
//!   the stream was resharded before a retry, pack the members again.
//! - On on-demand streams whose `RecordDistributionStrategy` is `AUTO`, the service ignores keys and writes aggregates
//!   to shards that their members do not belong to. Do not aggregate on such streams.

mod decode;
mod encode;
mod layout;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use bytes::Bytes;

pub(crate) use decode::resembles_aggregate;
pub use decode::{Members, deaggregate};
pub use encode::encode;
pub(crate) use layout::Layout;

use crate::record::{HashKey, Key};

/// User record in an aggregate.
///
/// A clone does not copy the payload. `Debug` shows sizes, never the payload or the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    data: Bytes,
    partition_key: Option<Key>,
    explicit_hash_key: Option<HashKey>,
    sub_sequence_number: Option<u64>,
}

impl Member {
    /// Creates a member with a partition key and payload, without an explicit hash key.
    ///
    /// The length of the key is not checked. The service accepts keys of 1 to 256 characters.
    pub fn new(partition_key: impl Into<Key>, data: impl Into<Bytes>) -> Self {
        Self {
            data: data.into(),
            partition_key: Some(partition_key.into()),
            explicit_hash_key: None,
            sub_sequence_number: None,
        }
    }

    /// Sets the explicit hash key, which takes precedence over the hash of the partition key.
    #[must_use]
    pub fn with_explicit_hash_key(mut self, hash_key: impl Into<HashKey>) -> Self {
        self.explicit_hash_key = Some(hash_key.into());
        self
    }

    /// Returns the payload.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Returns the partition key. `None` for plain data from [`deaggregate`], which has the key of its Kinesis record.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Key> {
        self.partition_key.as_ref()
    }

    /// Returns the explicit hash key, if there is one.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// Returns the position in the aggregate that the member was read from, starting at 0. `None` for plain data and
    /// for members that were not read.
    #[must_use]
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number
    }

    /// Consumes the member and returns its payload without a copy.
    #[must_use]
    pub fn into_data(self) -> Bytes {
        self.data
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("data_bytes", &self.data.len())
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key.is_some())
            .field("sub_sequence_number", &self.sub_sequence_number)
            .finish()
    }
}
