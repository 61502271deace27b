//! Tests that splitting and merging shards while aggregates are sent loses no records.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use kinesis_sink::settings::Linger;
use kinesis_sink::{Aggregation, Producer, Record};

use super::server::Server;

const RECORDS: usize = 900;
const KEYS: usize = 90;

fn data(number: usize) -> Bytes {
    Bytes::from(format!("{number:06} {}", "x".repeat(40)))
}

async fn send(producer: &Producer, range: Range<usize>) {
    for number in range {
        let record = Record::from((format!("key {}", number % KEYS), data(number)));
        producer.send(record).await.expect("the record is accepted");
    }
}

pub async fn resharding_does_not_lose_aggregated_records(server: &Server) {
    let stream = server.stream(2).await;
    // Aggregates and requests are small, so that many are in flight during each reshard.
    let builder = server
        .builder(stream.name())
        .with_aggregation(Aggregation::PerShard)
        .configure(|settings| settings.aggregate_bytes = 600)
        .with_linger(Linger::Adaptive(Duration::from_millis(20)))
        .configure(|settings| {
            settings.limits = server.limits().with_request_entries(5);
            settings.buffer_records = Some(100);
        });
    let producer = stream.sink(builder).spawn();
    let third = RECORDS / 3;
    future::join(send(&producer, 0..third), stream.split()).await;
    future::join(send(&producer, third..2 * third), stream.merge()).await;
    producer.flush().await.expect("all records are delivered");
    let open = stream.open_shards().await;
    // The sink does not detect the merge until the response to a later aggregate names the new shard.
    send(&producer, 2 * third..RECORDS).await;
    producer.close().await.expect("close succeeds");
    let totals = producer.status().totals;
    assert_eq!((totals.delivered, totals.failed), (RECORDS as u64, 0));

    let found = stream.read().await;
    let (kept, discarded): (Vec<_>, Vec<_>) =
        found.iter().partition(|found| found.is_readable_by_kcl());
    assert_eq!(totals.misplaced > 0, !discarded.is_empty());
    let mut read: Vec<_> =
        kept.iter().flat_map(|found| found.members()).map(|member| member.data().clone()).collect();
    read.sort();
    let all: Vec<_> = (0..RECORDS).map(data).collect();
    let missing = all.iter().filter(|data| read.binary_search(data).is_err()).count();
    let copies = read.len() + missing - RECORDS;
    assert_eq!((missing, copies), (0, 0), "as read by the KCL; {totals:?}");
    assert!(open.iter().all(|shard| kept.iter().any(|found| found.shard.id == shard.id)));
}
