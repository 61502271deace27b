use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::BoxError;
use tracing::{Level, Span};

use super::DEFAULT_LEVEL;
use crate::record::AttemptError;
use crate::service::{
    ErrorCount, PutRecordsRequest, PutRecordsResponse, attempt_error, request_id,
};
use crate::stream::StreamId;

type OnResponse = dyn Fn(&PutRecordsResponse, Duration, &Span) + Send + Sync;
type OnFailure = dyn Fn(&AttemptError, Duration, &Span) + Send + Sync;

/// Events of a request, or the hooks that replace them.
#[derive(Clone)]
pub(super) struct Events {
    level: Level,
    on_response: Option<Arc<OnResponse>>,
    on_failure: Option<Arc<OnFailure>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { level: DEFAULT_LEVEL, on_response: None, on_failure: None }
    }
}

impl Events {
    pub(super) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    pub(super) fn set_on_response(&mut self, hook: Arc<OnResponse>) {
        self.on_response = Some(hook);
    }

    pub(super) fn set_on_failure(&mut self, hook: Arc<OnFailure>) {
        self.on_failure = Some(hook);
    }

    pub(super) fn request(&self, request: &PutRecordsRequest) {
        let records = request.entries().len();
        at_level!(
            event,
            self.level,
            records,
            bytes = request.bytes(),
            "sending {records} records to stream {}",
            request.stream().name()
        );
    }

    pub(super) fn response(
        &self,
        stream: &StreamId,
        records: usize,
        response: &PutRecordsResponse,
        latency: Duration,
        span: &Span,
    ) {
        if let Some(hook) = &self.on_response {
            return hook(response, latency, span);
        }
        // Evaluated only if the event is enabled.
        let errors = LazyCell::new(|| Errors(response.errors()));
        at_level!(
            event,
            self.level,
            records,
            delivered = response.delivered(),
            latency = ?latency,
            error.codes = ?errors.codes(),
            error.messages = ?errors.messages(),
            "sent {records} records to stream {}; {} delivered; errors = {}",
            stream.name(),
            response.delivered(),
            *errors
        );
    }

    pub(super) fn failure(
        &self,
        stream: &StreamId,
        records: usize,
        error: &BoxError,
        latency: Duration,
        span: &Span,
    ) {
        let redacted = LazyCell::new(|| attempt_error(&**error));
        if !span.is_disabled() {
            if let Some(id) = request_id(&**error) {
                span.record("aws.request_id", id);
            }
            span.record("error.type", redacted.code());
            span.record("otel.status_code", "ERROR");
        }
        if let Some(hook) = &self.on_failure {
            return hook(&redacted, latency, span);
        }
        at_level!(
            event,
            self.level,
            records,
            latency = ?latency,
            "error.type" = redacted.code(),
            error = redacted.message(),
            "sending {records} records to stream {} failed",
            stream.name()
        );
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("level", &self.level)
            .field("on_response", &self.on_response.is_some())
            .field("on_failure", &self.on_failure.is_some())
            .finish()
    }
}

/// Errors in a response, displayed as `{}` or `{InternalFailure: some message (3), ..}`.
struct Errors(Vec<ErrorCount>);

impl Errors {
    fn codes(&self) -> BTreeSet<&str> {
        self.0.iter().map(|error| error.code.as_str()).collect()
    }

    fn messages(&self) -> BTreeSet<&str> {
        self.0.iter().map(|error| error.message.as_str()).collect()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, ErrorCount { code, message, count }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{code}: {message} ({count})")?;
        }
        f.write_str("}")
    }
}
