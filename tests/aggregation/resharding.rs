//! Tests that split and merge shards while a sink sends aggregates, and then read the stream like a KCL consumer.
#![cfg(feature = "aws-config")]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ShardIteratorType, StreamStatus};
use bytes::Bytes;
use futures::future;
use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::limits::Limits;
use kinesis_sink::settings::{AggregateKey, Linger};
use kinesis_sink::shard::{HashRange, hash_of};
use kinesis_sink::status::Totals;
use kinesis_sink::{Aggregation, KinesisSink, Producer, Record, SinkBuilder};

use crate::support::embedded::{Embedded, STREAM};

const RECORDS: usize = 12_000;
const KEYS: usize = 200;

fn builder(aggregation: Aggregation) -> SinkBuilder {
    // Small aggregates and requests ensure that many of them are in flight whenever a shard is split or merged.
    KinesisSink::builder(STREAM)
        .with_aggregation(aggregation)
        .configure(|settings| settings.aggregate_bytes = 3_000)
        .with_linger(Linger::Adaptive(Duration::from_millis(20)))
        .configure(|settings| {
            settings.limits = Limits::default().with_request_entries(20);
            settings.buffer_records = Some(2_000);
        })
}

fn record(number: usize) -> Record {
    let key = format!("key-{}", number % KEYS);
    let data = format!("{number:06} {}", "x".repeat(60));
    match number % 10 {
        3 => Record::from((key, data)).with_explicit_hash_key(number as u128 * (1 << 114)),
        _ => Record::from((key, data)),
    }
}

fn number(data: &Bytes) -> usize {
    std::str::from_utf8(&data[..6]).unwrap().parse().unwrap()
}

