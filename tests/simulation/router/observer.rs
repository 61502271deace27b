//! Counts the requests in flight below the router.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use kinesis_sink::budget::Budget;
use kinesis_sink::service::{PutRecordsError, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::SimService;
use tower::Service;

use super::ledger::SharedLedger;
use super::scenario::Scenario;

/// Service that checks the number of requests in flight.
#[derive(Clone)]
pub struct Observer {
    inner: SimService,
    in_flight: Arc<Mutex<HashMap<String, usize>>>,
    budget: Budget,
    scenario: Arc<Scenario>,
    ledger: SharedLedger,
}

struct InFlight {
    stream: String,
    requests: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.requests.lock().unwrap().get_mut(&self.stream).expect("it was counted") -= 1;
    }
}

impl Observer {
    pub fn new(
        inner: SimService,
        budget: &Budget,
        scenario: &Arc<Scenario>,
        ledger: &SharedLedger,
    ) -> Self {
        let (scenario, ledger) = (scenario.clone(), ledger.clone());
        Self { inner, in_flight: Arc::default(), budget: budget.clone(), scenario, ledger }
    }

    fn check(&self, stream: &str) {
        let (all, of_stream) = {
            let requests = self.in_flight.lock().unwrap();
            (requests.values().sum::<usize>(), requests[stream])
        };
        let counted = self.budget.in_flight();
        let max = self.budget.settings().max_in_flight;
        let mut ledger = self.ledger.lock();
        if all > counted || counted > max {
            ledger.violation(|| {
                format!("{all} requests in flight, the budget counts {counted} of {max}")
            });
        }
        ledger.coverage.count("all requests in flight", usize::from(all == max));
        let plan = self.scenario.streams.iter().find(|plan| plan.name == stream);
        let max = plan.expect("the stream is known").settings.max_in_flight;
        if of_stream > max {
            ledger.violation(|| format!("{of_stream} of {max} requests of {stream} in flight"));
        }
    }
}

impl Service<PutRecordsRequest> for Observer {
    type Response = PutRecordsResponse;
    type Error = PutRecordsError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, PutRecordsError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PutRecordsError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let stream = request.stream().name().to_owned();
        *self.in_flight.lock().unwrap().entry(stream.clone()).or_default() += 1;
        let in_flight = InFlight { stream: stream.clone(), requests: self.in_flight.clone() };
        self.check(&stream);
        let response = self.inner.call(request);
        Box::pin(async move {
            let _in_flight = in_flight;
            response.await
        })
    }
}
