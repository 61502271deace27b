//! The KPL's aggregated records, both ways: many user records in the data of one Kinesis record.
//!
//! A shard takes 1,000 Kinesis records a second, however small they are. The Kinesis Producer Library (KPL)
//! therefore packs several user records into one, and the Kinesis Client Library (KCL), Lambda's helpers and
//! other consumers take them apart again. This module speaks the same format.
//!
//! # Reading
//!
//! Hand the data of every Kinesis record to [`deaggregate`]. It gives the user records in order; data that is
//! not an aggregate comes out as it is, so that a stream may carry both:
//!
//! ```
//! use bytes::Bytes;
//! use kinesis_sink::aggregate::deaggregate;
//!
//! fn handle(record: aws_sdk_kinesis::types::Record) {
//!     let data = Bytes::from(record.data.into_inner());
//!     for member in deaggregate(&data) {
//!         // A plain record's key is the Kinesis record's own.
//!         let key = member.partition_key().map(|key| key.as_str());
//!         let key = key.or(record.partition_key.as_deref()).unwrap_or("no key");
//!         // The two numbers together say which user record this is: checkpoint with both.
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
//! for (place, (member, written)) in read.zip(&members).enumerate() {
//!     assert_eq!(member.data(), written.data());
//!     assert_eq!(member.partition_key(), written.partition_key());
//!     assert_eq!(member.explicit_hash_key(), written.explicit_hash_key());
//!     assert_eq!(member.sub_sequence_number(), Some(place as u64));
//! }
//! ```
//!
//! # The format
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the magic `F3 89 9A C2` |
//! | all between | an `AggregatedRecord` in protobuf |
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
//! Keys are written once, in the order in which they are first seen. A member has an explicit hash key only
//! if its user gave one. Tags are never written. Source: the KPL's `aggregation-format.md`.
//!
//! # Sizes
//!
//! An aggregate takes 20 bytes; each distinct key its text and 2 bytes, 3 from 128 bytes of text on; each
//! member its payload and 6 bytes, or 8 with an explicit hash key. Lengths of 128 bytes or more, the member's
//! own included, take a byte more each, from 16 KiB on two: 8 bytes around a payload of 1 KiB. So does every key
//! but the first 128 of each table, for each member that has it. A hundred bytes under a key that is there
//! already cost 106. Nothing here checks the
//! result against the stream's record size, which is for data and partition key together.
//!
//! # What readers do with it
//!
//! - Data is an aggregate if it is longer than 20 bytes, begins with the magic, ends with the right digest,
//!   and the message between them is in order: valid protobuf, the required fields there, every index inside
//!   its table, keys in UTF-8, hash keys in the service's notation, at least one member. Everything else is
//!   plain data. [`deaggregate`] does not give up part of an aggregate: if anything in it is wrong, all of it
//!   comes out as one plain member, and nothing is lost.
//! - Unknown fields and tags are skipped; a repeated field of which there should be one counts as its last
//!   does. Groups, which protobuf gave up before this format was made, are not read.
//! - Members get sub-sequence numbers from 0, and share the Kinesis record's sequence number.
//! - One layer is taken off: a member whose payload is an aggregate comes out with that payload. A record that is
//!   sent by itself, and whose payload is an aggregate, is taken for that aggregate, and the record's own key is lost
//!   to its reader. Nothing in the format says that a payload is not one.
//! - The KCL throws a **whole aggregate** away if one member hashes outside the shard it came from: members
//!   must all belong to one shard. A member's place is its explicit hash key, or else the MD5 of its partition
//!   key, as for records that are sent alone. So pack only what belongs to one shard, send it under a key or
//!   explicit hash key of that shard, and send it again, packed anew, if the stream was resharded in between.
//! - On on-demand streams whose `RecordDistributionStrategy` is `AUTO` the service ignores keys, and
//!   aggregates land on shards that are not their members': do not aggregate there.

mod decode;
mod encode;
mod layout;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use bytes::Bytes;

pub(crate) use decode::resembles_one;
pub use decode::{Members, deaggregate};
pub use encode::encode;
pub(crate) use layout::Layout;

use crate::record::{HashKey, Key};

/// One user record in an aggregate.
///
/// Cloning it copies no payload. `Debug` shows sizes, never the payload or the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    data: Bytes,
    partition_key: Option<Key>,
    explicit_hash_key: Option<HashKey>,
    sub_sequence_number: Option<u64>,
}

impl Member {
    /// A member with this partition key and payload, and no explicit hash key.
    ///
    /// The key is written as it is; the service takes records with keys of 1 to 256 characters.
    pub fn new(partition_key: impl Into<Key>, data: impl Into<Bytes>) -> Self {
        Self {
            data: data.into(),
            partition_key: Some(partition_key.into()),
            explicit_hash_key: None,
            sub_sequence_number: None,
        }
    }

    /// Sets the place on the hash ring, which counts instead of the partition key's.
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

    /// The partition key. `None` for plain data that came out of [`deaggregate`]: its key is that of the
    /// Kinesis record it came in.
    #[must_use]
    pub fn partition_key(&self) -> Option<&Key> {
        self.partition_key.as_ref()
    }

    /// The explicit hash key, if there is one.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key
    }

    /// The place among the members of the aggregate it was read from, from 0. `None` for plain data, and
    /// for a member that was not read from anything.
    #[must_use]
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number
    }

    /// Takes the payload out, without a copy.
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
