use std::time::{Duration, Instant};

use metrics::{Gauge, Histogram, IntoF64};

use super::handles::{FAILURE_CODES, Handles, Records};
use super::shards::Shards;
use super::streams::{Member, StreamLabel};
use crate::pipeline::{Ledger, Pipeline, ShardSample};
use crate::stream::StreamId;

/// Interval between reports while there are no requests or responses.
const INTERVAL: Duration = Duration::from_millis(100);

/// Metrics of a sink. Adds its changes to the gauges instead of setting them, because all sinks of a stream share them.
pub(crate) struct SinkMetrics {
    reported: Values,
    next: Option<Instant>,
    label: Label,
}

/// Values that are reported as differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Values {
    accepted: u64,
    delivered: u64,
    delivered_bytes: u64,
    withdrawn: u64,
    entry_bytes: u64,
    pending: usize,
    buffered_bytes: usize,
}

impl Values {
    fn of(ledger: &Ledger) -> Self {
        let totals = ledger.totals();
        Self {
            accepted: totals.accepted,
            delivered: totals.delivered,
            delivered_bytes: totals.delivered_bytes,
            withdrawn: totals.withdrawn,
            entry_bytes: totals.entry_bytes,
            pending: totals.unsettled(),
            buffered_bytes: ledger.buffered().bytes,
        }
    }
}

/// Metrics that have the stream label of the sink.
enum Label {
    /// `None` while the sink rests.
    Named(Option<Box<Named>>),
    Shared(Member),
}

struct Named {
    handles: Handles,
    shards: Shards,
}

impl Named {
    fn register(stream: &StreamId) -> Box<Self> {
        let name = stream.name();
        Box::new(Self { handles: Handles::new(name), shards: Shards::new(name) })
    }
}

impl Label {
    fn handles(&mut self, stream: &StreamId) -> &Handles {
        match self {
            Self::Named(named) => &named.get_or_insert_with(|| Named::register(stream)).handles,
            Self::Shared(member) => member.handles(),
        }
    }

    /// Records the metrics of a shard. Streams with a shared label have none, because they could have any number of
    /// shards.
    fn record_shard(&mut self, sample: ShardSample) {
        if let Self::Named(Some(named)) = self {
            named.shards.record(sample);
        }
    }

    fn report_oldest(&mut self, accepted_at: Option<Instant>, now: Instant) {
        match self {
            Self::Named(None) => {}
            Self::Named(Some(named)) => {
                let age = accepted_at.map(|accepted_at| now.saturating_duration_since(accepted_at));
                named.handles.records.oldest_age.set(age.unwrap_or(Duration::ZERO));
            }
            Self::Shared(member) => member.report_oldest(accepted_at, now),
        }
    }
}

impl SinkMetrics {
    pub(crate) fn new(stream: &StreamId, label: StreamLabel) -> Self {
        let label = match label {
            StreamLabel::Name => Label::Named(Some(Named::register(stream))),
            StreamLabel::Shared(shared) => Label::Shared(Member::new(shared)),
        };
        Self { reported: Values::default(), next: None, label }
    }

    /// Returns `true` if there was a request or response since the last report, or if [`INTERVAL`] has passed.
    pub(crate) fn should_report(&self, pipeline: &mut Pipeline, now: Instant) -> bool {
        pipeline.ledger_mut().unreported_mut().is_some() || self.next.is_none_or(|next| next <= now)
    }

    pub(crate) fn report(&mut self, pipeline: &mut Pipeline, now: Instant) {
        self.next = Some(now + INTERVAL);
        if self.is_resting() && !self.has_changed(pipeline) {
            return;
        }
        self.report_samples(pipeline);
        self.report_values(pipeline, now);
    }

    fn is_resting(&self) -> bool {
        matches!(self.label, Label::Named(None))
    }

    /// Returns `true` if there is anything to report, except for the age of the oldest record, which is 0 while the sink
    /// rests.
    fn has_changed(&self, pipeline: &mut Pipeline) -> bool {
        let ledger = pipeline.ledger_mut();
        ledger.unreported_mut().is_some() || Values::of(ledger) != self.reported
    }

    fn report_samples(&mut self, pipeline: &mut Pipeline) {
        let stream = pipeline.stream().clone();
        let Some(samples) = pipeline.ledger_mut().unreported_mut() else { return };
        let Handles { records, requests } = self.label.handles(&stream);
        for (reason, times) in samples.flush_reasons.drain() {
            requests.flushed[reason as usize].increment(times as u64);
        }
        for (code, times) in samples.failures.drain() {
            if let Some(index) = FAILURE_CODES.iter().position(|known| *known == code) {
                records.failed[index].increment(times as u64);
            }
        }
        record(&requests.records, samples.records_per_request.drain());
        record(&requests.records_per_entry, samples.records_per_entry.drain());
        record(&records.retries, samples.retries.drain());
        record(&records.buffering, samples.buffering.drain());
        record(&records.delivery, samples.delivery.drain());
        for sample in samples.shards.drain(..) {
            self.label.record_shard(sample);
        }
    }

    /// Releases the handles of an idle sink after a last report. The next report registers them again, and a recorder
    /// continues the values of the same labels.
    pub(crate) fn rest(&mut self, pipeline: &mut Pipeline, now: Instant) {
        self.report(pipeline, now);
        if let Label::Named(named) = &mut self.label {
            *named = None;
        }
    }

    fn report_values(&mut self, pipeline: &Pipeline, now: Instant) {
        let values = Values::of(pipeline.ledger());
        let before = std::mem::replace(&mut self.reported, values);
        let Handles { records, requests } = self.label.handles(pipeline.stream());
        let Records { received, put, data_put, withdrawn, pending, buffered, .. } = records;
        received.increment(values.accepted - before.accepted);
        put.increment(values.delivered - before.delivered);
        data_put.increment(values.delivered_bytes - before.delivered_bytes);
        withdrawn.increment(values.withdrawn - before.withdrawn);
        requests.data_put.increment(values.entry_bytes - before.entry_bytes);
        move_gauge(pending, before.pending, values.pending);
        move_gauge(buffered, before.buffered_bytes, values.buffered_bytes);
        self.label.report_oldest(pipeline.oldest_accepted_at(), now);
    }
}

fn record(histogram: &Histogram, values: impl Iterator<Item = (impl IntoF64, usize)>) {
    for (value, times) in values {
        histogram.record_many(value, times);
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes in memory are below 2^53")]
fn move_gauge(gauge: &Gauge, from: usize, to: usize) {
    if to >= from {
        gauge.increment((to - from) as f64);
    } else {
        gauge.decrement((from - to) as f64);
    }
}
