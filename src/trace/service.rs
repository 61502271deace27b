use std::task::{Context, Poll};

use tower::{BoxError, Service};
use tracing::{Span, debug, debug_span, field};

use super::{ResponseFuture, TARGET};
use crate::service::{PutRecordsRequest, PutRecordsResponse};

/// Traces each request. See the [module](super).
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Trace<S> {
    /// Wraps `inner`, whose requests are then traced.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<PutRecordsRequest> for Trace<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
{
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let span = make_span(&request);
        let stream = request.stream().clone();
        let records = request.entries().len();
        let entered = span.clone().entered();
        debug!(
            target: TARGET,
            records,
            bytes = request.bytes(),
            "sending {records} records to stream {}",
            stream.name()
        );
        let inner = self.inner.call(request);
        drop(entered);
        ResponseFuture::new(inner, span, stream, records)
    }
}

fn make_span(request: &PutRecordsRequest) -> Span {
    debug_span!(
        target: TARGET,
        "Kinesis.PutRecords",
        otel.kind = "client",
        otel.status_code = field::Empty,
        rpc.system = "aws-api",
        rpc.service = "Kinesis",
        rpc.method = "PutRecords",
        aws.kinesis.stream_name = request.stream().name(),
        messaging.batch.message_count = request.entries().len(),
        aws.request_id = field::Empty,
        "error.type" = field::Empty,
    )
}
