//! Many tasks, one producer, over HTTP to a Kinesis server in this process: the receipts say what the
//! stream holds.
#![cfg(feature = "config")]

#[path = "../examples/kinesis/embedded.rs"]
mod embedded;
#[path = "../examples/kinesis/read_back.rs"]
mod read_back;

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use embedded::{Embedded, STREAM};
use futures::{StreamExt, future, stream};
use kinesis_sink::{KinesisSink, Producer, Record};
use read_back::{Found, From, ReadBack};

fn data(number: usize) -> Bytes {
    Bytes::from(number.to_string())
}

/// `tasks` tasks that send `each` records and await each receipt. The places where the records lie.
async fn put_all(producer: &Producer, tasks: usize, each: usize) -> HashSet<(String, String)> {
    let task = |task: usize| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let numbers = stream::iter(task * each..(task + 1) * each);
            let receipts = numbers.then(move |number| {
                let producer = producer.clone();
                async move { producer.put(Record::from(data(number))).await.unwrap() }
            });
            let place = async |receipt| {
                let delivery: kinesis_sink::Delivery = receipt;
                (delivery.shard_id().to_owned(), delivery.sequence_number().to_owned())
            };
            let outcomes = receipts.buffered(64).map(Result::unwrap).then(place);
            outcomes.collect::<Vec<_>>().await
        })
    };
    let places = future::join_all((0..tasks).map(task)).await;
    places.into_iter().flat_map(Result::unwrap).collect()
}

async fn many_tasks(tasks: usize, each: usize, shards: i32, enforce_limits: bool) {
    let server = Embedded::start(shards, enforce_limits).await.unwrap();
    let mut read_back = ReadBack::begin(server.client(), STREAM, From::Start).await.unwrap();
    let records = tasks * each;
    (0..records).for_each(|number| read_back.expect(data(number)));
    let producer = KinesisSink::new(server.client(), STREAM).unwrap().spawn();
    let places = put_all(&producer, tasks, each).await;
    producer.close_within(Duration::from_secs(60)).await.unwrap();
    assert_eq!(places.len(), records, "each receipt names another place");
    let totals = producer.totals();
    assert_eq!((totals.accepted, totals.delivered), (records as u64, records as u64));
    assert_eq!(totals.throttled > 0, enforce_limits);
    let found = read_back.finish().await.unwrap();
    assert_eq!(found, Found { records, missing: 0, duplicated: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks() {
    many_tasks(1_000, 50, 4, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a million records take a minute; `.ci/run` has it"]
async fn a_thousand_tasks_with_a_thousand_records_each() {
    many_tasks(1_000, 1_000, 4, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_into_throttled_shards() {
    many_tasks(100, 60, 2, true).await;
}
