use bytes::Bytes;
use fastrand::Rng;

const NUMBER_BYTES: usize = 8;
/// Maximum length of the generated data. Payloads have 1,000 bytes on average, so that both limits of a shard are
/// reached (1,000 records and 1 MiB per second).
const MAX_FILLER_BYTES: usize = 2_000;

/// Returns the payload of a record, which consists of its number and of data generated from the number.
pub fn payload(number: u64) -> Bytes {
    let mut rng = Rng::with_seed(number);
    let mut data = vec![0; NUMBER_BYTES + rng.usize(..=MAX_FILLER_BYTES)];
    data[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
    rng.fill(&mut data[NUMBER_BYTES..]);
    Bytes::from(data)
}

/// Returns the record number in a payload, or `None` if the payload is damaged.
pub fn number(data: &[u8]) -> Option<u64> {
    let number = claimed_number(data)?;
    (payload(number) == data).then_some(number)
}

/// Returns the record number at the start of a payload, without verifying the payload.
pub fn claimed_number(data: &[u8]) -> Option<u64> {
    data.first_chunk().map(|number| u64::from_be_bytes(*number))
}
