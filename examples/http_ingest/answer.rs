//! What the client is told.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use kinesis_sink::status::Status;
use kinesis_sink::{Delivery, Error, ErrorKind, Undelivered};
use serde_json::json;

pub fn not_accepted(error: &Error) -> Response {
    let text = format!("{error}\n");
    match error.kind() {
        ErrorKind::RecordTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, text).into_response(),
        ErrorKind::InvalidPartitionKey => (StatusCode::BAD_REQUEST, text).into_response(),
        // The stream is slower than the clients: they wait, not this process's memory.
        ErrorKind::Full => unavailable("1", "too many events are under way\n"),
        // Why is for the logs, not for clients.
        _ => unavailable("30", "events are not accepted at present\n"),
    }
}

fn unavailable(seconds: &'static str, text: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds)], text).into_response()
}

pub fn settled(outcome: Result<Delivery, Undelivered>) -> Response {
    match outcome {
        Ok(delivery) => {
            let place = json!({
                "shard": delivery.shard_id(),
                "sequence_number": delivery.sequence_number(),
            });
            (StatusCode::CREATED, json(place)).into_response()
        }
        Err(_) => (StatusCode::BAD_GATEWAY, "the event was not delivered\n").into_response(),
    }
}

/// The whole status, with the code for a load balancer: 200 as long as events are accepted.
pub fn health(status: &Status) -> Response {
    let code =
        if status.accepts_records() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, json(json!(status))).into_response()
}

fn json(value: serde_json::Value) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], format!("{value}\n"))
}
