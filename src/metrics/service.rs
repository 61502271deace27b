use std::task::{Context, Poll};

use metrics::{counter, histogram};
use tower::{BoxError, Service};

use super::ResponseFuture;
use super::names::{KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST, PUT_RECORDS_REQUESTS, STREAM};
use super::streams::label_of_request;
use crate::service::{PutRecordsRequest, PutRecordsResponse};

/// Middleware that records metrics of each request. See the [module docs](super).
///
/// Requires the feature `metrics`, which is on by default.
#[derive(Debug, Clone)]
pub struct Metrics<S> {
    inner: S,
}

impl<S> Metrics<S> {
    /// Creates a new `Metrics` that measures the requests of `inner`.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    inner_service_accessors!();
}

impl<S> Service<PutRecordsRequest> for Metrics<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
{
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[expect(clippy::cast_precision_loss, reason = "a request has at most 500 records")]
    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let stream = label_of_request(&request).to_owned();
        let records = request.entries().len();
        counter!(PUT_RECORDS_REQUESTS, STREAM => stream.clone()).increment(1);
        histogram!(KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST, STREAM => stream.clone())
            .record(records as f64);
        ResponseFuture::new(self.inner.call(request), stream, records)
    }
}
