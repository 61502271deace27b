//! Tests of the pipeline on virtual time, without a runtime.

mod aggregation;
mod bisection;
mod departures;
mod failures;
mod flush;
mod health;
mod isolation;
mod lanes;
mod limits;
mod listing;
mod model;
mod model_steps;
mod model_stream;
mod ordering;
mod rate_limit;
mod receipts;
mod retry;
mod routing;
mod verify;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tower::BoxError;

use super::*;
use crate::limits::Limits;
use crate::record::{Delivery, PartitionKey, Undelivered};
use crate::service::{
    DefaultClassify, EntryClass, EntryError, ErrorClass, Placement, PutRecordsError,
    PutRecordsRequest, PutRecordsResponse,
};
use crate::settings::{BackoffSettings, Settings};

const THROTTLE: &str = "ProvisionedThroughputExceededException";
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// A pipeline with a virtual clock.
struct Harness {
    pipeline: Pipeline,
    now: Instant,
}

/// Returns settings without rate limits. The linger and the buffer do not depend on the aggregation.
fn settings() -> Settings {
    Settings {
        limits: without_quota(Limits::default()),
        linger: Linger::default(),
        buffer_records: Some(10_000),
        ..Settings::default()
    }
}

fn without_quota(limits: Limits) -> Limits {
    limits.with_shard_records(1_000_000_000).with_shard_bytes(1 << 40)
}

impl Harness {
    fn new(settings: Settings) -> Self {
        Self::with(settings, false, Arc::new(DefaultClassify), 7)
    }

    /// Creates a pipeline that can list shards.
    fn listing(settings: Settings) -> Self {
        Self::with(settings, true, Arc::new(DefaultClassify), 7)
    }

    fn with(
        settings: Settings,
        lists_shards: bool,
        classify: Arc<dyn Classify>,
        seed: u64,
    ) -> Self {
        settings.validate().unwrap();
        let settings = Settings { seed: Some(seed), ..settings };
        let stream = "example".parse().unwrap();
        let pipeline = Pipeline::new(stream, Arc::new(settings), lists_shards, classify);
        Self { pipeline, now: Instant::now() }
    }

    /// Accepts a record with the key "k" for each number in `range`.
    fn accept(&mut self, range: std::ops::Range<usize>) {
        for n in range {
            let record = Record::from(("k", n.to_string()));
            self.pipeline.accept(record, self.now).unwrap();
        }
    }

    fn send(&mut self) -> (RequestId, PutRecordsRequest) {
        let (id, request, _) = self.next_request().expect("a request should be sent");
        (id, request)
    }

    fn send_reason(&mut self) -> Option<(FlushReason, usize)> {
        let (_, request, reason) = self.next_request()?;
        Some((reason, request.entries().len()))
    }

    fn next_request(&mut self) -> Option<(RequestId, PutRecordsRequest, FlushReason)> {
        loop {
            let next = self.pipeline.next_request(self.now);
            if next.is_some() || !self.pipeline.is_unfinished() {
                return next;
            }
        }
    }

    fn settle(&mut self, id: RequestId, results: Vec<Result<Placement, EntryError>>) {
        self.pipeline.settle(id, Ok(PutRecordsResponse::new(results)), self.now);
    }

    fn deliver(&mut self, id: RequestId, request: &PutRecordsRequest) {
        self.settle(id, request.entries().iter().map(|_| delivered()).collect());
    }

    fn fail(&mut self, id: RequestId, code: &str) {
        self.pipeline.settle(id, Err(service_error(code)), self.now);
    }

    /// If a shard listing is due, begins it and returns `true`.
    fn begin_listing(&mut self) -> bool {
        let due = self.pipeline.topology().listing_is_due(self.now);
        if due {
            self.pipeline.topology_mut().begin_listing();
        }
        due
    }

    /// Advances the clock to the next wakeup of the pipeline. Returns the elapsed time.
    fn sleep(&mut self) -> Duration {
        let wakeup = self
            .pipeline
            .wakeup(self.now)
            .unwrap_or_else(|| panic!("no wakeup: {:?}", self.pipeline));
        let slept = wakeup - self.now;
        self.now = wakeup;
        self.pipeline.advance(wakeup);
        slept
    }

    fn undelivered(&self) -> Vec<String> {
        self.pipeline.undelivered().into_iter().map(text).collect()
    }
}

fn text(record: &Record) -> String {
    String::from_utf8(record.data().to_vec()).unwrap()
}

fn texts(request: &PutRecordsRequest) -> Vec<String> {
    let data = request.entries().iter().map(|entry| entry.data().to_vec());
    data.map(|data| String::from_utf8(data).unwrap()).collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn delivered() -> Result<Placement, EntryError> {
    Ok(Placement::new("shardId-000000000000", "1"))
}

fn failed(code: &str) -> Result<Placement, EntryError> {
    Err(EntryError::new(code, "a message"))
}

fn service_error(code: &str) -> BoxError {
    PutRecordsError::service(Some(code), Some("a message"), Some(400)).into()
}
