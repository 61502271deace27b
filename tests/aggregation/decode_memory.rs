//! Tests that `deaggregate` allocates at most 12 bytes per byte of data, plus 24 bytes.

use bytes::Bytes;
use kinesis_sink::aggregate::deaggregate;
use prost::Message;

use crate::support::alloc;
use crate::support::protobuf::{AggregatedRecord, wrapped};

fn with_peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = alloc::reset_peak();
    let result = run();
    (result, (alloc::peak() - before) as usize)
}

fn decode_peak(case: &str, data: &Bytes, members: usize) -> usize {
    let (decoded, peak) = with_peak(|| deaggregate(data).count());
    assert_eq!(members, decoded, "{case}");
    assert!(peak <= 12 * data.len() + 24, "{case}: {peak} bytes allocated for {}", data.len());
    peak
}

fn varint(value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encode_length_delimiter(value, &mut out).unwrap();
    out
}

fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag], &varint(content.len())[..], content].concat()
}

const SMALLEST_RECORD: &[u8] = b"\x1a\x04\x08\0\x1a\0";
const MIB: usize = 1024 * 1024;

#[test]
fn plain_data_allocates_at_most_24_bytes() {
    for (case, data) in [
        ("zeros", Bytes::from(vec![0; 10 * MIB])),
        ("magic and zeros", [&b"\xf3\x89\x9a\xc2"[..], &vec![0; 10 * MIB]].concat().into()),
        ("zeros with a valid digest", wrapped(&vec![0; 10 * MIB])),
        ("lengths beyond the end", wrapped(&b"\x0a\xff\xff\xff\xff\x7f".repeat(MIB / 6))),
        ("keys without records", wrapped(&b"\x0a\0".repeat(MIB))),
        ("records without keys", wrapped(&SMALLEST_RECORD.repeat(MIB / 6))),
        (
            "an index out of range",
            wrapped(b"\x0a\0\x1a\x0e\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01x"),
        ),
        ("no bytes", Bytes::new()),
    ] {
        assert!(decode_peak(case, &data, 1) <= 24, "{case}");
    }
}

#[test]
fn large_tables_stay_within_memory_bound() {
    // Keys longer than 23 bytes are not stored inline, and the varint of a length of 128 or more has two bytes.
    for length in [0, 1, 2, 8, 21, 22, 23, 24, 25, 31, 32, 33, 126, 127, 128, 129, 1_000] {
        let table = field(0x0a, &vec![b'k'; length]).repeat(MIB / (length + 2));
        let peak = decode_peak("keys", &wrapped(&[&table, SMALLEST_RECORD].concat()), 1);
        assert!(length > 0 || peak * 100 > 12 * MIB * 99, "the bound is not tight: {peak}");
    }
    for digits in [1, 2, 38] {
        let table = field(0x12, &vec![b'1'; digits]).repeat(MIB / (digits + 2));
        decode_peak("hash keys", &wrapped(&[b"\x0a\0", &table[..], SMALLEST_RECORD].concat()), 1);
    }
    // The decoder detects the invalid key only after it has built the table.
    let table = b"\x0a\0".repeat(MIB);
    decode_peak(
        "an invalid key at the end",
        &wrapped(&[&table, SMALLEST_RECORD, b"\x0a\x01\xff"].concat()),
        1,
    );
}

#[test]
fn large_key_is_allocated_once() {
    let key = field(0x0a, &vec![b'k'; 4 * MIB]);
    let records = MIB / SMALLEST_RECORD.len();
    let data = wrapped(&[key, SMALLEST_RECORD.repeat(records)].concat());
    assert!(decode_peak("one large key", &data, records) < data.len());
    let (members, peak) = with_peak(|| {
        let mut members = Vec::with_capacity(records);
        members.extend(deaggregate(&data));
        members
    });
    assert_eq!(members.len(), records);
    assert!(peak <= data.len() + 96 * records, "{peak} bytes allocated");
}

#[test]
fn prost_exceeds_memory_bound() {
    let empty_records = b"\x1a\0".repeat(MIB / 2);
    let (message, peak) = with_peak(|| AggregatedRecord::decode(&empty_records[..]).unwrap());
    assert_eq!(message.records.len(), MIB / 2);
    println!("{peak} bytes allocated for {}", empty_records.len());
    assert!(peak > 12 * empty_records.len() + 24);
    decode_peak("empty records", &wrapped(&empty_records), 1);
}

#[test]
fn small_aggregates_stay_within_memory_bound() {
    for keys in 1..60 {
        for length in 0..60 {
            let table = field(0x0a, &vec![b'k'; length]).repeat(keys);
            decode_peak("small", &wrapped(&[&table, SMALLEST_RECORD].concat()), 1);
        }
    }
}
