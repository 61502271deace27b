//! Tests of the example `aggregate`, which counts the records that a KCL consumer would not receive.
#![cfg(feature = "aws-config")]

#[path = "../../examples/aggregate/check.rs"]
mod check;
#[path = "../../examples/aggregate/events.rs"]
mod events;

use aws_sdk_kinesis::primitives::Blob;
use check::{Found, read_all};
use events::{EVENT_BYTES, Events};
use kinesis_sink::aggregate::{Member, encode};
use kinesis_sink::shard::hash_of;

use crate::support::embedded::{Embedded, STREAM};
use crate::support::example_program;

const EVENTS: Events = Events { count: 1_000, devices: 50 };

fn member(number: u32) -> Member {
    let event = EVENTS.event(number);
    Member::new(event.device.as_str(), event.json)
}

/// Returns the numbers of two events whose keys map to the same half of the hash ring, or to different halves.
fn two_events(on_same_half: bool) -> [u32; 2] {
    let half = |number| hash_of(&EVENTS.event(number).device).get() >> 127;
    let second = (1..).find(|number| (half(*number) == half(0)) == on_same_half);
    [0, second.unwrap()]
}

async fn put(server: &Embedded, numbers: &[u32]) {
    let members: Vec<_> = numbers.iter().map(|number| member(*number)).collect();
    let key = EVENTS.event(numbers[0]).device;
    let data = match &members[..] {
        [alone] => alone.data().to_vec(),
        members => encode(members).unwrap().to_vec(),
    };
    let call = server.client().put_record().stream_name(STREAM).partition_key(key);
    call.data(Blob::new(data)).send().await.unwrap();
}

#[tokio::test]
async fn check_counts_misplaced_and_duplicated() {
    let server = Embedded::start(2, false).await.unwrap();
    let read = || read_all(server.client(), STREAM, EVENTS);
    let counts =
        |found: &Found| (found.events, found.duplicated, found.misplaced, found.unexpected);
    put(&server, &two_events(true)).await;
    assert_eq!(counts(&read().await.unwrap()), (2, 0, 0, 0));
    put(&server, &[0]).await;
    assert_eq!(counts(&read().await.unwrap()), (2, 1, 0, 0), "event 0 is in the stream twice");
    put(&server, &two_events(false)).await;
    assert_eq!(
        counts(&read().await.unwrap()),
        (2, 1, 2, 0),
        "one misplaced member discards the aggregate"
    );

    let unexpected = EVENTS.event(7).json.to_vec();
    let call = server.client().put_record().stream_name(STREAM).partition_key("another");
    call.data(Blob::new(unexpected)).send().await.unwrap();
    let found = read().await.unwrap();
    assert_eq!(counts(&found), (2, 1, 2, 1), "the key does not match the event");
    assert_eq!((found.entries, found.payload_units, found.kib), (4, 4, 4));
    assert!(server.endpoint().starts_with("http://"));
}

#[test]
fn events_have_fixed_size_and_number() {
    for number in [0, 1, 999, 1_000_000, u32::MAX] {
        let sent = Events { count: u32::MAX, devices: u32::MAX };
        let event = sent.event(number);
        assert_eq!(event.json.len(), EVENT_BYTES);
        assert_eq!(events::number(&event.json), Some(number));
    }
    assert_eq!(EVENTS.records().count(), 1_000);
}

#[test]
fn aggregate_prints_table() {
    let mut command = example_program::example("aggregate");
    let output = command.args(["--events", "3000", "--keys", "10"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.matches(" 0 missing, 0 duplicated, 0 misplaced").count(), 3, "{stdout}");
    assert!(stdout.contains("\n| Kinesis records | 3,000 |"), "{stdout}");
}
