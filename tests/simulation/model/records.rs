//! Generates records from a seed. Each record contains its number.

use bytes::Bytes;
use fastrand::Rng;
use kinesis_sink::record::{HashKey, Key};
use kinesis_sink::shard::hash_of;
use kinesis_sink::stream::Distribution;
use kinesis_sink::{Aggregation, PartitionKey, Receipt, Record};

use super::events::near_border;
use super::scenario::{Settings, one_of, rarely};

#[derive(Debug)]
pub struct Records {
    seed: u64,
    /// Maximum size of a record in bytes, including the partition key.
    limit: usize,
    sizes: Sizes,
    keys: Keys,
    hash_keys: HashKeys,
    /// If set, explicit hash keys are near the borders of this many equally sized shards.
    near_borders_of: Option<usize>,
    /// Set to `true` if one in four payloads starts with [`MAGIC`].
    uses_magic: bool,
    tracked_of_8: u8,
    poison_interval: Option<u64>,
}

/// Marker of poison records, which the stream rejects if the [`FaultPlan`](super::scenario::FaultPlan) contains them.
pub const POISON: &[u8; 6] = b"poison";

#[derive(Debug, Clone, Copy)]
enum Sizes {
    Small,
    Any,
    /// Makes about half of the records as large as possible.
    Full,
}

#[derive(Debug, Clone, Copy)]
enum Keys {
    Random,
    Drawn { of: u64 },
    None,
}

#[derive(Debug, Clone, Copy)]
enum HashKeys {
    None,
    OnePerKey,
    /// Rotates four hash keys for each partition key.
    Rotating,
}

/// Length of the number at the start of a payload. If a payload is shorter, the partition key contains the number.
const NUMBER_BYTES: usize = 8;

/// Prefix of every aggregate.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Maximum length in bytes of a partition key returned by [`key`].
pub const KEY_BYTES: usize = 40;

impl Records {
    pub fn new(rng: &mut Rng, settings: &Settings, distribution: Distribution) -> Self {
        let keys =
            [Keys::Random, Keys::Drawn { of: 1 }, Keys::Drawn { of: 5 }, Keys::Drawn { of: 100 }];
        // With aggregation by shard, only the records of a key within the same shard are ordered.
        let rotating = match settings.aggregation {
            Aggregation::PerShard => HashKeys::OnePerKey,
            _ => HashKeys::Rotating,
        };
        let is_auto = distribution == Distribution::Auto;
        Self {
            seed: rng.u64(..),
            limit: settings.limits.record_bytes(),
            sizes: one_of(rng, &[Sizes::Small, Sizes::Small, Sizes::Any, Sizes::Full]),
            keys: if is_auto && rng.bool() { Keys::None } else { one_of(rng, &keys) },
            hash_keys: if rarely(rng, 4) && !is_auto {
                one_of(rng, &[HashKeys::OnePerKey, rotating])
            } else {
                HashKeys::None
            },
            near_borders_of: None,
            uses_magic: rarely(rng, 3),
            tracked_of_8: one_of(rng, &[0, 1, 4, 8]),
            poison_interval: rarely(rng, 3).then(|| one_of(rng, &[2, 10, 50, 200])),
        }
    }

    pub fn with_hash_keys_near_borders(mut self, shards: usize) -> Self {
        self.near_borders_of = Some(shards).filter(|_| !matches!(self.hash_keys, HashKeys::None));
        self
    }

    pub fn are_near_borders(&self) -> bool {
        self.near_borders_of.is_some()
    }

    pub fn max_record_bytes(&self) -> usize {
        match self.sizes {
            Sizes::Small => self.limit.min(300),
            Sizes::Any | Sizes::Full => self.limit,
        }
    }

    pub fn include_poison(&self) -> bool {
        self.poison_interval.is_some()
    }

    pub fn is_poison(&self, number: u64) -> bool {
        self.record(number).data().windows(POISON.len()).any(|window| window == POISON)
    }

