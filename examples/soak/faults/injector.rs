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

/// The service with what goes wrong around it.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: PutRecords,
    faults: Arc<Faults>,
    /// Requests so far, if every tenth is confirmed without being sent.
    lossy: Option<Arc<AtomicU64>>,
}

impl Faulty {
    pub fn new(inner: PutRecords, faults: Arc<Faults>, lossy: bool) -> Self {
        Self { inner, faults, lossy: lossy.then(Arc::default) }
    }

    async fn answer(mut self, request: PutRecordsRequest) -> Answer {
        let fault = self.faults.draw();
        if let Some(fault @ (Fault::FailedEntries | Fault::LostResults)) = fault {
            return self.hit_entries(fault, request).await;
        }
        let Some(fault) = fault else { return self.inner.call(request).await };
        match fault {
            Fault::Refused => Err(self.refusal(fault)),
            Fault::WrittenAndRefused => {
                self.inner.call(request).await?;
                Err(self.refusal(fault))
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
                sleep(HELD_UP).await;
                self.inner.call(request).await
            }
            // What happens on the socket happens to every request.
            _ => self.inner.call(request).await,
        }
    }

    fn refusal(&self, fault: Fault) -> PutRecordsError {
        self.faults.hit(fault, 1);
        PutRecordsError::service(Some("InternalFailure"), Some("drawn"), Some(500))
    }

    /// Sends what does not fail, and puts the answer together.
    async fn hit_entries(mut self, fault: Fault, request: PutRecordsRequest) -> Answer {
        let hit = self.faults.entries(request.entries().len());
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
                (Fault::LostResults, true) => Err(EntryError::new("IncompleteResult", "drawn")),
                _ => result.unwrap_or_else(|| Err(EntryError::new("InternalFailure", "drawn"))),
            }
        });
        Ok(PutRecordsResponse::new(results.collect()))
    }

    fn lies(&self) -> bool {
        self.lossy.as_ref().is_some_and(|calls| calls.fetch_add(1, Ordering::Relaxed) % 10 == 9)
    }
}

const HELD_UP: Duration = Duration::from_millis(300);

impl Service<PutRecordsRequest> for Faulty {
    type Response = PutRecordsResponse;
    type Error = PutRecordsError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PutRecordsError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        if self.lies() {
            let results = request.entries().iter().map(|_| Ok(Placement::new("nowhere", "0")));
            let response = PutRecordsResponse::new(results.collect());
            return Box::pin(async { Ok(response) });
        }
        Box::pin(self.clone().answer(request))
    }
}
