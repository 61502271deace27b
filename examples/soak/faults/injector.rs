use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use kinesis_sink::service::{
    EntryError, Placement, PutRecords, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use tokio::time::sleep;
use tower::Service;

use super::{Fault, Faults};

type Answer = Result<PutRecordsResponse, PutRecordsError>;

#[derive(Debug, Clone)]
pub struct FaultInjector {
    inner: PutRecords,
    faults: Arc<Faults>,
    /// Number of requests so far. If set, every tenth request is confirmed without being sent.
    lossy: Option<Arc<AtomicU64>>,
}

impl FaultInjector {
    pub fn new(inner: PutRecords, faults: Arc<Faults>, lossy: bool) -> Self {
        Self { inner, faults, lossy: lossy.then(Arc::default) }
    }

    async fn answer(mut self, request: PutRecordsRequest) -> Answer {
        let fault = self.faults.draw();
        if let Some(fault @ (Fault::FailedEntries | Fault::LostResults)) = fault {
            return self.fail_entries(fault, request).await;
        }
        let Some(fault) = fault else { return self.inner.call(request).await };
        match fault {
            Fault::Rejected => Err(self.internal_failure(fault)),
            Fault::WrittenAndRejected => {
                self.inner.call(request).await?;
                Err(self.internal_failure(fault))
            }
            Fault::LostRequest => {
                self.faults.hit(fault, 1);
                pending().await
            }
            Fault::LostAnswer => {
                self.inner.call(request).await?;
                self.faults.hit(fault, 1);
                pending().await
            }
            Fault::Delay => {
                self.faults.hit(fault, 1);
                sleep(DELAY).await;
                self.inner.call(request).await
            }
            // `Gate` injects the connection faults.
            _ => self.inner.call(request).await,
        }
    }

    fn internal_failure(&self, fault: Fault) -> PutRecordsError {
        self.faults.hit(fault, 1);
        PutRecordsError::service(Some("InternalFailure"), Some("injected"), Some(500))
    }

    /// Fails some of the entries. The failed entries are sent only if the fault is the loss of their results.
    async fn fail_entries(mut self, fault: Fault, request: PutRecordsRequest) -> Answer {
        let hit = self.faults.draw_entries(request.entries().len());
        self.faults.hit(fault, hit.iter().filter(|hit| **hit).count() as u64);
        let is_sent = |hit: bool| !hit || fault == Fault::LostResults;
        let entries = request.entries().iter().zip(&hit).filter(|(_, hit)| is_sent(**hit));
        let entries: Vec<_> = entries.map(|(entry, _)| entry.clone()).collect();
        let sent = PutRecordsRequest::new(request.stream().clone(), entries);
        let mut results = match sent.entries() {
            [] => Vec::new(),
            _ => self.inner.call(sent).await?.into_results(),
        }
        .into_iter();
        let results = hit.into_iter().map(|hit| {
            let result = if is_sent(hit) { results.next() } else { None };
            match (fault, hit) {
                (Fault::LostResults, true) => Err(EntryError::new("IncompleteResult", "injected")),
                _ => result.unwrap_or_else(|| Err(EntryError::new("InternalFailure", "injected"))),
            }
        });
        Ok(PutRecordsResponse::new(results.collect()))
    }

    fn confirms_falsely(&self) -> bool {
        self.lossy.as_ref().is_some_and(|calls| calls.fetch_add(1, Ordering::Relaxed) % 10 == 9)
    }
}

const DELAY: Duration = Duration::from_millis(300);

impl Service<PutRecordsRequest> for FaultInjector {
    type Response = PutRecordsResponse;
    type Error = PutRecordsError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PutRecordsError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        if self.confirms_falsely() {
            let results = request.entries().iter().map(|_| Ok(Placement::new("nowhere", "0")));
            let response = PutRecordsResponse::new(results.collect());
            return Box::pin(async { Ok(response) });
        }
        Box::pin(self.clone().answer(request))
    }
}
