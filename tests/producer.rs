//! One sink shared by many tasks: acceptance, receipts, back-pressure, fairness, flush.

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, future, stream};
use kinesis_sink::service::{EntryError, PutRecordsResponse};
use kinesis_sink::{
    FatalPolicy, KinesisSink, Linger, NotAcceptedReason, Producer, Reason, Receipt, Record,
    SinkBuilder, SinkError, Undelivered,
};
use scripted::{Scripted, all_delivered, answer_each, numbers, records, text};
use tokio::time::{Instant, sleep};

const ROUND_TRIP: Duration = Duration::from_millis(20);

fn builder() -> SinkBuilder {
    KinesisSink::builder().with_seed(1)
}

fn produce(builder: SinkBuilder, service: &Scripted) -> Producer {
    builder.build_with(service.clone(), "example").unwrap().spawn()
}

fn record(number: usize) -> Record {
    Record::from(number.to_string())
}

fn texts(undelivered: &[Undelivered]) -> Vec<String> {
    undelivered.iter().map(|one| text(one.record().data())).collect()
}

#[test]
fn it_can_be_shared_by_threads_and_its_futures_can_be_spawned() {
    fn assert<T: Clone + Send + Sync + Unpin>() {}
    fn assert_send<T: Send>(_: T) {}
    assert::<Producer>();
    let parts = |producer: &Producer| {
        assert_send(producer.send(record(0)));
        assert_send(producer.put(record(0)));
        assert_send(producer.flush());
        assert_send(producer.take_failed());
        assert_send(producer.close());
        assert_send(producer.close_within(ROUND_TRIP));
    };
    let sink = builder().build_with(Scripted::delivering(), "example").unwrap();
    let (producer, driver) = sink.pair();
    parts(&producer);
    assert_send(driver);
}

