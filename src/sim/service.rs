use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tower::Service;

use super::SimStream;
use super::faults::Fate;
use super::state::Drawn;
use crate::service::{Entry, PutRecordsError, PutRecordsRequest, PutRecordsResponse};

/// A [`SimStream`] as a `tower::Service`. Always ready: how many requests run at once is decided above it.
///
/// Needs the feature `sim`.
///
/// What becomes of a request is drawn when it is called. Half of its round trip later it is written, after
/// the other half it is answered. With a [bandwidth](super::SimBuilder::with_bandwidth) the round trip
/// begins once the body is transmitted; dropping the future stops the transmission.
///
/// # Panics
///
/// The future panics outside of a tokio runtime with its time enabled; so does a call that is to be
/// [written late](super::Faults::with_late_writes), which spawns a task.
///
/// # Cancel safety
///
/// A future that is dropped before half of the round trip takes its request back; later, the request is
/// written and only its answer is lost. Requests that are written late are written in any case.
#[derive(Debug, Clone)]
pub struct SimService {
    stream: SimStream,
}

impl SimService {
    pub(super) fn new(stream: SimStream) -> Self {
        Self { stream }
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
        self.stream.send(request)
    }
}

/// The bytes of an entry's JSON without its data and key.
const JSON_ENTRY_BYTES: usize = 40;

/// The bytes of the request's body in JSON, with data in base64.
fn body_bytes(request: &PutRecordsRequest) -> usize {
    let of_entry = |entry: &Entry| {
        let key = entry.partition_key().map_or(0, |key| key.len());
        entry.data().len().div_ceil(3) * 4 + key + JSON_ENTRY_BYTES
    };
    request.entries().iter().map(of_entry).sum()
}

type Answer = Result<PutRecordsResponse, PutRecordsError>;

impl SimStream {
    /// Sends a request on its way.
    pub(super) fn send(
        &self,
        request: PutRecordsRequest,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let sent = Instant::now();
        let drawn = self.lock().draw(self.config());
        if self.config().bandwidth.is_none() {
            return self.travel(request, drawn, sent);
        }
        let stream = self.clone();
        Box::pin(async move {
            stream.transmit(&request).await;
            stream.travel(request, drawn, Instant::now()).await
        })
    }

    /// Handles a request that was transmitted at `sent`, with the faults drawn for it.
    fn travel(
        &self,
        request: PutRecordsRequest,
        drawn: Drawn,
        sent: Instant,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let stream = self.clone();
        match drawn.fate {
            Fate::RequestLost => Box::pin(pending()),
            Fate::Late { by } => {
                let arrival = sent + drawn.round_trip / 2 + by;
                tokio::spawn(async move { stream.arrive(request, drawn, arrival).await });
                Box::pin(pending())
            }
            Fate::AnswerLost => Box::pin(async move {
                let arrival = sent + drawn.round_trip / 2;
                // Whatever it is, nobody hears of it.
                let _ = stream.arrive(request, drawn, arrival).await;
                pending().await
            }),
            Fate::Served | Fate::Fails(_) => Box::pin(async move {
                let (arrival, end) = (sent + drawn.round_trip / 2, sent + drawn.round_trip);
                let answer = stream.arrive(request, drawn, arrival).await;
                sleep_until(end).await;
                answer
            }),
        }
    }

    /// Waits while the body is transmitted. Requests in flight share the link evenly: it takes a piece of each in
    /// turn.
    async fn transmit(&self, request: &PutRecordsRequest) {
        let Some(bandwidth) = self.config().bandwidth else { return };
        let mut left = body_bytes(request);
        let piece = (bandwidth as usize / 50).max(1);
        while left > 0 {
            let bytes = left.min(piece);
            let _turn = self.link().lock().await;
            sleep(Duration::from_secs_f64(bytes as f64 / f64::from(bandwidth))).await;
            left -= bytes;
        }
    }

    async fn arrive(&self, request: PutRecordsRequest, drawn: Drawn, arrival: Instant) -> Answer {
        sleep_until(arrival).await;
        self.lock().put(self.config(), &request, drawn)
    }
}
