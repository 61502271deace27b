use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::names::*;
use crate::pipeline::FlushReason;

/// [Codes](crate::record::FailureReason::code) of all reasons that a sink can return for a failed record.
pub(super) const FAILURE_CODES: [&str; 4] =
    ["rejected", "attempts_exhausted", "deadline_exceeded", "refused"];

/// Metrics of a sink that are registered with the recorder, except for those of its shards.
pub(super) struct Handles {
    pub(super) records: Records,
    pub(super) requests: Requests,
}

pub(super) struct Records {
    pub(super) received: Counter,
    pub(super) put: Counter,
    pub(super) data_put: Counter,
    pub(super) failed: [Counter; FAILURE_CODES.len()],
    pub(super) withdrawn: Counter,
    pub(super) pending: Gauge,
    pub(super) buffered: Gauge,
    pub(super) oldest_age: Gauge,
    pub(super) retries: Histogram,
    pub(super) buffering: Histogram,
    pub(super) delivery: Histogram,
}

pub(super) struct Requests {
    pub(super) data_put: Counter,
    pub(super) flushed: [Counter; FlushReason::ALL.len()],
    pub(super) records: Histogram,
    pub(super) records_per_entry: Histogram,
}

impl Handles {
    /// Registers the metrics with the value of the label `stream`.
    pub(super) fn new(stream: &str) -> Self {
        describe_sink();
        Self { records: Records::new(stream), requests: Requests::new(stream) }
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
