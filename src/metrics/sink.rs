use std::cell::RefCell;
use std::time::{Duration, Instant};

use metrics::{Gauge, Histogram, IntoF64};

use super::handles::{FAILURE_CODES, Handles, Records};
use super::shards::Shards;
use super::streams::{Member, StreamLabel};
use crate::pipeline::{Pipeline, ShardSample};
use crate::status::Totals;
use crate::stream::StreamId;

/// Interval between reports while there are no requests or responses.
const INTERVAL: Duration = Duration::from_millis(100);

/// Metrics of a sink. Adds its changes to the gauges instead of setting them, because all sinks of a stream share them.
pub(crate) struct SinkMetrics {
    totals: Totals,
    pending: usize,
    buffered: usize,
    next: Option<Instant>,
    label: Label,
}

/// Metrics that have the stream label of the sink.
enum Label {
    /// `None` while a sink without a recorder is idle.
    Named(Option<Box<Named>>),
    Shared(Member),
}

struct Named {
    handles: Handles,
    shards: Shards,
    /// `true` if no recorder was installed when the handles were registered.
    is_discarded: bool,
}

thread_local! {
    /// Metrics of the sink that was last idle, so that a sink that is idle for a moment need not register them again.
    static LAST_IDLE: RefCell<Option<(StreamId, Box<Named>)>> = const { RefCell::new(None) };
}

impl Named {
    /// Keeps discarded metrics until another sink in this thread is idle.
    fn keep(self: Box<Self>, stream: &StreamId) {
        let replaced = LAST_IDLE.try_with(|last| last.replace(Some((stream.clone(), self))));
        // The recorder can run code when a handle is dropped, so the value is no longer borrowed here.
        drop(replaced);
    }

    fn take_kept(stream: &StreamId) -> Option<Box<Self>> {
        let take = |last: &RefCell<Option<(StreamId, _)>>| {
            last.borrow_mut().take_if(|(kept, _)| kept == stream)
        };
        LAST_IDLE.try_with(take).ok()?.map(|(_, named)| named)
    }

    fn new(stream: &StreamId) -> Box<Self> {
        let name = stream.name();
        // The recorder with which the facade discards all metrics has no state.
        let is_discarded = metrics::with_recorder(|recorder| size_of_val(recorder) == 0);
        Box::new(Self { handles: Handles::new(name), shards: Shards::new(name), is_discarded })
    }
}

impl Label {
    fn handles(&mut self, stream: &StreamId) -> &Handles {
        match self {
            Self::Named(named) => {
                let register = || Named::take_kept(stream).unwrap_or_else(|| Named::new(stream));
                &named.get_or_insert_with(register).handles
            }
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
            StreamLabel::Name => Label::Named(Some(Named::new(stream))),
            StreamLabel::Shared(shared) => Label::Shared(Member::new(shared)),
        };
        Self { totals: Totals::default(), pending: 0, buffered: 0, next: None, label }
    }

    /// Returns `true` if there was a request or response since the last report, or if [`INTERVAL`] has passed.
    pub(crate) fn should_report(&self, pipeline: &mut Pipeline, now: Instant) -> bool {
        pipeline.ledger_mut().unreported_mut().is_some() || self.next.is_none_or(|next| next <= now)
    }

    pub(crate) fn report(&mut self, pipeline: &mut Pipeline, now: Instant) {
        self.next = Some(now + INTERVAL);
        self.report_samples(pipeline);
        self.report_totals(pipeline);
        self.report_gauges(pipeline, now);
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

    /// Releases the handles of an idle sink if no recorder was installed. The next report registers them again.
    pub(crate) fn rest(&mut self, stream: &StreamId) {
        if let Label::Named(named) = &mut self.label
            && let Some(named) = named.take_if(|named| named.is_discarded)
        {
            named.keep(stream);
        }
    }

    fn report_totals(&mut self, pipeline: &Pipeline) {
        let totals = pipeline.ledger().totals();
        let before = std::mem::replace(&mut self.totals, *totals);
        let Handles { records, requests } = self.label.handles(pipeline.stream());
        let Records { received, put, data_put, withdrawn, .. } = records;
        received.increment(totals.accepted - before.accepted);
        put.increment(totals.delivered - before.delivered);
        data_put.increment(totals.delivered_bytes - before.delivered_bytes);
        withdrawn.increment(totals.withdrawn - before.withdrawn);
        requests.data_put.increment(totals.entry_bytes - before.entry_bytes);
    }

    fn report_gauges(&mut self, pipeline: &Pipeline, now: Instant) {
        let Handles { records, .. } = self.label.handles(pipeline.stream());
        let pending = pipeline.ledger().totals().unsettled();
        move_gauge(&records.pending, std::mem::replace(&mut self.pending, pending), pending);
        let buffered = pipeline.ledger().buffered().bytes;
        move_gauge(&records.buffered, std::mem::replace(&mut self.buffered, buffered), buffered);
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