#[tokio::test(start_paused = true)]
async fn send_is_ready_once_the_record_is_accepted() {
    let service = Scripted::delivering();
    let producer = produce(builder(), &service);
    producer.send(record(0)).now_or_never().expect("there is room").unwrap();
    assert_eq!(service.delivered().len(), 0);
    sleep(ROUND_TRIP * 2).await;
    assert_eq!(service.delivered(), ["0"], "nobody polled anything");
    assert_eq!((producer.totals().accepted, producer.totals().delivered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_tells_where_the_record_lies_and_what_it_took() {
    let service = Scripted::new(|call, request| Ok(answer_each(request, |_| call > 0)));
    let producer = produce(builder(), &service);
    let began = Instant::now();
    let receipt = producer.put(record(0)).await.unwrap();
    let delivery = receipt.await.unwrap();
    assert_eq!(delivery.shard_id(), "shardId-000000000000");
    assert_eq!((delivery.sequence_number(), delivery.attempts()), ("0", 2));
    assert_eq!(delivery.time_in_flight().as_millis(), 40, "two round trips");
    let total = delivery.time_in_buffer() + delivery.time_in_flight();
    assert_eq!(total.as_millis(), began.elapsed().as_millis());
}

#[tokio::test(start_paused = true)]
async fn a_receipt_of_a_failed_record_holds_it_with_the_reason_and_the_history() {
    let service = Scripted::failing(2, "InternalFailure");
    let producer = produce(builder().with_max_attempts(2), &service);
    let undelivered = producer.put(record(7)).await.unwrap().await.unwrap_err();
    assert_eq!(undelivered.record(), &record(7));
    assert!(matches!(undelivered.reason(), Reason::AttemptsExhausted { attempts: 2, .. }));
    assert!(undelivered.may_be_written());
    let history = undelivered.history();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].since_accepted().as_millis(), 20);
    assert!(history[1].since_accepted() >= ROUND_TRIP * 2);
    assert_eq!(history[1].error().code(), "InternalFailure");
    assert_eq!(history[1].error().message(), "a message");
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tracked_records_work_on_the_bare_sink_and_through_forward() {
    let service = Scripted::new(|call, request| {
        Ok(answer_each(request, |place| call > 0 || place.is_multiple_of(2)))
    });
    let mut sink = builder().build_with(service, "example").unwrap();
    let mut receipts = Vec::new();
    let source = stream::iter(records(0..700)).map(|record| {
        let (record, receipt) = record.tracked();
        receipts.push(receipt);
        Ok(record)
    });
    source.forward(&mut sink).await.unwrap();
    let ended = Instant::now();
    let deliveries = future::join_all(receipts).await;
    assert_eq!(ended.elapsed(), Duration::ZERO, "all were settled");
    let attempts: u32 = deliveries.iter().map(|one| one.as_ref().unwrap().attempts()).sum();
    assert_eq!(attempts, 700 + 250, "half of the first 500 went twice");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_sink_leaves_no_receipt_open() {
    let service = Scripted::delivering().with_round_trip(Duration::from_secs(1));
    let mut sink = builder().build_with(service, "example").unwrap();
    let mut receipts = Vec::new();
    for record in records(0..700) {
        let (record, receipt) = record.tracked();
        receipts.push(receipt);
        sink.feed(record).await.unwrap();
    }
    assert!(sink.flush().now_or_never().is_none());
    drop(sink);
    for (number, receipt) in receipts.into_iter().enumerate() {
        let undelivered = receipt.await.unwrap_err();
        assert_eq!(undelivered.reason(), &Reason::Abandoned { last: None });
        assert_eq!(undelivered.may_be_written(), number < 500, "in flight, or waiting");
        assert_eq!(undelivered.record(), &record(number));
    }
}

#[tokio::test(start_paused = true)]
async fn try_put_never_waits_and_hands_the_record_back_when_full() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(2), &service);
    let first = producer.try_put(record(0)).unwrap();
    producer.try_send(record(1)).unwrap();
    for refused in
        [producer.try_put(record(2)).unwrap_err(), producer.try_send(record(2)).unwrap_err()]
    {
        assert_eq!(*refused.reason(), NotAcceptedReason::Full);
        assert_eq!(refused.into_record(), record(2));
    }
    first.await.unwrap();
    producer.try_put(record(2)).unwrap().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..3));
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_sent_comes_back_at_once() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(1), &service);
    producer.send(record(0)).await.unwrap();
    let wrong = Record::from(("", "an empty key"));
    let refused = producer.put(wrong.clone()).now_or_never().expect("it need not wait");
    let refused = refused.unwrap_err();
    assert!(matches!(refused.reason(), NotAcceptedReason::Record(_)), "{refused}");
    assert_eq!(refused.into_record(), wrong);
}

/// A service that notes the largest number of records, and of bytes, that it ever had in hand.
fn watching(most: &Arc<[AtomicUsize; 2]>) -> Scripted {
    let (most, delivered) = (most.clone(), Arc::new(AtomicUsize::new(0)));
    Scripted::new(move |_, request| {
        most[0].fetch_max(request.entries().len(), Ordering::Relaxed);
        most[1].fetch_max(request.bytes(), Ordering::Relaxed);
        delivered.fetch_add(request.entries().len(), Ordering::Relaxed);
        Ok(all_delivered(request))
    })
}

#[tokio::test(start_paused = true)]
async fn the_bounds_are_the_sinks_whatever_the_number_of_tasks() {
    for (records, bytes, size) in [(10, 1 << 20, 100), (1_000, 10_000, 1_000)] {
        let most = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let service = watching(&most);
        let builder = builder().with_buffer_records(records).with_buffer_bytes(bytes);
        let producer = produce(builder.with_max_in_flight(1), &service);
        let task = |_| {
            let producer = producer.clone();
            let data = vec![b'.'; size - 1];
            async move { producer.put(Record::from(("k", data))).await.unwrap().await.unwrap() }
        };
        // All of them wait at once; half a buffer is free when each request is answered.
        let tasks = (0..200).map(task).map(tokio::spawn);
        future::join_all(tasks).await.into_iter().for_each(|task| drop(task.unwrap()));
        let (records_seen, bytes_seen) = (&most[0], &most[1]);
        let bound = 10;
        assert!(records_seen.load(Ordering::Relaxed) <= bound, "{records_seen:?}");
        assert!(bytes_seen.load(Ordering::Relaxed) <= bound * size, "{bytes_seen:?}");
        assert_eq!(service.delivered().len(), 200);
        assert!(service.requests().len() >= 20, "ten at a time");
    }
}