    fn rng(&self, number: u64) -> Rng {
        Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns the record and, for some of the numbers, its receipt.
    pub fn tracked(&self, number: u64, record: Record) -> (Record, Option<Receipt>) {
        if self.rng(!number).u8(..8) >= self.tracked_of_8 {
            return (record, None);
        }
        let (record, receipt) = record.tracked();
        (record, Some(receipt))
    }

    pub fn record(&self, number: u64) -> Record {
        let mut rng = self.rng(number);
        let key = match self.keys {
            Keys::Random => PartitionKey::Random,
            Keys::Drawn { of } => PartitionKey::from(key(rng.u64(..of))),
            Keys::None => PartitionKey::ServiceManaged,
        };
        let bytes = self.payload_bytes(&mut rng);
        let key = if bytes < NUMBER_BYTES {
            PartitionKey::from(Key::from(format!("{NUMBER_PREFIX}{number}")))
        } else {
            key
        };
        let has_magic =
            self.uses_magic && number.is_multiple_of(4) && bytes >= MAGIC.len() + NUMBER_BYTES;
        let mut data = vec![b'.'; if has_magic { bytes - MAGIC.len() } else { bytes }];
        let is_poison =
            self.poison_interval.is_some_and(|interval| number % interval == interval / 2);
        if let Some(place) = data.get_mut(NUMBER_BYTES..NUMBER_BYTES + POISON.len())
            && is_poison
        {
            place.copy_from_slice(POISON);
        }
        let payload = if has_magic {
            [&MAGIC, &payload(number, data)[..]].concat().into()
        } else {
            payload(number, data)
        };
        let record = Record::from(payload).with_partition_key(key);
        match self.hash_key(number, &record) {
            Some(hash_key) => record.with_explicit_hash_key(hash_key),
            None => record,
        }
    }

    fn payload_bytes(&self, rng: &mut Rng) -> usize {
        let max = self.limit - KEY_BYTES;
        match (self.sizes, rng.u8(..16)) {
            (_, 0) if !matches!(self.keys, Keys::None) => rng.usize(..NUMBER_BYTES),
            (Sizes::Small, _) => rng.usize(NUMBER_BYTES..=250),
            (Sizes::Full, 1..8) => max,
            _ => rng.usize(NUMBER_BYTES..=max),
        }
    }

    fn hash_key(&self, number: u64, record: &Record) -> Option<HashKey> {
        let of_key = match record.partition_key() {
            PartitionKey::Explicit(key) => hash_of(key),
            PartitionKey::Random => hash_of(&number.to_string()),
            _ => return None,
        };
        let rotation = match self.hash_keys {
            HashKeys::None => return None,
            HashKeys::OnePerKey => 2,
            HashKeys::Rotating => number % 4,
        };
        let hash_key = HashKey::new(of_key.get().rotate_left(32 * rotation as u32));
        Some(self.near_borders_of.map_or(hash_key, |shards| near_border(shards, hash_key)))
    }

    pub fn invalid(&self, number: u64, rng: &mut Rng) -> Record {
        let record = Record::from(payload(number, vec![b'.'; NUMBER_BYTES]));
        match rng.u8(..3) {
            0 => record.with_partition_key(""),
            1 => record.with_partition_key("ß".repeat(257)),
            _ => {
                let key = "k".repeat(rng.usize(1..=256));
                let bytes = self.limit + 1 - key.len();
                Record::from(payload(number, vec![b'.'; bytes])).with_partition_key(key)
            }
        }
    }
}

const NUMBER_PREFIX: &str = "n:";

fn key(number: u64) -> Key {
    match number % 3 {
        0 => Key::from(format!("key-{number}")),
        1 => Key::from(format!("ключ \"{number}\"\n")),
        _ => Key::from(format!("🦀{number}\u{301}\u{0}")),
    }
}

fn payload(number: u64, mut data: Vec<u8>) -> Bytes {
    if let Some(front) = data.first_chunk_mut() {
        *front = number.to_be_bytes();
    }
    Bytes::from(data)
}

pub fn number_of(data: &[u8], key: Option<&Key>) -> u64 {
    let of_key = || key?.strip_prefix(NUMBER_PREFIX)?.parse().ok();
    let data = data.strip_prefix(&MAGIC).unwrap_or(data);
    let of_data = data.first_chunk().map(|front| u64::from_be_bytes(*front));
    of_data.or_else(of_key).expect("every record contains its number")
}

pub fn number_of_record(record: &Record) -> u64 {
    let key = match record.partition_key() {
        PartitionKey::Explicit(key) => Some(key),
        _ => None,
    };
    number_of(record.data(), key)
}
