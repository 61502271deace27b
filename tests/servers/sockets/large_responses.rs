//! Tests that error responses of 10 MiB are neither kept in memory nor logged.

use std::error::Error as _;

use futures::{SinkExt, future};
use kinesis_sink::record::FailureReason;
use kinesis_sink::{Error, ErrorKind};
use serde_json::json;

use super::fault::{Fault, response};
use super::rig::{Rig, builder, in_time, payloads, record};
use super::transient_faults::{assert_delivered, assert_forward_delivers, start};
use crate::support::alloc;
use crate::support::read_back::Found;

const RECORDS: usize = 300;

const MIB_10: usize = 10 * 1024 * 1024;

const FAULTS: usize = 2;

async fn assert_recovers_from(status: &str, body: impl Into<Vec<u8>>, cause: &str) {
    let fault = Fault::Respond(response(status, &body.into()));
    let rig = start(&fault, FAULTS).await;
    let before = alloc::reset_peak();
    assert_forward_delivers(&rig, builder()).await;
    let peak = alloc::peak() - before;
    let kept = alloc::current() - before;
    // The SDK buffers and copies a whole response, and two responses can be in flight.
    assert!(peak < 12 * MIB_10 as isize, "peak of {peak} bytes");
    assert!(kept < MIB_10 as isize / 4, "{kept} bytes kept");
    assert_delivered(&rig, &fault, FAULTS, cause).await;
}

#[tokio::test]
async fn non_json_500_is_retried() {
    assert_recovers_from("500 Internal Server Error", vec![b'x'; MIB_10], "HTTP 500").await;
}

#[tokio::test]
async fn non_json_400_is_retried() {
    assert_recovers_from("400 Bad Request", vec![b'x'; MIB_10], "HTTP 400").await;
}

#[tokio::test]
async fn error_with_long_message_is_retried() {
    let body = json!({ "__type": "InternalFailure", "message": "x".repeat(MIB_10) });
    assert_recovers_from("500 Internal Server Error", body.to_string(), "InternalFailure").await;
}

#[tokio::test]
async fn error_without_code_is_retried() {
    let body = json!({ "message": "x".repeat(MIB_10) });
    assert_recovers_from("500 Internal Server Error", body.to_string(), "HTTP 500").await;
}

#[tokio::test]
async fn error_with_long_code_is_retried() {
    let body = json!({ "__type": "x".repeat(MIB_10), "message": "a message" });
    assert_recovers_from("500 Internal Server Error", body.to_string(), "a message").await;
}

/// Returns a 4xx error with an unknown error code, which the sink treats as fatal.
fn fatal_error() -> Fault {
    let body = json!({ "__type": "UnknownError", "message": "x".repeat(MIB_10) });
    Fault::Respond(response("400 Bad Request", body.to_string().as_bytes()))
}

const FATAL_CODE: &str = "UnknownError";

#[tokio::test]
async fn fatal_error_keeps_records_in_sink() {
    let rig = Rig::start().await;
    rig.plan().inject(2, &fatal_error());
    // With two requests in flight, only the first fatal error would be returned.
    let mut sink = rig.sink(builder().with_max_in_flight(1));
    let mut fatal_errors = 0;
    for number in 0..RECORDS {
        while let Err(error) = in_time(sink.feed(record(number))).await {
            assert_fatal(&error);
            fatal_errors += 1;
        }
    }
    while let Err(error) = in_time(sink.close()).await {
        assert_fatal(&error);
        fatal_errors += 1;
    }
    assert_eq!((fatal_errors, rig.plan().faults()), (2, 2));
    let found = rig.find(payloads(0..RECORDS)).await;
    assert_eq!(found, Found { records: RECORDS, missing: 0, duplicated: 0 });
    rig.assert_logs(FATAL_CODE);
}

fn assert_fatal(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let sources = std::iter::successors(error.source(), |&error| error.source());
    let sources: Vec<_> = sources.map(ToString::to_string).collect();
    assert!(sources.iter().any(|text| text.contains(FATAL_CODE)));
    assert!(sources.iter().all(|text| text.len() < 2_000));
}

#[tokio::test]
async fn fatal_error_returns_records_of_producer() {
    let rig = Rig::start().await;
    rig.plan().inject_all(&fatal_error());
    let producer = rig.sink(builder().with_max_in_flight(1)).spawn();
    let mut receipts = Vec::new();
    for number in 0..RECORDS {
        match in_time(producer.put(record(number))).await {
            Ok(receipt) => receipts.push(receipt),
            Err(refused) => {
                assert_eq!(refused.kind(), ErrorKind::Stopped, "{refused}");
                assert!(
                    refused.source().unwrap().to_string().contains(FATAL_CODE),
                    "the source is the cause"
                );
                break;
            }
        }
    }
    let closed = in_time(producer.close()).await;
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::Stopped);
    let outcomes = in_time(future::join_all(receipts)).await;
    let undelivered: Vec<_> = outcomes.into_iter().map(Result::unwrap_err).collect();
    for one in &undelivered {
        let FailureReason::Refused(error) = one.reason() else {
            panic!("unexpected reason: {}", one.reason())
        };
        assert!(error.code() == FATAL_CODE && error.message().len() < 2_000);
    }
    assert!(rig.plan().faults() > 0);
    rig.assert_logs(FATAL_CODE);
    rig.plan().serve_all();
    rig.redeliver(undelivered).await;
}
