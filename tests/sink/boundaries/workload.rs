//! Records of a few sizes, sent to the end, and the account of them.

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

/// A record's key, unless it is drawn, and its payload.
type Sent = (Option<String>, Bytes);

/// What became of the records that were handed in.
#[derive(Debug, Default)]
pub struct Account {
    pub delivered: usize,
    /// Handed back as larger than the limit.
    pub too_large: usize,
    pub gave_up: Vec<FailureReason>,
}

/// So many records of 1 to some 100 bytes, under few keys or under none.
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

/// Sends them through a sink.
pub async fn send(
    mut sink: KinesisSink<SimService>,
    kinesis: &SimStream,
    records: Vec<Record>,
) -> Account {
    let (mut receipts, mut account) = (Vec::new(), Account::default());
    let all = async {
        for record in records {
            let (tracked, receipt) = record.clone().tracked();
            match sink.feed(tracked).await {
                Ok(()) => receipts.push((record, receipt)),
                Err(refused) => account.refused(&record, &refused, &sink.limits()),
            }
        }
        sink.close().await.unwrap();
    };
    timeout(LONGEST, all).await.expect("it comes to an end");
    let totals = *sink.totals();
    assert_eq!(totals.accepted, receipts.len() as u64);
    account.settle(kinesis, receipts).await;
    assert_eq!(totals.delivered, account.delivered as u64);
    assert_eq!(totals.failed, account.gave_up.len() as u64);
    account
}

/// Sends them through a producer.
pub async fn produce(
    sink: KinesisSink<SimService>,
    kinesis: &SimStream,
    records: Vec<Record>,
) -> Account {
    let producer = sink.spawn();
    let (mut receipts, mut account) = (Vec::new(), Account::default());
    let all = async {
        for record in records {
            match producer.put(record.clone()).await {
                Ok(receipt) => receipts.push((record, receipt)),
                Err(refused) => account.refused(&record, &refused, &producer.limits()),
            }
        }
        producer.close().await.unwrap();
    };
    timeout(LONGEST, all).await.expect("it comes to an end");
    account.settle(kinesis, receipts).await;
    account
}

/// Virtual time: the slowest of all settings move a byte a second.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Account {
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

    /// Holds every receipt against what the stream has written.
    async fn settle(&mut self, kinesis: &SimStream, receipts: Vec<(Record, Receipt)>) {
        let written = written(kinesis);
        let (records, receipts): (Vec<_>, Vec<_>) = receipts.into_iter().unzip();
        let mut places = Vec::new();
        for (record, outcome) in records.into_iter().zip(join_all(receipts).await) {
            match outcome {
                Ok(delivery) => {
                    let place = place(&delivery);
                    assert_is(&record, written.get(&place).expect("it lies where it is said to"));
                    places.push(place);
                    self.delivered += 1;
                }
                Err(undelivered) => {
                    assert_eq!(undelivered.record(), &record);
                    self.gave_up.push(undelivered.reason().clone());
                }
            }
        }
        places.sort();
        assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "two records in one place");
        let given_up = self.gave_up.len();
        assert!(written.len() >= places.len() && written.len() <= places.len() + given_up);
    }
}

/// Shard, sequence number, sub-sequence number.
type Place = (String, String, Option<u64>);

fn place(delivery: &Delivery) -> Place {
    let (shard, number) = (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned());
    (shard, number, delivery.sub_sequence_number())
}

/// Everything that the stream holds, aggregates taken apart.
fn written(kinesis: &SimStream) -> HashMap<Place, Sent> {
    let mut found = HashMap::new();
    for written in kinesis.written() {
        for member in deaggregate(written.data()) {
            let place = (
                written.shard_id().to_owned(),
                written.sequence_number(),
                member.sub_sequence_number(),
            );
            let key = member.partition_key().or(written.partition_key());
            let sent = (key.map(|key| key.to_string()), Member::into_data(member));
            assert!(found.insert(place, sent).is_none());
        }
    }
    found
}

fn assert_is(record: &Record, (key, data): &Sent) {
    assert_eq!(record.data(), data);
    if let PartitionKey::Explicit(expected) = record.partition_key() {
        assert!(key.as_deref() == Some(expected), "another key");
    }
}
