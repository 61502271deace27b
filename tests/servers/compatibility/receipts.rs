//! A receipt tells where its record is.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future;
use kinesis_sink::{Producer, Record};

use super::server::Server;

const TASKS: usize = 10;
const EACH: usize = 25;

/// One task's records, each with the place that its receipt names.
async fn put(producer: Producer, task: usize) -> Vec<((String, String), Bytes)> {
    let data = |number: usize| Bytes::from(format!("record {number} of task {task}"));
    let mut receipts = Vec::new();
    for number in 0..EACH {
        let record = Record::from((format!("key {number}"), data(number)));
        receipts.push(producer.put(record).await.expect("it is accepted"));
    }
    let deliveries = future::try_join_all(receipts).await.expect("they are delivered");
    let place = |number: usize| {
        let delivery = &deliveries[number];
        assert_eq!((delivery.sub_sequence_number(), delivery.attempts()), (None, 1));
        (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned())
    };
    (0..EACH).map(|number| (place(number), data(number))).collect()
}

pub async fn receipts_name_shard_and_sequence_number(server: &Server) {
    let stream = server.stream(4).await;
    let producer = stream.sink(server.builder(stream.name())).spawn();
    let tasks = (0..TASKS).map(|task| tokio::spawn(put(producer.clone(), task)));
    let told = future::try_join_all(tasks).await.expect("no task panics");
    producer.close().await.expect("nothing is left");
    let told: HashMap<_, _> = told.into_iter().flatten().collect();
    assert_eq!(told.len(), TASKS * EACH, "each names another place");
    let found = stream.read().await.into_iter();
    let found: HashMap<_, _> =
        found.map(|found| ((found.shard.id, found.sequence_number), found.data)).collect();
    assert!(found == told, "the records are not where the receipts say");
}