#[tokio::test(start_paused = true)]
async fn accepted_and_unsettled_records_never_exceed_the_bound() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(7), &service);
    let accepted = Arc::new(AtomicUsize::new(0));
    for number in 0..100 {
        let (producer, accepted) = (producer.clone(), accepted.clone());
        tokio::spawn(async move {
            producer.send(record(number)).await.unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
        });
    }
    let mut most = 0;
    while service.delivered().len() < 100 {
        most = most.max(accepted.load(Ordering::Relaxed) - service.delivered().len());
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(most, 7);
}

#[tokio::test(start_paused = true)]
async fn records_larger_than_the_bound_are_taken_two_at_a_time_at_most() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_bytes(100), &service);
    let large = || Record::from(("k", vec![b'l'; 1_000]));
    let small = || Record::from(("k", vec![b's'; 49]));
    let order = [small(), large(), large(), large(), small(), small()];
    let sends = order.map(|record| {
        let producer = producer.clone();
        async move { producer.put(record).await.unwrap().await.unwrap() }
    });
    future::join_all(sends).await;
    assert_eq!(service.sizes(), [2, 2, 2]);
    // What came without room was made up for.
    producer.try_send(small()).unwrap();
    producer.try_send(small()).unwrap();
    producer.try_send(small()).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn who_waits_longest_is_served_first() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(3), &service);
    let mut tasks = Vec::new();
    for number in 0..60 {
        let producer = producer.clone();
        tasks.push(tokio::spawn(async move { producer.send(record(number)).await.unwrap() }));
        // In this order they ask.
        tokio::task::yield_now().await;
    }
    future::join_all(tasks).await;
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..60));
}

#[tokio::test(start_paused = true)]
async fn a_busy_task_cannot_starve_another_one() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(20), &service);
    let busy = |name: &'static str| {
        let producer = producer.clone();
        tokio::spawn(async move {
            // A hundred requests for room at once, and again as soon as they are served.
            for _ in 0..40 {
                let sends = (0..100).map(|_| producer.send(Record::from(name)));
                future::join_all(sends).await;
            }
        })
    };
    let hogs = [busy("hog"), busy("hog")];
    sleep(ROUND_TRIP * 3).await;
    for _ in 0..10 {
        let before = service.delivered().len();
        producer.put(Record::from("modest")).await.unwrap().await.unwrap();
        let others = service.delivered().len() - before;
        assert!(others <= 200 + 2 * 20, "those that were there before, not {others}");
    }
    for hog in hogs {
        hog.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn try_put_does_not_overtake_those_who_wait() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(2), &service);
    producer.send(record(0)).await.unwrap();
    producer.send(record(1)).await.unwrap();
    let waiting = future::join_all((2..6).map(|number| producer.send(record(number))));
    let mut waiting = std::pin::pin!(waiting);
    assert!((&mut waiting).now_or_never().is_none());
    sleep(ROUND_TRIP + Duration::from_millis(1)).await;
    // Two places are free by now, and both are spoken for.
    assert_eq!(service.delivered().len(), 2);
    let refused = producer.try_put(record(9)).unwrap_err();
    assert_eq!(*refused.reason(), NotAcceptedReason::Full);
    waiting.await;
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..6));
}