async fn until_active(client: &Client) {
    loop {
        let response = client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
        let summary = response.stream_description_summary.unwrap();
        if summary.stream_status == StreamStatus::Active {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lists the shards in order of creation. Returns the ID and the hash range of each shard, and `true` if it is open.
async fn all_shards(client: &Client) -> Vec<(String, HashRange, bool)> {
    let response = client.list_shards().stream_name(STREAM).send().await.unwrap();
    let shards = response.shards.unwrap().into_iter().map(|shard| {
        let range = shard.hash_key_range.unwrap();
        let [start, end] = [range.starting_hash_key, range.ending_hash_key];
        let range = HashRange::new(start.parse().unwrap(), end.parse().unwrap()).unwrap();
        let sequence_numbers = shard.sequence_number_range.unwrap();
        (shard.shard_id, range, sequence_numbers.ending_sequence_number.is_none())
    });
    let mut shards: Vec<_> = shards.collect();
    shards.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    shards
}

async fn split(client: &Client) {
    let open = all_shards(client).await.into_iter().filter(|(.., open)| *open);
    let width = |range: &HashRange| range.end().get() - range.start().get();
    let (id, range, _) = open.max_by_key(|(_, range, _)| width(range)).unwrap();
    let middle = (range.start().get() + width(&range) / 2).to_string();
    let call = client.split_shard().stream_name(STREAM).shard_to_split(id);
    call.new_starting_hash_key(middle).send().await.unwrap();
    until_active(client).await;
}

async fn merge(client: &Client) {
    let mut open = all_shards(client).await;
    open.retain(|(.., open)| *open);
    open.sort_by_key(|(_, range, _)| range.start());
    let call = client.merge_shards().stream_name(STREAM).shard_to_merge(&open[0].0);
    call.adjacent_shard_to_merge(&open[1].0).send().await.unwrap();
    until_active(client).await;
}

/// Records received by a KCL consumer that reads shard by shard, parents before their children.
#[derive(Default)]
struct Read {
    numbers: Vec<usize>,
    in_closed_shards: HashSet<usize>,
    aggregates: usize,
    /// Number of aggregates that the consumer discarded because a member is outside the shard's hash range.
    discarded: usize,
}

impl Read {
    async fn from_stream(client: &Client) -> Self {
        let mut read = Self::default();
        for (shard, range, is_open) in all_shards(client).await {
            let begin = read.numbers.len();
            let call = client.get_shard_iterator().stream_name(STREAM).shard_id(&shard);
            let call = call.shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut iterator = call.send().await.unwrap().shard_iterator;
            while let Some(from) = iterator {
                let response = client.get_records().shard_iterator(from).send().await.unwrap();
                let at_tip =
                    response.records.is_empty() && response.millis_behind_latest.unwrap_or(0) == 0;
                for record in response.records {
                    let outer_key = record.partition_key.unwrap_or_default();
                    read.add(&Bytes::from(record.data.into_inner()), &outer_key, range);
                }
                iterator = response.next_shard_iterator.filter(|_| !at_tip);
            }
            if !is_open {
                read.in_closed_shards.extend(&read.numbers[begin..]);
            }
        }
        read
    }

    fn add(&mut self, data: &Bytes, outer_key: &str, range: HashRange) {
        let members: Vec<_> = deaggregate(data).collect();
        let fits = |member: &Member| {
            let key = member.partition_key().map_or(outer_key, |key| key.as_str());
            range.contains(member.explicit_hash_key().unwrap_or_else(|| hash_of(key)))
        };
        self.aggregates += usize::from(members.len() > 1);
        if members.len() > 1 && !members.iter().all(fits) {
            self.discarded += 1;
            return;
        }
        self.numbers.extend(members.iter().map(|member| number(member.data())));
    }

    /// Returns the number of duplicates without a copy in a closed shard. Those in closed shards are expected: if a
    /// shard opens and closes between two listings, the sink cannot verify its aggregates and sends them again.
    fn check_complete(&self) -> usize {
        let mut seen = vec![0_usize; RECORDS];
        for number in &self.numbers {
            seen[*number] += 1;
        }
        let missing: Vec<_> = (0..RECORDS).filter(|number| seen[*number] == 0).collect();
        assert!(missing.is_empty(), "{} missing: {:?}..", missing.len(), &missing[..1]);
        (0..RECORDS)
            .filter(|number| seen[*number] > 1 && !self.in_closed_shards.contains(number))
            .count()
    }

    /// Asserts that records with the same key are in order. Ignores records with an explicit hash key.
    fn check_order(&self) {
        let mut last = HashMap::new();
        let mut seen = vec![false; RECORDS];
        let first_copies =
            self.numbers.iter().filter(|number| !std::mem::replace(&mut seen[**number], true));
        for number in first_copies.filter(|number| *number % 10 != 3) {
            let before = last.insert(number % KEYS, *number);
            assert!(before.is_none_or(|before| before < *number), "{number} after {before:?}");
        }
    }
}

async fn send(producer: &Producer, range: std::ops::Range<usize>) {
    for number in range {
        producer.send(record(number)).await.unwrap();
    }
}

async fn send_and_reshard(builder: SinkBuilder) -> (Totals, Read) {
    let server = Embedded::start(4, false).await.unwrap();
    let client = server.client();
    let producer = builder.build(client).unwrap().spawn();
    let quarter = RECORDS / 4;
    for (begin, number) in [0, 1, 2, 3].map(|number| (number * quarter, number)) {
        let reshard = async {
            match number {
                0 | 2 => split(client).await,
                _ => merge(client).await,
            }
        };
        future::join(send(&producer, begin..begin + quarter), reshard).await;
    }
    producer.close().await.unwrap();
    let totals = producer.status().totals;
    assert_eq!((totals.delivered, totals.failed), (RECORDS as u64, 0));
    (totals, Read::from_stream(client).await)
}

#[tokio::test]
async fn per_shard_aggregation_survives_reshard() {
    for key in [AggregateKey::FirstMember, AggregateKey::Kpl] {
        let builder =
            builder(Aggregation::PerShard).configure(|settings| settings.aggregate_key = key);
        let (totals, read) = send_and_reshard(builder).await;
        let duplicates = read.check_complete();
        assert!(read.aggregates > 100, "{}", read.aggregates);
        // Only a misplaced aggregate makes the sink aware of a split.
        assert!(read.discarded > 0);
        assert!(totals.requeued > 0);
        assert_eq!(duplicates, 0, "only discarded aggregates are sent again");
    }
}

#[tokio::test]
async fn per_key_aggregation_keeps_order_on_reshard() {
    let builder = builder(Aggregation::PerKey).with_max_in_flight(1);
    let (totals, read) = send_and_reshard(builder).await;
    assert_eq!((read.check_complete(), read.discarded, totals.requeued), (0, 0, 0));
    assert!(read.aggregates > 100, "{}", read.aggregates);
    read.check_order();
}

#[tokio::test]
async fn per_shard_aggregation_keeps_order() {
    let server = Embedded::start(4, false).await.unwrap();
    let builder = builder(Aggregation::PerShard).with_max_in_flight(1);
    let producer = builder.build(server.client()).unwrap().spawn();
    send(&producer, 0..RECORDS).await;
    producer.close().await.unwrap();
    let read = Read::from_stream(server.client()).await;
    assert_eq!((read.check_complete(), read.discarded), (0, 0));
    read.check_order();
}
