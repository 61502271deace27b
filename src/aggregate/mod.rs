//! Aggregation format of the Kinesis Producer Library (KPL), which stores several user records in one Kinesis record.
//!
//! A shard accepts 1,000 Kinesis records per second, regardless of their size. Aggregation raises the number of user
//! records per second, because several of them share one Kinesis record. The Kinesis Client Library (KCL), the AWS
//! libraries for Lambda, and other consumers unpack the aggregates. This module reads and writes the same format.
//!
//! # Reading
//!
//! Pass the data of each Kinesis record to [`deaggregate`], which returns the user records in order. Data that is not
//! an aggregate is returned unchanged, so a stream can contain both aggregates and plain records:
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
//! Each distinct key is written once, in order of first occurrence. A member is a user record in the aggregate. It has
//! an explicit hash key only if its producer set one. This module never writes tags. The KPL specifies the format in
//! `aggregation-format.md`.
//!
//! # Size
//!
//! | part | bytes |
//! |---|---|
//! | aggregate | 20 |
//! | distinct key | length of the key + 2 |
//! | member | length of the payload + 6, or + 8 with an explicit hash key |
//!
//! A length of 128 bytes or more takes one additional byte, and a length of 16 KiB or more takes two. This applies to
//! the lengths of keys, of payloads, and of encoded members, which contain the payloads. A member with a payload of 1
//! KiB therefore has 8 bytes of overhead instead of 6. A reference to a key also takes one additional byte if the key
//! is not among the first 128 of its table. For example, a payload of 100 bytes takes 106 bytes if its key is already
//! in the table.
//!
//! This module does not check the size against the maximum record size of a stream, which applies to the data and the
//! partition key together.
//!
//! # Behavior of readers
//!
//! - Data is an aggregate if it is longer than 20 bytes, begins with the magic, ends with the digest of the message,
//!   and the message is valid. A valid message is protobuf with all required fields and at least one member. All
//!   indexes are within their tables, all keys are UTF-8, and all hash keys are decimal numbers. All other data is
//!   plain. [`deaggregate`] never returns a part of an invalid aggregate: it returns all of the data as one plain
//!   member, so that no data is lost.
//! - Unknown fields and tags are skipped. If a field that is not repeated occurs several times, the last value is used.
//!   Groups, which are deprecated in protobuf, are not supported: a message with a group is invalid.
//! - Members are numbered from 0 with sub-sequence numbers, and share the sequence number of the Kinesis record.
//! - Nested aggregates are not unpacked: if the payload of a member is an aggregate, the member is returned with that
//!   payload. A plain record whose payload is an aggregate is unpacked and loses its partition key, because the format
//!   cannot mark a payload as plain.
//! - The KCL discards a **whole aggregate** if the hash key of any member is outside of the shard that contains the
//!   aggregate. As for plain records, the hash key of a member is its explicit hash key, or the MD5 digest of its
//!   partition key if it has none. All members must therefore belong to the same shard. Send the aggregate with a
//!   partition key or explicit hash key that belongs to this shard. If the stream was resharded before a retry, pack
//!   the members again.
//! - On on-demand streams whose `RecordDistributionStrategy` is `AUTO`, the service ignores keys and can write an
//!   aggregate to a shard that its members do not belong to. Do not aggregate on such streams.

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

/// A user record in an aggregate.
///
/// Cloning a member does not copy its payload. The `Debug` output includes sizes but never the payload or the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    data: Bytes,
    partition_key: Option<Key>,
    explicit_hash_key: Option<HashKey>,
    sub_sequence_number: Option<u64>,
}

impl Member {
    /// Creates a member with the given partition key and payload, and without an explicit hash key.
    ///
    /// The length of the partition key is not checked. The service accepts 1 to 256 characters.
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

    /// Returns the partition key, or `None` for plain data returned by [`deaggregate`]. The partition key of plain data
    /// is that of its Kinesis record.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Key> {
        self.partition_key.as_ref()
    }

    /// Returns the explicit hash key, if there is one.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// Returns the position of the member in its aggregate, starting at 0. Returns `None` for plain data and for
    /// members created with [`new`](Self::new).
    #[must_use]
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number
    }

    /// Consumes the member and returns its payload without copying it.
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
