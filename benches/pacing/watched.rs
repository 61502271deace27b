use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt};
use kinesis_sink::service::{PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::{Error, KinesisSink, Record};
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::load::number_of;

/// A sink that records its accepted records and the maximum size of its buffer.
pub struct Watched<S> {
    pub sink: KinesisSink<S>,
    /// Numbers of the accepted records.
    pub accepted: Vec<u64>,
    pub accepted_at: Vec<Instant>,
    pub max_bytes: usize,
    pub max_records: usize,
}

impl<S> Watched<S> {
    pub fn new(sink: KinesisSink<S>) -> Self {
        Self { sink, accepted: Vec::new(), accepted_at: Vec::new(), max_bytes: 0, max_records: 0 }
    }
}

impl<S> Sink<Record> for Watched<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.sink.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, record: Record) -> Result<(), Error> {
        let number = number_of(record.data());
        self.sink.start_send_unpin(record)?;
        self.accepted.push(number);
        self.accepted_at.push(Instant::now());
        // The size of the buffer increases only in this call.
        let buffered = self.sink.status().buffered();
        self.max_bytes = self.max_bytes.max(buffered.bytes);
        self.max_records = self.max_records.max(buffered.records);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.sink.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.sink.poll_close_unpin(cx)
    }
}
