//! Tests of the timing and validation of requests.

use kinesis_sink::StreamId;
use kinesis_sink::service::PutRecordsErrorKind;
use kinesis_sink::stream::{Distribution, StreamInfo};
use tokio::time::{Instant, sleep, timeout};

use super::*;

#[tokio::test(start_paused = true)]
async fn request_is_written_at_half_round_trip() {
    let stream = SimStream::builder().with_latency(Latency::constant(ms(100))).build().unwrap();
    sleep(ms(1_000)).await;
    let began = Instant::now();
    let response = tokio::spawn(stream.service().call(request(&stream, vec![entry("k", "x")])));
    sleep(ms(49)).await;
    assert_eq!(stream.written().len(), 0);
    sleep(ms(2)).await;
    assert_eq!(stream.written()[0].at(), ms(1_050));
    let response = response.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), ms(100));
    let written = &stream.written()[0];
    let placement = response.results()[0].as_ref().unwrap();
    assert_eq!(placement.sequence_number(), written.sequence_number());
    assert_eq!(placement.shard_id(), written.shard_id());
}

#[tokio::test(start_paused = true)]
async fn default_round_trip_is_20_ms() {
    let stream = SimStream::new(1);
    let began = Instant::now();
    put(&stream, vec![entry("k", "x")]).await;
    assert_eq!(began.elapsed(), ms(20));
}

