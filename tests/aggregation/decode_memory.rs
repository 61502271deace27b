//! Reading what someone else wrote takes at most 12 bytes per byte of it, and 24 more.

use bytes::Bytes;
use kinesis_sink::aggregate::deaggregate;
use prost::Message;

use crate::support::alloc;
use crate::support::protobuf::{AggregatedRecord, wrapped};

/// What `run` returns, and the most bytes that were held meanwhile beyond those held before.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = alloc::reset_peak();
    let result = run();
    (result, (alloc::peak() - before) as usize)
}

/// Reads all of it, and gives the most that was held meanwhile; holds the promise to it.
fn held(what: &str, data: &Bytes, members: usize) -> usize {
    let (read, held) = measured(|| deaggregate(data).count());
    assert_eq!(members, read, "{what}");
    assert!(held <= 12 * data.len() + 24, "{what}: {held} bytes held for {}", data.len());
    held
}

fn varint(value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encode_length_delimiter(value, &mut out).unwrap();
    out
}

fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag], &varint(content.len())[..], content].concat()
}

/// The smallest record there is, of the first key.
const RECORD: &[u8] = b"\x1a\x04\x08\0\x1a\0";
const MIB: usize = 1024 * 1024;

#[test]
fn plain_data_takes_nothing_but_its_handle() {
    for (what, data) in [
        ("zeros", Bytes::from(vec![0; 10 * MIB])),
        ("magic and zeros", [&b"\xf3\x89\x9a\xc2"[..], &vec![0; 10 * MIB]].concat().into()),
        ("zeros with the right digest", wrapped(&vec![0; 10 * MIB])),
        ("lengths that lie", wrapped(&b"\x0a\xff\xff\xff\xff\x7f".repeat(MIB / 6))),
        ("keys and no record", wrapped(&b"\x0a\0".repeat(MIB))),
        ("records and no key", wrapped(&RECORD.repeat(MIB / 6))),
        (
            "an index out of range",
            wrapped(b"\x0a\0\x1a\x0e\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01x"),
        ),
        ("nothing", Bytes::new()),
    ] {
        assert!(held(what, &data, 1) <= 24, "{what}");
    }
}

#[test]
fn huge_tables_take_what_the_promise_says() {
    // Around 23 bytes a key moves out of its place in the table, around 128 its length takes two bytes.
    for length in [0, 1, 2, 8, 21, 22, 23, 24, 25, 31, 32, 33, 126, 127, 128, 129, 1_000] {
        let table = field(0x0a, &vec![b'k'; length]).repeat(MIB / (length + 2));
        let held = held("keys", &wrapped(&[&table, RECORD].concat()), 1);
        assert!(length > 0 || held * 100 > 12 * MIB * 99, "no more is promised than is needed");
    }
    for digits in [1, 2, 38] {
        let table = field(0x12, &vec![b'1'; digits]).repeat(MIB / (digits + 2));
        held("hash keys", &wrapped(&[b"\x0a\0", &table[..], RECORD].concat()), 1);
    }
    // What is found to be wrong after the table was made is given back.
    let table = b"\x0a\0".repeat(MIB);
    held("a bad key at the end", &wrapped(&[&table, RECORD, b"\x0a\x01\xff"].concat()), 1);
}

#[test]
fn one_huge_key_is_held_once() {
    let key = field(0x0a, &vec![b'k'; 4 * MIB]);
    let records = MIB / RECORD.len();
    let data = wrapped(&[key, RECORD.repeat(records)].concat());
    assert!(held("one huge key", &data, records) < data.len());
    let (members, held) = measured(|| {
        let mut kept = Vec::with_capacity(records);
        kept.extend(deaggregate(&data));
        kept
    });
    assert_eq!(members.len(), records);
    assert!(held <= data.len() + 96 * records, "{held} bytes held");
}

/// Why prost's derived messages do not read here.
#[test]
fn a_vector_of_messages_would_not_keep_the_promise() {
    let empty_records = b"\x1a\0".repeat(MIB / 2);
    let (message, theirs) = measured(|| AggregatedRecord::decode(&empty_records[..]).unwrap());
    assert_eq!(message.records.len(), MIB / 2);
    println!("{theirs} bytes held for {}", empty_records.len());
    assert!(theirs > 12 * empty_records.len() + 24);
    held("empty records", &wrapped(&empty_records), 1);
}

#[test]
fn small_aggregates_keep_the_promise_too() {
    for keys in 1..60 {
        for length in 0..60 {
            let table = field(0x0a, &vec![b'k'; length]).repeat(keys);
            held("small", &wrapped(&[&table, RECORD].concat()), 1);
        }
    }
}
