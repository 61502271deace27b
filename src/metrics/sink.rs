use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, IntoF64, counter, gauge, histogram};

use super::names::*;
use super::shards::Shards;
use crate::pipeline::{FlushReason, Pipeline};
use crate::status::Totals;

/// Interval between reports while there are no requests or responses.
const INTERVAL: Duration = Duration::from_millis(100);

/// [Codes](crate::record::FailureReason::code) of all reasons that a sink can return for a failed record.
const FAILURE_CODES: [&str; 4] = ["rejected", "attempts_exhausted", "deadline_exceeded", "refused"];

/// Metrics of a sink. Adds its changes to the gauges instead of setting them, because all sinks of a stream share them.
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
    failed: [Counter; FAILURE_CODES.len()],
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
    flushed: [Counter; FlushReason::ALL.len()],
    records: Histogram,
    records_per_entry: Histogram,
}

impl SinkMetrics {
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

    /// Returns `true` if there was a request or response since the last report, or if [`INTERVAL`] has passed.
    pub(crate) fn should_report(&self, pipeline: &mut Pipeline, now: Instant) -> bool {
        let has_samples =
            pipeline.ledger_mut().samples_mut().is_some_and(|samples| !samples.is_empty());
        has_samples || self.next.is_none_or(|next| next <= now)
    }

    pub(crate) fn report(&mut self, pipeline: &mut Pipeline, now: Instant) {
        let Some(samples) = pipeline.ledger_mut().samples_mut() else { return };
        self.next = Some(now + INTERVAL);
        for (reason, times) in samples.flush_reasons.drain() {
            self.requests.flushed[reason as usize].increment(times as u64);
        }
        for (code, times) in samples.failures.drain() {
            if let Some(index) = FAILURE_CODES.iter().position(|known| *known == code) {
                self.records.failed[index].increment(times as u64);
            }
        }
        let Self { records, requests, .. } = self;
        record(&requests.records, samples.records_per_request.drain());
        record(&requests.records_per_entry, samples.records_per_entry.drain());
        record(&records.retries, samples.retries.drain());
        record(&records.buffering, samples.buffering.drain());
        record(&records.delivery, samples.delivery.drain());
        for sample in samples.shards.drain(..) {
            self.shards.record(sample);
        }
        self.report_totals(pipeline.ledger().totals());
        self.report_gauges(pipeline, now);
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

    fn report_gauges(&mut self, pipeline: &Pipeline, now: Instant) {
        let records = &self.records;
        let pending = pipeline.ledger().totals().unsettled();
        move_gauge(&records.pending, std::mem::replace(&mut self.pending, pending), pending);
        let buffered = pipeline.ledger().buffered().bytes;
        move_gauge(&records.buffered, std::mem::replace(&mut self.buffered, buffered), buffered);
        records.oldest_age.set(pipeline.oldest_age(now));
    }
}

impl Records {
    fn new(stream: &str) -> Self {
        let failed = |code| counter!(USER_RECORDS_FAILED, STREAM => owned(stream), REASON => code);
        Self {
            received: counter!(USER_RECORDS_RECEIVED, STREAM => owned(stream)),
            put: counter!(USER_RECORDS_PUT, STREAM => owned(stream)),
            data_put: counter!(USER_RECORDS_DATA_PUT, STREAM => owned(stream)),
            failed: FAILURE_CODES.map(failed),
            withdrawn: counter!(USER_RECORDS_WITHDRAWN, STREAM => owned(stream)),
            pending: gauge!(USER_RECORDS_PENDING, STREAM => owned(stream)),
            buffered: gauge!(BUFFERED_BYTES, STREAM => owned(stream)),
            oldest_age: gauge!(OLDEST_RECORD_AGE, STREAM => owned(stream)),
            retries: histogram!(RETRIES_PER_RECORD, STREAM => owned(stream)),
            buffering: histogram!(BUFFERING_TIME, STREAM => owned(stream)),
            delivery: histogram!(DELIVERY_TIME, STREAM => owned(stream)),
        }
    }
}

impl Requests {
    fn new(stream: &str) -> Self {
        let flushed = |reason: FlushReason| {
            let labels = [(STREAM, owned(stream)), (REASON, reason.label().to_owned())];
            counter!(PUT_RECORDS_REQUESTS_FLUSHED, &labels)
        };
        Self {
            data_put: counter!(KINESIS_RECORDS_DATA_PUT, STREAM => owned(stream)),
            flushed: FlushReason::ALL.map(flushed),
            records: histogram!(USER_RECORDS_PER_PUT_RECORDS_REQUEST, STREAM => owned(stream)),
            records_per_entry: histogram!(USER_RECORDS_PER_KINESIS_RECORD, STREAM => owned(stream)),
        }
    }
}

fn owned(stream: &str) -> String {
    stream.to_owned()
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
