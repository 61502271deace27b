//! Tests of partition keys of all lengths and with all kinds of Unicode characters.

use std::collections::HashMap;

use bytes::Bytes;
use fastrand::Rng;
use futures::SinkExt;
use futures::future::join_all;
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::record::FailureReason;
use kinesis_sink::service::{Entry, PutRecordsRequest};
use kinesis_sink::shard::hash_of;
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::{
    Aggregation, Delivery, ErrorKind, KinesisSink, PartitionKey, Receipt, Record, SinkBuilder,
};
use tower::ServiceExt;

use super::encodings::{ENCODINGS, Encoding, read_back};

/// Characters whose UTF-8 encoding has one, two, three, and four bytes.
const WIDTHS: [&str; 4] = ["k", "ß", "€", "🦀"];

/// Lookalikes, combining and zero-width characters, right-to-left text, the last code points, and JSON escapes.
const ODD: &str = concat!(
    "é|e\u{301}|ﬁ|Å|\u{212b}|İ|ı|ẞ|\u{301}|\u{202e}abc|مفتاح|מפתח\u{200f}|a\u{200b}b|a\u{200d}b|\u{feff}k|",
    "👩\u{200d}👩\u{200d}👧|\u{d7ff}\u{e000}|\u{fffd}|\u{fffe}|\u{ffff}|\u{10fffe}|\u{10ffff}|",
    r#""|\|\"|\u0041|\ud83e\udd80|/|</script>|'|{}|null|0|-1|%00|a| |  k  |"#,
    "a\nb\r\nc\td|k\0|\u{2028}|\u{2029}|\u{85}|\u{a0}",
);

fn keys() -> Vec<String> {
    // Keys of up to 23 bytes are stored inline, without an allocation.
    let lengths = [1, 2, 5, 6, 7, 8, 11, 12, 22, 23, 24, 127, 128, 255, 256];
    let widths = WIDTHS.iter().flat_map(|one| lengths.map(|length| one.repeat(length)));
    let controls = ('\0'..='\u{9f}').filter(|letter| letter.is_control()).map(String::from);
    let stacked = format!("Z{}", "\u{300}".repeat(255));
    let all = widths.chain(controls).chain(ODD.split('|').map(str::to_owned)).chain([stacked]);
    let mut all: Vec<_> = all.chain(random_keys(100)).collect();
    all.sort();
    all.dedup();
    all
}

fn random_keys(count: usize) -> impl Iterator<Item = String> {
    let mut rng = Rng::with_seed(7);
    (0..count).map(move |_| {
        let length = rng.usize(1..=256);
        std::iter::repeat_with(|| rng.char(..)).take(length).collect()
    })
}

fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| settings.seed = Some(1))
}

fn stream() -> SimStream {
    SimStream::builder().with_shards(4).with_seed(1).build().unwrap()
}

/// Sends a record for each key and returns the deliveries. The payload of a record is the index of its key.
async fn send(
    encoding: Encoding,
    kinesis: &SimStream,
    builder: SinkBuilder,
    keys: &[String],
) -> Vec<Delivery> {
    let mut sink = encoding.sink(kinesis, builder);
    let mut receipts: Vec<Receipt> = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let (record, receipt) = Record::from((key.as_str(), number.to_string())).tracked();
        receipts.push(receipt);
        sink.feed(record).await.unwrap();
    }
    sink.close().await.unwrap();
    join_all(receipts).await.into_iter().map(Result::unwrap).collect()
}

fn shard_of(kinesis: &SimStream, key: &str) -> String {
    let hash = hash_of(key);
    let shards = kinesis.shards();
    shards.iter().find(|shard| shard.range().contains(hash)).unwrap().id().to_owned()
}

