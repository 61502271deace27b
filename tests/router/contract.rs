//! Contract of `futures::Sink` for `RouterSink`.
//!
//! These tests of the contract do not apply, because `poll_ready` does not know the stream of the next record, so that the
//! sink accepts one record beyond the bounds: `start_send_returns_record_when_full`, `backpressure_makes_poll_ready_wait`,
//! `buffer_bytes_bounds_accepted_records`, and `pending_polls_wake_newest_waker`. The module `sink` has similar tests.
//! `aggregates_are_encoded_over_many_polls` does not apply, because closing a sink does not close the producer of the
//! stream, and so does not shorten the linger.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt};
use kinesis_sink::router::RouterSink;
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{Error, KinesisSink, Record, Router, SinkBuilder};
use tower::{BoxError, Service};

use super::fixtures::id;
use crate::support::sink_contract::{Subject, contract};

/// Sink that sends all records to one stream of a router.
struct ToOneStream(RouterSink);

impl Subject for ToOneStream {
    fn from_sink(_: KinesisSink) -> Self {
        unreachable!("a router builds its sinks")
    }

    fn build<S>(builder: SinkBuilder, service: S) -> Self
    where
        S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let builder = builder.configure(|settings| settings.seed = Some(1));
        let router = Router::builder().configure_stream(move |_, _| builder.clone());
        Self(router.spawn_with(service).unwrap().sink())
    }
}

impl Sink<Record> for ToOneStream {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), Error> {
        self.0.start_send_unpin((id("example"), record))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_close_unpin(cx)
    }
}

contract!(ToOneStream:
    sink_is_unpin_and_send
    repeated_poll_ready_has_no_effect
    flush_completes_when_all_are_delivered
    close_drains_buffer_then_rejects_records
    poll_ready_fails_only_after_close_completes
    close_through_adapters_delivers_all
    feed_returns_invalid_record
    largest_record_is_sent_when_allowed
    requests_complete_without_polling_sink
    requests_run_concurrently
    send_feed_send_all_and_forward_deliver
    fanout_with_and_buffer_deliver_all
    slow_source_sends_once_per_round_trip
    idle_sink_sends_record_immediately
    batch_is_formed_when_service_is_ready
    cancelled_futures_lose_no_record
    sink_moves_between_tasks
    ready_source_lets_other_tasks_run
    payload_is_sent_without_copy
);
