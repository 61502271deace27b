//! What all calls of the SDK have in common.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{
    ConfigBag, Intercept, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::RequestId;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use tower::BoxError;

use super::classify::codes::refuses_credentials;
use super::identity::{Identities, Signer};
use super::{PutRecordsError, PutRecordsErrorKind};
use crate::stream::StreamId;

/// Derives a client without the SDK's retries, since the sink has its own, and with credentials that are loaded
/// again when they are refused.
pub(super) fn derive(client: &Client) -> Client {
    let config = client.config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(config.identity_cache(Identities::of(client)).build())
}

/// Derives a client without stalled-stream protection, for callers that limit the time of a call themselves.
pub(super) fn without_stalled_stream_protection(client: &Client) -> Client {
    let off = StalledStreamProtectionConfig::disabled();
    Client::from_conf(client.config().to_builder().stalled_stream_protection(off).build())
}

pub(super) fn check_region(client: &Client, stream: &StreamId) -> Result<(), PutRecordsError> {
    let region = client.config().region().map(|region| region.as_ref());
    let checked = stream.check_region(region);
    checked.map_err(|other| PutRecordsError::new(PutRecordsErrorKind::Region, Some(other.into())))
}

/// One call of the SDK, from the first interceptor to its end.
///
/// An attempt that is dropped before its end, for example by a timeout, poisons its connection. Over HTTP/2 the
/// SDK alone would only reset the stream, and send all later requests into the same connection, which may be dead.
/// Other requests in flight on that connection are not affected.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    observed: Observed,
    ended: bool,
}

/// The interceptor of an attempt, which records what the SDK does.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed(Arc<Observations>);

#[derive(Debug, Default)]
struct Observations {
    /// Whether the SDK handed the request to an HTTP client. An earlier failure is one of configuration or
    /// credentials, which the SDK reports like a broken connection.
    sent: AtomicBool,
    connection: OnceLock<CaptureSmithyConnection>,
    signer: Signer,
}

impl Attempt {
    /// Returns the interceptor to register with the call.
    pub(super) fn observed(&self) -> Observed {
        self.observed.clone()
    }

    /// Ends the attempt, and converts the call's error.
    pub(super) fn end<T, E>(
        mut self,
        result: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T, PutRecordsError>
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        self.ended = true;
        result.map_err(|failure| {
            let Observed(observed) = &self.observed;
            if let SdkError::ServiceError(_) = &failure
                && failure.code().is_some_and(refuses_credentials)
            {
                observed.signer.refuse();
            }
            let error = error(failure, observed.sent.load(Ordering::Relaxed));
            if matches!(error.kind(), PutRecordsErrorKind::Timeout | PutRecordsErrorKind::Dispatch)
            {
                self.observed.poison();
            }
            error
        })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.observed.poison();
        }
    }
}

impl Observed {
    /// Excludes the connection from further requests, and has it closed once the requests on it have ended.
    fn poison(&self) {
        let connection = self.0.connection.get().and_then(CaptureSmithyConnection::get);
        if let Some(connection) = connection {
            connection.poison();
        }
    }
}

impl Intercept for Observed {
    fn name(&self) -> &'static str {
        "kinesis_sink::Observed"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(self.0.signer.clone());
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The SDK looks for the HTTP client only after this, and fails if there is none.
        self.0.sent.store(components.http_client().is_some(), Ordering::Relaxed);
        if let Some(connection) = bag.load::<CaptureSmithyConnection>() {
            // A call that is not retried is sent once.
            let _ = self.0.connection.set(connection.clone());
        }
        Ok(())
    }
}

fn error<E>(error: SdkError<E, HttpResponse>, sent: bool) -> PutRecordsError
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
        SdkError::DispatchFailure(_) if !sent => PutRecordsErrorKind::Construction,
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
