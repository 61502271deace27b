//! Tests of the `Status` and `Condition` of sinks and producers.

use std::time::Duration;

use futures::{FutureExt, SinkExt};
use kinesis_sink::service::{Entry, EntryError, Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::sim::{Faults, SimStream};
use kinesis_sink::status::Condition;
use kinesis_sink::{KinesisSink, Producer, Record};
use tokio::time::sleep;
use tower::{BoxError, service_fn};

fn failing() -> SimStream {
    let stream = SimStream::new(1);
    stream.set_faults(Faults::default().with_outage("InternalFailure", 500));
    let recovering = stream.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(30)).await;
        recovering.set_faults(Faults::default());
    });
    stream
}

#[tokio::test(start_paused = true)]
async fn sink_status_counts_records_and_bytes() {
    let stream = SimStream::new(1);
    let mut sink = KinesisSink::new(&stream.client(), "example").unwrap();
    assert_eq!(sink.status().oldest_age, None);
    sink.feed(Record::from(("key", "1234567"))).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    let status = sink.status();
    assert_eq!((status.queued.records, status.queued.bytes), (1, 10));
    assert_eq!((status.buffered().records, status.in_flight.records), (1, 0));
    assert!(status.oldest_age.unwrap() >= Duration::from_millis(50), "{:?}", status.oldest_age);
    assert_eq!((status.totals.accepted, status.last_request), (1, None));

    assert!(sink.flush().now_or_never().is_none());
    let status = sink.status();
    assert_eq!((status.in_flight.records, status.in_flight.bytes), (1, 10));
    assert_eq!((status.queued.records, status.queued.bytes), (0, 0));

    sink.flush().await.unwrap();
    let status = sink.status();
    assert_eq!((status.buffered().records, status.buffered().bytes), (0, 0));
    assert_eq!((status.totals.delivered, status.oldest_age), (1, None));
    assert_eq!(status.last_request.unwrap().records, 1);
    assert_eq!((status.condition, status.stream.name()), (Condition::Working, "example"));
}

#[tokio::test(start_paused = true)]
async fn failed_records_are_counted_until_taken() {
    let rejects = service_fn(|request: PutRecordsRequest| async move {
        let error = || EntryError::new("InvalidArgumentException", "no");
        let results = request.entries().iter().map(|_| Err(error())).collect();
        Ok::<_, BoxError>(PutRecordsResponse::new(results))
    });
    let mut sink = KinesisSink::builder("example").build_with(rejects).unwrap();
    sink.send(Record::from("12345")).await.unwrap_err();
    let status = sink.status();
    assert_eq!((status.failed.records, status.totals.failed), (1, 1));
    assert_eq!(sink.take_failed().len(), 1);
    assert_eq!(sink.status().buffered().records, 0);

    let producer = sink.spawn();
    producer.send(Record::from("12345")).await.unwrap();
    producer.flush().await.unwrap_err();
    assert_eq!(producer.status().failed.records, 1);
    assert_eq!(producer.take_failed().await.len(), 1);
    assert_eq!(producer.status().failed.records, 0);
}

#[tokio::test(start_paused = true)]
async fn producer_status_counts_new_records() {
    let stream = SimStream::new(1);
    let (producer, driver) = KinesisSink::new(&stream.client(), "example").unwrap().into_producer();
    for _ in 0..3 {
        producer.try_send(Record::from(("key", "1234567"))).unwrap();
    }
    sleep(Duration::from_millis(10)).await;
    let status = producer.status();
    assert_eq!((status.queued.records, status.queued.bytes, status.totals.accepted), (3, 30, 3));
    assert!(status.oldest_age.unwrap() >= Duration::from_millis(10));
    tokio::spawn(driver);
    producer.flush().await.unwrap();
    let status = producer.status();
    assert_eq!((status.queued.records, status.totals.accepted, status.totals.delivered), (0, 3, 3));
    assert_eq!((status.oldest_age, status.last_request.unwrap().delivered), (None, 3));
}

#[tokio::test(start_paused = true)]
async fn watch_sees_outage_begin_and_end() {
    let stream = failing();
    let producer = KinesisSink::new(&stream.client(), "example").unwrap().spawn();
    let mut watch = producer.watch();
    assert_eq!(watch.current(), Condition::Working);
    producer.send(Record::from("a record")).await.unwrap();
    let failing = watch.changed().await.unwrap();
    let Condition::Failing { error, .. } = &failing else { panic!("{failing:?}") };
    assert_eq!(error.code(), "InternalFailure");
    assert!(producer.status().accepts_records() && !failing.is_working());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(producer.status().condition, failing, "condition during the outage");
    assert_eq!(watch.changed().await, Some(Condition::Working));
    producer.close().await.unwrap();
    assert_eq!(
        watch.wait_for(|condition| *condition == Condition::Closed).await,
        Some(Condition::Closed)
    );
    assert_eq!(watch.changed().await, None, "change after closing");
}

