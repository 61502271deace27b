//! Tests of injected faults: failed, throttled, lost, and late requests, and poison records.

use kinesis_sink::sim::Faults;
use kinesis_sink::stream::StreamInfo;
use tokio::time::{sleep, timeout};

use super::*;

fn stream_with(faults: Faults) -> SimStream {
    no_latency().with_faults(faults).with_shard_quota(1_000_000, 100_000_000).build().unwrap()
}

fn one_entry() -> Vec<Entry> {
    vec![entry("k", "x")]
}

#[tokio::test(start_paused = true)]
async fn entry_faults_match_configured_shares() {
    let stream = stream_with(Faults::default().with_internal_failures(0.2).with_throttles(0.25));
    let (mut failed, mut throttled) = (0, 0);
    for _ in 0..20 {
        let response = put(&stream, vec![entry("k", "x"); 500]).await;
        for error in response.errors() {
            match (&*error.code, &*error.message) {
                ("InternalFailure", "Internal service failure.") => failed += error.count,
                (THROTTLE, message) => {
                    assert!(message.starts_with("Rate exceeded for shard shardId-000000000000 in"));
                    throttled += error.count;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // Only the 8,000 entries that did not fail can be throttled, and 25 % of them is 2,000.
    assert!(failed.abs_diff(2_000) < 200 && throttled.abs_diff(2_000) < 200, "{stream:?}");
    let stats = stream.stats();
    let counted = [stats.failed_entries, stats.throttled_entries, stats.accepted_entries];
    assert_eq!(counted.map(|count| count as usize), [failed, throttled, stream.written().len()]);
    assert_eq!(stats.entries, 10_000);
}

#[tokio::test(start_paused = true)]
async fn failed_entries_use_no_quota() {
    let all = Faults::default().with_throttles(1.0);
    let stream = no_latency().with_faults(all).build().unwrap();
    assert_eq!(put_small(&stream, 2_000).await, 0);
    stream.set_faults(Faults::default().with_internal_failures(1.0));
    assert_eq!(put_small(&stream, 2_000).await, 0);
    stream.set_faults(Faults::default());
    assert_eq!(put_small(&stream, 2_000).await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn request_errors_match_configured_shares() {
    let faults = Faults::default()
        .with_request_errors(0.5, "InternalFailure", 500)
        .with_request_errors(0.25, "KMSThrottlingException", 400);
    let stream = stream_with(faults);
    let mut counts = [0_usize; 3];
    for _ in 0..1_000 {
        match try_put(&stream, one_entry()).await {
            Ok(_) => counts[0] += 1,
            Err(error) => match (error.code(), error.status()) {
                (Some("InternalFailure"), Some(500)) => counts[1] += 1,
                (Some("KMSThrottlingException"), Some(400)) => counts[2] += 1,
                other => panic!("{other:?}"),
            },
        }
    }
    let expected = [250, 500, 250];
    assert!((0..3).all(|place| counts[place].abs_diff(expected[place]) < 60), "{counts:?}");
    assert_eq!(stream.stats().failed_requests as usize, counts[1] + counts[2]);
    assert_eq!(stream.written().len(), counts[0]);
}

#[tokio::test(start_paused = true)]
async fn outage_fails_requests_and_lookups() {
    let stream = stream_with(Faults::default().with_outage("AccessDeniedException", 400));
    for _ in 0..10 {
        let error = try_put(&stream, one_entry()).await.unwrap_err();
        assert_eq!((error.code(), error.status()), (Some("AccessDeniedException"), Some(400)));
    }
    assert!(stream.list_shards(&stream.id()).unwrap().await.is_err());
    stream.set_faults(Faults::default());
    assert_eq!(put(&stream, one_entry()).await.delivered(), 1);
    assert!(stream.list_shards(&stream.id()).unwrap().await.is_ok());
    assert_eq!((stream.stats().failed_requests, stream.written().len()), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn lost_request_is_not_written() {
    let stream = stream_with(Faults::default().with_lost_requests(1.0));
    assert!(timeout(ms(1_000_000), try_put(&stream, one_entry())).await.is_err());
    assert_eq!((stream.written().len(), stream.stats().lost_requests), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn request_is_written_if_response_is_lost() {
    let stream = stream_with(Faults::default().with_lost_answers(1.0));
    assert!(timeout(ms(1_000_000), try_put(&stream, one_entry())).await.is_err());
    assert_eq!((texts(&stream.written()), stream.stats().lost_answers), (vec!["x"], 1));
    assert!(stream.written()[0].at() < ms(2));
}

#[tokio::test(start_paused = true)]
async fn late_write_lands_after_retry() {
    let late = Faults::default().with_late_writes(1.0, ms(3_000));
    let latency = Latency::constant(ms(100));
    let stream = SimStream::builder().with_latency(latency).with_faults(late).build().unwrap();
    let first = timeout(ms(1_000), try_put(&stream, vec![entry("k", "first")]));
    assert!(first.await.is_err());
    assert_eq!(stream.written().len(), 0);
    stream.set_faults(Faults::default());
    put(&stream, vec![entry("k", "second")]).await;
    assert_eq!(texts(&stream.written()), ["second"]);
    sleep(ms(10_000)).await;
    assert_eq!(texts(&stream.written()), ["second", "first"]);
    assert_eq!(stream.written()[1].at(), ms(3_050), "half a round trip plus three seconds");
    assert_eq!(stream.stats().late_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn late_write_uses_quota_on_arrival() {
    let stream = no_latency().with_shard_quota(10, 1_000).build().unwrap();
    stream.set_faults(Faults::default().with_late_writes(1.0, ms(500)));
    let timed_out = timeout(ms(100), try_put(&stream, vec![entry("k", "x"); 10])).await;
    assert!(timed_out.is_err());
    stream.set_faults(Faults::default());
    assert_eq!(put_small(&stream, 10).await, 10);
    sleep(ms(1_000)).await;
    // The late entries arrive 400 ms after the retry. The bucket has refilled for four of the ten entries by then.
    assert_eq!((stream.written().len(), stream.stats().throttled_entries), (14, 6));
}

#[tokio::test(start_paused = true)]
async fn poison_record_fails_whole_request() {
    let faults = Faults::default()
        .with_poisoned_requests("bad", Some("InternalFailure"), 500)
        .with_poisoned_requests(&b"worse"[..], None, 403);
    let stream = stream_with(faults);
    let both = |data: &str| vec![entry("k", "x"), entry("k", format!("a {data} one"))];
    for (data, code, status) in [("bad", Some("InternalFailure"), 500), ("worse", None, 403)] {
        let error = try_put(&stream, both(data)).await.unwrap_err();
        assert_eq!((error.code(), error.status()), (code, Some(status)));
        // The SDK client parses the same error from the response body.
        let mut service = kinesis_sink::service::PutRecords::new(&stream.client());
        let error = service.call(request(&stream, both(data))).await.unwrap_err();
        assert_eq!((error.code(), error.status()), (code, Some(status)));
    }
    assert_eq!((stream.written().len(), stream.stats().failed_requests), (0, 4));
    assert_eq!(put(&stream, both("good")).await.delivered(), 2);
}

#[tokio::test(start_paused = true)]
async fn poison_entry_fails_alone() {
    let stream = stream_with(Faults::default().with_poisoned_entries("bad"));
    let response = put(&stream, vec![entry("k", "good"), entry("k", "a bad one")]).await;
    assert_eq!(response.delivered(), 1);
    assert_eq!(response.results()[1].as_ref().unwrap_err().code(), "InternalFailure");
    assert_eq!((texts(&stream.written()), stream.stats().failed_entries), (vec!["good"], 1));
}

#[test]
#[should_panic(expected = "the marker is empty")]
fn empty_poison_marker_is_rejected() {
    let _ = Faults::default().with_poisoned_entries("");
}
