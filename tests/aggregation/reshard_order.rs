//! Tests that aggregated records with the same key stay in order while a stream is resharded. They check both consumers
//! that discard misplaced aggregates, such as the KCL, and consumers that decode every aggregate.
#![cfg(feature = "sim")]

use std::collections::HashMap;

use futures::SinkExt;
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::{HashRange, hash_of};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering};

type RangesById = HashMap<String, HashRange>;

fn record_ranges(stream: &SimStream, ranges: &mut RangesById) {
    let shards = stream.shards();
    ranges.extend(shards.iter().map(|shard| (shard.id().to_owned(), shard.range())));
}

fn record(key: &str, number: &str) -> Record {
    let half = 1 << 127;
    let hash_key =
        if key == "low" { HashKey::new(half / 2) } else { HashKey::new(half + half / 2) };
    Record::from((key.to_owned(), format!("{key} {number}"))).with_explicit_hash_key(hash_key)
}

fn read(stream: &SimStream, shards: [usize; 3], discards: Option<&RangesById>) -> Vec<String> {
    let mut read = Vec::new();
    for written in
        shards.iter().flat_map(|number| stream.written_to(&format!("shardId-{number:012}")))
    {
        let members: Vec<_> = deaggregate(written.data()).collect();
        let is_misplaced = |ranges: &RangesById| {
            let range = ranges[written.shard_id()];
            members.iter().any(|member| {
                let key_hash = || hash_of(member.partition_key().expect("the member has no key"));
                !range.contains(member.explicit_hash_key().unwrap_or_else(key_hash))
            })
        };
        if members.len() > 1 && discards.is_some_and(is_misplaced) {
            continue;
        }
        read.extend(
            members.iter().map(|member| String::from_utf8_lossy(member.data()).into_owned()),
        );
    }
    read
}

fn first_copies(read: &[String], key: &str) -> Vec<String> {
    let mut first: Vec<String> = Vec::new();
    for text in read.iter().filter(|text| text.starts_with(key)) {
        if !first.contains(text) {
            first.push(text.clone());
        }
    }
    first
}

async fn send_through_split(names_child: bool) -> (SimStream, RangesById, KinesisSink) {
    let stream = SimStream::builder().with_shards(1).with_seed(1).build().unwrap();
    let builder = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(Aggregation::PerShard)
        .with_ordering(RecordOrdering::PerKey);
    let mut sink = builder.build(&stream.client()).unwrap();
    let mut ranges = RangesById::new();
    sink.send(record("low", "0")).await.unwrap();
    record_ranges(&stream, &mut ranges);
    stream.split("shardId-000000000000").unwrap();
    record_ranges(&stream, &mut ranges);
    // The sink detects the split before it sends both keys, because the response to this record names a child shard.
    if names_child {
        sink.send(record("low", "0.5")).await.unwrap();
    }
    sink.feed(record("high", "1")).await.unwrap();
    sink.feed(record("low", "1")).await.unwrap();
    sink.flush().await.unwrap();
    sink.send(record("low", "2")).await.unwrap();
    (stream, ranges, sink)
}

#[tokio::test(start_paused = true)]
async fn split_keeps_order_for_all_consumers() {
    let (stream, ranges, sink) = send_through_split(true).await;
    let orders = [[0, 1, 2], [0, 2, 1]];
    for shards in orders {
        for discards in [None, Some(&ranges)] {
            let read = read(&stream, shards, discards);
            let low = first_copies(&read, "low");
            assert_eq!(low, ["low 0", "low 0.5", "low 1", "low 2"], "{shards:?}: {read:?}");
            assert_eq!(read.len(), 5, "duplicate record: {read:?}");
        }
    }
    assert_eq!(sink.totals().misplaced, 0);
}

#[tokio::test(start_paused = true)]
async fn undetected_split_misplaces_one_entry() {
    let (stream, ranges, sink) = send_through_split(false).await;
    for shards in [[0, 1, 2], [0, 2, 1]] {
        for discards in [None, Some(&ranges)] {
            let read = read(&stream, shards, discards);
            assert_eq!(first_copies(&read, "low"), ["low 0", "low 1", "low 2"], "{read:?}");
            assert_eq!(first_copies(&read, "high"), ["high 1"]);
        }
        // Consumers that discard misplaced aggregates receive each record exactly once.
        assert_eq!(read(&stream, shards, Some(&ranges)).len(), 4);
    }
    assert_eq!(sink.totals().misplaced, 1);
}
