//! Tests of splits, merges, and shard count updates, and of the routing of records.

use std::collections::HashSet;

use kinesis_sink::BuildError;
use kinesis_sink::service::SdkStreamInfo;
use kinesis_sink::shard::{Shard, hash_of};
use kinesis_sink::stream::{Distribution, StreamInfo, StreamMode};
use tokio::time::sleep;

use super::*;

fn id(number: usize) -> String {
    format!("shardId-{number:012}")
}

fn ids(stream: &SimStream) -> Vec<usize> {
    let number = |shard: &Shard| shard.id()["shardId-".len()..].parse().unwrap();
    stream.shards().iter().map(number).collect()
}

/// Asserts that the ranges of the open shards cover the whole hash ring without gaps.
fn assert_covered(stream: &SimStream) {
    let shards = stream.shards();
    assert_eq!(shards[0].range().start().get(), 0);
    assert_eq!(shards[shards.len() - 1].range().end().get(), u128::MAX);
    for pair in shards.windows(2) {
        assert_eq!(pair[0].range().end().get() + 1, pair[1].range().start().get());
    }
}

async fn shard_of(stream: &SimStream, entry: Entry) -> String {
    put(stream, vec![entry]).await.results()[0].as_ref().unwrap().shard_id().to_owned()
}

#[tokio::test(start_paused = true)]
async fn hash_key_selects_shard_of_record() {
    let stream = no_latency().with_shards(7).build().unwrap();
    assert_covered(&stream);
    assert_eq!(ids(&stream), [0, 1, 2, 3, 4, 5, 6]);
    for shard in stream.shards() {
        for end in [shard.range().start(), shard.range().end()] {
            assert_eq!(shard_of(&stream, at_hash(end.get(), "x")).await, shard.id());
        }
    }
    for key in ["a", "b", "ключ"] {
        let shards = stream.shards();
        let holder = shards.iter().find(|shard| shard.range().contains(hash_of(key))).unwrap();
        assert_eq!(shard_of(&stream, entry(key, "x")).await, holder.id());
    }
}

#[tokio::test(start_paused = true)]
async fn split_routes_later_records_to_children() {
    let stream = no_latency().with_shards(2).build().unwrap();
    let at = [0, u128::MAX / 4 + 1, u128::MAX];
    let round = |number: usize| at.map(|hash| at_hash(hash, &format!("{number}"))).to_vec();
    put(&stream, round(1)).await;
    stream.split(&id(0)).unwrap();
    assert_covered(&stream);
    assert_eq!(ids(&stream), [2, 3, 1]);
    let middle = stream.shards()[1].range().start().get();
    assert_eq!(middle, u128::MAX / 4 + 1);
    put(&stream, round(2)).await;
    let of = |number| texts(&stream.written_to(&id(number))).join(" ");
    assert_eq!([0, 1, 2, 3].map(of), ["1 1", "1 2", "2", "2"]);
    assert_eq!(texts(&stream.written()), ["1", "1", "1", "2", "2", "2"]);
    assert_eq!(stream.written_to("shardId-9"), []);
}

#[tokio::test(start_paused = true)]
async fn merge_accepts_shards_in_either_order() {
    let stream = no_latency().with_shards(4).build().unwrap();
    stream.merge(&id(1), &id(2)).unwrap();
    assert_covered(&stream);
    assert_eq!(ids(&stream), [0, 4, 3]);
    stream.merge(&id(4), &id(0)).unwrap();
    assert_covered(&stream);
    assert_eq!(ids(&stream), [5, 3]);
    assert_eq!(shard_of(&stream, at_hash(0, "x")).await, id(5));
    assert_eq!(shard_of(&stream, at_hash(u128::MAX / 4 * 3 - 9, "x")).await, id(5));
    assert_eq!(shard_of(&stream, at_hash(u128::MAX, "x")).await, id(3));
}

