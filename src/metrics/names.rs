//! The names of the metrics, as the [tables](super#the-metrics) have them.
//!
//! For whoever configures a recorder by name: buckets, filters, aliases. Needs the feature `metrics`, which is
//! on by default.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// A constant for each name, and a function that describes them all to the recorder.
macro_rules! names {
    (
        $(#[$doc:meta])* fn $describe:ident;
        $($kind:ident $unit:ident $constant:ident = $name:literal: $meaning:literal;)*
    ) => {
        $(
            #[doc = concat!($meaning, ".")]
            pub const $constant: &str = $name;
        )*

        $(#[$doc])*
        pub(super) fn $describe() {
            $(names!(@describe $kind $constant, $unit, $meaning);)*
        }
    };
    (@describe counter $name:ident, $unit:ident, $meaning:literal) => {
        describe_counter!($name, Unit::$unit, $meaning)
    };
    (@describe gauge $name:ident, $unit:ident, $meaning:literal) => {
        describe_gauge!($name, Unit::$unit, $meaning)
    };
    (@describe histogram $name:ident, $unit:ident, $meaning:literal) => {
        describe_histogram!($name, Unit::$unit, $meaning)
    };
}

names! {
    /// What [`MetricsLayer`](super::MetricsLayer) measures.
    fn describe_layer;
    counter Count PUT_RECORDS_REQUESTS =
        "kinesis_sink_put_records_requests": "PutRecords requests sent";
    gauge Count PUT_RECORDS_REQUESTS_IN_FLIGHT =
        "kinesis_sink_put_records_requests_in_flight": "PutRecords requests not yet answered";
    histogram Count KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST =
        "kinesis_sink_kinesis_records_per_put_records_request": "Kinesis records in a request";
    histogram Seconds REQUEST_TIME =
        "kinesis_sink_request_time": "Time from sending a request to its answer";
    counter Count KINESIS_RECORDS_PUT =
        "kinesis_sink_kinesis_records_put": "Kinesis records delivered";
    counter Count ALL_ERRORS =
        "kinesis_sink_all_errors": "Kinesis records that failed in a request";
    counter Count ERRORS_BY_CODE =
        "kinesis_sink_errors_by_code": "Kinesis records that failed, by error code";
}

names! {
    /// What a sink measures.
    fn describe_sink;
    counter Count USER_RECORDS_RECEIVED = "kinesis_sink_user_records_received": "Records accepted";
    counter Count USER_RECORDS_PUT = "kinesis_sink_user_records_put": "Records delivered";
    counter Bytes USER_RECORDS_DATA_PUT =
        "kinesis_sink_user_records_data_put": "Data and partition keys of the records delivered";
    counter Count USER_RECORDS_FAILED =
        "kinesis_sink_user_records_failed": "Records given up, by reason";
    counter Count USER_RECORDS_WITHDRAWN =
        "kinesis_sink_user_records_withdrawn":
        "Records that left the sink before they were settled";
    gauge Count USER_RECORDS_PENDING =
        "kinesis_sink_user_records_pending": "Records accepted and not settled";
    gauge Bytes BUFFERED_BYTES =
        "kinesis_sink_buffered_bytes": "Data and partition keys that the sink holds";
    gauge Seconds OLDEST_RECORD_AGE =
        "kinesis_sink_oldest_record_age":
        "Time since the oldest record was accepted that is not settled";
    counter Bytes KINESIS_RECORDS_DATA_PUT =
        "kinesis_sink_kinesis_records_data_put":
        "Data and partition keys of the Kinesis records delivered";
    histogram Count USER_RECORDS_PER_KINESIS_RECORD =
        "kinesis_sink_user_records_per_kinesis_record": "Records in a Kinesis record";
    histogram Count USER_RECORDS_PER_PUT_RECORDS_REQUEST =
        "kinesis_sink_user_records_per_put_records_request": "Records in a request";
    histogram Count RETRIES_PER_RECORD =
        "kinesis_sink_retries_per_record": "Attempts beyond the first of a record that was settled";
    histogram Seconds BUFFERING_TIME =
        "kinesis_sink_buffering_time": "Time from accepting a record to the first request with it";
    histogram Seconds DELIVERY_TIME =
        "kinesis_sink_delivery_time":
        "Time from accepting a record to the answer that delivered it";
    counter Count PUT_RECORDS_REQUESTS_FLUSHED =
        "kinesis_sink_put_records_requests_flushed":
        "Requests made, by the reason for which they were not left to grow";
    counter Count SHARD_KINESIS_RECORDS_PUT =
        "kinesis_sink_shard_kinesis_records_put": "Kinesis records delivered, by shard";
    counter Count SHARD_KINESIS_RECORDS_THROTTLED =
        "kinesis_sink_shard_kinesis_records_throttled": "Kinesis records throttled, by shard";
    gauge CountPerSecond SHARD_RATE_LIMIT =
        "kinesis_sink_shard_rate_limit": "Kinesis records a second that a shard is sent at most";
}

/// The stream's name: a label of every metric.
pub const STREAM: &str = "stream";
/// An error code: the label of [`ERRORS_BY_CODE`].
pub const CODE: &str = "code";
/// The label of [`PUT_RECORDS_REQUESTS_FLUSHED`] and of [`USER_RECORDS_FAILED`].
pub const REASON: &str = "reason";
/// A shard's id: the label of what is measured by shard.
pub const SHARD: &str = "shard";
