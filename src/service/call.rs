//! What all calls of the SDK have in common.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::RequestId;
use tower::BoxError;

use super::{PutRecordsError, PutRecordsErrorKind};
use crate::stream::{RegionMismatch, StreamId};

/// A client like the given one with the SDK's retries off: the sink does its own, with a back-off that
/// it can see.
pub(super) fn without_retries(client: &Client) -> Client {
    let config = client.config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

pub(super) fn check_region(client: &Client, stream: &StreamId) -> Result<(), RegionMismatch> {
    stream.check_region(client.config().region().map(|region| region.as_ref()))
}

/// Whether the SDK came as far as handing the request to an HTTP client. Until then a failure is one of
/// configuration (no region, no credentials, no usable endpoint, no HTTP client), which the SDK reports
/// like a broken connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Sent {
    fn name(&self) -> &'static str {
        "kinesis_sink::Sent"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The SDK looks for the HTTP client only after this, and fails if there is none.
        self.0.store(components.http_client().is_some(), Ordering::Relaxed);
        Ok(())
    }
}

/// Any operation's failure without the SDK's types.
pub(super) fn error<E>(error: SdkError<E, HttpResponse>, sent: &Sent) -> PutRecordsError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let kind = match &error {
        SdkError::ServiceError(service) => {
            let status = Some(service.raw().status().as_u16());
            return PutRecordsError::service(error.code(), error.message(), status)
                .with_request_id(error.request_id());
        }
        SdkError::TimeoutError(_) => PutRecordsErrorKind::Timeout,
        SdkError::DispatchFailure(_) if !sent.get() => PutRecordsErrorKind::Construction,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => PutRecordsErrorKind::Timeout,
        SdkError::DispatchFailure(_) => PutRecordsErrorKind::Dispatch,
        SdkError::ConstructionFailure(_) => PutRecordsErrorKind::Construction,
        _ => PutRecordsErrorKind::Response,
    };
    let status = error.raw_response().map(|response| response.status().as_u16());
    let request_id = error.request_id().map(str::to_owned);
    // What the SDK keeps beside the source (the raw response) may be large, and says no more.
    let source = error.into_source().unwrap_or_else(Into::into);
    PutRecordsError::new(kind, Some(source))
        .with_status(status)
        .with_request_id(request_id.as_deref())
}
