//! A replacement for Kinesis in this process. It responds immediately and uses little CPU time.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use kinesis_sink::service::{
    Entry, EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse,
};
use tower::{BoxError, Service};

use super::cost::{Cost, Reading};
use super::even_shards::EvenShards;

/// A sequence number with the length of real ones.
const SEQUENCE_NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";
pub const POISON: &[u8] = b"\0\0poison";

#[derive(Clone, Copy)]
pub enum Fault {
    None,
    Entries(&'static str, Attempts),
    Requests(&'static str, Attempts),
    Poison,
}

/// Number of attempts that fail, counted in entries. All later attempts succeed.
#[derive(Clone, Copy)]
pub struct Attempts {
    pub warm_up: u64,
    pub measured: u64,
}

#[derive(Clone)]
pub struct MockService {
    shards: EvenShards,
    fault: Fault,
    counter: Arc<Counter>,
}

#[derive(Default)]
pub struct Counter {
    requests: AtomicU64,
    entries: AtomicU64,
    is_paused: AtomicBool,
    waker: AtomicWaker,
    window: [OnceLock<Reading>; 2],
}

impl Counter {
    fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    pub fn read(&self) -> Reading {
        Reading::now(self.requests(), self.entries())
    }

    /// Returns the cost of the measured attempts, and panics if too few attempts were made.
    pub fn measured(&self) -> Cost {
        let window = self.window.each_ref();
        let [begin, end] = window.map(|reading| reading.get().expect("too few attempts"));
        begin.attempts_until(end)
    }

    fn fails(&self, previous: u64, Attempts { warm_up, measured }: Attempts) -> bool {
        let ends = [warm_up, warm_up + measured];
        for (reading, end) in self.window.iter().zip(ends) {
            if previous >= end {
                reading.get_or_init(|| self.read());
            }
        }
        previous < warm_up + measured
    }

    /// Makes the service pending until [`Counter::resume`] is called.
    pub fn pause(&self) {
        self.is_paused.store(true, Relaxed);
    }

    pub fn resume(&self) {
        self.is_paused.store(false, Relaxed);
        self.waker.wake();
    }
}

impl MockService {
    pub fn new(shards: EvenShards, fault: Fault) -> Self {
        Self { shards, fault, counter: Arc::default() }
    }

    pub fn counter(&self) -> Arc<Counter> {
        self.counter.clone()
    }

    fn respond(&self, request: &PutRecordsRequest) -> Result<PutRecordsResponse, BoxError> {
        let entries = request.entries();
        let previous = self.counter.entries();
        let deliver = |entry| Ok(Placement::new(self.shards.id_of(entry), SEQUENCE_NUMBER));
        let results = match self.fault {
            Fault::Entries(code, attempts) if self.counter.fails(previous, attempts) => {
                let fail = |_: &Entry| Err(EntryError::new(code, "try again"));
                entries.iter().map(fail).collect()
            }
            Fault::Requests(code, attempts) if self.counter.fails(previous, attempts) => {
                return Err(PutRecordsError::service(Some(code), None, None).into());
            }
            Fault::Poison if entries.iter().any(is_poisoned) => {
                let code = Some("ValidationException");
                return Err(PutRecordsError::service(code, None, Some(400)).into());
            }
            _ => entries.iter().map(deliver).collect(),
        };
        Ok(PutRecordsResponse::new(results))
    }
}

/// Returns `true` if the entry is a poison record or an aggregate that contains one.
fn is_poisoned(entry: &Entry) -> bool {
    let data = entry.data();
    match data.first() {
        Some(0xF3) => data.windows(POISON.len()).any(|window| window == POISON),
        _ => data == POISON,
    }
}

impl Service<PutRecordsRequest> for MockService {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Ready<Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !self.counter.is_paused.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        self.counter.waker.register(cx.waker());
        Poll::Pending
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let response = self.respond(&request);
        self.counter.requests.fetch_add(1, Relaxed);
        self.counter.entries.fetch_add(request.entries().len() as u64, Relaxed);
        ready(response)
    }
}
