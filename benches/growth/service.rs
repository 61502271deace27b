//! What stands in for Kinesis: it answers at once, and takes what the bench measures as little time as it can.

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

/// As long as the service's own are.
const SEQUENCE_NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";
/// The payload that the service refuses.
pub const CULPRIT: &[u8] = b"\0\0culprit";

/// What goes wrong.
#[derive(Clone, Copy)]
pub enum Trouble {
    None,
    /// Every entry of an answer fails with this code, for so long.
    Entries(&'static str, Attempts),
    /// Requests fail as a whole with this code, for so long.
    Requests(&'static str, Attempts),
    /// A request with a [`CULPRIT`] in it is refused as invalid.
    Culprits,
}

/// How many attempts fail, counted in entries.
#[derive(Clone, Copy)]
pub struct Attempts {
    /// Those before what is measured.
    pub first: u64,
    /// Those that are measured. Afterwards all goes well.
    pub measured: u64,
}

/// Delivers at once, each entry to its shard.
#[derive(Clone)]
pub struct InProcess {
    shards: EvenShards,
    trouble: Trouble,
    counter: Arc<Counter>,
}

/// What came, and whether more may come.
#[derive(Default)]
pub struct Counter {
    requests: AtomicU64,
    entries: AtomicU64,
    is_held: AtomicBool,
    waker: AtomicWaker,
    /// The beginning and the end of the attempts that are measured.
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

    /// The cost of the attempts that are measured.
    ///
    /// # Panics
    ///
    /// There were not so many.
    pub fn window(&self) -> Cost {
        let [begin, end] = self.window.each_ref().map(|reading| reading.get().expect("it came"));
        begin.attempts_until(end)
    }

    /// Whether a request fails, after so many attempts before it.
    fn fails(&self, before: u64, Attempts { first, measured }: Attempts) -> bool {
        let ends = [first, first + measured];
        for (reading, end) in self.window.iter().zip(ends) {
            if before >= end {
                reading.get_or_init(|| self.read());
            }
        }
        before < first + measured
    }

    /// Takes no requests from now on.
    pub fn hold(&self) {
        self.is_held.store(true, Relaxed);
    }

    pub fn let_go(&self) {
        self.is_held.store(false, Relaxed);
        self.waker.wake();
    }
}

impl InProcess {
    pub fn new(shards: EvenShards, trouble: Trouble) -> Self {
        Self { shards, trouble, counter: Arc::default() }
    }

    pub fn counter(&self) -> Arc<Counter> {
        self.counter.clone()
    }

    fn answer(&self, request: &PutRecordsRequest) -> Result<PutRecordsResponse, BoxError> {
        let entries = request.entries();
        let before = self.counter.entries();
        let deliver = |entry| Ok(Placement::new(self.shards.id_of(entry), SEQUENCE_NUMBER));
        let results = match self.trouble {
            Trouble::Entries(code, attempts) if self.counter.fails(before, attempts) => {
                let fail = |_: &Entry| Err(EntryError::new(code, "try again"));
                entries.iter().map(fail).collect()
            }
            Trouble::Requests(code, attempts) if self.counter.fails(before, attempts) => {
                return Err(PutRecordsError::service(Some(code), None, None).into());
            }
            Trouble::Culprits if entries.iter().any(has_culprit) => {
                let code = Some("ValidationException");
                return Err(PutRecordsError::service(code, None, Some(400)).into());
            }
            _ => entries.iter().map(deliver).collect(),
        };
        Ok(PutRecordsResponse::new(results))
    }
}

/// Whether the entry is a culprit, or an aggregate with one.
fn has_culprit(entry: &Entry) -> bool {
    let data = entry.data();
    match data.first() {
        Some(0xF3) => data.windows(CULPRIT.len()).any(|window| window == CULPRIT),
        _ => data == CULPRIT,
    }
}

impl Service<PutRecordsRequest> for InProcess {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Ready<Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !self.counter.is_held.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        self.counter.waker.register(cx.waker());
        Poll::Pending
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let answer = self.answer(&request);
        self.counter.requests.fetch_add(1, Relaxed);
        self.counter.entries.fetch_add(request.entries().len() as u64, Relaxed);
        ready(answer)
    }
}
