use tracing::{Level, Span, field};

use super::DEFAULT_LEVEL;
use crate::service::PutRecordsRequest;

/// Trait for creating the span of a request.
///
/// [`Trace`](super::Trace) enters the span while it calls and polls the inner service. Any closure that takes a
/// `&PutRecordsRequest` and returns a [`Span`] implements this trait. See
/// [`TraceLayer::make_span_with`](super::TraceLayer::make_span_with) for an example.
pub trait MakeSpan {
    /// Creates the span of `request`.
    fn make_span(&mut self, request: &PutRecordsRequest) -> Span;
}

impl<F> MakeSpan for F
where
    F: FnMut(&PutRecordsRequest) -> Span,
{
    fn make_span(&mut self, request: &PutRecordsRequest) -> Span {
        self(request)
    }
}

/// Default [`MakeSpan`], which creates a span named `Kinesis.PutRecords` with [these fields](super#span).
///
/// The default level is DEBUG. To export spans without logging events, create the span at a higher level than the
/// events:
///
/// ```
/// use kinesis_sink::trace::TraceLayer;
/// use kinesis_sink::trace::DefaultMakeSpan;
/// use tracing::Level;
///
/// // Spans at INFO, events at DEBUG.
/// let layer = TraceLayer::new().make_span_with(DefaultMakeSpan::new().with_level(Level::INFO));
/// # let _ = layer;
/// ```
#[derive(Debug, Clone)]
pub struct DefaultMakeSpan {
    level: Level,
}

impl DefaultMakeSpan {
    /// Creates a new `DefaultMakeSpan` that creates spans at DEBUG.
    #[must_use]
    pub fn new() -> Self {
        Self { level: DEFAULT_LEVEL }
    }

    /// Sets the level of the span. Default: DEBUG.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

impl Default for DefaultMakeSpan {
    fn default() -> Self {
        Self::new()
    }
}

impl MakeSpan for DefaultMakeSpan {
    fn make_span(&mut self, request: &PutRecordsRequest) -> Span {
        at_level!(
            span,
            self.level,
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
}
