use std::task::{Context, Poll};

use tokio::time::Instant;
use tower::{BoxError, Service};

use super::events::Events;
use super::{DefaultMakeSpan, MakeSpan, ResponseFuture};
use crate::service::{PutRecordsRequest, PutRecordsResponse};

/// Middleware that adds tracing to requests. See the [module docs](super) for an example.
#[derive(Debug, Clone)]
pub struct Trace<S, M = DefaultMakeSpan> {
    inner: S,
    make_span: M,
    events: Events,
}

impl<S> Trace<S> {
    /// Creates a new `Trace` around `inner` with the default span and events at the DEBUG level.
    ///
    /// Use [`TraceLayer`](super::TraceLayer) to change the span or the events.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self::with(inner, DefaultMakeSpan::new(), Events::default())
    }
}

impl<S, M> Trace<S, M> {
    pub(super) fn with(inner: S, make_span: M, events: Events) -> Self {
        Self { inner, make_span, events }
    }

    inner_service_accessors!();
}

impl<S, M> Service<PutRecordsRequest> for Trace<S, M>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    M: MakeSpan,
{
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let started = Instant::now();
        let span = self.make_span.make_span(&request);
        let stream = request.stream().clone();
        let records = request.entries().len();
        let inner = span.in_scope(|| {
            self.events.request(&request);
            self.inner.call(request)
        });
        ResponseFuture { inner, span, events: self.events.clone(), stream, records, started }
    }
}
