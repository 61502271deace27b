//! Faults that pass: everything arrives, through a sink and through a producer, and what may be there
//! twice is what was written and not answered.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use kinesis_sink::limits::Limits;
use kinesis_sink::{Record, SinkBuilder};

use super::fault::{Fault, Spoilt, answer};
use super::rig::{Rig, builder, forward, impatient, in_time, payloads, put_all};

/// So many records go through the sink, and as many through the producer: more requests than the four
/// that may be in flight at once.
const RECORDS: usize = 1_000;

/// So many requests are hit by the fault, in the midst of the run.
const FAULTS: usize = 4;

/// In the logs of both runs the cause is named so.
async fn passes(fault: Fault, builder: fn() -> SinkBuilder, cause: &str) {
    let rig = start(&fault, FAULTS).await;
    forwarding_goes_on(&rig, builder()).await;
    check(&rig, &fault, FAULTS, cause).await;
    let rig = start(&fault, FAULTS).await;
    every_receipt_tells_of_delivery(&rig, builder()).await;
    check(&rig, &fault, FAULTS, cause).await;
}

pub async fn start(fault: &Fault, faults: usize) -> Rig {
    let rig = Rig::start().await;
    rig.orders().serve(2);
    rig.orders().spoil(faults, fault);
    rig
}

pub async fn forwarding_goes_on(rig: &Rig, builder: SinkBuilder) {
    let mut sink = rig.sink(builder);
    forward(&mut sink, 0..RECORDS).await.unwrap();
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (RECORDS as u64, 0));
}

async fn every_receipt_tells_of_delivery(rig: &Rig, builder: SinkBuilder) {
    let producer = rig.sink(builder).spawn();
    let outcomes = put_all(&producer, 0..RECORDS).await;
    in_time(producer.close()).await.unwrap();
    let receipts: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.len(), RECORDS);
    rig.check(&receipts).await;
}

pub async fn check(rig: &Rig, fault: &Fault, faults: usize, cause: &str) {
    assert_eq!(rig.orders().faults(), faults, "it happened");
    let (found, unanswered) = (rig.find(payloads(0..RECORDS)).await, rig.orders().unanswered());
    assert_eq!((found.records, found.missing), (RECORDS, 0));
    // Of 100 records each. Under a short time-out a busy machine adds to those that the fault hit.
    let failed = 100 * rig.logs.with("failed records=").len();
    match fault {
        // Each was written without an answer, and sent once more.
        Fault::Spoil(_) => assert!((1..=failed).contains(&found.duplicated), "{found:?}"),
        Fault::TrickleRequest => assert!(found.duplicated <= failed, "{found:?}"),
        Fault::Reset | Fault::Close | Fault::Answer(_) => {
            assert_eq!((found.duplicated, unanswered), (0, 0));
        }
    }
    rig.check_logs(cause);
    // There are none if no two requests in a row failed.
    let (begun, over) = (rig.logs.with("WARN").len(), rig.logs.with("succeed again").len());
    assert!(begun == over && begun <= 1, "{:#?}", rig.logs.lines());
}

#[tokio::test]
async fn reset_before_request_is_retried() {
    passes(Fault::Reset, builder, "Connection reset").await;
}

#[tokio::test]
async fn closed_connection_is_retried() {
    passes(Fault::Close, builder, "connection closed before message completed").await;
}

#[tokio::test]
async fn reset_after_request_is_retried() {
    passes(Fault::Spoil(Spoilt::Reset), builder, "Connection reset").await;
}

#[tokio::test]
async fn truncated_response_is_retried() {
    passes(Fault::Spoil(Spoilt::Half), builder, "end of file before message length reached").await;
}

#[tokio::test]
async fn request_timeout_is_retried() {
    passes(Fault::Spoil(Spoilt::Never), impatient, "request timeout of 1s elapsed").await;
}

#[tokio::test]
async fn slow_response_is_retried() {
    passes(Fault::Spoil(Spoilt::Trickle), impatient, "request timeout of 1s elapsed").await;
}

#[tokio::test]
async fn slow_request_is_retried() {
    passes(Fault::TrickleRequest, impatient, "request timeout of 1s elapsed").await;
}

/// More than fits into the sockets' buffers, so that the client cannot even write it.
#[tokio::test]
async fn slow_large_request_is_retried() {
    const RECORD: usize = 1024 * 1024 - 1;
    let rig = Rig::start().await;
    rig.orders().spoil(1, &Fault::TrickleRequest);
    let payloads = || (0..4).map(|byte| Bytes::from(vec![byte; RECORD]));
    let limits = Limits::default().with_shard_bytes(1 << 40);
    let builder = builder().configure(|settings| {
        settings.limits = limits;
        settings.request_timeout = Duration::from_secs(5);
    });
    let mut sink = rig.sink(builder);
    let records = stream::iter(payloads()).map(|payload| Ok(Record::from(("k", payload))));
    in_time(records.forward(&mut sink)).await.unwrap();
    assert_eq!(rig.orders().faults(), 1);
    let found = rig.find(payloads()).await;
    assert_eq!((found.records, found.missing), (4, 0));
    assert!(found.duplicated <= rig.orders().unanswered(), "{found:?}");
    rig.check_logs("request timeout of 5s elapsed");
}

#[tokio::test]
async fn non_http_response_is_retried() {
    let garbage: Vec<u8> = (0..=u8::MAX).cycle().take(4_096).collect();
    passes(Fault::Answer(garbage.into()), builder, "invalid HTTP").await;
}

#[tokio::test]
async fn non_json_response_is_retried() {
    let garbage: Vec<u8> = (0..=u8::MAX).cycle().take(4_096).collect();
    let fault = Fault::Spoil(Spoilt::Other(answer("200 OK", &garbage)));
    passes(fault, builder, "response cannot be read").await;
}
