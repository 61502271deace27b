//! A service that breaks now and then: connections that end after the request was written, answers of the
//! wrong length, panics, and failures to become ready.

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

use super::drawn::Drawn;
use super::ledger::Shared;
use super::stack::Boxed;

#[derive(Clone)]
pub struct Breaking {
    service: Boxed,
    broken: f64,
    miscounted: f64,
    panics: f64,
    unready: f64,
    /// Of all clones.
    rng: Arc<Mutex<Rng>>,
    ledger: Shared,
}

impl Breaking {
    /// Panics, and fails to become ready, only if what lies above survives that.
    pub fn new(service: Boxed, drawn: &Drawn, survives: bool, ledger: &Shared) -> Self {
        let trouble = &drawn.trouble;
        let rng = Arc::new(Mutex::new(Rng::with_seed(drawn.seed)));
        let ledger = ledger.clone();
        let [panics, unready] =
            [trouble.panics, trouble.unready].map(|share| if survives { share } else { 0.0 });
        Self {
            service,
            broken: trouble.broken,
            miscounted: trouble.miscounted,
            panics,
            unready,
            rng,
            ledger,
        }
    }

    fn happens(&self, what: &'static str, share: f64) -> bool {
        let happens = share > 0.0
            && !self.ledger.lock().trouble_is_over
            && self.rng.lock().unwrap().f64() < share;
        self.ledger.lock().seen.note(what, usize::from(happens));
        happens
    }
}

/// Without the hook, which would print it.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("a panic on purpose"))
}

fn miscounted(answer: PutRecordsResponse, too_many: bool) -> PutRecordsResponse {
    let mut results = answer.into_results();
    let first = results.remove(0);
    if too_many {
        results.extend([first.clone(), first]);
    }
    PutRecordsResponse::new(results)
}

impl Service<PutRecordsRequest> for Breaking {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.happens("a service that does not become ready", self.unready) {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected).into()));
        }
        if self.happens("a panic of poll_ready", self.unready / 2.0) {
            panic_quietly();
        }
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let panics = "a panic of the service";
        if self.happens(panics, self.panics / 2.0) {
            panic_quietly();
        }
        let breaks = self.happens("a connection that broke", self.broken);
        let panics = self.happens(panics, self.panics / 2.0);
        let miscounts = self.happens("an answer of another length", self.miscounted);
        let miscounts = miscounts.then(|| self.rng.lock().unwrap().bool());
        let call = self.service.call(request);
        Box::pin(async move {
            let answer = call.await;
            if panics {
                panic_quietly();
            }
            if breaks {
                let reset = io::Error::from(io::ErrorKind::ConnectionReset);
                let kind = PutRecordsErrorKind::Dispatch;
                return Err(PutRecordsError::new(kind, Some(reset.into())).into());
            }
            match miscounts {
                Some(too_many) => answer.map(|answer| miscounted(answer, too_many)),
                None => answer,
            }
        })
    }
}
