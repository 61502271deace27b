//! Tests of crate-internal behavior. The format is tested in `tests/aggregation/format.rs`.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::{Layout, Member, deaggregate};
use crate::record::{HashKey, Key};

/// Generates members as keys, hash keys, and payload lengths. Keys repeat, indexes and lengths are encoded in one or
/// more bytes, and tables are small enough for a linear search or large enough for a hash index.
fn members() -> impl Strategy<Value = Vec<(Key, Option<HashKey>, usize)>> {
    let key = prop_oneof![
        4 => (0..3_u32).prop_map(|key| key.to_string()),
        4 => (0..400_u32).prop_map(|key| key.to_string()),
        1 => (100..300_usize).prop_map(|length| "ß".repeat(length)),
    ];
    let hash_key = prop_oneof![
        (0..200_u128).prop_map(|index| index * (u128::MAX / 200)),
        (0..39_u32).prop_map(|power| 10_u128.pow(power)),
        (0..39_u32).prop_map(|power| 10_u128.pow(power) - 1),
        Just(u128::MAX),
    ];
    let data = prop_oneof![100 => 0..10_usize, 100 => 100..140_usize, 1 => 16_370..16_390_usize];
    vec((key.prop_map(Key::from), weighted(0.5, hash_key.prop_map(HashKey::new)), data), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn layout_size_equals_encoded_size(members in members()) {
        let mut layout = Layout::default();
        let mut larger = Layout::default();
        let mut payloads = Vec::new();
        for (index, (key, hash_key, data)) in members.iter().enumerate() {
            let before = layout.size();
            larger.add(key, *hash_key, *data);
            let size = larger.size();
            prop_assert!(!layout.add_within(size - 1, key, *hash_key, *data));
            prop_assert_eq!((layout.size(), layout.data_ranges().len()), (before, index));
            prop_assert!(layout.add_within(size, key, *hash_key, *data));
            prop_assert_eq!(layout.size(), size);
            payloads.push(Bytes::from(vec![index as u8; *data]));
            // Encoding the aggregate after each member would take too long.
            if index % 50 == 0 {
                prop_assert_eq!(layout.encode(&payloads).len(), size);
            }
        }
        let encoded = layout.encode(&payloads);
        prop_assert_eq!(encoded.len(), layout.size());
        prop_assert_eq!(layout.data_ranges().len(), members.len());
        for (range, payload) in layout.data_ranges().zip(&payloads) {
            prop_assert_eq!(encoded.slice(range), payload);
        }
        let read: Vec<_> = deaggregate(&encoded)
            .map(|member| (member.partition_key.unwrap(), member.explicit_hash_key, member.data.len()))
            .collect();
        prop_assert_eq!(read, members);
    }
}

#[test]
fn empty_layout_size_is_fixed_overhead() {
    // 4 bytes for the magic, and 16 for the digest.
    let layout = Layout::default();
    assert_eq!((layout.size(), layout.data_ranges().len()), (20, 0));
}

#[test]
fn replace_only_key_preserves_layout_size() {
    let mut layout = Layout::default();
    layout.add(&Key::random(1), None, 1);
    layout.add(&Key::random(1), None, 2);
    let size = layout.size();
    layout.replace_only_key(Key::random(u64::MAX));
    assert_eq!(layout.size(), size);
    // Later members are compared with the new key.
    let data = [Bytes::from("a"), Bytes::from("bc"), Bytes::from("d")];
    layout.add(&Key::random(u64::MAX), None, 1);
    let keys = deaggregate(&layout.encode(&data)).map(|member| member.partition_key.unwrap());
    assert!(keys.eq([Key::random(u64::MAX), Key::random(u64::MAX), Key::random(u64::MAX)]));
    assert_eq!(layout.size(), size + 7);
}

#[test]
#[should_panic(expected = "payloads must be those of the members")]
fn encode_panics_on_missing_payload() {
    let mut layout = Layout::default();
    layout.add(&Key::from("a"), None, 1);
    let _ = layout.encode([]);
}

#[test]
fn member_takes_96_bytes() {
    // The documentation of `deaggregate` states this size.
    assert_eq!(size_of::<Member>(), 96);
}
