use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use kinesis_sink::service::{
    Classify, DefaultClassify, EntryClass, ErrorClass, PutRecordsRequest, PutRecordsResponse,
};
use tower::{BoxError, Service};

/// What the sink sees of its requests.
#[derive(Debug, Default)]
pub struct Outcomes {
    unknown: AtomicU64,
    in_flight: AtomicU64,
}

impl Outcomes {
    /// Entries that may have been written although the sink sends them again. Each of them can become
    /// one duplicate.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Entries of requests that are not answered yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn end(&self, entries: u64, result: &Result<PutRecordsResponse, BoxError>) {
        self.in_flight.fetch_sub(entries, Ordering::Relaxed);
        let unknown = match result {
            Ok(response) => {
                let errors = response.results().iter().filter_map(|result| result.as_ref().err());
                let classes = errors.map(|error| DefaultClassify.classify_entry(error));
                classes.filter(|class| *class == EntryClass::OutcomeUnknown).count() as u64
            }
            Err(error) => match DefaultClassify.classify_error(&**error) {
                ErrorClass::OutcomeUnknown => entries,
                _ => 0,
            },
        };
        self.unknown.fetch_add(unknown, Ordering::Relaxed);
    }
}

/// A service that notes what comes out of it.
#[derive(Debug, Clone)]
pub struct Watched<S> {
    inner: S,
    outcomes: Arc<Outcomes>,
}

impl<S> Watched<S> {
    pub fn new(inner: S, outcomes: Arc<Outcomes>) -> Self {
        Self { inner, outcomes }
    }
}

impl<S> Service<PutRecordsRequest> for Watched<S>
where
    S: Service<PutRecordsRequest, Response = PutRecordsResponse, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let entries = request.entries().len() as u64;
        let outcomes = Arc::clone(&self.outcomes);
        outcomes.in_flight.fetch_add(entries, Ordering::Relaxed);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let result = answer.await.map_err(Into::into);
            outcomes.end(entries, &result);
            result
        })
    }
}
