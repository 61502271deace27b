use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tokio::time::Instant;
use tower::BoxError;
use tracing::Span;

use super::events::Events;
use crate::service::PutRecordsResponse;
use crate::stream::StreamId;

/// Response future of [`Trace`](super::Trace).
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    pub(super) inner: F,
    pub(super) span: Span,
    pub(super) events: Events,
    pub(super) stream: StreamId,
    pub(super) records: usize,
    pub(super) started: Instant,
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<PutRecordsResponse, E>>,
    E: Into<BoxError>,
{
    type Output = Result<PutRecordsResponse, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let span = &*this.span;
        let stream = &*this.stream;
        let records = *this.records;
        let _entered = span.enter();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let latency = this.started.elapsed();
        match &result {
            Ok(response) => this.events.response(stream, records, response, latency, span),
            Err(error) => this.events.failure(stream, records, error, latency, span),
        }
        Poll::Ready(result)
    }
}
