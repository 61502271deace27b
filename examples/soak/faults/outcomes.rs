use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use kinesis_sink::service::{
    Classify, DefaultClassify, EntryClass, ErrorClass, PutRecordsRequest, PutRecordsResponse,
};
use tower::{BoxError, Service};

use crate::payload::claimed_number;
use crate::senders::SharedAccount;

/// Counts of the request outcomes that the sink receives.
#[derive(Debug)]
pub struct Outcomes {
    account: Arc<SharedAccount>,
    unknown: AtomicU64,
    in_flight: AtomicU64,
}

impl Outcomes {
    pub fn new(account: Arc<SharedAccount>) -> Self {
        Self { account, unknown: AtomicU64::new(0), in_flight: AtomicU64::new(0) }
    }

    /// Returns the number of entries that might have been written before a retry, which can cause duplicates.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts the outcome of a request. Must be called before the sink can retry the entries.
    fn record(&self, request: &PutRecordsRequest, result: &Result<PutRecordsResponse, BoxError>) {
        self.in_flight.fetch_sub(request.entries().len() as u64, Ordering::Relaxed);
        let is_unknown = |index: usize| match result {
            Ok(response) => response.results()[index].as_ref().is_err_and(|error| {
                DefaultClassify.classify_entry(error) == EntryClass::OutcomeUnknown
            }),
            Err(error) => DefaultClassify.classify_error(&**error) == ErrorClass::OutcomeUnknown,
        };
        let entries = request.entries().iter().enumerate();
        let unknown = entries.filter(|(index, _)| is_unknown(*index));
        let numbers: Vec<_> =
            unknown.filter_map(|(_, entry)| claimed_number(entry.data())).collect();
        self.unknown.fetch_add(numbers.len() as u64, Ordering::Relaxed);
        self.account.with(|account| {
            for number in numbers {
                account.may_have_been_written(number);
            }
        });
    }
}

#[derive(Debug, Clone)]
pub struct OutcomeRecorder<S> {
    inner: S,
    outcomes: Arc<Outcomes>,
}

impl<S> OutcomeRecorder<S> {
    pub fn new(inner: S, outcomes: Arc<Outcomes>) -> Self {
        Self { inner, outcomes }
    }
}

impl<S> Service<PutRecordsRequest> for OutcomeRecorder<S>
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
        let answer = self.inner.call(request.clone());
        Box::pin(async move {
            let result = answer.await.map_err(Into::into);
            outcomes.record(&request, &result);
            result
        })
    }
}
