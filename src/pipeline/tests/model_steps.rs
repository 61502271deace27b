//! Random steps and settings of the model test.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::Limits;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Accept {
        bytes: usize,
        key: u8,
        hash_key: Option<Position>,
        tracked: bool,
    },
    Send,
    Answer {
        index: usize,
        answer: Answer,
        seed: u64,
    },
    Refuse {
        code: &'static str,
    },
    Wait {
        millis: u64,
    },
    Wake,
    Flush,
    Close,
    ReadFatal,
    OfferFailed,
    TakeFailed,
    TakeUndelivered,
    FailRefused,
    /// Releases unused memory.
    Rest,
    /// Raises the record limit of the stream.
    Describe {
        more: usize,
    },
    /// Splits a shard or merges two.
    Reshard {
        seed: u64,
    },
    /// Starts a listing of the current shards, if the pipeline requests one.
    BeginListing,
    EndListing {
        fails: bool,
    },
}

/// Position of an explicit hash key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Position {
    Anywhere(u128),
    /// The start of an open shard plus an offset of -1 to 1.
    NearBorder {
        shard: usize,
        offset: i8,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// A random outcome for each entry, with this percentage of failures.
    Entries {
        failing: u8,
    },
    WrongLength {
        by: i8,
    },
    /// An error of the whole request. If its outcome is unknown, random entries are written.
    Error {
        code: &'static str,
    },
    Shed,
}

const REQUEST_CODES: [&str; 6] = [
    THROTTLE,
    "InternalFailure",
    "ExpiredTokenException",
    "AccessDeniedException",
    "ValidationException",
    "NeverHeardOf",
];

pub(super) const ENTRY_CODES: [&str; 5] =
    [THROTTLE, "InternalFailure", "InvalidArgumentException", "IncompleteResult", "NeverHeardOf"];

pub(super) fn step() -> impl Strategy<Value = Step> {
    let code = || prop::sample::select(&REQUEST_CODES[..]);
    let answer = prop_oneof![
        6 => (0..=100_u8).prop_map(|failing| Answer::Entries { failing }),
        1 => prop_oneof![-3..=-1_i8, 1..=3_i8].prop_map(|by| Answer::WrongLength { by }),
        3 => code().prop_map(|code| Answer::Error { code }),
        1 => Just(Answer::Shed),
    ];
    let answer = (any::<usize>(), answer, any::<u64>());
    let place = prop_oneof![
        any::<u128>().prop_map(Position::Anywhere),
        (any::<usize>(), -1..=1_i8)
            .prop_map(|(shard, offset)| Position::NearBorder { shard, offset }),
    ];
    let hash_key = prop::option::weighted(0.3, place);
    let accept = (0..40_usize, 0..12_u8, hash_key, any::<bool>());
    prop_oneof![
        30 => accept.prop_map(|(bytes, key, hash_key, tracked)| {
            Step::Accept { bytes, key, hash_key, tracked }
        }),
        15 => Just(Step::Send),
        15 => answer.prop_map(|(index, answer, seed)| Step::Answer { index, answer, seed }),
        1 => code().prop_map(|code| Step::Refuse { code }),
        3 => (0..200_u64).prop_map(|millis| Step::Wait { millis }),
        6 => Just(Step::Wake),
        6 => Just(Step::Flush),
        1 => Just(Step::Close),
        2 => Just(Step::ReadFatal),
        2 => Just(Step::OfferFailed),
        1 => Just(Step::TakeFailed),
        1 => Just(Step::TakeUndelivered),
        1 => Just(Step::FailRefused),
        6 => Just(Step::Rest),
        1 => (0..100_usize).prop_map(|more| Step::Describe { more }),
        3 => any::<u64>().prop_map(|seed| Step::Reshard { seed }),
        4 => Just(Step::BeginListing),
        4 => prop::bool::weighted(0.2).prop_map(|fails| Step::EndListing { fails }),
    ]
}

prop_compose! {
    /// Generates the settings, `true` if shards can be listed, and the random seed.
    pub(super) fn any_settings()(
        request_entries in 1..=12_usize,
        request_bytes in 0..=300_usize,
        record_bytes in 32..=200_usize,
        aggregation in prop::sample::select(&[
            Aggregation::Off,
            Aggregation::PerKey,
            Aggregation::PerShard,
            Aggregation::PerShard,
        ][..]),
        aggregate_bytes in 20..=250_usize,
        aggregate_records in 1..=12_usize,
        (kpl_key, ordered, lists_shards) in any::<(bool, bool, bool)>(),
        // Records and bytes per second for each shard.
        quota in prop::option::of((5..=200_usize, 100..=5_000_u64)),
        max_in_flight in 1..=5_usize,
        fill in any::<bool>(),
        linger in 0..=120_u64,
        buffer_records in 1..=40_usize,
        buffer_bytes in 1..=1_000_usize,
        max_attempts in prop::option::of(1..=4_u32),
        deadline in prop::option::of(1..=400_u64),
        seed in any::<u64>(),
    ) -> (Settings, bool, u64) {
        let linger = Duration::from_millis(linger);
        let (shard_records, shard_bytes) = quota.unwrap_or((1_000_000, 1 << 30));
        let settings = Settings {
            aggregation,
            aggregate_bytes,
            aggregate_records,
            aggregate_key: if kpl_key { AggregateKey::Kpl } else { AggregateKey::FirstMember },
            ordering: if ordered { RecordOrdering::PerKey } else { RecordOrdering::Unordered },
            limits: Limits::default()
                .with_request_entries(request_entries)
                .with_request_bytes(record_bytes + request_bytes)
                .with_record_bytes(record_bytes)
                .with_shard_records(shard_records)
                .with_shard_bytes(shard_bytes),
            max_in_flight,
            linger: if fill { Linger::Fixed(linger) } else { Linger::Adaptive(linger) },
            buffer_records: Some(buffer_records),
            buffer_bytes,
            max_attempts,
            deadline: deadline.map(Duration::from_millis),
            ..Settings::default()
        };
        (settings, lists_shards, seed)
    }
}
