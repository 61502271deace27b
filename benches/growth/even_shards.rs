//! A stream whose shards have equal parts of the hash ring.

use std::sync::Arc;

use bytes::Bytes;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::Entry;
use kinesis_sink::shard::{HashRange, Shard, hash_of};

/// Bytes of each payload.
const DATA_BYTES: usize = 100;
/// The payload begins with the number of its shard, so that the service finds it without a digest.
const NUMBER_BYTES: usize = 2;

/// So many shards, a power of two up to 4,096.
#[derive(Clone)]
pub struct EvenShards {
    ids: Arc<[String]>,
}

impl EvenShards {
    pub fn new(count: usize) -> Self {
        // From 0xF300 on a number would look like the beginning of an aggregate.
        assert!(count.is_power_of_two() && count <= 4_096, "{count} shards");
        Self { ids: (0..count).map(|number| format!("shardId-{number:012}")).collect() }
    }

    pub fn listed(&self) -> Vec<Shard> {
        let width = u128::MAX / self.ids.len() as u128;
        let shard = |(number, id): (usize, &String)| {
            // The shift of a single shard is too wide for any number but its own, 0.
            let start = (number as u128).checked_shl(self.shift()).unwrap_or(0);
            let range = HashRange::new(HashKey::new(start), HashKey::new(start + width));
            Shard::new(id, range.expect("in order"))
        };
        self.ids.iter().enumerate().map(shard).collect()
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// A payload for the shard with this number.
    pub fn payload(&self, number: usize) -> Bytes {
        let mut data = vec![b'.'; DATA_BYTES];
        data[..NUMBER_BYTES].copy_from_slice(&(number as u16).to_be_bytes());
        data.into()
    }

    /// The number of the shard of this key.
    pub fn number_of(&self, key: &str) -> usize {
        // One shard has the whole ring: then nothing of the hash key is left.
        hash_of(key).get().checked_shr(self.shift()).unwrap_or(0) as usize
    }

    /// The shard of an entry, at the same cost for any number of shards.
    pub fn id_of(&self, entry: &Entry) -> &str {
        let number = u16::from_be_bytes([entry.data()[0], entry.data()[1]]);
        match self.ids.get(usize::from(number)) {
            Some(id) => id,
            // An aggregate: its first member's key tells.
            None => &self.ids[self.number_of(entry.partition_key().expect("all have one"))],
        }
    }

    fn shift(&self) -> u32 {
        u128::BITS - self.ids.len().ilog2()
    }
}
