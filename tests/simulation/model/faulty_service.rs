//! A service with random faults: connection resets, responses of the wrong length, panics, and `poll_ready` errors.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use fastrand::Rng;
use kinesis_sink::service::{
    PutRecordsError, PutRecordsErrorKind, PutRecordsRequest, PutRecordsResponse,
};
use tower::{BoxError, Service};

use super::ledger::SharedLedger;
use super::scenario::Scenario;
use super::stack::Boxed;

#[derive(Clone)]
pub struct FaultyService {
    service: Boxed,
    connection_resets: f64,
    wrong_lengths: f64,
    panics: f64,
    unready: f64,
    rng: Arc<Mutex<Rng>>,
    ledger: SharedLedger,
}

impl FaultyService {
    /// Creates the service. `panics` enables panics and `poll_ready` errors, which break a tower `Buffer` permanently.
    pub fn new(service: Boxed, scenario: &Scenario, panics: bool, ledger: &SharedLedger) -> Self {
        let faults = &scenario.faults;
        let rng = Arc::new(Mutex::new(Rng::with_seed(scenario.seed)));
        let ledger = ledger.clone();
        Self {
            service,
            connection_resets: faults.connection_resets,
            wrong_lengths: faults.wrong_lengths,
            panics: if panics { faults.panics } else { 0.0 },
            unready: if panics { faults.unready } else { 0.0 },
            rng,
            ledger,
        }
    }

    fn draw(&self, event: &'static str, share: f64) -> bool {
        let occurs = share > 0.0
            && !self.ledger.lock().faults_are_over
            && self.rng.lock().unwrap().f64() < share;
        self.ledger.lock().coverage.count(event, usize::from(occurs));
        occurs
    }
}

/// Panics without calling the panic hook, which would print a message.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("injected panic"))
}

fn with_wrong_length(response: PutRecordsResponse, too_many: bool) -> PutRecordsResponse {
    let mut results = response.into_results();
    let first = results.remove(0);
    if too_many {
        results.extend([first.clone(), first]);
    }
    PutRecordsResponse::new(results)
}

impl Service<PutRecordsRequest> for FaultyService {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.draw("a failure of poll_ready", self.unready) {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected).into()));
        }
        if self.draw("a panic of poll_ready", self.unready / 2.0) {
            panic_quietly();
        }
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        const PANIC: &str = "a panic of the service";
        if self.draw(PANIC, self.panics / 2.0) {
            panic_quietly();
        }
        let resets = self.draw("a connection reset", self.connection_resets);
        let panics = self.draw(PANIC, self.panics / 2.0);
        let has_wrong_length = self.draw("a response of the wrong length", self.wrong_lengths);
        let too_many = has_wrong_length.then(|| self.rng.lock().unwrap().bool());
        let call = self.service.call(request);
        Box::pin(async move {
            let response = call.await;
            if panics {
                panic_quietly();
            }
            if resets {
                let reset = io::Error::from(io::ErrorKind::ConnectionReset);
                let kind = PutRecordsErrorKind::Dispatch;
                return Err(PutRecordsError::new(kind, Some(reset.into())).into());
            }
            match too_many {
                Some(too_many) => response.map(|response| with_wrong_length(response, too_many)),
                None => response,
            }
        })
    }
}
