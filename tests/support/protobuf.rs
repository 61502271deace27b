//! The format's messages as prost derives them, with which the crate's own reading and writing is compared.

use bytes::Bytes;
use kinesis_sink::record::HashKey;
use md5::{Digest, Md5};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    pub partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub records: Vec<Record>,
}

/// Everything optional, so that a required field that is missing is seen to be; without its tags, so that
/// they are skipped, whatever is in them.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    #[prost(uint64, optional, tag = "1")]
    pub partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub data: Option<Bytes>,
}

/// One member: key, hash key, payload.
pub type Read = (String, Option<HashKey>, Bytes);

/// The members of an aggregate with this message, or `None` if the rules say that it is not in order.
pub fn members(message: &[u8]) -> Option<Vec<Read>> {
    let message = AggregatedRecord::decode(message).ok()?;
    let keys = message.partition_key_table;
    let hash_keys: Result<Vec<HashKey>, _> =
        message.explicit_hash_key_table.iter().map(|text| text.parse()).collect();
    let hash_keys = hash_keys.ok()?;
    let member = |record: Record| {
        let key = keys.get(usize::try_from(record.partition_key_index?).ok()?)?;
        let hash_key = match record.explicit_hash_key_index {
            Some(index) => Some(*hash_keys.get(usize::try_from(index).ok()?)?),
            None => None,
        };
        Some((key.clone(), hash_key, record.data?))
    };
    if message.records.is_empty() {
        return None;
    }
    message.records.into_iter().map(member).collect()
}

/// An aggregate with this message: magic before it, digest after it.
pub fn wrapped(message: &[u8]) -> Bytes {
    [&b"\xf3\x89\x9a\xc2"[..], message, &Md5::digest(message)].concat().into()
}

/// The message of what is known to be an aggregate.
pub fn message_of(aggregate: &Bytes) -> Bytes {
    assert_eq!(wrapped(&aggregate[4..aggregate.len() - 16]), aggregate);
    aggregate.slice(4..aggregate.len() - 16)
}