#[tokio::test(start_paused = true)]
async fn flush_covers_what_any_clone_sent_before() {
    let service = Scripted::new(|call, request| Ok(answer_each(request, |_| call > 1)));
    let producer = produce(builder(), &service);
    let other = producer.clone();
    other.send(record(0)).await.unwrap();
    producer.send(record(1)).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..2));
    producer.flush().now_or_never().expect("nothing is held").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_later_stream_of_records_cannot_hold_up_a_flush() {
    let service = Scripted::delivering();
    let producer = produce(builder(), &service);
    let busy = producer.clone();
    let endless = tokio::spawn(async move {
        for number in 0.. {
            busy.send(record(number)).await.unwrap();
            sleep(Duration::from_micros(500)).await;
        }
    });
    sleep(Duration::from_millis(105)).await;
    for _ in 0..5 {
        let began = Instant::now();
        producer.flush().await.unwrap();
        assert!(began.elapsed() <= ROUND_TRIP * 2, "{:?}", began.elapsed());
    }
    endless.abort();
}

#[tokio::test(start_paused = true)]
async fn lingering_and_retries_go_on_with_nobody_polling() {
    let service = Scripted::failing(3, "InternalFailure");
    let linger = Linger::Fill(Duration::from_secs(1));
    let producer = produce(builder().with_linger(linger), &service);
    producer.send(record(0)).await.unwrap();
    sleep(Duration::from_millis(999)).await;
    assert_eq!(service.requests().len(), 0);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(service.requests().len(), 4);
    assert_eq!(service.delivered(), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_does_not_wait_for_the_linger() {
    let service = Scripted::delivering();
    let linger = Linger::Fill(Duration::from_secs(30));
    let builder = builder().with_linger(linger).with_buffer_bytes(1_000);
    let producer = produce(builder, &service);
    let began = Instant::now();
    // Two of them fit, and leave room that is too small for the third.
    let sends = (0..3).map(|_| producer.send(Record::from(("k", vec![0; 399]))));
    future::join_all(sends).await;
    assert_eq!(began.elapsed(), ROUND_TRIP);
}

#[tokio::test(start_paused = true)]
async fn dropped_futures_either_did_or_did_not_accept() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(2), &service);
    producer.send(record(0)).await.unwrap();
    producer.send(record(1)).await.unwrap();
    // These wait, and are dropped.
    assert!(producer.send(record(100)).now_or_never().is_none());
    assert!(producer.put(record(101)).now_or_never().is_none());
    // These wait, one of them in front of the others, and that one is dropped.
    let mut first = Box::pin(producer.send(record(102)));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(producer.send(record(2)));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    second.await.unwrap();
    // Its turn has come when it is dropped: the room goes on to the next one.
    producer.send(record(3)).await.unwrap();
    let mut ready = Box::pin(producer.send(record(103)));
    assert!((&mut ready).now_or_never().is_none());
    let mut next = Box::pin(producer.send(record(4)));
    assert!((&mut next).now_or_never().is_none());
    sleep(ROUND_TRIP * 2).await;
    drop(ready);
    next.await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..5));
    // All room has come back.
    producer.try_send(record(5)).unwrap();
    producer.try_send(record(6)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_receipts_and_flushes_change_nothing() {
    let service = Scripted::delivering();
    let producer = produce(builder(), &service);
    for number in 0..100 {
        drop(producer.put(record(number)).await.unwrap());
        assert!(producer.flush().now_or_never().is_none());
        assert!(producer.take_failed().now_or_never().is_none());
    }
    producer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..100));
}

