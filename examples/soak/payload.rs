//! Payloads that tell their number, and whether they arrived as they were sent.

use bytes::Bytes;
use fastrand::Rng;

const NUMBER_BYTES: usize = 8;
/// A shard takes 1,000 records and 1 MiB a second: at this mean both limits count.
const MOST_FILLING_BYTES: usize = 2_000;

/// The payload of this record: its number, then filling that follows from the number.
pub fn payload(number: u64) -> Bytes {
    let mut rng = Rng::with_seed(number);
    let mut data = vec![0; NUMBER_BYTES + rng.usize(..=MOST_FILLING_BYTES)];
    data[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
    rng.fill(&mut data[NUMBER_BYTES..]);
    Bytes::from(data)
}

/// The number of the record with this payload; none if it is no record's.
pub fn number(data: &[u8]) -> Option<u64> {
    let number = claimed_number(data)?;
    (payload(number) == data).then_some(number)
}

/// The number that it begins with.
pub fn claimed_number(data: &[u8]) -> Option<u64> {
    data.first_chunk().map(|number| u64::from_be_bytes(*number))
}
