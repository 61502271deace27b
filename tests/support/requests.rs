//! Random requests, and an assertion that compares the serializers.

use aws_sdk_kinesis::Client;
use bytes::Bytes;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Entry, PutRecords, PutRecordsRequest};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tower::ServiceExt;

use super::http::{Sent, Wire};

const STREAMS: [&str; 3] = [
    "example",
    "a.stream_with-all.kinds_of-letters",
    "arn:aws:kinesis:us-east-1:123456789012:stream/example",
];

fn key() -> impl Strategy<Value = String> {
    // JSON writers must escape some of these characters, and treat others differently from each other.
    let special = prop::sample::select(vec![
        '"',
        '\\',
        '/',
        '\0',
        '\u{8}',
        '\u{c}',
        '\n',
        '\r',
        '\t',
        '\u{1f}',
        '\u{7f}',
        '\u{80}',
        'é',
        '\u{2028}',
        '\u{2029}',
        '\u{ffff}',
        '🦀',
        '\u{10ffff}',
        '<',
        '&',
        '\'',
    ]);
    let character = prop_oneof![special, any::<char>(), prop::char::range('a', 'z')];
    vec(character, 0..256).prop_map(|characters| characters.into_iter().collect())
}

fn hash_key() -> impl Strategy<Value = HashKey> {
    prop_oneof![any::<u128>(), 0..1_000_u128, Just(u128::MAX)].prop_map(HashKey::new)
}

fn entry() -> impl Strategy<Value = Entry> {
    // The ranges include the lengths at which the header of a CBOR string grows.
    let length = prop_oneof![0..2_000_usize, 22..26_usize, 254..258_usize];
    let data = length.prop_flat_map(|length| vec(any::<u8>(), length));
    (data, option::of(key()), option::of(hash_key())).prop_map(|(data, key, hash_key)| {
        Entry::new(Bytes::from(data), key.map(|key| key.as_str().into()), hash_key)
    })
}

pub fn request() -> impl Strategy<Value = PutRecordsRequest> {
    (prop::sample::select(STREAMS.to_vec()), vec(entry(), 0..12))
        .prop_map(|(stream, entries)| PutRecordsRequest::new(stream.parse().unwrap(), entries))
}

pub fn full_request() -> PutRecordsRequest {
    let entry = |number: usize| {
        let data: Vec<u8> = (0..number * 41).map(|byte| (byte * 31 + number) as u8).collect();
        let key = format!("key \"{number}\"");
        let hash_key = number.is_multiple_of(3).then(|| HashKey::new(number as u128));
        Entry::new(data.into(), Some(key.as_str().into()), hash_key)
    };
    let mut entries: Vec<_> = (0..500).map(entry).collect();
    entries.push(Entry::new(vec![0xa5; 70_000].into(), None, None));
    entries.swap_remove(0);
    PutRecordsRequest::new("example".parse().unwrap(), entries)
}

pub async fn assert_same_bytes(wire: &Wire, client: &Client, request: &PutRecordsRequest) -> Sent {
    let direct = PutRecords::new(client);
    // The response does not have to match the request, because only the sent bytes are compared.
    let _ = direct.clone().with_sdk_serialization().oneshot(request.clone()).await;
    let _ = direct.oneshot(request.clone()).await;
    let [sdk, direct] = wire.take().try_into().expect("two requests were sent");
    assert!(sdk.body == direct.body, "the bodies differ");
    assert_eq!(sdk, direct);
    assert!(direct.header("authorization").is_some(), "the request has no signature");
    direct
}
