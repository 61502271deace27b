//! Stream check, which sends a DescribeStreamSummary request. If it fails, the error names the problem and the fix.

mod destination;
mod diagnosis;
mod failure;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::StreamStatus;
use futures::FutureExt;
use tokio::time::timeout;
use tower::BoxError;
use tracing::info;

pub(crate) use self::failure::CheckFailure;
use self::failure::CheckFailureKind;

use self::destination::Destination;
use self::diagnosis::{Diagnosis, Pass, can_retry, diagnose, is_loading_credentials};
use self::failure::FailureContext;
use super::environment::{self, Environment};
use super::sdk::{Attempt, check_region};
use super::stream_info::describe;
use super::{PutRecords, PutRecordsError, attempt_error};
use crate::stream::{StreamId, StreamInfo};
use crate::trace::TARGET;

/// Timeout of a check. The lookups of a sink have the same timeout.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Check that a stream can be reached and accepts records. It does not send records. The check passes in these cases:
///
/// - The stream is ACTIVE or UPDATING.
/// - DescribeStreamSummary is denied, because a producer does not need this permission.
/// - The request is throttled or fails with HTTP 5xx, because the sink retries during outages.
/// - The server does not know the operation or rejects its arguments, as some local servers do.
///
/// The check fails for a stream that is CREATING, because PutRecords would respond that the stream does not exist, and
/// this error stops a producer. The API reference of CreateStream says "You can perform read and write operations only
/// on an ACTIVE stream". The references of UpdateShardCount and SplitShard say "Read and write operations continue to
/// work while the stream is in the UPDATING state".
#[derive(Clone)]
pub(crate) struct StreamCheck {
    stream: StreamId,
    source: Source,
    timeout: Duration,
    environment: Environment,
}

#[derive(Clone)]
enum Source {
    Client(Client),
    StreamInfo(Arc<dyn StreamInfo>),
    None,
}

impl StreamCheck {
    /// Creates a check that uses the client of `service`. The client's stalled-stream protection should be off.
    pub(crate) fn new(service: &PutRecords, stream: StreamId) -> Self {
        Self::with_source(Source::Client(service.client().clone()), stream)
    }

    /// Creates a check that uses `source` and bypasses its cache. The check passes if `source` provides no description.
    pub(crate) fn with_stream_info(source: Option<Arc<dyn StreamInfo>>, stream: StreamId) -> Self {
        Self::with_source(source.map_or(Source::None, Source::StreamInfo), stream)
    }

    fn with_source(source: Source, stream: StreamId) -> Self {
        Self { stream, source, timeout: CHECK_TIMEOUT, environment: environment::process_variable }
    }

    /// Checks the stream. The future is cancel safe: dropping it abandons the request.
    pub(crate) async fn run(&self) -> Result<(), CheckFailure> {
        let destination = Destination::default();
        let call = timeout(self.timeout, self.query_status(&destination));
        // Sources, credentials providers and interceptors are user code, which can panic.
        let result = AssertUnwindSafe(call).catch_unwind().await;
        let (diagnosis, source) = match result {
            Ok(Ok(Ok(status))) => (diagnosis::diagnose_status(status.as_ref()), None),
            Ok(Ok(Err(error))) => (diagnose(&*error), Some(error)),
            Ok(Err(_)) => {
                (diagnosis::diagnose_timeout(self.is_sent(&destination), self.timeout), None)
            }
            Err(_) => (Diagnosis::Fails(CheckFailureKind::Panicked, None), None),
        };
        match diagnosis {
            Diagnosis::Passes(None) => Ok(()),
            Diagnosis::Passes(Some(pass)) => {
                self.log_pass(pass, source.as_ref());
                Ok(())
            }
            Diagnosis::Fails(kind, detail) => {
                let context = FailureContext {
                    stream: &self.stream,
                    region: self.region(),
                    endpoint: destination.get(),
                    detail: detail.as_deref(),
                    environment: self.environment,
                };
                let message = kind.message(&context);
                Err(CheckFailure::new(kind, message, source))
            }
        }
    }

    /// Returns the status of the stream, or `None` if there is no source or the source provides no status.
    async fn query_status(
        &self,
        destination: &Destination,
    ) -> Result<Option<StreamStatus>, BoxError> {
        match &self.source {
            Source::Client(client) => {
                let status = self.query_service(client, destination).await.map_err(|error| {
                    error.for_lookup("DescribeStreamSummary", self.stream.clone())
                })?;
                Ok(Some(status))
            }
            Source::StreamInfo(source) => {
                if let Some(call) = source.describe_stream_uncached(&self.stream) {
                    call.await?;
                }
                Ok(None)
            }
            Source::None => Ok(None),
        }
    }

    async fn query_service(
        &self,
        client: &Client,
        destination: &Destination,
    ) -> Result<StreamStatus, PutRecordsError> {
        let mut was_rejected = false;
        loop {
            match describe(client, &self.stream, destination).await {
                // The credentials are still loading, and the next call joins the load.
                Err(error) if is_loading_credentials(&error) => {}
                Err(error) if can_retry(&error) && !was_rejected => was_rejected = true,
                result => return result,
            }
        }
    }

    fn region(&self) -> Option<&str> {
        match &self.source {
            Source::Client(client) => client.config().region().map(|region| region.as_ref()),
            _ => None,
        }
    }

    /// Returns `true` if the request was sent, or if it is unknown whether it was sent.
    fn is_sent(&self, destination: &Destination) -> bool {
        !matches!(self.source, Source::Client(_)) || destination.get().is_some()
    }

    fn log_pass(&self, pass: Pass, error: Option<&BoxError>) {
        let error = error.map(|error| attempt_error(&**error));
        info!(
            target: TARGET,
            error = error.as_ref().map(|error| error.message()),
            "error.type" = error.as_ref().map(|error| error.code()),
            "stream {} was not checked: {pass}",
            self.stream.name()
        );
    }
}

async fn describe(
    client: &Client,
    stream: &StreamId,
    destination: &Destination,
) -> Result<StreamStatus, PutRecordsError> {
    check_region(client, stream)?;
    let attempt = Attempt::default();
    let call = describe::call(client, stream).customize();
    let call = call.interceptor(attempt.observed()).interceptor(destination.clone());
    let output = attempt.end(call.send().await)?;
    Ok(describe::summary(output)?.stream_status().clone())
}

impl fmt::Debug for StreamCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCheck").field("stream", &self.stream).finish_non_exhaustive()
    }
}
