//! Records whose data and partition key can be verified.

use bytes::Bytes;
use fastrand::Rng;
use kinesis_sink::Record;

const NUMBER_BYTES: usize = 8;
const MAX_FILLER_BYTES: usize = 400;
/// One record in this many is large, so that frames of different sizes alternate.
const LARGE_EVERY: u64 = 256;
const LARGE_FILLER_BYTES: usize = 60_000;

/// Number of ordering keys.
pub const KEYS: u64 = 64;

/// Returns the data of a record: its number, and bytes that are generated from the number.
pub fn data(number: u64) -> Bytes {
    let mut rng = Rng::with_seed(number);
    let filler = match number % LARGE_EVERY {
        0 => LARGE_FILLER_BYTES,
        _ => rng.usize(..=MAX_FILLER_BYTES),
    };
    let mut data = vec![0; NUMBER_BYTES + filler];
    data[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
    rng.fill(&mut data[NUMBER_BYTES..]);
    Bytes::from(data)
}

/// Returns the number of a record, or `None` if the data is damaged.
pub fn number(found: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*found.first_chunk::<NUMBER_BYTES>()?);
    (data(number) == found).then_some(number)
}

/// Returns the partition key of a record, or `None` if the sink draws it.
pub fn key(number: u64, ordered: bool) -> Option<String> {
    (ordered || number.is_multiple_of(3)).then(|| format!("key {}", number % KEYS))
}

pub fn record(number: u64, ordered: bool) -> Record {
    let record = Record::from(data(number));
    match key(number, ordered) {
        Some(key) => record.with_partition_key(key),
        // An explicit hash key must survive in the spool too.
        None if number % 3 == 1 => record.with_explicit_hash_key(hash_key(number)),
        None => record,
    }
}

/// Returns a position on the hash ring that differs from that of any key.
fn hash_key(number: u64) -> u128 {
    u128::from(number % 4) << 126
}
