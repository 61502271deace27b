//! What is seen only from inside the crate; the format itself is tested in `tests/aggregation/format.rs`.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::{Layout, Member, deaggregate};
use crate::record::{HashKey, Key};

/// Key, hash key and length of the payload, so drawn that keys repeat, in runs and apart, that indices and
/// lengths take one byte and two, and that a table gets its index.
fn members() -> impl Strategy<Value = Vec<(Key, Option<HashKey>, usize)>> {
    let key = prop_oneof![
        4 => (0..3_u32).prop_map(|key| key.to_string()),
        4 => (0..400_u32).prop_map(|key| key.to_string()),
        1 => (100..300_usize).prop_map(|length| "ß".repeat(length)),
    ];
    let hash_key = prop_oneof![
        (0..200_u128).prop_map(|place| place * (u128::MAX / 200)),
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
    fn the_size_is_known_before_anything_is_built(members in members()) {
        let [mut layout, mut larger] = [Layout::default(), Layout::default()];
        let mut payloads = Vec::new();
        for (place, (key, hash_key, data)) in members.iter().enumerate() {
            let before = layout.size();
            larger.add(key, *hash_key, *data);
            let told = larger.size();
            prop_assert!(!layout.add_within(told - 1, key, *hash_key, *data));
            prop_assert_eq!((layout.size(), layout.data_ranges().len()), (before, place));
            prop_assert!(layout.add_within(told, key, *hash_key, *data));
            prop_assert_eq!(layout.size(), told);
            payloads.push(Bytes::from(vec![place as u8; *data]));
            // Each prefix would be much work.
            if place % 50 == 0 {
                prop_assert_eq!(layout.encode(&payloads).len(), told);
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
fn an_empty_layout_has_the_bytes_around_a_message() {
    let layout = Layout::default();
    assert_eq!((layout.size(), layout.data_ranges().len()), (20, 0));
}

#[test]
fn the_only_key_can_be_drawn_again() {
    let mut layout = Layout::default();
    layout.add(&Key::random(1), None, 1);
    layout.add(&Key::random(1), None, 2);
    let size = layout.size();
    layout.replace_only_key(Key::random(u64::MAX));
    assert_eq!(layout.size(), size);
    // The new key is the one that later members are compared with.
    let data = [Bytes::from("a"), Bytes::from("bc"), Bytes::from("d")];
    layout.add(&Key::random(u64::MAX), None, 1);
    let keys = deaggregate(&layout.encode(&data)).map(|member| member.partition_key.unwrap());
    assert!(keys.eq([Key::random(u64::MAX), Key::random(u64::MAX), Key::random(u64::MAX)]));
    assert_eq!(layout.size(), size + 7);
}

#[test]
#[should_panic(expected = "the payloads are the members'")]
fn a_missing_payload_is_not_passed_over() {
    let mut layout = Layout::default();
    layout.add(&Key::from("a"), None, 1);
    let _ = layout.encode([]);
}

#[test]
fn a_member_stays_small() {
    // Stated where `deaggregate` speaks of memory.
    assert_eq!(size_of::<Member>(), 96);
}
