//! Faults that do not pass: nothing hangs, and every record comes back with a reason that names the cause.

use std::time::Duration;

use kinesis_sink::record::FailureReason;
use kinesis_sink::{ErrorKind, KinesisSink, SinkBuilder, Undelivered};

use super::fault::{Fault, Spoilt, answer};
use super::rig::{Rig, builder, forward, impatient, in_time, numbers_of, put_all, until};

/// More than a request holds.
const RECORDS: usize = 150;

async fn lasts(fault: Fault, builder: fn() -> SinkBuilder, cause: &str) {
    let rig = Rig::start().await;
    rig.orders().spoil_all(&fault);
    let given_up = give_up_after_attempts(
        rig.sink(builder().configure(|settings| settings.max_attempts = Some(2))),
        cause,
    )
    .await;
    let withdrawn = take_back(&rig, rig.sink(builder()), cause).await;
    assert!(rig.orders().faults() > 0, "{fault:?}");
    rig.check_logs(cause);
    rig.orders().serve_all();
    rig.deliver(given_up).await;
    rig.deliver(withdrawn).await;
}

/// The sink keeps all records, and says why they are not delivered.
pub async fn give_up_after_attempts(mut sink: KinesisSink, cause: &str) -> Vec<Undelivered> {
    let error = forward(&mut sink, 0..RECORDS).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, RECORDS), "{error}");
    check_reason(error.reason().unwrap(), cause);
    let failed = sink.take_failed();
    failed.iter().for_each(|one| check_reason(one.reason(), cause));
    assert_eq!(numbers_of(&failed), (0..RECORDS).collect::<Vec<_>>());
    failed
}

/// The producer ends in time, and gives all records back; their receipts say so.
pub async fn take_back(rig: &Rig, sink: KinesisSink, cause: &str) -> Vec<Undelivered> {
    let producer = sink.spawn();
    let told_before = rig.logs.with(cause).len();
    let closing = async {
        let is_told = || rig.logs.with(cause).len() > told_before;
        until(|| producer.status().totals.accepted == RECORDS as u64 && is_told()).await;
        producer.close_within(Duration::from_millis(100)).await
    };
    let (outcomes, closed) = tokio::join!(put_all(&producer, 0..RECORDS), in_time(closing));
    let closed = closed.unwrap_err();
    assert_eq!((closed.kind(), closed.count()), (ErrorKind::Undelivered, RECORDS), "{closed}");
    let undelivered = closed.into_undelivered();
    let receipts = outcomes.into_iter().map(Result::unwrap_err).collect::<Vec<_>>();
    assert_eq!(receipts.len(), RECORDS);
    for one in receipts.iter().chain(&undelivered) {
        assert!(matches!(one.reason(), FailureReason::Withdrawn { .. }), "{one}");
        // A record in its first request, or in none yet, has nothing to tell.
        if one.last_error().is_some() {
            check_reason(one.reason(), cause);
        }
    }
    assert!(undelivered.iter().any(|one| one.last_error().is_some()), "an attempt has failed");
    assert_eq!(numbers_of(&undelivered), (0..RECORDS).collect::<Vec<_>>());
    undelivered
}

fn check_reason(reason: &FailureReason, cause: &str) {
    let reason = reason.to_string();
    assert!(reason.contains(cause), "{reason}");
    assert!(reason.len() < 2_000, "a reason of {} bytes", reason.len());
}

#[tokio::test]
async fn connection_reset_returns_records() {
    lasts(Fault::Reset, builder, "Connection reset").await;
}

#[tokio::test]
async fn reset_after_request_returns_records() {
    lasts(Fault::Spoil(Spoilt::Reset), builder, "Connection reset").await;
}

#[tokio::test]
async fn request_timeout_returns_records() {
    lasts(Fault::Spoil(Spoilt::Never), impatient, "request timeout of ").await;
}

#[tokio::test]
async fn non_http_response_returns_records() {
    lasts(Fault::Answer("220 ready\r\n".into()), builder, "invalid HTTP").await;
}

#[tokio::test]
async fn non_kinesis_response_returns_records() {
    let page = answer("200 OK", b"<html><body>It works</body></html>");
    lasts(Fault::Answer(page), builder, "response cannot be read (HTTP 200)").await;
}

#[tokio::test]
async fn bad_gateway_returns_records() {
    let page = answer("502 Bad Gateway", b"<html><body>Bad Gateway</body></html>");
    lasts(Fault::Answer(page), builder, "HTTP 502").await;
}

#[tokio::test]
async fn refused_connection_returns_records() {
    const CAUSE: &str = "Connection refused";
    let mut rig = Rig::start_with_the_proxy_down().await;
    let sink = || {
        builder()
            .configure(|settings| settings.max_attempts = Some(2))
            .build(&rig.client())
            .unwrap()
    };
    let given_up = give_up_after_attempts(sink(), CAUSE).await;
    let sink = builder().build(&rig.client()).unwrap();
    let withdrawn = take_back(&rig, sink, CAUSE).await;
    rig.check_logs(CAUSE);
    rig.proxy.come_up();
    rig.deliver(given_up).await;
    rig.deliver(withdrawn).await;
}
