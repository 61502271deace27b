//! Records that tell their number, all of them made from a seed.

use bytes::Bytes;
use fastrand::Rng;
use kinesis_sink::record::{HashKey, Key};
use kinesis_sink::shard::hash_of;
use kinesis_sink::stream::Distribution;
use kinesis_sink::{Aggregation, PartitionKey, Receipt, Record};

use super::drawn::{Settings, one_of, rarely};
use super::events::near_border;

/// What the records are like. Each follows from its number.
#[derive(Debug)]
pub struct Records {
    seed: u64,
    /// The most that a record may have, key included.
    limit: usize,
    sizes: Sizes,
    keys: Keys,
    hash_keys: HashKeys,
    /// The hash keys lie near the borders of so many even shards.
    near_borders_of: Option<usize>,
    /// Every fourth payload begins with the bytes that an aggregate begins with.
    misleading: bool,
    /// How many of eight records have a receipt.
    tracked: u8,
    /// One in so many contains [`POISON`].
    poisoned: Option<u64>,
}

/// What the stream does not take, once it is told so.
pub const POISON: &[u8; 6] = b"poison";

#[derive(Debug, Clone, Copy)]
enum Sizes {
    Small,
    Any,
    /// Every other record has as much as it may have.
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
    /// One for each key.
    OfKey,
    /// Another one for each record.
    InTurns,
}

/// So many bytes hold a number; shorter payloads leave it to the key.
const NUMBER_BYTES: usize = 8;

/// The bytes at the beginning of every aggregate.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// The longest key of [`key`].
pub const KEY_BYTES: usize = 40;

impl Records {
    pub fn new(rng: &mut Rng, settings: &Settings, distribution: Distribution) -> Self {
        let keys =
            [Keys::Random, Keys::Drawn { of: 1 }, Keys::Drawn { of: 5 }, Keys::Drawn { of: 100 }];
        // Aggregates go by shard: then the order of a key is kept within each shard only.
        let turns = match settings.aggregation {
            Aggregation::PerShard => HashKeys::OfKey,
            _ => HashKeys::InTurns,
        };
        let by_service = distribution == Distribution::Auto;
        Self {
            seed: rng.u64(..),
            limit: settings.limits.record_bytes(),
            sizes: one_of(rng, &[Sizes::Small, Sizes::Small, Sizes::Any, Sizes::Full]),
            keys: if by_service && rng.bool() { Keys::None } else { one_of(rng, &keys) },
            hash_keys: match rarely(rng, 4) && !by_service {
                true => one_of(rng, &[HashKeys::OfKey, turns]),
                false => HashKeys::None,
            },
            near_borders_of: None,
            misleading: rarely(rng, 3),
            tracked: one_of(rng, &[0, 1, 4, 8]),
            poisoned: rarely(rng, 3).then(|| one_of(rng, &[2, 10, 50, 200])),
        }
    }

    /// Places the hash keys, if there are any, near the borders of so many even shards.
    pub fn with_hash_keys_near_borders(mut self, shards: usize) -> Self {
        self.near_borders_of = Some(shards).filter(|_| !matches!(self.hash_keys, HashKeys::None));
        self
    }

    pub fn are_near_borders(&self) -> bool {
        self.near_borders_of.is_some()
    }

    /// Bytes of the largest record that there may be.
    pub fn largest(&self) -> usize {
        match self.sizes {
            Sizes::Small => self.limit.min(300),
            Sizes::Any | Sizes::Full => self.limit,
        }
    }

    pub fn are_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    pub fn is_poisoned(&self, number: u64) -> bool {
        self.record(number).data().windows(POISON.len()).any(|window| window == POISON)
    }

    fn rng(&self, number: u64) -> Rng {
        Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The record with its receipt, if it shall have one.
    pub fn tracked(&self, number: u64, record: Record) -> (Record, Option<Receipt>) {
        if self.rng(!number).u8(..8) >= self.tracked {
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
        let bytes = self.bytes(&mut rng);
        // Nothing but a key of its own tells the number then.
        let key = match bytes < NUMBER_BYTES {
            true => PartitionKey::from(Key::from(format!("{TINY}{number}"))),
            false => key,
        };
        let is_misleading = self.misleading && number.is_multiple_of(4);
        let is_misleading = is_misleading && bytes >= MAGIC.len() + NUMBER_BYTES;
        let mut data = vec![b'.'; if is_misleading { bytes - MAGIC.len() } else { bytes }];
        let is_poisoned = self.poisoned.is_some_and(|of| number % of == of / 2);
        if let Some(place) = data.get_mut(NUMBER_BYTES..NUMBER_BYTES + POISON.len())
            && is_poisoned
        {
            place.copy_from_slice(POISON);
        }
        let payload = match is_misleading {
            true => [&MAGIC, &payload(number, data)[..]].concat().into(),
            false => payload(number, data),
        };
        let record = Record::from(payload).with_partition_key(key);
        match self.hash_key(number, &record) {
            Some(hash_key) => record.with_explicit_hash_key(hash_key),
            None => record,
        }
    }

    /// Of the payload. Room for a key is left.
    fn bytes(&self, rng: &mut Rng) -> usize {
        let most = self.limit - KEY_BYTES;
        match (self.sizes, rng.u8(..16)) {
            (_, 0) if !matches!(self.keys, Keys::None) => rng.usize(..NUMBER_BYTES),
            (Sizes::Small, _) => rng.usize(NUMBER_BYTES..=250),
            (Sizes::Full, 1..8) => most,
            _ => rng.usize(NUMBER_BYTES..=most),
        }
    }

    fn hash_key(&self, number: u64, record: &Record) -> Option<HashKey> {
        let of_key = match record.partition_key() {
            PartitionKey::Explicit(key) => hash_of(key),
            PartitionKey::Random => hash_of(&number.to_string()),
            _ => return None,
        };
        let turn = match self.hash_keys {
            HashKeys::None => return None,
            HashKeys::OfKey => 2,
            HashKeys::InTurns => number % 4,
        };
        let hash_key = HashKey::new(of_key.get().rotate_left(32 * turn as u32));
        Some(self.near_borders_of.map_or(hash_key, |shards| near_border(shards, hash_key)))
    }

    /// A record that no sink takes.
    pub fn impossible(&self, number: u64, rng: &mut Rng) -> Record {
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

/// In front of the numbers in keys.
const TINY: &str = "n:";

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

/// The number of the record with this data and key.
///
/// # Panics
///
/// It is none of these records.
pub fn number_of(data: &[u8], key: Option<&Key>) -> u64 {
    let of_key = || key?.strip_prefix(TINY)?.parse().ok();
    let data = data.strip_prefix(&MAGIC).unwrap_or(data);
    let of_data = data.first_chunk().map(|front| u64::from_be_bytes(*front));
    of_data.or_else(of_key).expect("every record tells its number")
}

pub fn number_of_record(record: &Record) -> u64 {
    let key = match record.partition_key() {
        PartitionKey::Explicit(key) => Some(key),
        _ => None,
    };
    number_of(record.data(), key)
}
