use std::ops::Range;

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::length_delimiter_len as varint_bytes;

use super::table::Table;
use super::wire::{
    LENGTH_DELIMITED, MAGIC, OVERHEAD_BYTES, VARINT, aggregated_record as outer, record as inner,
};
use crate::record::{HashKey, Key};

/// Layout of an aggregate. It determines the encoded size before the aggregate is encoded.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    partition_keys: Table<Key>,
    hash_keys: Table<HashKey>,
    slots: Vec<Slot>,
    table_bytes: usize,
    record_bytes: usize,
}

/// Key indexes and payload length of a member.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key: u32,
    hash_key: Option<u32>,
    data: usize,
}

impl Slot {
    fn message_bytes(self) -> usize {
        let number = |index| 1 + varint_bytes(index as usize);
        number(self.key) + self.hash_key.map_or(0, number) + field_bytes(self.data)
    }
}

impl Layout {
    pub(crate) fn size(&self) -> usize {
        OVERHEAD_BYTES + self.table_bytes + self.record_bytes
    }

    pub(crate) fn add(&mut self, key: &Key, hash_key: Option<HashKey>, data: usize) {
        self.add_within(usize::MAX, key, hash_key, data);
    }

    /// Adds a member unless the aggregate would exceed `max` bytes. Returns `true` if the member was added.
    pub(crate) fn add_within(
        &mut self,
        max: usize,
        key: &Key,
        hash_key: Option<HashKey>,
        data: usize,
    ) -> bool {
        let slot = self.slot(key, hash_key, data);
        let table_bytes = self.new_table_bytes(slot, key, hash_key);
        let record_bytes = field_bytes(slot.message_bytes());
        if self.size() + table_bytes + record_bytes > max {
            return false;
        }
        self.table_bytes += table_bytes;
        self.record_bytes += record_bytes;
        if self.is_new_key(slot) {
            self.partition_keys.push(key.clone());
        }
        if let Some(hash_key) = hash_key
            && self.is_new_hash_key(slot)
        {
            self.hash_keys.push(hash_key);
        }
        self.slots.push(slot);
        true
    }

    pub(crate) fn replace_only_key(&mut self, key: Key) {
        debug_assert!(
            self.partition_keys.iter().all(|known| known.len() == key.len()),
            "the new key must have the same length"
        );
        self.partition_keys.replace_only(key);
    }

    pub(crate) fn data_ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let mut end = MAGIC.len() + self.table_bytes;
        self.slots.iter().map(move |slot| {
            end += field_bytes(slot.message_bytes());
            end - slot.data..end
        })
    }

    /// Encodes the aggregate with the payloads of the added members, in the same order. Panics if a payload is missing
    /// or has a different length, because the aggregate would lose members.
    pub(crate) fn encode<'a>(&self, payloads: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
        let mut out = Vec::with_capacity(self.size());
        out.extend_from_slice(&MAGIC);
        for key in self.partition_keys.iter() {
            put_bytes(&mut out, outer::PARTITION_KEY_TABLE, key.as_bytes());
        }
        for hash_key in self.hash_keys.iter() {
            put_bytes(&mut out, outer::EXPLICIT_HASH_KEY_TABLE, hash_key.to_string().as_bytes());
        }
        for (slot, data) in self.slots.iter().zip(payloads) {
            out.push(tag(outer::RECORDS, LENGTH_DELIMITED));
            put_varint(&mut out, slot.message_bytes());
            put_index(&mut out, inner::PARTITION_KEY_INDEX, slot.key);
            if let Some(hash_key) = slot.hash_key {
                put_index(&mut out, inner::EXPLICIT_HASH_KEY_INDEX, hash_key);
            }
            put_bytes(&mut out, inner::DATA, data);
        }
        let digest = Md5::digest(&out[MAGIC.len()..]);
        out.extend_from_slice(&digest);
        assert_eq!(out.len(), self.size(), "payloads must be those of the members");
        out.into()
    }

    fn slot(&self, key: &Key, hash_key: Option<HashKey>, data: usize) -> Slot {
        let last = self.slots.last();
        let key = self.partition_keys.index_of(key, last.map(|slot| slot.key));
        let hash_key = hash_key.map(|hash_key| {
            self.hash_keys.index_of(&hash_key, last.and_then(|slot| slot.hash_key))
        });
        Slot { key, hash_key, data }
    }

    fn is_new_key(&self, slot: Slot) -> bool {
        slot.key as usize == self.partition_keys.len()
    }

    fn is_new_hash_key(&self, slot: Slot) -> bool {
        slot.hash_key.is_some_and(|index| index as usize == self.hash_keys.len())
    }

    fn new_table_bytes(&self, slot: Slot, key: &Key, hash_key: Option<HashKey>) -> usize {
        let key = if self.is_new_key(slot) { field_bytes(key.len()) } else { 0 };
        match hash_key {
            Some(hash_key) if self.is_new_hash_key(slot) => key + field_bytes(hash_key.digits()),
            _ => key,
        }
    }
}

/// Returns the encoded size of a field with `content` bytes. The tag takes one byte, because all field numbers are
/// below 16.
fn field_bytes(content: usize) -> usize {
    1 + varint_bytes(content) + content
}

const fn tag(number: u32, wire_type: u32) -> u8 {
    (number << 3 | wire_type) as u8
}

fn put_varint(out: &mut Vec<u8>, value: usize) {
    // Most values take one byte.
    if value < 0x80 {
        return out.push(value as u8);
    }
    prost::encode_length_delimiter(value, out).expect("a `Vec` grows");
}

fn put_index(out: &mut Vec<u8>, number: u32, index: u32) {
    out.push(tag(number, VARINT));
    put_varint(out, index as usize);
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    out.push(tag(number, LENGTH_DELIMITED));
    put_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}
