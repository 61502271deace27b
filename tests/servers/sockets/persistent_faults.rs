//! Tests of faults that do not end. Every run must end, and the reason of every record must name the cause.

use std::time::Duration;

use kinesis_sink::record::FailureReason;
use kinesis_sink::{ErrorKind, KinesisSink, SinkBuilder, Undelivered};

use super::fault::{Fault, ResponseFault, response};
use super::rig::{
    Rig, builder, builder_with_short_timeout, forward, in_time, numbers_of, put_all, wait_until,
};

const RECORDS: usize = 150;

async fn assert_returns_records(fault: Fault, builder: fn() -> SinkBuilder, cause: &str) {
    let rig = Rig::start().await;
    rig.plan().inject_all(&fault);
    let failed = fail_after_attempts(
        rig.sink(builder().configure(|settings| settings.max_attempts = Some(2))),
        cause,
    )
    .await;
    let withdrawn = withdraw(&rig, rig.sink(builder()), cause).await;
    assert!(rig.plan().faults() > 0, "{fault:?}");
    rig.assert_logs(cause);
    rig.plan().serve_all();
    rig.redeliver(failed).await;
    rig.redeliver(withdrawn).await;
}

pub async fn fail_after_attempts(mut sink: KinesisSink, cause: &str) -> Vec<Undelivered> {
    let error = forward(&mut sink, 0..RECORDS).await.unwrap_err();
    assert_eq!((error.kind(), error.count()), (ErrorKind::Undelivered, RECORDS), "{error}");
    assert_reason(error.reason().unwrap(), cause);
    let failed = sink.take_failed();
    for record in &failed {
        assert_reason(record.reason(), cause);
    }
    assert_eq!(numbers_of(&failed), (0..RECORDS).collect::<Vec<_>>());
    failed
}

/// Asserts that `close_within` and the receipts return all records, and returns them.
pub async fn withdraw(rig: &Rig, sink: KinesisSink, cause: &str) -> Vec<Undelivered> {
    let producer = sink.spawn();
    let logged_before = rig.logs.with(cause).len();
    let closing = async {
        let is_logged = || rig.logs.with(cause).len() > logged_before;
        wait_until(|| producer.status().totals.accepted == RECORDS as u64 && is_logged()).await;
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
        // A record without a failed attempt has no cause.
        if one.last_error().is_some() {
            assert_reason(one.reason(), cause);
        }
    }
    assert!(undelivered.iter().any(|one| one.last_error().is_some()), "an attempt has failed");
    assert_eq!(numbers_of(&undelivered), (0..RECORDS).collect::<Vec<_>>());
    undelivered
}

fn assert_reason(reason: &FailureReason, cause: &str) {
    let reason = reason.to_string();
    assert!(reason.contains(cause), "{reason}");
    assert!(reason.len() < 2_000, "a reason of {} bytes", reason.len());
}

#[tokio::test]
async fn connection_reset_returns_records() {
    assert_returns_records(Fault::Reset, builder, "Connection reset").await;
}

#[tokio::test]
async fn reset_after_request_returns_records() {
    assert_returns_records(Fault::Response(ResponseFault::Reset), builder, "Connection reset")
        .await;
}

#[tokio::test]
async fn request_timeout_returns_records() {
    assert_returns_records(
        Fault::Response(ResponseFault::Missing),
        builder_with_short_timeout,
        "request timeout of ",
    )
    .await;
}

#[tokio::test]
async fn non_http_response_returns_records() {
    assert_returns_records(Fault::Respond("220 ready\r\n".into()), builder, "invalid HTTP").await;
}

#[tokio::test]
async fn non_kinesis_response_returns_records() {
    let page = response("200 OK", b"<html><body>It works</body></html>");
    assert_returns_records(Fault::Respond(page), builder, "response cannot be read (HTTP 200)")
        .await;
}

#[tokio::test]
async fn bad_gateway_returns_records() {
    let page = response("502 Bad Gateway", b"<html><body>Bad Gateway</body></html>");
    assert_returns_records(Fault::Respond(page), builder, "HTTP 502").await;
}

#[tokio::test]
async fn refused_connection_returns_records() {
    const CAUSE: &str = "Connection refused";
    let mut rig = Rig::start_refusing().await;
    let sink = || {
        builder()
            .configure(|settings| settings.max_attempts = Some(2))
            .build(&rig.client())
            .unwrap()
    };
    let failed = fail_after_attempts(sink(), CAUSE).await;
    let sink = builder().build(&rig.client()).unwrap();
    let withdrawn = withdraw(&rig, sink, CAUSE).await;
    rig.assert_logs(CAUSE);
    rig.proxy.start_listening();
    rig.redeliver(failed).await;
    rig.redeliver(withdrawn).await;
}
