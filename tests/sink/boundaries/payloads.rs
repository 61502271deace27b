//! Tests of empty payloads, payloads that are aggregates, and payloads that only resemble an aggregate.

use bytes::Bytes;
use futures::SinkExt;
use kinesis_sink::aggregate::{Member, deaggregate, encode};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{Aggregation, KinesisSink, Record, SinkBuilder};

use super::encodings::{ENCODINGS, read_back};

fn builder() -> SinkBuilder {
    KinesisSink::builder("example").configure(|settings| settings.seed = Some(1))
}

fn aggregate() -> Bytes {
    encode(&[Member::new("x", "first"), Member::new("y", "second")]).unwrap()
}

fn lookalikes() -> Vec<Bytes> {
    let whole = aggregate();
    let (magic, digest) = (&whole[..4], &whole[whole.len() - 16..]);
    let mut wrong_digest = whole.to_vec();
    *wrong_digest.last_mut().unwrap() ^= 1;
    let mut wrong_magic = whole.to_vec();
    wrong_magic[0] ^= 1;
    vec![
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::copy_from_slice(magic),
        [magic, &[0; 16]].concat().into(),
        [magic, &[0; 17]].concat().into(),
        [magic, digest].concat().into(),
        wrong_digest.into(),
        wrong_magic.into(),
        whole.slice(..whole.len() - 1),
        [&whole[..], b"\0"].concat().into(),
        [b"\0", &whole[..]].concat().into(),
    ]
}

/// Payloads that are aggregates, so consumers deaggregate them if they are sent as plain records.
fn aggregates() -> Vec<Bytes> {
    let nested = encode(&[Member::new("z", aggregate()), Member::new("z", "")]).unwrap();
    let of_one = encode(&[Member::new("x", "alone")]).unwrap();
    vec![aggregate(), nested, of_one]
}

fn payloads() -> Vec<Bytes> {
    lookalikes().into_iter().chain(aggregates()).collect()
}

fn data(data: &Bytes) -> Vec<Bytes> {
    deaggregate(data).map(Member::into_data).collect()
}

#[tokio::test(start_paused = true)]
async fn payload_arrives_unchanged() {
    let payloads = payloads();
    for &encoding in ENCODINGS {
        let kinesis = SimStream::new(2);
        let mut sink = encoding.sink(&kinesis, builder());
        let mut receipts = Vec::new();
        for payload in &payloads {
            let (record, receipt) = Record::from(("k", payload.clone())).tracked();
            receipts.push(receipt);
            sink.feed(record).await.unwrap();
        }
        sink.close().await.unwrap();
        let read = read_back(&kinesis).await;
        assert_eq!(read.len(), payloads.len());
        for (payload, receipt) in payloads.iter().zip(receipts) {
            let delivery = receipt.await.unwrap();
            assert_eq!(delivery.sub_sequence_number(), None);
            let location = (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned());
            assert_eq!(read[&location].data.as_ref(), payload, "{encoding:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn payload_arrives_unchanged_in_aggregate() {
    let payloads = payloads();
    for aggregation in [Aggregation::PerKey, Aggregation::PerShard] {
        for &encoding in ENCODINGS {
            let kinesis = SimStream::new(2);
            let mut sink = encoding.sink(&kinesis, builder().with_aggregation(aggregation));
            for payload in &payloads {
                sink.feed(Record::from(("k", payload.clone()))).await.unwrap();
            }
            sink.close().await.unwrap();
            let read: Vec<_> = read_back(&kinesis).await.into_values().collect();
            let [read] = read.try_into().expect("one aggregate");
            // `deaggregate` returns members unchanged, even if a member is an aggregate itself.
            assert!(
                data(&read.data.into_inner().into()) == payloads,
                "{aggregation:?} {encoding:?}"
            );
        }
    }
}

#[test]
fn lookalike_payload_is_not_deaggregated() {
    for payload in lookalikes() {
        let members = deaggregate(&payload);
        assert!(!members.is_aggregate());
        assert_eq!(members.map(Member::into_data).collect::<Vec<_>>(), [payload]);
    }
}

#[tokio::test(start_paused = true)]
async fn nested_aggregate_arrives_unchanged() {
    for payload in aggregates() {
        let write = async |aggregation: Aggregation, records: usize| {
            let kinesis = SimStream::new(1);
            let builder = builder().with_aggregation(aggregation);
            let mut sink = builder.build_with(kinesis.service()).unwrap();
            for _ in 0..records {
                sink.feed(Record::from(("k", payload.clone()))).await.unwrap();
            }
            sink.close().await.unwrap();
            let [written] = kinesis.written().try_into().expect("one Kinesis record");
            data(written.data())
        };
        assert_eq!(write(Aggregation::PerKey, 1).await, std::slice::from_ref(&payload));
        assert_eq!(write(Aggregation::PerKey, 2).await, [payload.clone(), payload.clone()]);
        let plain = write(Aggregation::Off, 1).await;
        assert_ne!(plain, std::slice::from_ref(&payload), "a plain record should be deaggregated");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_payloads_are_delivered() {
    for &encoding in ENCODINGS {
        for (aggregation, entries) in [(Aggregation::Off, 2_000), (Aggregation::PerKey, 1)] {
            let kinesis = SimStream::new(1);
            let mut sink = encoding.sink(&kinesis, builder().with_aggregation(aggregation));
            for _ in 0..2_000 {
                sink.feed(Record::from(("k", Bytes::new()))).await.unwrap();
            }
            sink.close().await.unwrap();
            let written = kinesis.written();
            assert_eq!(written.len(), entries, "{encoding:?}");
            let read: Vec<_> = written.iter().flat_map(|one| data(one.data())).collect();
            assert!(read.len() == 2_000 && read.iter().all(Bytes::is_empty), "{encoding:?}");
        }
    }
}
