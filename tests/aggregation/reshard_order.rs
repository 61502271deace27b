//! The order of keys in aggregates of several keys while a stream is resharded, as two kinds of consumers read
//! it: those that discard misplaced aggregates, as the KCL does, and those that take every aggregate apart.
#![cfg(feature = "sim")]

use std::collections::HashMap;

use futures::SinkExt;
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::{HashRange, hash_of};
use kinesis_sink::sim::SimStream;
use kinesis_sink::{Aggregation, KinesisSink, Record, RecordOrdering};

/// The ranges of all shards by their ids, closed ones included.
type Ranges = HashMap<String, HashRange>;

fn note(stream: &SimStream, ranges: &mut Ranges) {
    let shards = stream.shards();
    ranges.extend(shards.iter().map(|shard| (shard.id().to_owned(), shard.range())));
}

fn record(key: &str, number: &str) -> Record {
    let half = 1 << 127;
    let place = if key == "low" { HashKey::new(half / 2) } else { HashKey::new(half + half / 2) };
    Record::from((key.to_owned(), format!("{key} {number}"))).with_explicit_hash_key(place)
}

/// The records that a consumer finds if it reads the shards in this order, each to its end.
fn read(stream: &SimStream, shards: [usize; 3], discards: Option<&Ranges>) -> Vec<String> {
    let mut read = Vec::new();
    for written in
        shards.iter().flat_map(|number| stream.written_to(&format!("shardId-{number:012}")))
    {
        let members: Vec<_> = deaggregate(written.data()).collect();
        let is_misplaced = |ranges: &Ranges| {
            let range = ranges[written.shard_id()];
            members.iter().any(|member| {
                let of_key = || hash_of(member.partition_key().expect("a member has a key"));
                !range.contains(member.explicit_hash_key().unwrap_or_else(of_key))
            })
        };
        if members.len() > 1 && discards.is_some_and(is_misplaced) {
            continue;
        }
        read.extend(members.iter().map(|one| String::from_utf8_lossy(one.data()).into_owned()));
    }
    read
}

/// The first copies of a key's records, in the order in which they are read.
fn first_copies(read: &[String], key: &str) -> Vec<String> {
    let mut first: Vec<String> = Vec::new();
    for text in read.iter().filter(|text| text.starts_with(key)) {
        if !first.contains(text) {
            first.push(text.clone());
        }
    }
    first
}

async fn send_through_a_split(is_named: bool) -> (SimStream, Ranges, KinesisSink) {
    let stream = SimStream::builder().with_shards(1).with_seed(1).build().unwrap();
    let builder = KinesisSink::builder("example")
        .configure(|settings| settings.seed = Some(1))
        .with_aggregation(Aggregation::PerShard)
        .with_ordering(RecordOrdering::PerKey);
    let mut sink = builder.build(&stream.client()).unwrap();
    let mut ranges = Ranges::new();
    sink.send(record("low", "0")).await.unwrap();
    note(&stream, &mut ranges);
    stream.split("shardId-000000000000").unwrap();
    note(&stream, &mut ranges);
    if is_named {
        sink.send(record("low", "0.5")).await.unwrap();
    }
    sink.feed(record("high", "1")).await.unwrap();
    sink.feed(record("low", "1")).await.unwrap();
    sink.flush().await.unwrap();
    sink.send(record("low", "2")).await.unwrap();
    (stream, ranges, sink)
}

#[tokio::test(start_paused = true)]
async fn split_keeps_order_for_both_readers() {
    let (stream, ranges, sink) = send_through_a_split(true).await;
    let orders = [[0, 1, 2], [0, 2, 1]];
    println!("{:?}", read(&stream, [0, 2, 1], None));
    for shards in orders {
        for discards in [None, Some(&ranges)] {
            let read = read(&stream, shards, discards);
            let low = first_copies(&read, "low");
            assert_eq!(low, ["low 0", "low 0.5", "low 1", "low 2"], "{shards:?}: {read:?}");
            assert_eq!(read.len(), 5, "no record is there twice: {read:?}");
        }
    }
    assert_eq!(sink.totals().misplaced, 0);
}

#[tokio::test(start_paused = true)]
async fn split_misplaces_the_first_entry_at_most() {
    let (stream, ranges, sink) = send_through_a_split(false).await;
    for shards in [[0, 1, 2], [0, 2, 1]] {
        for discards in [None, Some(&ranges)] {
            let read = read(&stream, shards, discards);
            assert_eq!(first_copies(&read, "low"), ["low 0", "low 1", "low 2"], "{read:?}");
            assert_eq!(first_copies(&read, "high"), ["high 1"]);
        }
        // Consumers with the discard rule find each record once.
        assert_eq!(read(&stream, shards, Some(&ranges)).len(), 4);
    }
    assert_eq!(sink.totals().misplaced, 1);
}
