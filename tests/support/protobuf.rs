//! Encodes and decodes aggregates with prost, as a reference for this crate.

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

/// Required fields are optional here to detect missing ones. Tags are not declared, so that prost skips them.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    #[prost(uint64, optional, tag = "1")]
    pub partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub data: Option<Bytes>,
}

/// Partition key, explicit hash key and payload of a member.
pub type Read = (String, Option<HashKey>, Bytes);

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

pub fn wrapped(message: &[u8]) -> Bytes {
    [&b"\xf3\x89\x9a\xc2"[..], message, &Md5::digest(message)].concat().into()
}

pub fn message_of(aggregate: &Bytes) -> Bytes {
    assert_eq!(wrapped(&aggregate[4..aggregate.len() - 16]), aggregate);
    aggregate.slice(4..aggregate.len() - 16)
}
