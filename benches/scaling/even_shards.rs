use std::sync::Arc;

use bytes::Bytes;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::Entry;
use kinesis_sink::shard::{HashRange, Shard, hash_of};

const DATA_BYTES: usize = 100;
/// Size of the shard number at the start of each payload, which saves the service an MD5 hash per entry.
const NUMBER_BYTES: usize = 2;

/// Shards of equal width. The number of shards is a power of two, at most 4,096.
#[derive(Clone)]
pub struct EvenShards {
    ids: Arc<[String]>,
}

impl EvenShards {
    pub fn new(count: usize) -> Self {
        // A payload that starts with a shard number from 0xF300 on would resemble an aggregate.
        assert!(
            count.is_power_of_two() && count <= 4_096,
            "shard count {count} must be a power of two up to 4096"
        );
        Self { ids: (0..count).map(|number| format!("shardId-{number:012}")).collect() }
    }

    pub fn listed(&self) -> Vec<Shard> {
        let width = u128::MAX / self.ids.len() as u128;
        let shard = |(number, id): (usize, &String)| {
            // For a single shard, the shift is the full width of the integer.
            let start = (number as u128).checked_shl(self.shift()).unwrap_or(0);
            let range = HashRange::new(HashKey::new(start), HashKey::new(start + width));
            Shard::new(id, range.expect("the range is not empty"))
        };
        self.ids.iter().enumerate().map(shard).collect()
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn payload(&self, number: usize) -> Bytes {
        let mut data = vec![b'.'; DATA_BYTES];
        data[..NUMBER_BYTES].copy_from_slice(&(number as u16).to_be_bytes());
        data.into()
    }

    pub fn number_of(&self, key: &str) -> usize {
        hash_of(key).get().checked_shr(self.shift()).unwrap_or(0) as usize
    }

    /// Returns the shard ID for an entry. The cost does not depend on the number of shards.
    pub fn id_of(&self, entry: &Entry) -> &str {
        let number = u16::from_be_bytes([entry.data()[0], entry.data()[1]]);
        match self.ids.get(usize::from(number)) {
            Some(id) => id,
            None => &self.ids[self.number_of(entry.partition_key().expect("entries have keys"))],
        }
    }

    fn shift(&self) -> u32 {
        u128::BITS - self.ids.len().ilog2()
    }
}