#[tokio::test(start_paused = true)]
async fn failed_records_that_nobody_took_are_kept_and_told() {
    let service = rejecting();
    let producer = produce(builder().with_buffer_records(3), &service);
    let receipt: Receipt = producer.put(Record::from("bad 0")).await.unwrap();
    assert!(receipt.await.is_err());
    producer.flush().await.expect("its receipt took it");
    producer.send(Record::from("bad 1")).await.unwrap();
    for _ in 0..2 {
        let error = producer.flush().await.unwrap_err();
        assert!(matches!(error, SinkError::Undelivered { count: 1, .. }), "{error}");
    }
    producer.send(Record::from("bad 2")).await.unwrap();
    producer.send(Record::from("bad 3")).await.unwrap();
    // Waiting would be for ever.
    let refused = producer.send(record(0)).await.unwrap_err();
    assert!(
        matches!(refused.reason(), NotAcceptedReason::Undelivered { count: 3, .. }),
        "{refused}"
    );
    let refused = producer.try_put(record(0)).unwrap_err();
    assert!(
        matches!(refused.reason(), NotAcceptedReason::Undelivered { count: 3, .. }),
        "{refused}"
    );
    let mut clone = producer.clone();
    let error = clone.feed(record(0)).await.unwrap_err();
    assert!(matches!(error, SinkError::Undelivered { count: 3, .. }), "{error}");
    assert_eq!(texts(&producer.take_failed().await), ["bad 1", "bad 2", "bad 3"]);
    producer.send(record(0)).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), ["0"]);
}

/// Rejects the entries whose data begins with "bad".
fn rejecting() -> Scripted {
    Scripted::new(|_, request| {
        let delivered = all_delivered(request).into_results();
        let results = request.entries().iter().zip(delivered).map(|(entry, delivered)| match entry
            .data()
            .starts_with(b"bad")
        {
            true => Err(EntryError::new("InvalidArgumentException", "no")),
            false => delivered,
        });
        Ok(PutRecordsResponse::new(results.collect()))
    })
}

