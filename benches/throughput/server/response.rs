use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;

use super::{Protocol, Stats};

/// ID of the only shard. With several, the server would have to hash the keys, because the sink checks placements.
pub const SHARD_ID: &str = "shardId-000000000000";

/// First sequence number. It has the length of real ones, and its last digits are incremented.
const FIRST_SEQUENCE_NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

#[derive(Default)]
pub struct Responses {
    cache: RefCell<HashMap<(Protocol, usize), Bytes>>,
    stats: RefCell<Stats>,
}

impl Responses {
    pub fn stats(&self) -> Stats {
        *self.stats.borrow()
    }

    pub fn respond(&self, protocol: Protocol, entries: usize, bytes: usize) -> Bytes {
        let mut stats = self.stats.borrow_mut();
        stats.requests += 1;
        stats.entries += entries as u64;
        stats.bytes += bytes as u64;
        let mut cache = self.cache.borrow_mut();
        let create = || match protocol {
            Protocol::Json => json(entries),
            Protocol::Cbor => cbor(entries),
        };
        cache.entry((protocol, entries)).or_insert_with(|| create().into()).clone()
    }
}

fn sequence_number(entry: usize) -> String {
    let (prefix, _) = FIRST_SEQUENCE_NUMBER.split_at(FIRST_SEQUENCE_NUMBER.len() - 6);
    format!("{prefix}{entry:06}")
}

fn json(entries: usize) -> Vec<u8> {
    let result = |entry| {
        format!(r#"{{"SequenceNumber":"{}","ShardId":"{SHARD_ID}"}}"#, sequence_number(entry))
    };
    let results: Vec<_> = (0..entries).map(result).collect();
    format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, results.join(",")).into_bytes()
}

fn cbor(entries: usize) -> Vec<u8> {
    const MAP: u8 = 5 << 5;
    const ARRAY: u8 = 4 << 5;
    const TEXT: u8 = 3 << 5;
    let mut out = vec![MAP | 2];
    let text = |out: &mut Vec<u8>, text: &str| {
        head(out, TEXT, text.len());
        out.extend_from_slice(text.as_bytes());
    };
    text(&mut out, "FailedRecordCount");
    out.push(0);
    text(&mut out, "Records");
    head(&mut out, ARRAY, entries);
    for entry in 0..entries {
        out.push(MAP | 2);
        text(&mut out, "SequenceNumber");
        text(&mut out, &sequence_number(entry));
        text(&mut out, "ShardId");
        text(&mut out, SHARD_ID);
    }
    out
}

/// Writes the head of a CBOR item with its length or its number of items, which is at most 500 here.
fn head(out: &mut Vec<u8>, major: u8, argument: usize) {
    match argument {
        0..24 => out.push(major | argument as u8),
        24..256 => out.extend([major | 24, argument as u8]),
        _ => {
            let argument = u16::try_from(argument).expect("a request has at most 500 entries");
            out.push(major | 25);
            out.extend(argument.to_be_bytes());
        }
    }
}
