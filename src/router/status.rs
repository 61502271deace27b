use std::time::Duration;

use super::shared::Shared;
use crate::status::{Buffered, Condition, Status, Totals};

/// Snapshot of the status of a [`Router`](super::Router): the sums over its streams.
///
/// With the feature `serde`, a status can be serialized, for example for a health endpoint. Durations are serialized as
/// seconds.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RouterStatus {
    /// Number of open streams. The number includes streams whose producers have stopped.
    pub open_streams: usize,
    /// Maximum number of open streams.
    pub max_streams: usize,
    /// Number of times that a stream was opened.
    pub opened: u64,
    /// Number of open streams that are [working](Condition::Working).
    pub working: usize,
    /// Number of open streams whose requests are [failing](Condition::Failing).
    pub failing: usize,
    /// Number of open streams that are [refusing](Condition::Refused) all requests.
    pub refused: usize,
    /// Number of streams whose producers have [stopped](Condition::Stopped) or were [abandoned](Condition::Abandoned).
    pub stopped: usize,
    /// Number of streams whose producers are [closing](Condition::Closing) or [closed](Condition::Closed).
    pub closing: usize,
    /// Queued records, including records that wait for a retry.
    pub queued: Buffered,
    /// Records in flight.
    pub in_flight: Buffered,
    /// Permanently failed records that have not been taken.
    pub failed: Buffered,
    /// Time since the acceptance of the oldest record that is queued or in flight. `None` if no record is queued or in
    /// flight.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub oldest_age: Option<Duration>,
    /// Numbers of records and requests since the router was built, including those of closed streams.
    pub totals: Totals,
    /// Bounds of the budget, which the streams share.
    pub capacity: Buffered,
}

impl RouterStatus {
    /// Returns the number and size of all records that count towards the bounds: queued, in flight and failed.
    #[must_use]
    pub fn buffered(&self) -> Buffered {
        let mut buffered = Buffered::default();
        for part in [self.queued, self.in_flight, self.failed] {
            add(&mut buffered, part);
        }
        buffered
    }

    fn add(&mut self, status: &Status) {
        let count = match status.condition {
            Condition::Working => &mut self.working,
            Condition::Failing { .. } => &mut self.failing,
            Condition::Refused { .. } => &mut self.refused,
            Condition::Stopped { .. } | Condition::Abandoned => &mut self.stopped,
            Condition::Closing { .. } | Condition::Closed => &mut self.closing,
        };
        *count += 1;
        add(&mut self.queued, status.queued);
        add(&mut self.in_flight, status.in_flight);
        add(&mut self.failed, status.failed);
        self.oldest_age = self.oldest_age.max(status.oldest_age);
        add_totals(&mut self.totals, &status.totals);
    }
}

impl Shared {
    pub(super) fn status(&self) -> RouterStatus {
        let budget = self.budget().settings();
        let mut capacity = Buffered::default();
        (capacity.records, capacity.bytes) = (budget.buffer_records, budget.buffer_bytes);
        let (guards, mut status) = {
            // The totals of closed streams must be read together with the open streams, so that each stream counts once.
            let streams = self.streams();
            let status = RouterStatus {
                max_streams: streams.max_streams(),
                opened: streams.opened(),
                totals: *streams.closed_totals(),
                capacity,
                ..RouterStatus::default()
            };
            (self.acquire_all_of(&streams), status)
        };
        status.open_streams = guards.len();
        for guard in &guards {
            status.add(&guard.producer().status());
        }
        status
    }

    pub(super) fn stream_statuses(&self) -> Vec<Status> {
        self.acquire_all().iter().map(|guard| guard.producer().status()).collect()
    }

    pub(super) fn stream_status(&self, stream: &str) -> Option<Status> {
        let entry = self.streams().peek(stream).cloned()?;
        let stream = entry.get()?.as_ref().ok()?;
        Some(stream.producer.status())
    }
}

fn add(sum: &mut Buffered, buffered: Buffered) {
    sum.records += buffered.records;
    sum.bytes += buffered.bytes;
}

pub(super) fn add_totals(sum: &mut Totals, totals: &Totals) {
    // Lists all fields, so that a new one cannot be forgotten.
    let Totals {
        accepted,
        delivered,
        delivered_bytes,
        entries,
        entry_bytes,
        misplaced,
        failed,
        withdrawn,
        requests,
        requeued,
        throttled,
    } = totals;
    sum.accepted += accepted;
    sum.delivered += delivered;
    sum.delivered_bytes += delivered_bytes;
    sum.entries += entries;
    sum.entry_bytes += entry_bytes;
    sum.misplaced += misplaced;
    sum.failed += failed;
    sum.withdrawn += withdrawn;
    sum.requests += requests;
    sum.requeued += requeued;
    sum.throttled += throttled;
}

#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&duration.map(|duration| duration.as_secs_f64()), serializer)
}
