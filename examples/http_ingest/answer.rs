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
        ErrorKind::Full => unavailable("1", "too many events are buffered\n"),
        // The cause of the error is not sent to clients.
        _ => unavailable("30", "events are currently not accepted\n"),
    }
}

fn unavailable(seconds: &'static str, text: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds)], text).into_response()
}

pub fn delivered(outcome: Result<Delivery, Undelivered>) -> Response {
    match outcome {
        Ok(delivery) => {
            let delivery = json!({
                "shard": delivery.shard_id(),
                "sequence_number": delivery.sequence_number(),
            });
            (StatusCode::CREATED, json(delivery)).into_response()
        }
        Err(_) => (StatusCode::BAD_GATEWAY, "the event was not delivered\n").into_response(),
    }
}

/// Returns the status of the producer as a health check. The status code is 200 if the producer accepts events.
pub fn health(status: &Status) -> Response {
    let code =
        if status.accepts_records() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, json(json!(status))).into_response()
}

fn json(value: serde_json::Value) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], format!("{value}\n"))
}