#[tokio::test(start_paused = true)]
async fn a_dropped_take_failed_loses_nothing() {
    let producer = produce(builder(), &rejecting());
    producer.send(Record::from("bad")).await.unwrap();
    sleep(ROUND_TRIP * 2).await;
    let mut taking = Box::pin(producer.take_failed());
    assert!((&mut taking).now_or_never().is_none());
    sleep(ROUND_TRIP).await;
    drop(taking);
    assert_eq!(texts(&producer.take_failed().await), ["bad"]);
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dead_letters_get_what_has_no_receipt() {
    let (sender, letters) = std::sync::mpsc::channel();
    let builder = builder().with_dead_letters(move |lost: Undelivered| sender.send(lost).unwrap());
    let producer = produce(builder, &rejecting());
    producer.send(Record::from("bad 0")).await.unwrap();
    let receipt = producer.put(Record::from("bad 1")).await.unwrap();
    drop(producer.put(Record::from("bad 2")).await.unwrap());
    producer.close().await.unwrap();
    assert_eq!(text(receipt.await.unwrap_err().record().data()), "bad 1");
    assert_eq!(texts(&letters.try_iter().collect::<Vec<_>>()), ["bad 0", "bad 2"]);
}

#[tokio::test(start_paused = true)]
async fn many_tasks_can_forward_into_one_stream() {
    let service = Scripted::delivering();
    let producer = produce(builder(), &service);
    let forward = |task: usize| {
        let range = task * 100..(task + 1) * 100;
        tokio::spawn(stream::iter(records(range).map(Ok)).forward(producer.clone()))
    };
    for task in future::join_all((0..20).map(forward)).await {
        task.unwrap().unwrap();
    }
    assert!(!producer.is_closed(), "each has closed its own clone");
    producer.close().await.unwrap();
    let mut delivered = service.delivered();
    delivered.sort_by_key(|number| number.parse::<usize>().unwrap());
    assert_eq!(delivered, numbers(0..2_000));
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_was_closed_as_a_sink_is_closed_for_good() {
    let service = Scripted::delivering();
    let producer = produce(builder(), &service);
    let mut clone = producer.clone();
    SinkExt::close(&mut clone).await.unwrap();
    assert!(clone.is_closed() && clone.clone().is_closed() && !producer.is_closed());
    let refused = clone.send(record(0)).await.unwrap_err();
    assert_eq!(*refused.reason(), NotAcceptedReason::Closed);
    producer.put(record(0)).await.unwrap().await.unwrap();
    drop(clone);
    producer.put(record(1)).await.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_is_ready_and_does_not_send_takes_one_place_until_it_is_dropped() {
    let service = Scripted::delivering();
    let producer = produce(builder().with_buffer_records(2), &service);
    let mut idle = producer.clone();
    future::poll_fn(|cx| idle.poll_ready_unpin(cx)).await.unwrap();
    producer.try_send(record(0)).unwrap();
    producer.try_send(record(1)).unwrap_err();
    drop(idle);
    producer.try_send(record(1)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_holds_records_can_become_a_producer() {
    let service = Scripted::delivering();
    let mut sink = builder().with_buffer_records(4).build_with(service.clone(), "example").unwrap();
    for record in records(0..3) {
        sink.feed(record).await.unwrap();
    }
    let producer = sink.spawn();
    producer.try_send(record(3)).unwrap();
    producer.try_send(record(4)).unwrap_err();
    producer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..4));
    for number in 4..8 {
        producer.try_send(record(number)).unwrap();
    }
    let mut sink = builder().build_with(service.clone(), "example").unwrap();
    sink.close().await.unwrap();
    let refused = sink.spawn().send(record(9)).await.unwrap_err();
    assert_eq!(*refused.reason(), NotAcceptedReason::Closed);
}

/// On the real clock: virtual time stands still while a task is busy.
#[tokio::test]
async fn an_error_in_a_loop_lets_the_driver_run() {
    let millisecond = Duration::from_millis(1);
    let service = Scripted::failing(1, "AccessDeniedException").with_round_trip(millisecond);
    let builder = builder().with_fatal_policy(FatalPolicy::KeepTrying);
    let producer = produce(builder.with_backoff(millisecond, millisecond), &service);
    let receipt = producer.put(record(0)).await.unwrap();
    while producer.flush().await.is_ok() {}
    let mut record = record(1);
    for turn in 0.. {
        match producer.send(record).await {
            Ok(()) => break,
            Err(refused) => record = refused.into_record(),
        }
        assert!(turn < 100_000_000, "the driver never runs");
    }
    receipt.await.unwrap();
}

/// Each of many tasks awaits each of its receipts: all settle once, and the counts agree.
#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_with_a_thousand_records_each() {
    const TASKS: usize = 1_000;
    const EACH: usize = 1_000;
    let service = Scripted::new(|call, request| match call % 50 {
        7 => Err(scripted::service_error("InternalFailure")),
        _ => Ok(answer_each(request, |place| !(call + place).is_multiple_of(9))),
    });
    let builder = builder().with_max_in_flight(16).with_backoff(ROUND_TRIP, ROUND_TRIP * 10);
    let producer = produce(builder, &service);
    let task = |task: usize| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let mut settled = 0;
            let numbers = stream::iter(task * EACH..(task + 1) * EACH);
            let receipts = numbers.then(move |number| {
                let producer = producer.clone();
                async move { producer.put(record(number)).await }
            });
            let mut outcomes = std::pin::pin!(receipts.map(Result::unwrap).buffered(100));
            while let Some(outcome) = outcomes.next().await {
                outcome.unwrap();
                settled += 1;
            }
            settled
        })
    };
    let settled = future::join_all((0..TASKS).map(task)).await;
    let settled: usize = settled.into_iter().map(|settled| settled.unwrap()).sum();
    producer.close().await.unwrap();
    assert_eq!(settled, TASKS * EACH);
    let totals = producer.totals();
    assert_eq!((totals.accepted, totals.delivered), (1_000_000, 1_000_000));
    assert!(totals.requeued > 0);
    let mut delivered: Vec<usize> =
        service.delivered().iter().map(|number| number.parse().unwrap()).collect();
    delivered.sort_unstable();
    assert!(delivered.into_iter().eq(0..TASKS * EACH), "each arrived once");
}
