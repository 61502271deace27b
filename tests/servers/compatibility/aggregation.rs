//! Tests that aggregates can be read back as a KCL consumer reads them.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future;
use kinesis_sink::record::HashKey;
use kinesis_sink::{Aggregation, Record};

use super::server::Server;

const RECORDS: usize = 600;

fn key(number: usize) -> String {
    format!("ключ-{}", number % 40)
}

fn data(number: usize) -> Bytes {
    Bytes::from(format!("{number} {}", "x".repeat(number % 60)))
}

fn record(number: usize) -> Record {
    let record = Record::from((key(number), data(number)));
    if number % 10 == 3 {
        record.with_explicit_hash_key(HashKey::new(u128::MAX / RECORDS as u128 * number as u128))
    } else {
        record
    }
}

pub async fn aggregates_per_key_round_trip(server: &Server) {
    assert_aggregates_round_trip(server, Aggregation::PerKey).await;
}

pub async fn aggregates_per_shard_round_trip(server: &Server) {
    assert_aggregates_round_trip(server, Aggregation::PerShard).await;
}

async fn assert_aggregates_round_trip(server: &Server, aggregation: Aggregation) {
    let stream = server.stream(3).await;
    let builder = server
        .builder(stream.name())
        .with_aggregation(aggregation)
        .configure(|settings| settings.aggregate_bytes = 1_500);
    let producer = stream.sink(builder).spawn();
    let mut receipts = Vec::new();
    for number in 0..RECORDS {
        receipts.push(producer.put(record(number)).await.expect("the record is accepted"));
    }
    let deliveries = future::try_join_all(receipts).await.expect("all records are delivered");
    producer.close().await.expect("close succeeds");
    let found = stream.read().await;
    assert!(
        found.iter().all(|found| found.is_readable_by_kcl()),
        "the KCL would discard an aggregate"
    );
    assert!(found.iter().filter(|found| found.is_aggregate()).count() > 10);
    assert!(found.len() < RECORDS / 2, "{} Kinesis records", found.len());
    let mut members: HashMap<_, _> = HashMap::new();
    for found in &found {
        for member in found.members() {
            let index = member.sub_sequence_number();
            let position = (found.shard.id.as_str(), found.sequence_number.as_str(), index);
            assert!(members.insert(position, member).is_none());
        }
    }
    assert_eq!(members.len(), RECORDS);
    for (number, delivery) in deliveries.iter().enumerate() {
        let index = delivery.sub_sequence_number();
        let member = &members[&(delivery.shard_id(), delivery.sequence_number(), index)];
        assert_eq!(*member.data(), data(number));
        if index.is_some() {
            assert_eq!(member.partition_key().map(|key| key.as_str()), Some(&*key(number)));
            assert_eq!(member.explicit_hash_key(), record(number).explicit_hash_key());
        }
    }
}
