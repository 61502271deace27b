//! Tests of `flush` and `take_failed`, and of how a producer handles dead letters.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, stream};
use kinesis_sink::settings::FatalPolicy;
use kinesis_sink::{ErrorKind, Producer, Receipt, Record, Undelivered};
use tokio::time::{Instant, sleep};

use super::fixtures::{ROUND_TRIP, builder, produce, record};
use crate::support::mock_service::{MockService, answer_each, numbers, records, text, texts};

#[tokio::test(start_paused = true)]
async fn flush_delivers_records_of_all_clones() {
    let service = MockService::new(|call, request| Ok(answer_each(request, |_| call > 1)));
    let producer = produce(builder(), &service);
    let other = producer.clone();
    other.send(record(0)).await.unwrap();
    producer.send(record(1)).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..2));
    producer.flush().now_or_never().expect("the buffer is empty").unwrap();
}

#[tokio::test(start_paused = true)]
async fn later_records_do_not_delay_flush() {
    let service = MockService::delivering();
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
async fn cancelled_calls_lose_no_record() {
    let service = MockService::delivering();
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
async fn failed_records_are_reported_until_taken() {
    let service = MockService::rejecting_bad();
    let producer =
        produce(builder().configure(|settings| settings.buffer_records = Some(3)), &service);
    let receipt: Receipt = producer.put(Record::from("bad 0")).await.unwrap();
    assert!(receipt.await.is_err());
    producer.flush().await.expect("the receipt returned the failure");
    producer.send(Record::from("bad 1")).await.unwrap();
    for _ in 0..2 {
        let error = producer.flush().await.unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    }
    producer.send(Record::from("bad 2")).await.unwrap();
    producer.send(Record::from("bad 3")).await.unwrap();
    // Waiting for capacity would never end, because only failed records fill the buffer.
    let error = producer.send(record(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 3), "{error}");
    let error = producer.try_put(record(0)).unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 3), "{error}");
    let mut sink = producer.sink();
    let error = sink.feed(record(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 3), "{error}");
    assert_eq!(texts(&producer.take_failed().await), ["bad 1", "bad 2", "bad 3"]);
    producer.send(record(0)).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(service.delivered(), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn dropped_take_failed_keeps_failed_records() {
    let producer = produce(builder(), &MockService::rejecting_bad());
    producer.send(Record::from("bad")).await.unwrap();
    sleep(ROUND_TRIP * 2).await;
    let mut taking = Box::pin(producer.take_failed());
    assert!((&mut taking).now_or_never().is_none());
    sleep(ROUND_TRIP).await;
    drop(taking);
    assert_eq!(texts(&producer.take_failed().await), ["bad"]);
    producer.close().await.unwrap();
}

/// Failed records keep their permits until `take_failed` returns them, so a dropped call must release none.
#[tokio::test(start_paused = true)]
async fn dropped_take_failed_keeps_buffer_limit() {
    let producer = produce(
        builder().configure(|settings| settings.buffer_records = Some(10)),
        &MockService::rejecting_bad(),
    );
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..500 {
        for _ in 0..10 {
            match producer.send(Record::from("bad")).await {
                Ok(()) => accepted += 1,
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.count()),
                        (ErrorKind::Undelivered, 10),
                        "{error}"
                    );
                    rejected += 1;
                }
            }
        }
        sleep(ROUND_TRIP * 2).await;
        let mut taking = Box::pin(producer.take_failed());
        assert!((&mut taking).now_or_never().is_none());
        sleep(ROUND_TRIP).await;
        drop(taking);
    }
    assert_eq!((accepted, rejected), (10, 4_990), "ten records fit");
    let error = producer.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 10), "{error}");
    assert_eq!(producer.take_failed().await.len(), 10);
    for _ in 0..10 {
        producer.try_send(Record::from("good")).unwrap();
    }
    let full = producer.try_send(Record::from("good")).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn take_failed_frees_buffer_bytes() {
    let builder = builder().configure(|settings| settings.buffer_bytes = 1_000);
    let producer = produce(builder, &MockService::rejecting_bad());
    let bad = || Record::from(("key", b"bad".repeat(99)));
    for _ in 0..3 {
        producer.send(bad()).await.unwrap();
    }
    sleep(ROUND_TRIP * 2).await;
    for _ in 0..3 {
        let mut taking = Box::pin(producer.take_failed());
        assert!((&mut taking).now_or_never().is_none());
        sleep(ROUND_TRIP).await;
        drop(taking);
        let error = producer.send(bad()).await.unwrap_err();
        assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 3), "{error}");
    }
    let waiting = producer.clone();
    let waiting = tokio::spawn(async move { waiting.send(record(0)).await });
    assert_eq!(producer.take_failed().await.len(), 3);
    waiting.await.unwrap().unwrap();
    for _ in 0..3 {
        producer.try_send(bad()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn handler_gets_failed_records_without_receipt() {
    let (sender, letters) = std::sync::mpsc::channel();
    let builder = builder().with_dead_letters(move |lost| sender.send(lost).unwrap());
    let producer = produce(builder, &MockService::rejecting_bad());
    producer.send(Record::from("bad 0")).await.unwrap();
    let receipt = producer.put(Record::from("bad 1")).await.unwrap();
    drop(producer.put(Record::from("bad 2")).await.unwrap());
    producer.close().await.unwrap();
    assert_eq!(text(receipt.await.unwrap_err().record().data()), "bad 1");
    assert_eq!(texts(&letters.try_iter().collect::<Vec<_>>()), ["bad 0", "bad 2"]);
}

#[tokio::test(start_paused = true)]
async fn dead_letter_handler_can_call_producer() {
    let calls: [fn(&Producer); 5] = [
        |producer| producer.try_send(Record::from("again")).unwrap(),
        |producer| assert!(producer.flush().now_or_never().is_none()),
        |producer| assert!(producer.take_failed().now_or_never().is_none()),
        |producer| assert!(producer.close().now_or_never().is_none()),
        |producer| assert!(producer.close_within(Duration::ZERO).now_or_never().is_none()),
    ];
    for (index, call) in calls.into_iter().enumerate() {
        let handle = Arc::new(OnceLock::<Producer>::new());
        let handler = {
            let handle = handle.clone();
            move |_: Undelivered| call(handle.get().unwrap())
        };
        let service = MockService::rejecting_bad();
        let producer = produce(builder().with_dead_letters(handler), &service);
        handle.set(producer.clone()).unwrap();
        producer.send(Record::from("bad")).await.unwrap();
        let receipt = producer.put(record(0)).await.unwrap();
        receipt.await.unwrap();
        producer.close().await.unwrap();
        let delivered = if index == 0 { vec!["0", "again"] } else { vec!["0"] };
        assert_eq!(service.delivered(), delivered, "call {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_flush_does_not_end_later_flush() {
    let service = MockService::delivering();
    let producer = produce(builder(), &service);
    let mut sink = producer.sink();
    sink.feed(record(0)).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    sleep(ROUND_TRIP / 2).await;
    // This record is sent without a preceding `poll_ready`, unlike record 3 below.
    sink.start_send_unpin(record(1)).unwrap();
    sink.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..2));
    sink.feed(record(2)).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    sleep(ROUND_TRIP / 2).await;
    sink.feed(record(3)).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..4));
}

