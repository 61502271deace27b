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

use super::classify::codes::rejects_credentials;
use super::identity::{Identities, Signer};
use super::{PutRecordsError, PutRecordsErrorKind};
use crate::stream::StreamId;

/// Derives a client that reloads rejected credentials, and does not retry because the sink does.
pub(super) fn derive(client: &Client) -> Client {
    let config = client.config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(config.identity_cache(Identities::of(client)).build())
}

pub(super) fn without_stalled_stream_protection(client: &Client) -> Client {
    let off = StalledStreamProtectionConfig::disabled();
    Client::from_conf(client.config().to_builder().stalled_stream_protection(off).build())
}

pub(super) fn check_region(client: &Client, stream: &StreamId) -> Result<(), PutRecordsError> {
    let region = client.config().region().map(|region| region.as_ref());
    let checked = stream.check_region(region);
    checked.map_err(|error| PutRecordsError::new(PutRecordsErrorKind::Region, Some(error.into())))
}

/// One call of the SDK. Dropping it before it completes, for example after a timeout, poisons its connection.
/// Otherwise, with HTTP/2, the SDK would only reset the stream and send later requests over the same connection, which
/// might be dead.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    observed: Observed,
    ended: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Observed(Arc<Observations>);

#[derive(Debug, Default)]
struct Observations {
    /// Set to `true` just before the request is sent. The SDK returns the same error for a broken connection as for a
    /// problem with the configuration or the credentials, and only this flag distinguishes them.
    sent: AtomicBool,
    connection: OnceLock<CaptureSmithyConnection>,
    signer: Signer,
}

impl Attempt {
    pub(super) fn observed(&self) -> Observed {
        self.observed.clone()
    }

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
                && failure.code().is_some_and(rejects_credentials)
            {
                observed.signer.reject();
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
    /// Excludes the connection from further requests. The connection is closed when its requests in flight have
    /// completed.
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
        // The SDK sends nothing if there is no HTTP client, but checks this only after the hook.
        self.0.sent.store(components.http_client().is_some(), Ordering::Relaxed);
        if let Some(connection) = bag.load::<CaptureSmithyConnection>() {
            // The cell is set only once, because the call is not retried.
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
    // Drops the raw response, which can be large.
    let source = error.into_source().unwrap_or_else(Into::into);
    PutRecordsError::new(kind, Some(source))
        .with_status(status)
        .with_request_id(request_id.as_deref())
}
