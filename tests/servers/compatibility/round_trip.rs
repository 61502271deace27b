//! Tests that records are read back unchanged.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use kinesis_sink::Record;
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::hash_of;

use super::server::Server;
use super::stream::{Found, Stream};

async fn send(server: &Server, stream: &Stream, records: Vec<Record>) -> Vec<Found> {
    let count = records.len();
    let mut sink = stream.sink(server.builder(stream.name()));
    stream::iter(records).map(Ok).forward(&mut sink).await.expect("all records are delivered");
    let totals = sink.totals();
    assert_eq!(
        (totals.delivered, totals.requeued, sink.status().failed.records),
        (count as u64, 0, 0)
    );
    let found = stream.read().await;
    assert_eq!(found.len(), count, "no record is missing or duplicated");
    found
}

fn sorted(mut payloads: Vec<Bytes>) -> Vec<Bytes> {
    payloads.sort();
    payloads
}

fn payloads(found: Vec<Found>) -> Vec<Bytes> {
    sorted(found.into_iter().map(|found| found.data).collect())
}

pub async fn payloads_round_trip_unchanged(server: &Server) {
    let mut rng = fastrand::Rng::with_seed(1);
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let mut sent: Vec<_> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    sent.extend([vec![], every_byte.clone(), every_byte.repeat(40)]);
    // These sizes are at the boundaries of base64 groups and CBOR length encodings.
    for length in (2..9).chain([23, 24, 25, 255, 256, 257, 1_023, 65_535, 65_536]) {
        sent.push(std::iter::repeat_with(|| rng.u8(..)).take(length).collect());
    }
    let sent: Vec<_> = sent.into_iter().map(Bytes::from).collect();
    let stream = server.stream(2).await;
    let found = send(server, &stream, sent.iter().cloned().map(Record::from).collect()).await;
    assert!(payloads(found) == sorted(sent), "the payloads differ");
}

/// Asserts that each key is unchanged and that its record is in the shard whose range contains the key's hash.
async fn assert_keys_round_trip(server: &Server, keys: &[String]) {
    let stream = server.stream(3).await;
    let records = keys.iter().map(|key| Record::from((key.as_str(), key.clone())));
    let found = send(server, &stream, records.collect()).await;
    for found in &found {
        assert_eq!(found.partition_key.as_bytes(), &found.data[..]);
        assert!(found.shard.range.contains(hash_of(&found.partition_key)));
    }
    let mut expected: Vec<_> = keys.iter().cloned().map(Bytes::from).collect();
    expected.sort();
    assert_eq!(payloads(found), expected);
}

pub async fn unicode_keys_round_trip_unchanged(server: &Server) {
    let keys =
        ["k", " ", "ключ \"в кавычках\"", "🦀🦀🦀", "é", "e\u{301}", r"\u0041\", "a\nb\tc\u{1}"];
    let mut keys: Vec<_> = keys.map(str::to_owned).into();
    keys.extend(["</script>", "'", "\u{2028}", "\u{7f}", "שלום", "日本語"].map(str::to_owned));
    keys.push("x".repeat(256));
    assert_keys_round_trip(server, &keys).await;
}

pub async fn keys_of_256_characters_round_trip(server: &Server) {
    assert_keys_round_trip(server, &["ß".repeat(256), "語".repeat(256), "🦀".repeat(128)]).await;
}

pub async fn explicit_hash_keys_select_shard(server: &Server) {
    let stream = server.stream(3).await;
    let ends = stream.open_shards().await.into_iter().flat_map(|shard| {
        let (start, end) = (shard.range.start().get(), shard.range.end().get());
        [(start, shard.id.clone()), (end, shard.id.clone()), (start + (end - start) / 3, shard.id)]
    });
    let expected: HashMap<u128, String> = ends.collect();
    assert!(expected.contains_key(&0) && expected.contains_key(&u128::MAX));
    let record = |hash_key: &u128| {
        Record::from(("one key", hash_key.to_string()))
            .with_explicit_hash_key(HashKey::new(*hash_key))
    };
    for found in send(server, &stream, expected.keys().map(record).collect()).await {
        let hash_key: u128 = std::str::from_utf8(&found.data).unwrap().parse().unwrap();
        assert_eq!(found.shard.id, expected[&hash_key]);
        assert_eq!(found.partition_key, "one key");
    }
}

fn line(number: usize) -> Bytes {
    Bytes::from(format!("line {number}"))
}

pub async fn forward_delivers_source_with_pauses(server: &Server) {
    let stream = server.stream(2).await;
    let mut sink = stream.sink(server.builder(stream.name()));
    let lines = stream::iter(0..300).then(|number| async move {
        if number % 40 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Record::from(line(number)))
    });
    lines.forward(&mut sink).await.expect("all records are delivered");
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (300, 0));
    assert!(payloads(stream.read().await) == sorted((0..300).map(line).collect()));
}
