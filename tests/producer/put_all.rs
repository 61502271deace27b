//! Tests of the outcomes, the buffer use, and the cancel safety of `Producer::put_all`.

use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use kinesis_sink::record::FailureReason;
use kinesis_sink::service::{EntryError, Placement, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::{Latency, SimStream};
use kinesis_sink::stream::{StreamDescription, describe_stream_fn};
use kinesis_sink::{ErrorKind, KinesisSink, Producer, Record};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, service_fn};

pub fn producer(stream: &SimStream) -> Producer {
    KinesisSink::new(&stream.client(), "example").unwrap().spawn()
}

pub fn rejecting() -> Producer {
    rejecting_with_buffer(10_000)
}

fn rejecting_with_buffer(records: usize) -> Producer {
    let service = service_fn(|request: PutRecordsRequest| async move {
        sleep(Duration::from_millis(10)).await;
        let result = |entry: &kinesis_sink::service::Entry| match &entry.data()[..] {
            b"bad" => Err(EntryError::new("InvalidArgumentException", "no")),
            _ => Ok(Placement::new("shardId-000000000000", "1")),
        };
        let results = request.entries().iter().map(result).collect();
        Ok::<_, BoxError>(PutRecordsResponse::new(results))
    });
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(records));
    builder.build_with(service).unwrap().spawn()
}

#[tokio::test(start_paused = true)]
async fn put_all_returns_outcomes_in_order() {
    let producer = rejecting();
    let texts = stream::iter(["one", "bad", "three"]).enumerate();
    let records = texts.map(|(offset, text)| (Record::from(text), offset));
    let outcomes: Vec<_> = producer.put_all(records).collect().await;
    let succeeded: Vec<_> =
        outcomes.iter().map(|(offset, outcome)| (*offset, outcome.is_ok())).collect();
    assert_eq!(succeeded, [(0, true), (1, false), (2, true)]);
    let (_, failed) = outcomes.into_iter().nth(1).unwrap();
    assert_eq!(failed.unwrap_err().into_record().data(), "bad");
}

#[tokio::test(start_paused = true)]
async fn unordered_returns_outcomes_as_they_settle() {
    let slow = service_fn(|request: PutRecordsRequest| async move {
        let is_slow = request.entries().iter().any(|entry| entry.data() == "slow");
        sleep(Duration::from_millis(if is_slow { 500 } else { 10 })).await;
        let placement = || Ok(Placement::new("shardId-000000000000", "1"));
        let results = request.entries().iter().map(|_| placement()).collect();
        Ok::<_, BoxError>(PutRecordsResponse::new(results))
    });
    let limits = kinesis_sink::limits::Limits::default().with_request_entries(1);
    let builder = KinesisSink::builder("example").configure(|settings| settings.limits = limits);
    let producer = builder.build_with(slow).unwrap().spawn();
    let records = || stream::iter(["slow", "fast"]).map(|text| (Record::from(text), text));
    let first = |outcomes: Vec<(&'static str, _)>| outcomes[0].0;
    assert_eq!(first(producer.put_all(records()).unordered().collect().await), "fast");
    assert_eq!(first(producer.put_all(records()).collect().await), "slow");
}

#[tokio::test(start_paused = true)]
async fn put_all_polls_source_only_with_capacity() {
    let latency = Latency::constant(Duration::from_secs(1));
    let stream = SimStream::builder().with_latency(latency).build().unwrap();
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(10));
    let producer = builder.build(&stream.client()).unwrap().spawn();
    let mut taken = 0;
    let records = stream::iter(0..100).map(|number| {
        taken += 1;
        (Record::from(number.to_string()), number)
    });
    let mut outcomes = producer.put_all(records);
    assert!(timeout(Duration::from_millis(500), outcomes.next()).await.is_err());
    drop(outcomes);
    assert_eq!(taken, 10);
}

#[tokio::test(start_paused = true)]
async fn max_pending_limits_unreturned_outcomes() {
    let stream = SimStream::new(1);
    let producer = producer(&stream);
    let mut taken = 0;
    let records = stream::iter(0..100).map(|number| {
        taken += 1;
        (Record::from(number.to_string()), number)
    });
    let mut outcomes = producer.put_all(records).with_max_pending(5);
    assert!(outcomes.next().await.unwrap().1.is_ok());
    sleep(Duration::from_secs(1)).await;
    drop(outcomes);
    assert!(taken <= 6, "{taken}");
}

