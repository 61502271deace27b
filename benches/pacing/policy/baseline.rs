//! What the other policies share: they send over the same stream, and differ in what they send when.

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

use super::{Ended, Job};
use crate::load::{KEY_BYTES, Offered, RECORD_BYTES};

/// Most entries of a request.
pub const REQUEST_ENTRIES: usize = 500;

/// A record that waits.
#[derive(Debug, Clone)]
pub struct Item {
    pub number: u64,
    pub key: Key,
}

/// What a request came to.
pub type Answer = Result<PutRecordsResponse, PutRecordsError>;

/// What to send when.
pub trait Baseline {
    /// Most requests at a time.
    const IN_FLIGHT: usize;

    /// Whether it takes another record.
    fn has_room(&self) -> bool {
        true
    }

    fn take(&mut self, item: Item);

    /// The next request, if it is time for one.
    fn cut(&mut self, now: Instant) -> Option<Vec<Item>>;

    /// When the next request may be due, should nothing else happen.
    fn wakeup(&self, now: Instant) -> Option<Instant>;

    fn answered(&mut self, items: Vec<Item>, answer: Answer, now: Instant);

    /// All that it holds, but for what is in flight.
    fn held(&self) -> usize;

    fn into_held(self) -> Vec<Item>;
}

/// Runs a policy until its source ends and what is in flight is answered. The rest stays held.
pub async fn drive<B: Baseline>(mut policy: B, job: Job) -> Ended {
    let mut source = job.source;
    let mut rng = Rng::with_seed(job.seed);
    let (mut accepted, mut accepted_at) = (Vec::new(), Vec::new());
    let mut in_flight = FuturesUnordered::new();
    let mut records_in_flight = 0;
    let end = source.end();
    loop {
        let now = Instant::now();
        while policy.has_room() {
            let Some(Some(offered)) = source.next().now_or_never() else { break };
            accepted.push(offered.number);
            accepted_at.push(now);
            policy.take(item(offered, &mut rng));
        }
        while now < end && in_flight.len() < B::IN_FLIGHT {
            let Some(items) = policy.cut(now) else { break };
            records_in_flight += items.len();
            in_flight.push(send(&job.stream, items));
        }
        job.gauge.note((policy.held() + records_in_flight) * RECORD_BYTES);
        if now >= end && in_flight.is_empty() {
            break;
        }
        let wakeup = policy.wakeup(now).filter(|_| in_flight.len() < B::IN_FLIGHT);
        let wakeup = wakeup.unwrap_or(end).min(end).max(now);
        tokio::select! {
            biased;
            Some((items, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                records_in_flight -= items.len();
                policy.answered(items, answer, Instant::now());
            }
            Some(offered) = source.next(), if policy.has_room() && now < end => {
                accepted.push(offered.number);
                accepted_at.push(Instant::now());
                policy.take(item(offered, &mut rng));
            }
            () = sleep_until(wakeup), if now < end => {}
        }
    }
    let held = policy.into_held().into_iter().map(|item| item.number).collect();
    Ended { accepted, accepted_at, held }
}

/// A record without a key gets a random one, and keeps it: so do those who write `uuid4()`.
fn item(offered: Offered, rng: &mut Rng) -> Item {
    let random = || (0..KEY_BYTES).map(|_| rng.lowercase()).collect::<String>().into();
    Item { number: offered.number, key: offered.key.unwrap_or_else(random) }
}

fn send(
    stream: &SimStream,
    items: Vec<Item>,
) -> impl Future<Output = (Vec<Item>, Answer)> + Send + use<> {
    // The number is enough: these policies do not aggregate, so that the bytes are not the limit, and the
    // payload would take more time than all the rest.
    let entry = |item: &Item| {
        let data = Bytes::copy_from_slice(&item.number.to_be_bytes());
        Entry::new(data, Some(item.key.clone()), None)
    };
    let entries: Vec<_> = items.iter().map(entry).collect();
    let answer = stream.service().call(PutRecordsRequest::new(stream.id(), entries));
    answer.map(|answer| (items, answer))
}

/// Those of the items that were not written, in their order, and whether one of them was throttled.
pub fn failed(items: Vec<Item>, answer: Answer) -> (Vec<Item>, bool) {
    let Ok(response) = answer else { return (items, false) };
    let mut throttled = false;
    let failed = items.into_iter().zip(response.results()).filter(|(_, result)| {
        let code = result.as_ref().err().map(|error| error.code());
        throttled |= code == Some("ProvisionedThroughputExceededException");
        result.is_err()
    });
    let failed = failed.map(|(item, _)| item).collect();
    (failed, throttled)
}

/// Puts items back at the front of a queue, in their order.
pub fn put_back(queue: &mut VecDeque<Item>, items: Vec<Item>) {
    items.into_iter().rev().for_each(|item| queue.push_front(item));
}
