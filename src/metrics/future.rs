use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use metrics::{counter, gauge, histogram};
use pin_project::pin_project;
use tokio::time::Instant;
use tower::BoxError;

use super::names::{
    ALL_ERRORS, CODE, ERRORS_BY_CODE, KINESIS_RECORDS_PUT, PUT_RECORDS_REQUESTS_IN_FLIGHT,
    REQUEST_TIME, STREAM,
};
use crate::service::{PutRecordsResponse, attempt_error, code_label};

/// Response future of [`Metrics`](super::Metrics).
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    in_flight: InFlight,
    started: Instant,
    records: usize,
}

/// Guard that counts a request as in flight until the response future is dropped.
#[derive(Debug)]
struct InFlight {
    stream: String,
}

impl InFlight {
    fn new(stream: String) -> Self {
        gauge!(PUT_RECORDS_REQUESTS_IN_FLIGHT, STREAM => stream.clone()).increment(1);
        Self { stream }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(PUT_RECORDS_REQUESTS_IN_FLIGHT, STREAM => std::mem::take(&mut self.stream))
            .decrement(1);
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, stream: String, records: usize) -> Self {
        Self { inner, in_flight: InFlight::new(stream), started: Instant::now(), records }
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<PutRecordsResponse, E>>,
    E: Into<BoxError>,
{
    type Output = Result<PutRecordsResponse, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let stream = &this.in_flight.stream;
        histogram!(REQUEST_TIME, STREAM => stream.clone()).record(this.started.elapsed());
        match &result {
            Ok(response) => {
                let put = response.delivered() as u64;
                counter!(KINESIS_RECORDS_PUT, STREAM => stream.clone()).increment(put);
                for error in response.errors() {
                    count_errors(stream, &error.code, error.count);
                }
            }
            Err(error) => count_errors(stream, attempt_error(&**error).code(), *this.records),
        }
        Poll::Ready(result)
    }
}

fn count_errors(stream: &str, code: &str, records: usize) {
    let records = records as u64;
    counter!(ALL_ERRORS, STREAM => stream.to_owned()).increment(records);
    let labels = [(STREAM, stream.to_owned()), (CODE, code_label(code).to_owned())];
    counter!(ERRORS_BY_CODE, &labels).increment(records);
}
