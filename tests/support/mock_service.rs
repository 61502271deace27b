use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use kinesis_sink::limits::Limits;
use kinesis_sink::service::{
    EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use kinesis_sink::{Record, Undelivered};
use tower::{BoxError, Service};

pub const THROTTLE: &str = "ProvisionedThroughputExceededException";

type Answer = Result<PutRecordsResponse, BoxError>;
type Script = Box<dyn FnMut(usize, &PutRecordsRequest) -> Answer + Send>;

/// Service that records its requests. Clones share the script and the recorded requests.
#[derive(Clone)]
pub struct MockService {
    state: Arc<Mutex<State>>,
    round_trip: Duration,
}

struct State {
    script: Script,
    requests: Vec<PutRecordsRequest>,
    delivered: Vec<String>,
}

impl MockService {
    /// Creates a service that responds with the result of `script`, which receives the index of the call.
    pub fn new(script: impl FnMut(usize, &PutRecordsRequest) -> Answer + Send + 'static) -> Self {
        let script = Box::new(script);
        let state = State { script, requests: Vec::new(), delivered: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), round_trip: Duration::from_millis(20) }
    }

    pub fn delivering() -> Self {
        Self::new(|_, request| Ok(all_delivered(request)))
    }

    /// Creates a service that fails the first `times` calls with this error code and then delivers all records.
    pub fn failing(times: usize, code: &'static str) -> Self {
        Self::new(
            move |call, request| {
                if call < times { Err(service_error(code)) } else { Ok(all_delivered(request)) }
            },
        )
    }

    /// Creates a service that rejects the entries whose data begins with "bad", and delivers the others.
    pub fn rejecting_bad() -> Self {
        Self::new(|_, request| {
            let delivered = all_delivered(request).into_results();
            let results = request.entries().iter().zip(delivered).map(|(entry, delivered)| {
                if entry.data().starts_with(b"bad") {
                    Err(EntryError::new("InvalidArgumentException", "no"))
                } else {
                    delivered
                }
            });
            Ok(PutRecordsResponse::new(results.collect()))
        })
    }

    pub fn with_round_trip(mut self, round_trip: Duration) -> Self {
        self.round_trip = round_trip;
        self
    }

    pub fn requests(&self) -> Vec<PutRecordsRequest> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn sizes(&self) -> Vec<usize> {
        self.requests().iter().map(|request| request.entries().len()).collect()
    }

    pub fn delivered(&self) -> Vec<String> {
        self.state.lock().unwrap().delivered.clone()
    }
}

impl Service<PutRecordsRequest> for MockService {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let call = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request.clone());
            state.requests.len() - 1
        };
        let state = self.state.clone();
        let round_trip = self.round_trip;
        Box::pin(async move {
            tokio::time::sleep(round_trip).await;
            let mut state = state.lock().unwrap();
            let answer = (state.script)(call, &request);
            if let Ok(response) = &answer {
                let results = request.entries().iter().zip(response.results());
                let delivered = results.filter(|(_, result)| result.is_ok());
                state.delivered.extend(delivered.map(|(entry, _)| text(entry.data())));
            }
            answer
        })
    }
}

pub fn all_delivered(request: &PutRecordsRequest) -> PutRecordsResponse {
    answer_each(request, |_| true)
}

/// Returns a response that reports entry `n` as delivered if `arrives(n)` is `true`, and as throttled otherwise.
pub fn answer_each(
    request: &PutRecordsRequest,
    mut arrives: impl FnMut(usize) -> bool,
) -> PutRecordsResponse {
    let result = |index| {
        if arrives(index) {
            Ok(Placement::new("shardId-000000000000", index.to_string()))
        } else {
            Err(EntryError::new(THROTTLE, "Rate exceeded for shard shardId-000000000000"))
        }
    };
    PutRecordsResponse::new((0..request.entries().len()).map(result).collect())
}

pub fn failed_each(request: &PutRecordsRequest, code: &str) -> PutRecordsResponse {
    let failed = request.entries().iter().map(|_| Err(EntryError::new(code, "a message")));
    PutRecordsResponse::new(failed.collect())
}

pub fn service_error(code: &str) -> BoxError {
    PutRecordsError::service(Some(code), Some("a message"), Some(400)).into()
}

pub fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

pub fn texts(undelivered: &[Undelivered]) -> Vec<String> {
    undelivered.iter().map(|undelivered| text(undelivered.record().data())).collect()
}

pub fn records(range: std::ops::Range<usize>) -> impl Iterator<Item = Record> + Clone {
    range.map(|number| Record::from(number.to_string()))
}

pub fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Returns limits under which the rate limiter never delays a request.
pub fn unpaced() -> Limits {
    Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40)
}
