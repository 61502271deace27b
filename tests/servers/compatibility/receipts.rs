//! Tests that receipts name the shard and the sequence number of their records.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future;
use kinesis_sink::{Producer, Record};

use super::server::Server;

const TASKS: usize = 10;
const RECORDS_PER_TASK: usize = 25;

async fn put(producer: Producer, task: usize) -> Vec<((String, String), Bytes)> {
    let data = |number: usize| Bytes::from(format!("record {number} of task {task}"));
    let mut receipts = Vec::new();
    for number in 0..RECORDS_PER_TASK {
        let record = Record::from((format!("key {number}"), data(number)));
        receipts.push(producer.put(record).await.expect("the record is accepted"));
    }
    let deliveries = future::try_join_all(receipts).await.expect("all records are delivered");
    let position = |number: usize| {
        let delivery = &deliveries[number];
        assert_eq!((delivery.sub_sequence_number(), delivery.attempts()), (None, 1));
        (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned())
    };
    (0..RECORDS_PER_TASK).map(|number| (position(number), data(number))).collect()
}

pub async fn receipts_name_shard_and_sequence_number(server: &Server) {
    let stream = server.stream(4).await;
    let producer = stream.sink(server.builder(stream.name())).spawn();
    let tasks = (0..TASKS).map(|task| tokio::spawn(put(producer.clone(), task)));
    let reported = future::try_join_all(tasks).await.expect("no task panics");
    producer.close().await.expect("close succeeds");
    let reported: HashMap<_, _> = reported.into_iter().flatten().collect();
    assert_eq!(reported.len(), TASKS * RECORDS_PER_TASK, "the positions are distinct");
    let found = stream.read().await.into_iter();
    let found: HashMap<_, _> =
        found.map(|found| ((found.shard.id, found.sequence_number), found.data)).collect();
    assert!(found == reported, "a receipt names a wrong position");
}
