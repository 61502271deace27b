//! Tests of the format of aggregated records, with test vectors, prost as a reference, and invalid aggregates.

use bytes::Bytes;
use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::record::HashKey;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use prost::Message;

use crate::support::protobuf;
use crate::support::protobuf::{AggregatedRecord, Read, Record, message_of, wrapped};

// Aggregates from AWS's library, in hexadecimal.
const THREE: &str = "f3899ac20a01610a01621a0508001a01781a0508011a01791a0508001a017a51dbe40e0733401ee69b9d97b9c\
                     19243";
const PLACED: &str = "f3899ac20a03706b310a03706b32120130122733343032383233363639323039333834363334363333373436\
                      30373433313736383231313435351a0b080010001a0568656c6c6f1a0b080110011a05776f726c6416f51459\
                      283278f6512d23543a7fe298";

fn bytes(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn read(member: &Member) -> Read {
    let key = member.partition_key().expect("the member has no key").to_string();
    (key, member.explicit_hash_key(), member.data().clone())
}

fn assert_plain(data: &Bytes) {
    let mut members = deaggregate(data);
    assert!(!members.is_aggregate());
    assert_eq!(members.len(), 1);
    let member = members.next().unwrap();
    assert_eq!(member.data(), data);
    assert_eq!(member.partition_key(), None);
    assert_eq!(member.explicit_hash_key(), None);
    assert_eq!(member.sub_sequence_number(), None);
    assert_eq!(members.len(), 0);
    assert!(members.next().is_none() && members.next().is_none());
}

#[test]
fn known_vectors_encode_and_decode() {
    let three = [Member::new("a", "x"), Member::new("b", "y"), Member::new("a", "z")];
    let placed = [
        Member::new("pk1", "hello").with_explicit_hash_key(0),
        Member::new("pk2", "world").with_explicit_hash_key(u128::MAX),
    ];
    for (members, vector) in [(&three[..], THREE), (&placed[..], PLACED)] {
        let vector = bytes(vector);
        assert_eq!(encode(members).unwrap(), vector);
        let members_read = deaggregate(&vector);
        assert!(members_read.is_aggregate());
        assert_eq!(members_read.len(), members.len());
        for (index, (member, written)) in members_read.zip(members).enumerate() {
            assert_eq!(read(&member), read(written));
            assert_eq!(member.sub_sequence_number(), Some(index as u64));
        }
    }
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let key = prop_oneof![
        4 => (0..3_u32).prop_map(|key| key.to_string()),
        4 => (0..400_u32).prop_map(|key| key.to_string()),
        1 => ".{0,256}",
    ];
    let hash_key = prop_oneof![any::<u128>(), 0..200_u128, Just(u128::MAX)];
    let data = prop_oneof![
        100 => vec(any::<u8>(), 0..10),
        50 => vec(any::<u8>(), 100..140),
        1 => vec(any::<u8>(), 16_370..16_390),
    ];
    let member = (key, weighted(0.3, hash_key), data).prop_map(|(key, hash_key, data)| {
        let member = Member::new(key, data);
        match hash_key {
            Some(hash_key) => member.with_explicit_hash_key(hash_key),
            None => member,
        }
    });
    vec(member, 1..300)
}

/// Returns the message that `encode` should write. Each table lists every entry once, in the order of first use.
fn derived(members: &[Member]) -> AggregatedRecord {
    fn index(table: &mut Vec<String>, entry: String) -> u64 {
        let index = table.iter().position(|known| *known == entry).unwrap_or(table.len());
        if index == table.len() {
            table.push(entry);
        }
        index as u64
    }
    let mut message = AggregatedRecord::default();
    for (key, hash_key, data) in members.iter().map(read) {
        let partition_key_index = Some(index(&mut message.partition_key_table, key));
        let explicit_hash_key_index = hash_key
            .map(|hash_key| index(&mut message.explicit_hash_key_table, hash_key.to_string()));
        let data = Some(data);
        message.records.push(Record { partition_key_index, explicit_hash_key_index, data });
    }
    message
}

/// Encodes a message that this crate can read but never writes: late tables, unknown fields, tags, and repeated fields.
fn unusual(message: &AggregatedRecord) -> Vec<u8> {
    let unknown: [&[u8]; 4] = [
        b"\x78\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // field 15: the largest varint
        b"\x79\0\0\0\0\0\0\0\0",                         // field 15: eight bytes
        b"\x7d\0\0\0\0",                                 // field 15: four bytes
        b"\x82\x7d\x03\x0a\x01\xff",                     // field 2000: bytes that look like a table
    ];
    let mut out = Vec::new();
    for record in &message.records {
        // These values are overridden by the record's key index and data, which follow.
        let mut inner = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x03old".to_vec();
        inner.extend(b"\x22\x06\x0a\x01k\x12\x01v\x22\0"); // two tags: one with a key, one empty
        inner.extend(record.encode_to_vec());
        inner.extend(unknown.concat());
        out.push(0x1a);
        prost::encode_length_delimiter(inner.len(), &mut out).unwrap();
        out.extend(inner);
        out.extend(unknown.concat());
    }
    out.extend(AggregatedRecord { records: Vec::new(), ..message.clone() }.encode_to_vec());
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn deaggregate_inverts_encode(members in members()) {
        let encoded = encode(&members).unwrap();
        let mut unpacked = deaggregate(&encoded);
        prop_assert!(unpacked.is_aggregate());
        for (index, member) in members.iter().enumerate() {
            prop_assert_eq!(unpacked.len(), members.len() - index);
            let found = unpacked.next().unwrap();
            prop_assert_eq!(read(&found), read(member));
            prop_assert_eq!(found.sub_sequence_number(), Some(index as u64));
            let within = encoded.as_ptr_range();
            prop_assert!(found.data().is_empty() || within.contains(&found.data().as_ptr()));
        }
        prop_assert_eq!(unpacked.len(), 0);
        prop_assert!(unpacked.next().is_none() && unpacked.next().is_none());
    }

    #[test]
    fn prost_matches_encode_and_deaggregate(members in members()) {
        let message = message_of(&encode(&members).unwrap());
        let derived = derived(&members);
        prop_assert_eq!(&AggregatedRecord::decode(&message[..]).unwrap(), &derived);
        prop_assert_eq!(message, derived.encode_to_vec());
        for message in [derived.encode_to_vec(), unusual(&derived)] {
            let read: Vec<_> = deaggregate(&wrapped(&message)).map(|member| read(&member)).collect();
            prop_assert_eq!(Some(read), protobuf::members(&message));
        }
    }
}

#[test]
fn encode_requires_members_with_keys() {
    assert_eq!(encode(&[]), None);
    let plain = deaggregate(&Bytes::from_static(b"plain")).next().unwrap();
    assert_eq!(encode(&[Member::new("a", "x"), plain]), None);
    let one = encode(&[Member::new("a", "")]).unwrap();
    assert!(deaggregate(&one).is_aggregate(), "an aggregate may have one member without data");
}

#[test]
fn damaged_aggregate_decodes_as_plain_data() {
    assert_plain(&Bytes::new());
    assert_plain(&Bytes::from_static(b"a line"));
    assert_plain(&Bytes::from_static(b"\xf3\x89\x9a\xc2"));
    // An empty message with a valid digest.
    assert_plain(&wrapped(b""));
    let three = bytes(THREE);
    for length in 0..three.len() {
        assert_plain(&three.slice(..length));
        assert_plain(&three.slice(length + 1..));
    }
    for index in 0..three.len() {
        let mut flipped = three.to_vec();
        flipped[index] ^= 0x10;
        assert_plain(&flipped.into());
    }
    assert_plain(&[&three[..], b"\0"].concat().into());
}

#[test]
fn invalid_message_decodes_as_plain_data() {
    let ordered = b"\x0a\x01k\x12\x01\x30\x1a\x05\x08\0\x1a\x01x";
    assert!(deaggregate(&wrapped(ordered)).is_aggregate());
    let cases: &[(&str, &[u8])] = &[
        ("a key without a record", b"\x0a\x01k"),
        ("no key index", b"\x0a\x01k\x1a\x03\x1a\x01x"),
        ("no data", b"\x0a\x01k\x1a\x02\x08\0"),
        ("a key index that is out of range", b"\x0a\x01k\x1a\x05\x08\x01\x1a\x01x"),
        (
            "the largest key index",
            b"\x0a\x01k\x1a\x0e\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01x",
        ),
        ("a hash key index that is out of range", b"\x0a\x01k\x1a\x07\x08\0\x10\0\x1a\x01x"),
        (
            "a varint that is too long",
            b"\x0a\x01k\x1a\x0f\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\x1a\0",
        ),
        ("a truncated varint", b"\x0a\x01k\x1a\x05\x08\0\x1a\x01x\x78\x80"),
        ("a key that is not UTF-8", b"\x0a\x01\xff\x1a\x05\x08\0\x1a\x01x"),
        ("a hash key with leading zeros", b"\x0a\x01k\x12\x0200\x1a\x05\x08\0\x1a\x01x"),
        ("a hash key that is empty", b"\x0a\x01k\x12\0\x1a\x05\x08\0\x1a\x01x"),
        (
            "a hash key that is too large",
            b"\x0a\x01k\x12\x27340282366920938463463374607431768211456\x1a\x05\x08\0\x1a\x01x",
        ),
        ("a length beyond the end", b"\x0a\x01k\x1a\x06\x08\0\x1a\x01x"),
        ("an inner length beyond the record", b"\x0a\x01k\x1a\x05\x08\0\x1a\x02xy"),
        ("the largest length", b"\x0a\x01k\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("a group", b"\x0a\x01k\x1a\x05\x08\0\x1a\x01x\x7b\x7c"),
        ("the field 0", b"\x0a\x01k\x1a\x05\x08\0\x1a\x01x\x00\x00"),
        ("a field beyond all", b"\x0a\x01k\x1a\x05\x08\0\x1a\x01x\xf8\xff\xff\xff\xff\x01\0"),
        ("a table of numbers", b"\x0a\x01k\x08\0\x1a\x05\x08\0\x1a\x01x"),
        ("an index of bytes", b"\x0a\x01k\x1a\x07\x0a\0\x08\0\x1a\x01x"),
    ];
    for (case, message) in cases {
        assert!(!deaggregate(&wrapped(message)).is_aggregate(), "{case}");
        assert_plain(&wrapped(message));
    }
}

#[test]
fn debug_hides_payload_and_keys() {
    let member = Member::new("MARKER-key", "MARKER-data").with_explicit_hash_key(HashKey::new(77));
    let data = encode([&member]).unwrap();
    let members = deaggregate(&data);
    let shown = format!("{member:?} {members:?}");
    assert!(!shown.contains("MARKER") && !shown.contains("77"), "{shown}");
    assert!(shown.contains("10 bytes") && shown.contains("remaining: 1"), "{shown}");
}
