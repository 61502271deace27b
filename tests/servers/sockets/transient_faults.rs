//! Tests of faults that end. Every record must be delivered, and only records without a response can be duplicated.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::{Record, SinkBuilder};

use super::fault::{Fault, ResponseFault, response};
use super::rig::{Rig, builder, builder_with_short_timeout, forward, in_time, payloads, put_all};

/// Number of records in each run. They need more than four requests, which is the maximum in flight.
const RECORDS: usize = 1_000;

/// Number of requests with the fault. Two requests without a fault precede them.
const FAULTS: usize = 4;

async fn assert_recovers(fault: Fault, builder: fn() -> SinkBuilder, cause: &str) {
    let rig = start(&fault, FAULTS).await;
    assert_forward_delivers(&rig, builder()).await;
    assert_delivered(&rig, &fault, FAULTS, cause).await;
    let rig = start(&fault, FAULTS).await;
    assert_receipts_report_delivery(&rig, builder()).await;
    assert_delivered(&rig, &fault, FAULTS, cause).await;
}

pub async fn start(fault: &Fault, faults: usize) -> Rig {
    let rig = Rig::start().await;
    rig.plan().serve(2);
    rig.plan().inject(faults, fault);
    rig
}

pub async fn assert_forward_delivers(rig: &Rig, builder: SinkBuilder) {
    let mut sink = rig.sink(builder);
    forward(&mut sink, 0..RECORDS).await.unwrap();
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (RECORDS as u64, 0));
}

async fn assert_receipts_report_delivery(rig: &Rig, builder: SinkBuilder) {
    let producer = rig.sink(builder).spawn();
    let outcomes = put_all(&producer, 0..RECORDS).await;
    in_time(producer.close()).await.unwrap();
    let receipts: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.len(), RECORDS);
    rig.assert_receipts(&receipts).await;
}

pub async fn assert_delivered(rig: &Rig, fault: &Fault, faults: usize, cause: &str) {
    assert_eq!(rig.plan().faults(), faults, "injected faults");
    let found = rig.find(payloads(0..RECORDS)).await;
    let unanswered = rig.plan().unanswered();
    assert_eq!((found.records, found.missing), (RECORDS, 0));
    // A failed request has up to 100 records. On a busy machine, requests without the fault can time out, too.
    let failed = 100 * rig.logs.with("failed records=").len();
    match fault {
        Fault::Response(_) => assert!((1..=failed).contains(&found.duplicated), "{found:?}"),
        Fault::TrickleRequest => assert!(found.duplicated <= failed, "{found:?}"),
        Fault::Reset | Fault::Close | Fault::Respond(_) => {
            assert_eq!((found.duplicated, unanswered), (0, 0));
        }
    }
    rig.assert_logs(cause);
    // An outage is logged only if two consecutive requests fail.
    let started = rig.logs.with("WARN").len();
    let ended = rig.logs.with("succeed again").len();
    assert!(started == ended && started <= 1, "{:#?}", rig.logs.lines());
}

#[tokio::test]
async fn reset_before_request_is_retried() {
    assert_recovers(Fault::Reset, builder, "Connection reset").await;
}

#[tokio::test]
async fn closed_connection_is_retried() {
    assert_recovers(Fault::Close, builder, "connection closed before message completed").await;
}

#[tokio::test]
async fn reset_after_request_is_retried() {
    assert_recovers(Fault::Response(ResponseFault::Reset), builder, "Connection reset").await;
}

#[tokio::test]
async fn truncated_response_is_retried() {
    assert_recovers(
        Fault::Response(ResponseFault::Truncated),
        builder,
        "end of file before message length reached",
    )
    .await;
}

#[tokio::test]
async fn request_timeout_is_retried() {
    assert_recovers(
        Fault::Response(ResponseFault::Missing),
        builder_with_short_timeout,
        "request timeout of 1s elapsed",
    )
    .await;
}

#[tokio::test]
async fn slow_response_is_retried() {
    assert_recovers(
        Fault::Response(ResponseFault::Trickle),
        builder_with_short_timeout,
        "request timeout of 1s elapsed",
    )
    .await;
}

#[tokio::test]
async fn slow_request_is_retried() {
    assert_recovers(
        Fault::TrickleRequest,
        builder_with_short_timeout,
        "request timeout of 1s elapsed",
    )
    .await;
}

/// The request exceeds the socket buffers, so the client cannot finish writing it.
#[tokio::test]
async fn slow_large_request_is_retried() {
    const RECORD: usize = 1024 * 1024 - 1;
    let rig = Rig::start().await;
    rig.plan().inject(1, &Fault::TrickleRequest);
    let payloads = || (0..4).map(|byte| Bytes::from(vec![byte; RECORD]));
    let limits = Limits::default().with_shard_bytes(1 << 40);
    let builder = builder().configure(|settings| {
        settings.limits = limits;
        settings.request_timeout = Duration::from_secs(5);
    });
    let mut sink = rig.sink(builder);
    let records = stream::iter(payloads()).map(|payload| Ok(Record::from(("k", payload))));
    in_time(records.forward(&mut sink)).await.unwrap();
    assert_eq!(rig.plan().faults(), 1);
    let found = rig.find(payloads()).await;
    assert_eq!((found.records, found.missing), (4, 0));
    assert!(found.duplicated <= rig.plan().unanswered(), "{found:?}");
    rig.assert_logs("request timeout of 5s elapsed");
}

#[tokio::test]
async fn non_http_response_is_retried() {
    let garbage: Vec<u8> = (0..=u8::MAX).cycle().take(4_096).collect();
    assert_recovers(Fault::Respond(garbage.into()), builder, "invalid HTTP").await;
}

#[tokio::test]
async fn non_json_response_is_retried() {
    let garbage: Vec<u8> = (0..=u8::MAX).cycle().take(4_096).collect();
    let fault = Fault::Response(ResponseFault::Replaced(response("200 OK", &garbage)));
    assert_recovers(fault, builder, "response cannot be read").await;
}
