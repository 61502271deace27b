//! A service that writes records to the ledger, with random faults.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use fastrand::Rng;
use kinesis_sink::aggregate::deaggregate;
use kinesis_sink::service::{
    EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use tower::{BoxError, Service};

use super::ledger::{SharedLedger, is_rejected, number_of};

const SHARD: &str = "shardId-000000000000";

#[derive(Clone)]
pub struct FaultyService {
    ledger: SharedLedger,
    state: Arc<Mutex<State>>,
    life: u32,
}

struct State {
    rng: Rng,
    fault: f64,
    /// All requests fail during an outage.
    is_out: bool,
}

impl FaultyService {
    pub fn new(ledger: SharedLedger, life: u32, seed: u64, fault: f64) -> Self {
        let state = State { rng: Rng::with_seed(seed), fault, is_out: false };
        Self { ledger, state: Arc::new(Mutex::new(state)), life }
    }

    pub fn set_outage(&self, is_out: bool) {
        self.state.lock().unwrap().is_out = is_out;
    }

    /// Ends all faults, except that some records are always rejected.
    pub fn recover(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_out = false;
        state.fault = 0.0;
    }
}

impl Service<PutRecordsRequest> for FaultyService {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let mut state = self.state.lock().unwrap();
        let State { rng, fault, is_out } = &mut *state;
        let mut happens = |probability: f64| rng.f64() < probability;
        let refuses = *is_out || happens(*fault);
        let loses_response = happens(*fault / 4.0);
        let mut results = Vec::new();
        let mut written = Vec::new();
        for entry in request.entries() {
            let numbers: Vec<_> = deaggregate(entry.data())
                .map(|member| number_of(member.data()).expect("the data is undamaged"))
                .collect();
            results.push(if numbers.iter().any(|number| is_rejected(*number)) {
                Err(EntryError::new("InvalidArgumentException", "injected"))
            } else if happens(*fault) {
                Err(EntryError::new("ProvisionedThroughputExceededException", "injected"))
            } else {
                written.extend(numbers);
                Ok(Placement::new(SHARD, "1"))
            });
        }
        let delay = Duration::from_micros(rng.u64(..3_000));
        drop(state);
        let (ledger, life) = (self.ledger.clone(), self.life);
        if !refuses {
            // Written before the delay, so that a request that is in flight when the process ends is written.
            ledger.with(|ledger| ledger.written(&written, life, loses_response));
        }
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            if refuses {
                let error = PutRecordsError::service(Some("InternalFailure"), None, Some(500));
                return Err(error.into());
            }
            if loses_response {
                return Err("connection lost".into());
            }
            ledger.with(|ledger| ledger.responded(&written));
            Ok(PutRecordsResponse::new(results))
        })
    }
}
