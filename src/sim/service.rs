use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tower::Service;

use super::SimStream;
use super::faults::RequestOutcome;
use super::region::Target;
use super::state::RequestPlan;
use crate::service::{Entry, PutRecordsError, PutRecordsRequest, PutRecordsResponse};

/// A `tower::Service` that sends PutRecords requests to a [`SimStream`] or to the streams of a
/// [`SimRegion`](super::SimRegion).
///
/// Requires the feature `sim`.
///
/// The service is always ready and does not limit concurrency. `call` draws the outcome of the request. The request is
/// written after half of its round-trip time, and the response arrives at the end of the round trip. If a
/// [bandwidth](super::SimBuilder::with_bandwidth) is set, the round trip starts after the body has been transmitted.
///
/// # Panics
///
/// The future panics if it is polled outside of a tokio runtime or if the timer of the runtime is disabled. `call`
/// panics outside of a runtime if the request is [written late](super::Faults::with_late_writes), because it spawns a
/// task.
///
/// # Cancel safety
///
/// If the future is dropped during the transmission or during the first half of the round trip, the request is not
/// written. If the future is dropped later, only the response is lost. A request that is
/// [written late](super::Faults::with_late_writes) is written even if the future is dropped after its transmission.
#[derive(Debug, Clone)]
pub struct SimService {
    target: Target,
}

impl SimService {
    pub(super) fn new(target: Target) -> Self {
        Self { target }
    }
}

impl Service<PutRecordsRequest> for SimService {
    type Response = PutRecordsResponse;
    type Error = PutRecordsError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, PutRecordsError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PutRecordsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        self.target.find(|| Some(request.stream())).send(request)
    }
}

/// Size of an entry in the JSON body, without its data and partition key.
const JSON_ENTRY_BYTES: usize = 40;

fn body_bytes(request: &PutRecordsRequest) -> usize {
    let entry_bytes = |entry: &Entry| {
        let key = entry.partition_key().map_or(0, |key| key.len());
        entry.data().len().div_ceil(3) * 4 + key + JSON_ENTRY_BYTES
    };
    request.entries().iter().map(entry_bytes).sum()
}

type PutResult = Result<PutRecordsResponse, PutRecordsError>;

impl SimStream {
    pub(super) fn send(
        &self,
        request: PutRecordsRequest,
    ) -> Pin<Box<dyn Future<Output = PutResult> + Send>> {
        let sent = Instant::now();
        let plan = self.lock().plan_request(self.config());
        if self.config().bandwidth.is_none() {
            return self.handle(request, plan, sent);
        }
        let stream = self.clone();
        Box::pin(async move {
            stream.transmit(&request).await;
            stream.handle(request, plan, Instant::now()).await
        })
    }

    /// Handles a request whose round trip starts at `sent`.
    fn handle(
        &self,
        request: PutRecordsRequest,
        plan: RequestPlan,
        sent: Instant,
    ) -> Pin<Box<dyn Future<Output = PutResult> + Send>> {
        let stream = self.clone();
        match plan.outcome {
            RequestOutcome::RequestLost => Box::pin(pending()),
            RequestOutcome::Late { by } => {
                let arrival = sent + plan.round_trip / 2 + by;
                tokio::spawn(async move { stream.arrive(request, plan, arrival).await });
                Box::pin(pending())
            }
            RequestOutcome::AnswerLost => Box::pin(async move {
                let arrival = sent + plan.round_trip / 2;
                let _ = stream.arrive(request, plan, arrival).await;
                pending().await
            }),
            RequestOutcome::Served | RequestOutcome::Fails(_) => Box::pin(async move {
                let (arrival, end) = (sent + plan.round_trip / 2, sent + plan.round_trip);
                let response = stream.arrive(request, plan, arrival).await;
                sleep_until(end).await;
                response
            }),
        }
    }

    /// Transmits the body in chunks. The lock of the link is fair, so all requests in flight share the link evenly.
    async fn transmit(&self, request: &PutRecordsRequest) {
        let Some(bandwidth) = self.config().bandwidth else { return };
        let mut left = body_bytes(request);
        let chunk = (bandwidth as usize / 50).max(1);
        while left > 0 {
            let bytes = left.min(chunk);
            let _turn = self.link().lock().await;
            sleep(Duration::from_secs_f64(bytes as f64 / f64::from(bandwidth))).await;
            left -= bytes;
        }
    }

    async fn arrive(
        &self,
        request: PutRecordsRequest,
        plan: RequestPlan,
        arrival: Instant,
    ) -> PutResult {
        sleep_until(arrival).await;
        self.lock().put(self.config(), &request, plan)
    }
}