#[tokio::test(start_paused = true)]
async fn forward_waits_for_all_accepted_records() {
    let service = MockService::delivering();
    let producer = produce(builder(), &service);
    // `forward` flushes the sink when the source is pending, here before its end.
    let pause = stream::once(sleep(ROUND_TRIP / 2)).filter_map(|()| async { None });
    let source = stream::iter(records(0..1).map(Ok)).chain(pause);
    let forward = tokio::spawn(Box::pin(source).forward(producer.sink()));
    sleep(ROUND_TRIP / 4).await;
    producer.send(record(1)).await.unwrap();
    forward.await.unwrap().unwrap();
    assert_eq!(service.delivered(), numbers(0..2));
}

#[tokio::test(start_paused = true)]
async fn idle_source_does_not_wake_driver() {
    let service = MockService::delivering();
    let (producer, driver) = builder().build_with(service).unwrap().into_producer();
    let mut driver = Box::pin(driver);
    let mut polls = 0;
    tokio::spawn(std::future::poll_fn(move |cx| {
        polls += 1;
        assert!(polls < 20, "the driver is woken without need");
        driver.as_mut().poll(cx)
    }));
    let idle = || stream::iter(records(0..1).map(Ok)).chain(stream::pending());
    let forwards: Vec<_> = (0..20).map(|_| tokio::spawn(idle().forward(producer.sink()))).collect();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(producer.status().totals.delivered, 20);
    assert!(forwards.iter().all(|forward| !forward.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn dropped_flushes_take_linear_time() {
    let service = MockService::delivering().with_round_trip(Duration::from_secs(60));
    let producer = produce(builder(), &service);
    producer.send(record(0)).await.unwrap();
    let began = std::time::Instant::now();
    for _ in 0..20_000 {
        assert!(producer.flush().now_or_never().is_none());
    }
    producer.flush().await.unwrap();
    // This would take minutes if each flush visited all others.
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn fatal_error_is_not_reported_after_recovery() {
    let service = MockService::failing(1, "AccessDeniedException");
    let builder = builder().configure(|settings| settings.fatal_policy = FatalPolicy::Retry);
    let producer = produce(builder, &service);
    let mut sink = producer.sink();
    sink.feed(record(0)).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    sleep(Duration::from_secs(60)).await;
    sink.feed(record(1)).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(service.delivered(), numbers(0..2));
}

/// Runs on two threads, so that some flushes start between the last delivery and the end of the driver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flush_succeeds_while_producer_closes() {
    for _ in 0..2_000 {
        let service = MockService::delivering().with_round_trip(Duration::ZERO);
        let producer = produce(builder(), &service);
        producer.send(record(0)).await.unwrap();
        let flushing = producer.clone();
        let flushes = tokio::spawn(async move {
            while !flushing.is_closed() {
                flushing.flush().await.unwrap();
            }
            flushing.flush().await.unwrap();
        });
        producer.close().await.unwrap();
        flushes.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn pending_flush_reports_withdrawn_records() {
    let service = MockService::failing(usize::MAX, "InternalFailure");
    let producer = produce(builder(), &service);
    producer.send(record(0)).await.unwrap();
    let flushing = producer.clone();
    let flush = tokio::spawn(async move { flushing.flush().await });
    sleep(ROUND_TRIP * 2).await;
    producer.close_within(Duration::from_secs(1)).await.unwrap_err();
    let error = flush.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
    let error = producer.flush().await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, 1), "{error}");
}

#[tokio::test(start_paused = true)]
async fn taken_failures_are_not_reported_again() {
    let producer = produce(builder(), &MockService::rejecting_bad());
    let mut sink = producer.sink();
    sink.feed(Record::from("bad")).await.unwrap();
    assert!(sink.flush().now_or_never().is_none());
    sleep(ROUND_TRIP * 2).await;
    assert_eq!(producer.take_failed().await.len(), 1);
    sink.flush().await.unwrap();
}
