//! What the client is told.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use kinesis_sink::{Delivery, ErrorKind, RecordError, Totals, Undelivered};
use serde_json::json;

pub fn not_accepted(reason: &NotAcceptedReason) -> Response {
    let text = format!("{reason}\n");
    match reason {
        NotAcceptedReason::Record(RecordError::TooLarge { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
        }
        NotAcceptedReason::Record(_) => (StatusCode::BAD_REQUEST, text).into_response(),
        // The stream is slower than the clients: they wait, not this process's memory.
        NotAcceptedReason::Full => unavailable("1", "too many events are under way\n"),
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

pub fn totals(totals: &Totals) -> impl IntoResponse {
    json(json!({
        "accepted": totals.accepted,
        "delivered": totals.delivered,
        "failed": totals.failed,
        "throttled": totals.throttled,
    }))
}

fn json(value: serde_json::Value) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], format!("{value}\n"))
}
