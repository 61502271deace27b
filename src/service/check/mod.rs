//! The check of a stream: one DescribeStreamSummary, and one sentence about what is wrong.

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
use self::diagnosis::{Diagnosis, Pass, diagnose, is_loading_credentials, may_succeed_again};
use self::failure::Facts;
use super::environment::{self, Environment};
use super::sdk::{Attempt, check_region};
use super::stream_info::describe;
use super::{PutRecords, PutRecordsError, attempt_error};
use crate::stream::{StreamId, StreamInfo};
use crate::trace::TARGET;

/// Time limit of a check, as of the sink's lookups.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks whether a stream can be reached and takes records, without sending any.
///
/// It sends one DescribeStreamSummary, and a second one if the first is refused for its credentials or its time, since
/// both may be renewed then. A producer need not have the permission. These results pass:
///
/// - the stream is ACTIVE or UPDATING;
/// - DescribeStreamSummary is denied: this says nothing about PutRecords;
/// - throttling and HTTP 5xx: the service was reached, and the sink retries outages;
/// - the server does not know the operation, or refuses its arguments, as some local servers do.
///
/// A stream that is CREATING fails the check, since it takes no records: PutRecords answers that it does not exist,
/// which ends a producer. Source: CreateStream API reference ("You can perform read and write operations only on an
/// ACTIVE stream"); UpdateShardCount and SplitShard ("Read and write operations continue to work while the stream is
/// in the UPDATING state").
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
    /// There is nothing to ask, so every check passes.
    Nothing,
}

impl StreamCheck {
    /// Creates a check over the client of `service`, whose connection then serves the first request, too. The
    /// service should be without stalled-stream protection.
    pub(crate) fn new(service: &PutRecords, stream: StreamId) -> Self {
        Self::of(Source::Client(service.client().clone()), stream)
    }

    /// Creates a check that has `source` describe the stream, past its cache. Without a source, and with one that
    /// has no descriptions, it passes.
    pub(crate) fn with_stream_info(source: Option<Arc<dyn StreamInfo>>, stream: StreamId) -> Self {
        Self::of(source.map_or(Source::Nothing, Source::StreamInfo), stream)
    }

    fn of(source: Source, stream: StreamId) -> Self {
        Self { stream, source, timeout: CHECK_TIMEOUT, environment: environment::process_variable }
    }

    /// Checks the stream.
    ///
    /// # Errors
    ///
    /// What is wrong, in one sentence.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the request, which changes nothing in the service.
    pub(crate) async fn run(&self) -> Result<(), CheckFailure> {
        let destination = Destination::default();
        let asked = timeout(self.timeout, self.ask(&destination));
        // Sources, providers and interceptors are a user's code.
        let asked = AssertUnwindSafe(asked).catch_unwind().await;
        let (diagnosis, source) = match asked {
            Ok(Ok(Ok(status))) => (diagnosis::of_status(status.as_ref()), None),
            Ok(Ok(Err(error))) => (diagnose(&*error), Some(error)),
            Ok(Err(_)) => (diagnosis::of_elapsed(self.is_sent(&destination), self.timeout), None),
            Err(_) => (Diagnosis::Fails(CheckFailureKind::Panicked, None), None),
        };
        match diagnosis {
            Diagnosis::Passes(None) => Ok(()),
            Diagnosis::Passes(Some(pass)) => {
                self.log_pass(pass, source.as_ref());
                Ok(())
            }
            Diagnosis::Fails(kind, detail) => {
                let facts = Facts {
                    stream: &self.stream,
                    region: self.region(),
                    endpoint: destination.get(),
                    detail: detail.as_deref(),
                    environment: self.environment,
                };
                let sentence = kind.sentence(&facts);
                Err(CheckFailure::new(kind, sentence, source))
            }
        }
    }

    /// Asks for the stream's status; `None` if there is nobody to ask, or if the source does not say.
    async fn ask(&self, destination: &Destination) -> Result<Option<StreamStatus>, BoxError> {
        match &self.source {
            Source::Client(client) => {
                let status = self.ask_service(client, destination).await.map_err(|reason| {
                    reason.for_lookup("DescribeStreamSummary", self.stream.clone())
                })?;
                Ok(Some(status))
            }
            Source::StreamInfo(source) => {
                if let Some(call) = source.describe_stream_uncached(&self.stream) {
                    call.await?;
                }
                Ok(None)
            }
            Source::Nothing => Ok(None),
        }
    }

    async fn ask_service(
        &self,
        client: &Client,
        destination: &Destination,
    ) -> Result<StreamStatus, PutRecordsError> {
        let mut was_refused = false;
        loop {
            match describe(client, &self.stream, destination).await {
                // Nothing was sent. The load continues, and the next call joins it.
                Err(error) if is_loading_credentials(&error) => {}
                Err(error) if may_succeed_again(&error) && !was_refused => was_refused = true,
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

    /// Whether the request left, as far as is known.
    fn is_sent(&self, destination: &Destination) -> bool {
        !matches!(self.source, Source::Client(_)) || destination.get().is_some()
    }

    fn log_pass(&self, pass: Pass, error: Option<&BoxError>) {
        let noted = error.map(|error| attempt_error(&**error));
        info!(
            target: TARGET,
            error = noted.as_ref().map(|noted| noted.message()),
            "error.type" = noted.as_ref().map(|noted| noted.code()),
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
