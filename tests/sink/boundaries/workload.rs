//! Sends a workload of small records and checks the outcome of each record.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::SinkExt;
use futures::future::join_all;
use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::limits::Limits;
use kinesis_sink::record::{FailureReason, HashKey};
use kinesis_sink::sim::{SimService, SimStream};
use kinesis_sink::{Delivery, Error, ErrorKind, KinesisSink, PartitionKey, Receipt, Record};
use tokio::time::timeout;

/// Partition key, if known, and payload of a record.
type Sent = (Option<String>, Bytes);

#[derive(Debug, Default)]
pub struct Outcomes {
    pub delivered: usize,
    pub too_large: usize,
    pub failed: Vec<FailureReason>,
}

pub fn records(rng: &mut Rng, count: usize) -> Vec<Record> {
    let one = |rng: &mut Rng| {
        let length = rng.choice([0, 0, 1, 7, 90]).unwrap();
        let record =
            Record::new(std::iter::repeat_with(|| rng.u8(..)).take(length).collect::<Vec<_>>());
        let record = match rng.u32(0..10) {
            0 => record,
            _ => record.with_partition_key(rng.choice(["a", "b", "c", "d", "e", "f"]).unwrap()),
        };
        match rng.u32(0..10) {
            0 => record.with_explicit_hash_key(HashKey::new(rng.u128(..))),
            _ => record,
        }
    };
    (0..count).map(|_| one(rng)).collect()
}

pub async fn send(
    mut sink: KinesisSink<SimService>,
    kinesis: &SimStream,
    records: Vec<Record>,
) -> Outcomes {
    let mut receipts = Vec::new();
    let mut outcomes = Outcomes::default();
    let all = async {
        for record in records {
            let (tracked, receipt) = record.clone().tracked();
            match sink.feed(tracked).await {
                Ok(()) => receipts.push((record, receipt)),
                Err(refused) => outcomes.refused(&record, &refused, &sink.limits()),
            }
        }
        sink.close().await.unwrap();
    };
    timeout(TIMEOUT, all).await.expect("workload should finish");
    let totals = *sink.totals();
    assert_eq!(totals.accepted, receipts.len() as u64);
    outcomes.settle(kinesis, receipts).await;
    assert_eq!(totals.delivered, outcomes.delivered as u64);
    assert_eq!(totals.failed, outcomes.failed.len() as u64);
    outcomes
}

pub async fn produce(
    sink: KinesisSink<SimService>,
    kinesis: &SimStream,
    records: Vec<Record>,
) -> Outcomes {
    let producer = sink.spawn();
    let mut receipts = Vec::new();
    let mut outcomes = Outcomes::default();
    let all = async {
        for record in records {
            match producer.put(record.clone()).await {
                Ok(receipt) => receipts.push((record, receipt)),
                Err(refused) => outcomes.refused(&record, &refused, &producer.limits()),
            }
        }
        producer.close().await.unwrap();
    };
    timeout(TIMEOUT, all).await.expect("workload should finish");
    outcomes.settle(kinesis, receipts).await;
    outcomes
}

/// Timeout in virtual time, long enough for the slowest settings, which send one byte per second.
const TIMEOUT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Outcomes {
    fn refused(&mut self, record: &Record, refused: &Error, limits: &Limits) {
        assert_eq!(refused.kind(), ErrorKind::RecordTooLarge, "{refused}");
        assert_eq!(refused.record(), Some(record));
        let (bytes, limit) = (record.size(), limits.record_bytes());
        let expected =
            format!("record is {bytes} bytes with its partition key; split it to at most {limit},");
        assert!(refused.to_string().starts_with(&expected), "{refused}");
        assert!(bytes > limit, "{bytes} bytes, {limit} allowed");
        self.too_large += 1;
    }

    async fn settle(&mut self, kinesis: &SimStream, receipts: Vec<(Record, Receipt)>) {
        let written = written(kinesis);
        let (records, receipts): (Vec<_>, Vec<_>) = receipts.into_iter().unzip();
        let mut locations = Vec::new();
        for (record, outcome) in records.into_iter().zip(join_all(receipts).await) {
            match outcome {
                Ok(delivery) => {
                    let location = location(&delivery);
                    assert_same(
                        &record,
                        written.get(&location).expect("record at the location of its receipt"),
                    );
                    locations.push(location);
                    self.delivered += 1;
                }
                Err(undelivered) => {
                    assert_eq!(undelivered.record(), &record);
                    self.failed.push(undelivered.reason().clone());
                }
            }
        }
        locations.sort();
        assert!(locations.windows(2).all(|pair| pair[0] != pair[1]), "two records at one location");
        let failed = self.failed.len();
        assert!(written.len() >= locations.len() && written.len() <= locations.len() + failed);
    }
}

/// Shard ID, sequence number, and sub-sequence number.
type Location = (String, String, Option<u64>);

fn location(delivery: &Delivery) -> Location {
    let (shard, number) = (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned());
    (shard, number, delivery.sub_sequence_number())
}

fn written(kinesis: &SimStream) -> HashMap<Location, Sent> {
    let mut found = HashMap::new();
    for written in kinesis.written() {
        for member in deaggregate(written.data()) {
            let location = (
                written.shard_id().to_owned(),
                written.sequence_number(),
                member.sub_sequence_number(),
            );
            let key = member.partition_key().or(written.partition_key());
            let sent = (key.map(|key| key.to_string()), Member::into_data(member));
            assert!(found.insert(location, sent).is_none());
        }
    }
    found
}

fn assert_same(record: &Record, (key, data): &Sent) {
    assert_eq!(record.data(), data);
    if let PartitionKey::Explicit(expected) = record.partition_key() {
        assert!(key.as_deref() == Some(expected), "different partition key");
    }
}
