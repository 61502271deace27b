use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower::BoxError;
use tracing::{Level, Span, debug, enabled};

use super::TARGET;
use crate::service::{ErrorCount, PutRecordsResponse, attempt_error, request_id};
use crate::stream::StreamId;

/// Future of [`Trace`](super::Trace).
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    span: Span,
    stream: StreamId,
    records: usize,
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, span: Span, stream: StreamId, records: usize) -> Self {
        Self { inner, span, stream, records }
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<PutRecordsResponse, E>>,
    E: Into<BoxError>,
{
    type Output = Result<PutRecordsResponse, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        if enabled!(target: TARGET, Level::DEBUG) {
            match &result {
                Ok(response) => on_response(this.stream.name(), *this.records, response),
                Err(error) => on_error(this.span, this.stream.name(), *this.records, error),
            }
        }
        Poll::Ready(result)
    }
}

fn on_response(stream: &str, records: usize, response: &PutRecordsResponse) {
    let delivered = response.delivered();
    let errors = Errors(response.errors());
    let codes: BTreeSet<_> = errors.0.iter().map(|error| &error.code).collect();
    let messages: BTreeSet<_> = errors.0.iter().map(|error| &error.message).collect();
    debug!(
        target: TARGET,
        records,
        delivered,
        error.codes = ?codes,
        error.messages = ?messages,
        "sent {records} records to stream {stream}; {delivered} delivered; errors = {errors}"
    );
}

fn on_error(span: &Span, stream: &str, records: usize, error: &BoxError) {
    if let Some(id) = request_id(&**error) {
        span.record("aws.request_id", id);
    }
    let error = attempt_error(&**error);
    span.record("error.type", error.code());
    span.record("otel.status_code", "ERROR");
    debug!(
        target: TARGET,
        records,
        "error.type" = error.code(),
        error = error.message(),
        "sending {records} records to stream {stream} failed"
    );
}

/// `{}`, or `{InternalFailure: some message (3), ..}`.
struct Errors(Vec<ErrorCount>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (place, ErrorCount { code, message, count }) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{code}: {message} ({count})")?;
        }
        f.write_str("}")
    }
}