#[tokio::test(start_paused = true)]
async fn key_arrives_unchanged() {
    let keys = keys();
    assert!(keys.len() > 250 && keys.iter().any(|key| key.len() == 1_024));
    for &encoding in ENCODINGS {
        let kinesis = stream();
        let deliveries = send(encoding, &kinesis, builder(), &keys).await;
        let read = read_back(&kinesis).await;
        assert_eq!(read.len(), keys.len());
        for (number, (key, delivery)) in keys.iter().zip(&deliveries).enumerate() {
            let location = (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned());
            let record = &read[&location];
            assert_eq!(record.partition_key.as_ref(), Some(key), "{encoding:?}");
            assert_eq!(record.data.as_ref(), number.to_string().as_bytes(), "{encoding:?} {key:?}");
            assert_eq!(delivery.shard_id(), shard_of(&kinesis, key), "{encoding:?} {key:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn key_arrives_unchanged_in_aggregate() {
    let keys = keys();
    for &encoding in ENCODINGS {
        let kinesis = stream();
        let builder = builder().with_aggregation(Aggregation::PerShard);
        let deliveries = send(encoding, &kinesis, builder, &keys).await;
        let read = read_back(&kinesis).await;
        assert!(read.len() < keys.len() / 10, "{} records are aggregates", read.len());
        let members: HashMap<_, Vec<_>> = read
            .into_iter()
            .map(|(location, read)| {
                (location, deaggregate(&read.data.into_inner().into()).collect())
            })
            .collect();
        for (number, (key, delivery)) in keys.iter().zip(&deliveries).enumerate() {
            let location = (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned());
            let member = delivery.sub_sequence_number().expect("member of an aggregate") as usize;
            let member = &members[&location][member];
            assert_eq!(
                member.partition_key().map(|key| key.as_str()),
                Some(&**key),
                "{encoding:?}"
            );
            assert_eq!(member.data(), &number.to_string(), "{encoding:?} {key:?}");
            assert_eq!(delivery.shard_id(), shard_of(&kinesis, key), "{encoding:?} {key:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_record_keeps_its_key() {
    let keys = keys();
    for &encoding in ENCODINGS {
        for aggregation in [Aggregation::Off, Aggregation::PerShard] {
            let kinesis = stream();
            kinesis.set_faults(Faults::default().with_throttles(1.0));
            let builder = builder()
                .with_aggregation(aggregation)
                .configure(|settings| settings.max_attempts = Some(1));
            let mut sink = encoding.sink(&kinesis, builder);
            let mut receipts = Vec::new();
            for (number, key) in keys.iter().enumerate() {
                let (record, receipt) = Record::from((key.as_str(), "x")).tracked();
                receipts.extend((number % 2 == 0).then_some(receipt));
                sink.feed(record).await.unwrap();
            }
            let error = sink.flush().await.unwrap_err().to_string();
            assert!(error.contains("ProvisionedThroughputExceededException"), "{error}");
            let mut failed = sink.take_failed().into_iter();
            let mut receipts = receipts.into_iter();
            for (number, key) in keys.iter().enumerate() {
                let undelivered = if number % 2 == 0 {
                    receipts.next().unwrap().await.unwrap_err()
                } else {
                    failed.next().expect("failed record, in order of acceptance")
                };
                assert_eq!(undelivered.record().partition_key(), &PartitionKey::from(key));
                assert!(matches!(undelivered.reason(), FailureReason::AttemptsExhausted { .. }));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_debug_redact_key() {
    let key = "MARKER\u{1b}[31m\u{2028}".repeat(10);
    let record = || Record::from((key.as_str(), "x"));
    let kinesis = stream();
    kinesis.set_faults(Faults::default().with_throttles(1.0));
    let mut sink = ENCODINGS[0]
        .sink(&kinesis, builder().configure(|settings| settings.max_attempts = Some(2)));
    let (tracked, receipt) = record().tracked();
    sink.feed(record()).await.unwrap();
    sink.feed(tracked).await.unwrap();
    let error = sink.flush().await.unwrap_err();
    let failed = sink.take_failed();
    let undelivered = receipt.await.unwrap_err();
    let too_long = Record::from((key.repeat(10), "x"));
    let refused = sink.feed(too_long).await.unwrap_err();
    let shown =
        format!("{error} {error:?} {failed:?} {undelivered} {refused} {refused:?} {sink:?}");
    assert!(!shown.contains("MARKER"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn empty_or_oversized_key_is_rejected() {
    let kinesis = stream();
    for (key, expected) in [(String::new(), "partition key is empty;")]
        .into_iter()
        .chain(WIDTHS.map(|one| (one.repeat(257), "partition key is 257 characters;")))
    {
        let record = Record::from((key.as_str(), "x"));
        for aggregation in [Aggregation::Off, Aggregation::PerKey, Aggregation::PerShard] {
            let builder = builder().with_aggregation(aggregation);
            let mut sink = ENCODINGS[0].sink(&kinesis, builder);
            sink.feed(Record::from(("k", "before"))).await.unwrap();
            let refused = sink.feed(record.clone()).await.unwrap_err().into_record();
            assert_eq!(refused, Some(record.clone()));
            sink.send(Record::from(("k", "after"))).await.unwrap();
            let producer = sink.spawn();
            let refused = producer.put(record.clone()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidPartitionKey);
            assert!(refused.to_string().starts_with(expected), "{refused}");
            assert_eq!(refused.record(), Some(&record));
            producer.close().await.unwrap();
        }
        // The simulated stream also rejects entries with such a key.
        for &encoding in ENCODINGS {
            let entry = Entry::new(Bytes::from_static(b"x"), Some(key.as_str().into()), None);
            let request = PutRecordsRequest::new(kinesis.id(), vec![entry]);
            let error = encoding.service(&kinesis.client()).oneshot(request).await.unwrap_err();
            assert_eq!(error.code(), Some("ValidationException"), "{encoding:?}");
        }
    }
    assert!(
        kinesis.written().iter().all(|one| one.partition_key().is_some_and(|key| **key == *"k"))
    );
}
