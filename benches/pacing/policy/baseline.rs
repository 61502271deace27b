use std::collections::VecDeque;

use bytes::Bytes;
use fastrand::Rng;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kinesis_sink::record::Key;
use kinesis_sink::service::{Entry, PutRecordsError, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::SimStream;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::{Job, Outcome};
use crate::load::{KEY_BYTES, Offered, RECORD_BYTES};

/// Maximum number of entries per request.
pub const REQUEST_ENTRIES: usize = 500;

#[derive(Debug, Clone)]
pub struct Item {
    pub number: u64,
    pub key: Key,
}

pub type Response = Result<PutRecordsResponse, PutRecordsError>;

/// A policy that decides which records to send, and when to send them.
pub trait Baseline {
    const IN_FLIGHT: usize;

    fn has_capacity(&self) -> bool {
        true
    }

    fn push(&mut self, item: Item);

    fn next_request(&mut self, now: Instant) -> Option<Vec<Item>>;

    /// Returns when to call [`Baseline::next_request`] again, unless a response or a record arrives earlier.
    fn wakeup(&self, now: Instant) -> Option<Instant>;

    fn on_response(&mut self, items: Vec<Item>, response: Response, now: Instant);

    /// Returns the number of buffered records that are not in flight.
    fn buffered(&self) -> usize;

    fn into_buffered(self) -> Vec<Item>;
}

/// Runs a policy until the source has ended and no request is in flight. Unsent records stay buffered.
pub async fn drive<B: Baseline>(mut policy: B, job: Job) -> Outcome {
    let mut source = job.source;
    let mut rng = Rng::with_seed(job.seed);
    let mut accepted = Vec::new();
    let mut accepted_at = Vec::new();
    let mut in_flight = FuturesUnordered::new();
    let mut records_in_flight = 0;
    let end = source.end();
    loop {
        let now = Instant::now();
        while policy.has_capacity() {
            let Some(Some(offered)) = source.next().now_or_never() else { break };
            accepted.push(offered.number);
            accepted_at.push(now);
            policy.push(item(offered, &mut rng));
        }
        while now < end && in_flight.len() < B::IN_FLIGHT {
            let Some(items) = policy.next_request(now) else { break };
            records_in_flight += items.len();
            in_flight.push(send(&job.stream, items));
        }
        job.gauge.record((policy.buffered() + records_in_flight) * RECORD_BYTES);
        if now >= end && in_flight.is_empty() {
            break;
        }
        let wakeup = policy.wakeup(now).filter(|_| in_flight.len() < B::IN_FLIGHT);
        let wakeup = wakeup.unwrap_or(end).min(end).max(now);
        tokio::select! {
            biased;
            Some((items, response)) = in_flight.next(), if !in_flight.is_empty() => {
                records_in_flight -= items.len();
                policy.on_response(items, response, Instant::now());
            }
            Some(offered) = source.next(), if policy.has_capacity() && now < end => {
                accepted.push(offered.number);
                accepted_at.push(Instant::now());
                policy.push(item(offered, &mut rng));
            }
            () = sleep_until(wakeup), if now < end => {}
        }
    }
    let buffered = policy.into_buffered().into_iter().map(|item| item.number).collect();
    Outcome { accepted, accepted_at, buffered }
}

/// Creates an item. All attempts of a record without a key use one random key, as with producers that call `uuid4()`.
fn item(offered: Offered, rng: &mut Rng) -> Item {
    let random = || (0..KEY_BYTES).map(|_| rng.lowercase()).collect::<String>().into();
    Item { number: offered.number, key: offered.key.unwrap_or_else(random) }
}

fn send(
    stream: &SimStream,
    items: Vec<Item>,
) -> impl Future<Output = (Vec<Item>, Response)> + Send + use<> {
    // Short payloads save run time, and suffice because no policy reaches the byte quota without aggregation.
    let entry = |item: &Item| {
        let data = Bytes::copy_from_slice(&item.number.to_be_bytes());
        Entry::new(data, Some(item.key.clone()), None)
    };
    let entries: Vec<_> = items.iter().map(entry).collect();
    let response = stream.service().call(PutRecordsRequest::new(stream.id(), entries));
    response.map(|response| (items, response))
}

/// Returns the items that were not written, in order, and `true` if at least one of them was throttled.
pub fn failed(items: Vec<Item>, response: Response) -> (Vec<Item>, bool) {
    let Ok(response) = response else { return (items, false) };
    let mut throttled = false;
    let failed = items.into_iter().zip(response.results()).filter(|(_, result)| {
        let code = result.as_ref().err().map(|error| error.code());
        throttled |= code == Some("ProvisionedThroughputExceededException");
        result.is_err()
    });
    let failed = failed.map(|(item, _)| item).collect();
    (failed, throttled)
}

/// Inserts items at the front of a queue and keeps their order.
pub fn requeue(queue: &mut VecDeque<Item>, items: Vec<Item>) {
    for item in items.into_iter().rev() {
        queue.push_front(item);
    }
}