#[tokio::test(start_paused = true)]
async fn timeout_before_arrival_cancels_request() {
    let stream = SimStream::builder().with_latency(Latency::constant(ms(100))).build().unwrap();
    let one = || try_put(&stream, vec![entry("k", "x")]);
    assert!(timeout(ms(40), one()).await.is_err());
    sleep(ms(200)).await;
    assert_eq!(stream.written().len(), 0);
    assert!(timeout(ms(60), one()).await.is_err());
    assert_eq!((stream.written().len(), stream.stats().requests), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn sequence_numbers_have_56_digits_and_grow() {
    let stream = no_latency().with_shards(4).build().unwrap();
    let entries = (0..200).map(|n| entry(&n.to_string(), "x")).collect();
    put(&stream, entries).await;
    let numbers: Vec<_> = stream.written().iter().map(Written::sequence_number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(numbers.iter().all(|number| number.len() == 56 && number.parse::<u128>().is_err()));
    assert!(numbers.iter().all(|number| number.bytes().all(|digit| digit.is_ascii_digit())));
}

#[tokio::test(start_paused = true)]
async fn written_keeps_keys_and_debug_redacts_them() {
    let stream = no_latency().build().unwrap();
    let whole = Bytes::from("MARKER");
    let entries = vec![
        entry("SECRET", whole.clone()),
        Entry::new(whole.clone(), Some("SECRET".into()), Some(HashKey::new(7))),
    ];
    put(&stream, entries).await;
    let written = stream.written();
    assert_eq!(written[0].data().as_ptr(), whole.as_ptr(), "the data was copied");
    assert_eq!(written[0].partition_key().map(|key| key.as_str()), Some("SECRET"));
    let hash_keys = [0, 1].map(|place: usize| written[place].explicit_hash_key());
    assert_eq!(hash_keys, [None, Some(HashKey::new(7))]);
    assert_eq!(written[0].size(), 12);
    let shown = format!("{written:?} {stream:?}");
    assert!(!shown.contains("MARKER") && !shown.contains("SECRET"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn kept_bytes_truncates_written_data() {
    let stream = no_latency().with_kept_bytes(3).build().unwrap();
    put(&stream, vec![entry("k", "abcdef"), entry("k", "abc"), entry("k", "a")]).await;
    let written = stream.written();
    assert_eq!(texts(&written), ["abc", "abc", "a"]);
    assert_eq!(written[0].size(), 7);
    let none = no_latency().without_written().build().unwrap();
    assert_eq!(put_small(&none, 500).await, 500);
    assert_eq!((none.written().len(), none.stats().accepted_entries), (0, 500));
}

#[tokio::test(start_paused = true)]
async fn invalid_request_fails_validation() {
    const MIB: usize = 1024 * 1024;
    let stream = no_latency().with_shards(20).build().unwrap();
    let of_mib = |n: usize| (0..n).map(|n| entry(&n.to_string(), vec![0; MIB - 2])).collect();
    for (entries, expected) in [
        (vec![], "greater than or equal to 1"),
        (vec![entry("k", "x"); 501], "less than or equal to 500"),
        (vec![entry("k", "x"), entry("k", vec![0; MIB])], "records.2.member.data"),
        (vec![entry("", "x")], "records.1.member.partitionKey"),
        (vec![entry(&"🦀".repeat(257), "x")], "records.1.member.partitionKey"),
        (vec![Entry::new("x".into(), None, None)], "records.1.member.partitionKey"),
        (of_mib(11), "10 MB"),
    ] {
        let error = try_put(&stream, entries).await.unwrap_err();
        assert_eq!(error.kind(), PutRecordsErrorKind::Service);
        assert_eq!((error.code(), error.status()), (Some("ValidationException"), Some(400)));
        assert!(error.message().unwrap().contains(expected), "{error}");
    }
    let stats = stream.stats();
    assert_eq!((stats.failed_requests, stats.entries, stream.written().len()), (7, 0, 0));
    assert_eq!(put(&stream, vec![entry(&"🦀".repeat(256), "x")]).await.delivered(), 1);
    assert_eq!(put(&stream, of_mib(9)).await.results().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn stream_accepts_only_its_name_and_arn() {
    let stream = no_latency().with_name("clicks").with_account("000000000001").build().unwrap();
    assert_eq!(stream.arn(), "arn:aws:kinesis:us-east-1:000000000001:stream/clicks");
    let put = async |id: &str| {
        let request = PutRecordsRequest::new(id.parse().unwrap(), vec![entry("k", "x")]);
        stream.service().call(request).await.map(|response| response.delivered())
    };
    assert_eq!(put("clicks").await.unwrap(), 1);
    assert_eq!(put(stream.arn()).await.unwrap(), 1);
    let foreign = stream.arn().replace("000000000001", "000000000002");
    for (id, expected) in [
        ("clocks", "Stream clocks under account 000000000001 not found."),
        (&*foreign, "Stream clicks under account 000000000002 not found."),
    ] {
        let error = put(id).await.unwrap_err();
        assert_eq!(error.code(), Some("ResourceNotFoundException"));
        assert_eq!(error.message(), Some(expected));
        let id: StreamId = id.parse().unwrap();
        assert!(stream.list_shards(&id).unwrap().await.is_err());
        assert!(stream.describe_stream(&id).unwrap().await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn lookups_return_settings_after_round_trip() {
    let stream = SimStream::builder()
        .with_shards(3)
        .with_max_record_bytes(2 * 1024 * 1024)
        .with_distribution(Distribution::Auto)
        .build()
        .unwrap();
    let began = Instant::now();
    assert_eq!(stream.list_shards(&stream.id()).unwrap().await.unwrap(), stream.shards());
    assert_eq!(began.elapsed(), ms(20));
    let description = stream.describe_stream(&stream.id()).unwrap().await.unwrap();
    assert_eq!(began.elapsed(), ms(40));
    assert_eq!(description.max_record_bytes(), 2 * 1024 * 1024);
    assert_eq!(description.distribution(), Distribution::Auto);
}

#[tokio::test(start_paused = true)]
async fn bandwidth_delays_request_by_size() {
    // Base64 turns the 3,000 bytes into 4,000, and the JSON syntax adds 41.
    let stream = no_latency().with_bandwidth(1_000).build().unwrap();
    let began = Instant::now();
    let large = || vec![entry("k", vec![b'.'; 3_000])];
    put(&stream, large()).await;
    let one = began.elapsed();
    assert!((ms(4_041)..ms(4_300)).contains(&one), "{one:?}");
    // Two requests share the link, so the small one is sent between pieces of the large one.
    let began = Instant::now();
    let small = async {
        put(&stream, vec![entry("k", "x")]).await;
        began.elapsed()
    };
    let (_, small) = tokio::join!(put(&stream, large()), small);
    assert!(small < ms(300), "{small:?}");
    assert!((one..one + ms(300)).contains(&began.elapsed()));
    // A cancelled request stops using the link.
    let timed_out = timeout(ms(1_000), try_put(&stream, large())).await;
    assert!(timed_out.is_err());
    let began = Instant::now();
    put(&stream, large()).await;
    assert!(began.elapsed() < one + ms(100));
    assert_eq!(stream.written().len(), 4);
}