#[tokio::test(start_paused = true)]
async fn shard_count_update_replaces_shards() {
    let stream = no_latency().with_shards(3).build().unwrap();
    stream.update_shard_count(3).unwrap();
    assert_eq!(ids(&stream), [0, 1, 2]);
    stream.update_shard_count(5).unwrap();
    assert_covered(&stream);
    assert_eq!(ids(&stream), [3, 4, 5, 6, 7]);
    stream.update_shard_count(1).unwrap();
    assert_covered(&stream);
    assert_eq!(ids(&stream), [8]);
    assert_eq!(shard_of(&stream, entry("a", "x")).await, id(8));
    let refused = |shards| stream.update_shard_count(shards).unwrap_err();
    for shards in [0, 10_001] {
        let expected = format!("the number of shards is {shards}; set it between 1 and 10000");
        assert_eq!(refused(shards).to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_shard_change_is_rejected() {
    let stream = no_latency().with_shards(3).build().unwrap();
    let (zero, one, two, none) = (&*id(0), &*id(1), &*id(2), &*id(9));
    let error = |changed: Result<(), BuildError>| changed.unwrap_err().to_string();
    assert_eq!(
        error(stream.split(none)),
        format!("the stream has no shard {none}: use one of `shards()`")
    );
    for (shard_id, adjacent) in [(zero, two), (two, zero), (one, one)] {
        let refused = error(stream.merge(shard_id, adjacent));
        assert!(refused.contains("are not adjacent"), "{refused}");
    }
    assert_eq!(ids(&stream), [0, 1, 2]);
    stream.split(one).unwrap();
    let closed = format!("the shard {one} is closed: use one of `shards()`");
    assert_eq!(error(stream.split(one)), closed);
    assert_eq!(error(stream.merge(one, zero)), closed);
    assert_eq!(error(stream.merge(zero, one)), closed);
    for _ in 0..127 {
        let lowest = stream.shards()[0].id().to_owned();
        if stream.split(&lowest).is_err() {
            break;
        }
        assert_covered(&stream);
    }
    let lowest = stream.shards()[0].clone();
    assert_eq!(lowest.range().end().get(), 0);
    let refused = error(stream.split(lowest.id()));
    assert!(refused.contains("has a single hash key"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn new_shards_start_with_full_quota() {
    let stream = no_latency().with_shards(2).build().unwrap();
    let many = |hash: u128| vec![at_hash(hash, "x"); 500];
    for _ in 0..2 {
        put(&stream, many(0)).await;
        put(&stream, many(u128::MAX)).await;
    }
    stream.split(&id(0)).unwrap();
    assert_eq!(put(&stream, many(0)).await.delivered(), 500);
    assert_eq!(put(&stream, many(u128::MAX)).await.delivered(), 0);
}

#[tokio::test(start_paused = true)]
async fn auto_stream_ignores_keys() {
    let stream = no_latency().with_shards(4).with_distribution(Distribution::Auto).build().unwrap();
    let one_key = (0..200).map(|_| entry("k", "x"));
    let one_hash = (0..200).map(|_| at_hash(0, "x"));
    put(&stream, one_key.chain(one_hash).collect()).await;
    put(&stream, vec![Entry::new("x".into(), None, None); 400]).await;
    for number in 0..4 {
        let taken = stream.written_to(&id(number)).len();
        assert!(taken.abs_diff(200) < 50, "{taken} of 800 on the shard {number}: {stream:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn distribution_change_affects_in_flight_request() {
    let stream =
        no_latency().with_shards(4).with_latency(Latency::constant(ms(20))).build().unwrap();
    let by_one_key = || (0..100).map(|_| entry("k", "x")).collect();
    let shards_of = |from: usize| {
        let written = stream.written();
        let ids = written[from..].iter().map(|record| record.shard_id().to_owned());
        ids.collect::<HashSet<_>>().len()
    };
    put(&stream, by_one_key()).await;
    assert_eq!(shards_of(0), 1);
    let in_flight = put(&stream, by_one_key());
    let switched = async {
        sleep(ms(5)).await;
        stream.set_distribution(Distribution::Auto).unwrap();
    };
    tokio::join!(in_flight, switched);
    assert_eq!(shards_of(100), 4);
    let describe = || async { stream.describe_stream(&stream.id()).unwrap().await.unwrap() };
    assert_eq!(describe().await.distribution(), Distribution::Auto);
    let client = SdkStreamInfo::new(&stream.client());
    let described = client.describe_stream(&stream.id()).unwrap().await.unwrap();
    assert_eq!(described.distribution(), Distribution::Auto);
    stream.set_distribution(Distribution::UserPartitionKey).unwrap();
    put(&stream, by_one_key()).await;
    assert_eq!(shards_of(200), 1);
    assert_eq!(describe().await.distribution(), Distribution::UserPartitionKey);
}

#[tokio::test(start_paused = true)]
async fn provisioned_stream_rejects_auto() {
    let provisioned = || no_latency().with_shards(4).with_mode(StreamMode::Provisioned);
    let stream = provisioned().build().unwrap();
    let refused = stream.set_distribution(Distribution::Auto).unwrap_err().to_string();
    assert!(refused.starts_with("the stream is provisioned"), "{refused}");
    stream.set_distribution(Distribution::UserPartitionKey).unwrap();
    let client = SdkStreamInfo::new(&stream.client());
    let described = client.describe_stream(&stream.id()).unwrap().await.unwrap();
    assert_eq!(described.mode(), StreamMode::Provisioned);
    // A provisioned stream assigns records by key even if it was built with AUTO.
    let stream = provisioned().with_distribution(Distribution::Auto).build().unwrap();
    put(&stream, (0..100).map(|_| entry("k", "x")).collect()).await;
    let written = stream.written();
    assert!(written.iter().all(|record| record.shard_id() == written[0].shard_id()));
}
