//! Error answers of 10 MiB: nothing of them is kept, or logged.

use std::error::Error as _;

use futures::{SinkExt, future};
use kinesis_sink::record::FailureReason;
use kinesis_sink::{Error, ErrorKind};
use serde_json::json;

use super::fault::{Fault, answer};
use super::rig::{Rig, builder, in_time, payloads, record};
use super::transient_faults::{check, forwarding_goes_on, start};
use crate::support::alloc;
use crate::support::read_back::Found;

/// More records than a request holds.
const RECORDS: usize = 300;

const MIB_10: usize = 10 * 1024 * 1024;

/// Requests that are answered so.
const FAULTS: usize = 2;

/// In the logs the cause is named so.
async fn passes_with(status: &str, body: impl Into<Vec<u8>>, cause: &str) {
    let fault = Fault::Answer(answer(status, &body.into()));
    let rig = start(&fault, FAULTS).await;
    let before = alloc::reset_peak();
    forwarding_goes_on(&rig, builder()).await;
    let (most, kept) = (alloc::peak() - before, alloc::current() - before);
    // The SDK reads an answer whole and copies it; two can come at once.
    assert!(most < 12 * MIB_10 as isize, "{most} bytes at once");
    // The server keeps what was sent, and the thread what was logged.
    assert!(kept < MIB_10 as isize / 4, "{kept} bytes are kept");
    check(&rig, &fault, FAULTS, cause).await;
}

#[tokio::test]
async fn non_json_500_is_retried() {
    passes_with("500 Internal Server Error", vec![b'x'; MIB_10], "HTTP 500").await;
}

#[tokio::test]
async fn non_json_400_is_retried() {
    passes_with("400 Bad Request", vec![b'x'; MIB_10], "HTTP 400").await;
}

#[tokio::test]
async fn error_with_long_message_is_retried() {
    let body = json!({ "__type": "InternalFailure", "message": "x".repeat(MIB_10) });
    passes_with("500 Internal Server Error", body.to_string(), "InternalFailure").await;
}

#[tokio::test]
async fn error_without_code_is_retried() {
    let body = json!({ "message": "x".repeat(MIB_10) });
    passes_with("500 Internal Server Error", body.to_string(), "HTTP 500").await;
}

#[tokio::test]
async fn error_with_long_code_is_retried() {
    let body = json!({ "__type": "x".repeat(MIB_10), "message": "a message" });
    passes_with("500 Internal Server Error", body.to_string(), "a message").await;
}

/// One that the sink takes for final, as it does with every other 4xx that the service gives a name.
fn refusal() -> Fault {
    let body = json!({ "__type": "NobodyKnowsThis", "message": "x".repeat(MIB_10) });
    Fault::Answer(answer("400 Bad Request", body.to_string().as_bytes()))
}

const REFUSED: &str = "NobodyKnowsThis";

#[tokio::test]
async fn fatal_error_keeps_records_in_sink() {
    let rig = Rig::start().await;
    rig.orders().spoil(2, &refusal());
    // Of two that come together only the first is told.
    let mut sink = rig.sink(builder().with_max_in_flight(1));
    let mut refusals = 0;
    for number in 0..RECORDS {
        while let Err(error) = in_time(sink.feed(record(number))).await {
            check_refusal(&error);
            refusals += 1;
        }
    }
    while let Err(error) = in_time(sink.close()).await {
        check_refusal(&error);
        refusals += 1;
    }
    assert_eq!((refusals, rig.orders().faults()), (2, 2));
    let found = rig.find(payloads(0..RECORDS)).await;
    assert_eq!(found, Found { records: RECORDS, missing: 0, duplicated: 0 });
    rig.check_logs(REFUSED);
}

fn check_refusal(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let told = std::iter::successors(error.source(), |&error| error.source());
    let told: Vec<_> = told.map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.contains(REFUSED)));
    assert!(told.iter().all(|text| text.len() < 2_000));
}

#[tokio::test]
async fn fatal_error_returns_records_of_producer() {
    let rig = Rig::start().await;
    rig.orders().spoil_all(&refusal());
    let producer = rig.sink(builder().with_max_in_flight(1)).spawn();
    let mut receipts = Vec::new();
    for number in 0..RECORDS {
        match in_time(producer.put(record(number))).await {
            Ok(receipt) => receipts.push(receipt),
            Err(refused) => {
                assert_eq!(refused.kind(), ErrorKind::Stopped, "{refused}");
                assert!(refused.source().unwrap().to_string().contains(REFUSED), "the cause");
                break;
            }
        }
    }
    let closed = in_time(producer.close()).await;
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::Stopped);
    let outcomes = in_time(future::join_all(receipts)).await;
    let undelivered: Vec<_> = outcomes.into_iter().map(Result::unwrap_err).collect();
    for one in &undelivered {
        let FailureReason::Refused(error) = one.reason() else { panic!("another reason") };
        assert!(error.code() == REFUSED && error.message().len() < 2_000);
    }
    assert!(rig.orders().faults() > 0);
    rig.check_logs(REFUSED);
    rig.orders().serve_all();
    rig.deliver(undelivered).await;
}