#[tokio::test(start_paused = true)]
async fn idle_put_all_reserves_no_capacity() {
    let stream = SimStream::new(1);
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(1));
    let producer = builder.build(&stream.client()).unwrap().spawn();
    let mut outcomes = producer.put_all(stream::pending::<(Record, ())>());
    assert!(outcomes.next().now_or_never().is_none());
    producer.try_send(Record::from("there is capacity")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelled_next_loses_no_outcome() {
    let stream = SimStream::new(1);
    let producer = producer(&stream);
    let records = stream::iter(0..10).map(|number| (Record::from(number.to_string()), number));
    let mut outcomes = producer.put_all(records);
    let mut offsets = Vec::new();
    while offsets.len() < 10 {
        if let Ok(Some((offset, outcome))) =
            timeout(Duration::from_millis(1), outcomes.next()).await
        {
            outcome.unwrap();
            offsets.push(offset);
        }
    }
    assert!(offsets.into_iter().eq(0..10));
    assert!(outcomes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn put_all_returns_records_after_close() {
    let stream = SimStream::new(1);
    let producer = producer(&stream);
    producer.close().await.unwrap();
    let records = stream::iter(["one", "two"]).map(|text| (Record::from(text), text));
    let outcomes: Vec<_> = producer.put_all(records).collect().await;
    for (text, outcome) in outcomes {
        let undelivered = outcome.unwrap_err();
        let reason = undelivered.reason();
        assert!(
            matches!(reason, FailureReason::NotAccepted { kind: ErrorKind::Closed, .. }),
            "{reason}"
        );
        assert_eq!(undelivered.record().data(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn put_all_retries_until_stream_accepts() {
    let denied_until = Instant::now() + Duration::from_secs(60);
    let service = service_fn(move |request: PutRecordsRequest| async move {
        if Instant::now() < denied_until {
            let code = Some("AccessDeniedException");
            return Err(kinesis_sink::service::PutRecordsError::service(code, None, Some(400)));
        }
        let placement = || Ok(Placement::new("shardId-000000000000", "1"));
        let results = request.entries().iter().map(|_| placement()).collect();
        Ok(PutRecordsResponse::new(results))
    });
    let builder = KinesisSink::builder("example").configure(|settings| {
        settings.fatal_policy = kinesis_sink::settings::FatalPolicy::Retry;
        settings.buffer_records = Some(2);
    });
    let producer = builder.build_with(service).unwrap().spawn();
    let records = stream::iter(0..20).map(|number| (Record::from(number.to_string()), number));
    let outcomes: Vec<_> = producer.put_all(records).collect().await;
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(outcomes.len(), 20);
    assert!(Instant::now() >= denied_until);
}

#[tokio::test(start_paused = true)]
async fn always_ready_source_delays_no_outcome() {
    let stream = SimStream::new(4);
    let producer = producer(&stream);
    let mut taken = 0_u64;
    let records = stream::repeat_with(|| {
        taken += 1;
        (Record::from("the same"), taken)
    });
    let mut outcomes = producer.put_all(records).with_max_pending(usize::MAX);
    for offset in 1..=2_000 {
        let (context, outcome) = outcomes.next().await.unwrap();
        outcome.unwrap();
        assert_eq!(context, offset);
    }
    drop(outcomes);
    assert!(taken < 12_500, "{taken}");
}

#[tokio::test(start_paused = true)]
async fn put_all_fails_when_failed_records_fill_buffer() {
    let producer = rejecting_with_buffer(1);
    producer.send(Record::from("bad")).await.unwrap();
    producer.flush().await.unwrap_err();
    let records = || stream::iter(0..3).map(|number| (Record::from(number.to_string()), number));
    let mut outcomes = producer.put_all(records());
    let (number, outcome) = outcomes.next().await.unwrap();
    let undelivered = outcome.unwrap_err();
    let kind = ErrorKind::Undelivered;
    assert!(
        matches!(undelivered.reason(), FailureReason::NotAccepted { kind: k, .. } if *k == kind),
        "{undelivered}"
    );
    assert_eq!((number, undelivered.record().data()), (0, &"0".into()));
    assert_eq!(producer.take_failed().await.len(), 1);
    let outcomes: Vec<_> = producer.put_all(records()).collect().await;
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
}

/// `put_all` must not busy-loop while a record waits for the stream description.
#[tokio::test(start_paused = true)]
async fn large_record_waits_for_description() {
    let description = describe_stream_fn(|_| async {
        sleep(Duration::from_secs(5)).await;
        Ok(StreamDescription::default().with_max_record_bytes(4 << 20))
    });
    let stream = SimStream::builder().with_max_record_bytes(4 << 20).build().unwrap();
    let builder = KinesisSink::builder("example")
        .with_ordering(kinesis_sink::RecordOrdering::PerKey)
        .with_stream_info(description)
        .configure(|settings| settings.limits = settings.limits.with_request_bytes(10 << 20));
    let producer = builder.build(&stream.client()).unwrap().spawn();
    let record = Record::from(("key", vec![0; 2 << 20]));
    let mut outcomes = producer.put_all(stream::iter([(record, "large")]));
    let first = timeout(Duration::from_secs(60), outcomes.next()).await.unwrap();
    let (context, outcome) = first.unwrap();
    assert_eq!(context, "large");
    outcome.unwrap();
}

#[tokio::test(start_paused = true)]
async fn put_all_ends_when_producer_stops() {
    let denied_from = Instant::now() + Duration::from_millis(500);
    let service = service_fn(move |request: PutRecordsRequest| async move {
        sleep(Duration::from_millis(50)).await;
        if Instant::now() > denied_from {
            let code = Some("AccessDeniedException");
            return Err(kinesis_sink::service::PutRecordsError::service(code, None, Some(400)));
        }
        let placement = || Ok(Placement::new("shardId-000000000000", "1"));
        let results = request.entries().iter().map(|_| placement()).collect();
        Ok(PutRecordsResponse::new(results))
    });
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(10));
    let producer = builder.build_with(service).unwrap().spawn();
    let records = stream::iter(0..2_000).map(|number| (Record::from(number.to_string()), number));
    let outcomes: Vec<_> = producer.put_all(records).collect().await;
    assert!(outcomes.iter().map(|(number, _)| *number).eq(0..2_000));
    let delivered = outcomes.iter().take_while(|(_, outcome)| outcome.is_ok()).count();
    assert!((1..2_000).contains(&delivered));
    assert!(outcomes[delivered..].iter().all(|(_, outcome)| outcome.is_err()));
}

/// Uses the smallest buffer, and allows more pending outcomes than the buffer can contain.
#[tokio::test(start_paused = true)]
async fn put_all_leaves_capacity_for_other_senders() {
    let latency = Latency::constant(Duration::from_millis(100));
    let stream = SimStream::builder().with_latency(latency).build().unwrap();
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(1));
    let producer = builder.build(&stream.client()).unwrap().spawn();
    let records = stream::iter(0..20).map(|number| (Record::from(number.to_string()), number));
    let mut outcomes = producer.put_all(records).with_max_pending(10);
    while let Some((number, outcome)) = outcomes.next().await {
        outcome.unwrap();
        let sent = producer.send(Record::from(format!("{number} is delivered")));
        timeout(Duration::from_secs(60), sent).await.expect("there is capacity").unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(stream.written().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn source_panic_frees_capacity() {
    let stream = SimStream::new(1);
    let builder = KinesisSink::builder("example");
    let builder = builder.configure(|settings| settings.buffer_records = Some(3));
    let producer = builder.build(&stream.client()).unwrap().spawn();
    let records = stream::iter(0..10).map(|number| {
        assert!(number != 2, "source");
        (Record::from(number.to_string()), number)
    });
    let task = tokio::spawn(producer.put_all(records).collect::<Vec<_>>());
    assert!(task.await.unwrap_err().is_panic());
    producer.flush().await.unwrap();
    assert_eq!(stream.written().len(), 2);
    for _ in 0..3 {
        producer.try_send(Record::from("there is capacity")).unwrap();
    }
}
