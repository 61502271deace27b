use std::sync::Arc;
use std::time::Duration;

use tower::Layer;
use tracing::{Level, Span};

use super::events::Events;
use super::{DefaultMakeSpan, MakeSpan, Trace};
use crate::record::AttemptError;
use crate::service::PutRecordsResponse;

/// Layer that applies [`Trace`]. See the [module docs](super) for an example.
#[derive(Debug, Clone, Default)]
pub struct TraceLayer<M = DefaultMakeSpan> {
    make_span: M,
    events: Events,
}

impl TraceLayer {
    /// Creates a new `TraceLayer` with the default span and events at the DEBUG level.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the level of the span and of the events. Default: DEBUG.
    ///
    /// Call this method before [`make_span_with`](Self::make_span_with), which replaces the span and its level.
    ///
    /// ```
    /// use kinesis_sink::trace::TraceLayer;
    /// use tracing::Level;
    ///
    /// // The common filter `info` enables this level, without a directive for this crate.
    /// let layer = TraceLayer::new().with_level(Level::INFO);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.make_span = self.make_span.with_level(level);
        self.events.set_level(level);
        self
    }
}

impl<M> TraceLayer<M> {
    /// Sets how the span of a request is created, for example to add application fields.
    ///
    /// The middleware calls `make_span` once per request, before the inner service. If the request fails, it records
    /// `error.type`, `aws.request_id` and `otel.status_code` on the span, provided that the span declares these fields.
    ///
    /// The data and keys of a request can be confidential, so `make_span` should record only counts and sizes.
    ///
    /// ```
    /// use kinesis_sink::trace::TraceLayer;
    /// use kinesis_sink::service::PutRecordsRequest;
    /// use tracing::{field, info_span};
    ///
    /// let layer = TraceLayer::new().make_span_with(|request: &PutRecordsRequest| {
    ///     info_span!(
    ///         "put_clicks",
    ///         tenant = "acme",
    ///         records = request.entries().len(),
    ///         error.r#type = field::Empty,
    ///     )
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn make_span_with<N: MakeSpan>(self, make_span: N) -> TraceLayer<N> {
        TraceLayer { make_span, events: self.events }
    }

    /// Sets a closure that replaces the response event, for example to log only slow requests.
    ///
    /// The middleware calls `hook` inside the span, with the response, the time since the call, and the span. The
    /// response can contain entries that failed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kinesis_sink::trace::TraceLayer;
    /// use tracing::warn;
    ///
    /// let layer = TraceLayer::new().on_response(|response, latency, _span| {
    ///     if latency > Duration::from_secs(1) {
    ///         warn!(?latency, delivered = response.delivered(), "slow request");
    ///     }
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_response(
        mut self,
        hook: impl Fn(&PutRecordsResponse, Duration, &Span) + Send + Sync + 'static,
    ) -> Self {
        self.events.set_on_response(Arc::new(hook));
        self
    }

    /// Sets a closure that replaces the failure event, for example to log failures at a higher level.
    ///
    /// The middleware calls `hook` inside the span, with the error, the time since the call, and the span. The error
    /// has a code and a message. Values quoted from the request are removed from the message.
    ///
    /// ```
    /// use kinesis_sink::trace::TraceLayer;
    /// use tracing::warn;
    ///
    /// let layer = TraceLayer::new().on_failure(|error, latency, _span| {
    ///     warn!(?latency, code = error.code(), "request failed, its records are retried");
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_failure(
        mut self,
        hook: impl Fn(&AttemptError, Duration, &Span) + Send + Sync + 'static,
    ) -> Self {
        self.events.set_on_failure(Arc::new(hook));
        self
    }
}

impl<S, M: Clone> Layer<S> for TraceLayer<M> {
    type Service = Trace<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace::with(inner, self.make_span.clone(), self.events.clone())
    }
}