fn denying(
    denied: tokio::sync::watch::Receiver<bool>,
) -> impl kinesis_sink::service::PutRecordsService + Clone {
    service_fn(move |request: PutRecordsRequest| {
        let denied = *denied.borrow();
        async move {
            if denied {
                let code = Some("AccessDeniedException");
                return Err(kinesis_sink::service::PutRecordsError::service(code, None, Some(400)));
            }
            let placement = || Placement::new("shardId-000000000000", "1");
            let results = request.entries().iter().map(|_| Ok(placement())).collect();
            Ok(PutRecordsResponse::new(results))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn refused_condition_ends_on_recovery() {
    let (deny, denied) = tokio::sync::watch::channel(true);
    let builder = KinesisSink::builder("example")
        .configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
    let producer = builder.build_with(denying(denied)).unwrap().spawn();
    let mut watch = producer.watch();
    producer.send(Record::from("a record")).await.unwrap();
    let is_refused = |condition: &Condition| matches!(condition, Condition::Refused { .. });
    let refused = watch.wait_for(is_refused).await.unwrap();
    assert_eq!(refused.error().unwrap().code(), "AccessDeniedException");
    assert!(!producer.status().accepts_records());
    deny.send(false).unwrap();
    assert_eq!(watch.wait_for(Condition::is_working).await, Some(Condition::Working));
    producer.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopped_condition_keeps_error() {
    let (_deny, denied) = tokio::sync::watch::channel(true);
    let producer = KinesisSink::builder("example").build_with(denying(denied)).unwrap().spawn();
    let mut watch = producer.watch();
    producer.send(Record::from("a record")).await.unwrap();
    let stopped = watch.wait_for(|condition| matches!(condition, Condition::Stopped { .. })).await;
    assert_eq!(stopped.unwrap().error().unwrap().code(), "AccessDeniedException");
    producer.close().await.unwrap_err();
    assert!(matches!(producer.status().condition, Condition::Stopped { .. }));
    assert_eq!(watch.changed().await, None);
}

#[tokio::test(start_paused = true)]
async fn close_and_drop_set_final_condition() {
    let stream = SimStream::new(1);
    let sink = || KinesisSink::new(&stream.client(), "example").unwrap();
    let mut closed = sink();
    let mut watch = closed.watch();
    closed.feed(Record::from("a record")).await.unwrap();
    assert!(closed.close().now_or_never().is_none());
    assert!(matches!(watch.changed().await, Some(Condition::Closing { .. })));
    closed.close().await.unwrap();
    assert_eq!(watch.changed().await, Some(Condition::Closed));

    let mut dropped = sink();
    let mut watch = dropped.watch();
    dropped.feed(Record::from("a record")).await.unwrap();
    drop(dropped);
    assert_eq!(watch.changed().await, Some(Condition::Abandoned));
}

#[tokio::test(start_paused = true)]
async fn aborted_driver_abandons_producer() {
    let stream = SimStream::new(1);
    let (producer, driver) = KinesisSink::new(&stream.client(), "example").unwrap().into_producer();
    let mut watch = producer.watch();
    producer.try_send(Record::from("a record")).unwrap();
    drop(driver);
    assert_eq!(watch.changed().await, Some(Condition::Abandoned));
    assert_eq!(producer.status().condition, Condition::Abandoned);
    assert_eq!(producer.status().failed.records, 1, "kept for `take_failed`");
    assert_eq!(producer.take_failed().await.len(), 1);
    assert_eq!(producer.status().buffered().records, 0);
}

#[tokio::test(start_paused = true)]
async fn status_serializes_for_health_check() {
    let stream = failing();
    let producer = KinesisSink::new(&stream.client(), "example").unwrap().spawn();
    let mut watch = producer.watch();
    producer.send(Record::from(("key", "1234567"))).await.unwrap();
    watch.changed().await.unwrap();
    let json = serde_json::to_value(producer.status()).unwrap();
    assert_eq!(json["stream"], "example");
    assert_eq!(json["condition"]["state"], "failing");
    assert_eq!(json["condition"]["error"]["code"], "InternalFailure");
    assert!(json["condition"]["since"].as_f64().unwrap() > 1.6e9, "{json}");
    assert!(json["oldest_age"].is_number(), "{json}");
    assert_eq!(json["totals"]["accepted"], 1);
    assert_eq!(json["last_request"]["errors"][0]["code"], "InternalFailure");
    producer.close().await.unwrap();
    let json = serde_json::to_value(producer.status()).unwrap();
    assert_eq!(json["condition"], serde_json::json!({"state": "closed"}));
    let copy = producer.status().clone();
    assert_eq!(copy, producer.status());
}

#[tokio::test(start_paused = true)]
async fn producer_leaves_refused_after_deadline() {
    let (_deny, denied) = tokio::sync::watch::channel(true);
    let builder = KinesisSink::builder("example").with_deadline(Duration::from_secs(10));
    let builder = builder
        .with_dead_letters(drop)
        .configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
    let producer = builder.build_with(denying(denied)).unwrap().spawn();
    let mut watch = producer.watch();
    producer.send(Record::from("a record")).await.unwrap();
    let refused = watch.wait_for(|condition| matches!(condition, Condition::Refused { .. })).await;
    assert!(refused.is_some());
    assert_eq!(watch.changed().await, Some(Condition::Working), "condition after the deadline");
    assert!(producer.status().accepts_records());
}

#[tokio::test(start_paused = true)]
async fn take_undelivered_ends_failing_condition() {
    let stream = failing();
    let mut sink = KinesisSink::new(&stream.client(), "example").unwrap();
    sink.feed(Record::from("a record")).await.unwrap();
    let flushed = tokio::time::timeout(Duration::from_secs(1), sink.flush()).await;
    assert!(flushed.is_err());
    assert!(matches!(sink.status().condition, Condition::Failing { .. }));
    assert_eq!(sink.take_undelivered().len(), 1);
    assert_eq!(sink.status().condition, Condition::Working);
}

#[tokio::test(start_paused = true)]
async fn full_buffer_accepts_no_records() {
    let stream = failing();
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(2));
    let producer = builder.build(&stream.client()).unwrap().spawn();
    producer.send(Record::from("one")).await.unwrap();
    assert!(producer.status().accepts_records());
    producer.send(Record::from("two")).await.unwrap();
    let status = producer.status();
    assert_eq!((status.buffered().records, status.capacity.records), (2, 2));
    assert!(!status.accepts_records());
}

#[tokio::test(start_paused = true)]
async fn cancelled_wait_for_keeps_pending_change() {
    let stream = failing();
    let producer = KinesisSink::new(&stream.client(), "example").unwrap().spawn();
    let mut watch = producer.watch();
    producer.send(Record::from("a record")).await.unwrap();
    let never = watch.wait_for(|_| false);
    assert!(tokio::time::timeout(Duration::from_secs(1), never).await.is_err());
    assert!(matches!(watch.changed().now_or_never(), Some(Some(Condition::Failing { .. }))));
    // A watch does not report a change that is reverted before the next poll of the watch.
    let mut second = producer.watch();
    assert_eq!(watch.changed().await, Some(Condition::Working));
    assert_eq!(second.changed().now_or_never(), Some(Some(Condition::Working)));
    assert!(second.changed().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_condition_shows_error() {
    let stream = failing();
    let producer = KinesisSink::new(&stream.client(), "example").unwrap().spawn();
    let mut watch = producer.watch();
    producer.send(Record::from("a record")).await.unwrap();
    let closing = tokio::spawn({
        let producer = producer.clone();
        async move { producer.close().await }
    });
    let closing_condition = watch
        .wait_for(|condition| matches!(condition, Condition::Closing { error: Some(_), .. }))
        .await;
    assert_eq!(closing_condition.unwrap().error().unwrap().code(), "InternalFailure");
    closing.await.unwrap().unwrap();
    assert_eq!(watch.changed().await, Some(Condition::Closed));
}

fn rejecting(buffer_records: usize) -> Producer {
    let service = service_fn(|request: PutRecordsRequest| async move {
        tokio::task::yield_now().await;
        let result = |entry: &Entry| match &entry.data()[..] {
            b"bad" => Err(EntryError::new("InvalidArgumentException", "no")),
            _ => Ok(Placement::new("shardId-000000000000", "1")),
        };
        let results = request.entries().iter().map(result).collect();
        Ok::<_, BoxError>(PutRecordsResponse::new(results))
    });
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.linger = Duration::ZERO.into();
        settings.buffer_records = Some(buffer_records);
    });
    builder.build_with(service).unwrap().spawn()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taken_records_leave_failed_count() {
    let producer = rejecting(10);
    for _ in 0..200 {
        producer.send(Record::from("bad")).await.unwrap();
        producer.flush().await.unwrap_err();
        assert_eq!(producer.take_failed().await.len(), 1);
        assert_eq!(producer.status().failed.records, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_totals_are_consistent() {
    let producer = rejecting(50);
    let sending = tokio::spawn({
        let producer = producer.clone();
        async move {
            for number in 0..2_000 {
                let data = if number % 50 == 0 { "bad" } else { "good" };
                producer.send(Record::from(data)).await.unwrap();
                if number % 40 == 0 {
                    drop(producer.take_failed().await);
                }
            }
        }
    });
    while !sending.is_finished() {
        let status = producer.status();
        let totals = status.totals;
        let unsettled = (status.queued.records + status.in_flight.records) as u64;
        let settled = totals.delivered + totals.failed + totals.withdrawn;
        assert_eq!(totals.accepted, settled + unsettled, "{status:?}");
        assert!(status.buffered().records <= 50, "{status:?}");
        assert_eq!(unsettled > 0, status.oldest_age.is_some(), "{status:?}");
    }
    sending.await.unwrap();
}
