use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, IntoF64, counter, gauge, histogram};

use super::names::*;
use super::shards::Shards;
use crate::pipeline::{FlushReason, Pipeline};
use crate::status::Totals;

/// While nothing else happens, what only grows or shrinks is told so often.
const INTERVAL: Duration = Duration::from_millis(100);

/// Why records are given up by a sink: the codes of those reasons.
const FAILURES: [&str; 4] = ["rejected", "attempts_exhausted", "deadline_exceeded", "refused"];

/// What a sink tells the recorder of itself.
///
/// Its gauges add up: several sinks to one stream have one of each.
pub(crate) struct SinkMetrics {
    totals: Totals,
    pending: usize,
    buffered: usize,
    next: Option<Instant>,
    records: Records,
    requests: Requests,
    shards: Shards,
}

struct Records {
    received: Counter,
    put: Counter,
    data_put: Counter,
    failed: [Counter; FAILURES.len()],
    withdrawn: Counter,
    pending: Gauge,
    buffered: Gauge,
    oldest_age: Gauge,
    retries: Histogram,
    buffering: Histogram,
    delivery: Histogram,
}

struct Requests {
    data_put: Counter,
    cut: [Counter; FlushReason::ALL.len()],
    records: Histogram,
    records_per_entry: Histogram,
}

impl SinkMetrics {
    /// Registers with the recorder that is installed now.
    pub(crate) fn new(stream: &str) -> Self {
        describe_sink();
        Self {
            totals: Totals::default(),
            pending: 0,
            buffered: 0,
            next: None,
            records: Records::new(stream),
            requests: Requests::new(stream),
            shards: Shards::new(stream),
        }
    }

    /// Whether telling is worth it: a request was made or answered, or some time has passed.
    pub(crate) fn is_due(&self, pipeline: &mut Pipeline, now: Instant) -> bool {
        let has_samples =
            pipeline.ledger_mut().samples_mut().is_some_and(|samples| !samples.is_empty());
        has_samples || self.next.is_none_or(|next| next <= now)
    }

    /// Tells what has happened since the last time.
    pub(crate) fn report(&mut self, pipeline: &mut Pipeline, now: Instant) {
        let Some(samples) = pipeline.ledger_mut().samples_mut() else { return };
        self.next = Some(now + INTERVAL);
        for (reason, times) in samples.flush_reasons.drain() {
            self.requests.cut[reason as usize].increment(times as u64);
        }
        for (code, times) in samples.failures.drain() {
            let known = FAILURES.iter().position(|failure| *failure == code);
            known.inspect(|&at| self.records.failed[at].increment(times as u64));
        }
        let Self { records, requests, .. } = self;
        record(&requests.records, samples.records_per_request.drain());
        record(&requests.records_per_entry, samples.records_per_entry.drain());
        record(&records.retries, samples.retries.drain());
        record(&records.buffering, samples.buffering.drain());
        record(&records.delivery, samples.delivery.drain());
        samples.shards.drain(..).for_each(|sample| self.shards.record(sample));
        self.report_totals(pipeline.ledger().totals());
        self.report_held(pipeline, now);
    }

    fn report_totals(&mut self, totals: &Totals) {
        let before = std::mem::replace(&mut self.totals, *totals);
        let Records { received, put, data_put, withdrawn, .. } = &self.records;
        received.increment(totals.accepted - before.accepted);
        put.increment(totals.delivered - before.delivered);
        data_put.increment(totals.delivered_bytes - before.delivered_bytes);
        withdrawn.increment(totals.withdrawn - before.withdrawn);
        self.requests.data_put.increment(totals.entry_bytes - before.entry_bytes);
    }

    fn report_held(&mut self, pipeline: &Pipeline, now: Instant) {
        let records = &self.records;
        let pending = pipeline.ledger().totals().unsettled();
        move_gauge(&records.pending, std::mem::replace(&mut self.pending, pending), pending);
        let buffered = pipeline.ledger().held().bytes;
        move_gauge(&records.buffered, std::mem::replace(&mut self.buffered, buffered), buffered);
        records.oldest_age.set(pipeline.oldest_age(now));
    }
}

impl Records {
    fn new(stream: &str) -> Self {
        let failed = |code| counter!(USER_RECORDS_FAILED, STREAM => own(stream), REASON => code);
        Self {
            received: counter!(USER_RECORDS_RECEIVED, STREAM => own(stream)),
            put: counter!(USER_RECORDS_PUT, STREAM => own(stream)),
            data_put: counter!(USER_RECORDS_DATA_PUT, STREAM => own(stream)),
            failed: FAILURES.map(failed),
            withdrawn: counter!(USER_RECORDS_WITHDRAWN, STREAM => own(stream)),
            pending: gauge!(USER_RECORDS_PENDING, STREAM => own(stream)),
            buffered: gauge!(BUFFERED_BYTES, STREAM => own(stream)),
            oldest_age: gauge!(OLDEST_RECORD_AGE, STREAM => own(stream)),
            retries: histogram!(RETRIES_PER_RECORD, STREAM => own(stream)),
            buffering: histogram!(BUFFERING_TIME, STREAM => own(stream)),
            delivery: histogram!(DELIVERY_TIME, STREAM => own(stream)),
        }
    }
}

impl Requests {
    fn new(stream: &str) -> Self {
        let cut = |reason: FlushReason| {
            let labels = [(STREAM, own(stream)), (REASON, reason.label().to_owned())];
            counter!(PUT_RECORDS_REQUESTS_FLUSHED, &labels)
        };
        Self {
            data_put: counter!(KINESIS_RECORDS_DATA_PUT, STREAM => own(stream)),
            cut: FlushReason::ALL.map(cut),
            records: histogram!(USER_RECORDS_PER_PUT_RECORDS_REQUEST, STREAM => own(stream)),
            records_per_entry: histogram!(USER_RECORDS_PER_KINESIS_RECORD, STREAM => own(stream)),
        }
    }
}

fn own(stream: &str) -> String {
    stream.to_owned()
}

fn record(histogram: &Histogram, values: impl Iterator<Item = (impl IntoF64, usize)>) {
    values.for_each(|(value, times)| histogram.record_many(value, times));
}

#[expect(clippy::cast_precision_loss, reason = "nothing that fits into memory has 53 bits")]
fn move_gauge(gauge: &Gauge, from: usize, to: usize) {
    match to >= from {
        true => gauge.increment((to - from) as f64),
        false => gauge.decrement((from - to) as f64),
    }
}
