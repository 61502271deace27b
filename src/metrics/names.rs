//! Names of the metrics and their labels, as listed in the [tables](super#the-metrics).
//!
//! Use these constants to configure a recorder, for example to set the buckets of a histogram.
//!
//! Requires the feature `metrics`, which is on by default.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Defines a constant for each name, and a function that describes all of them to the recorder.
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
    fn describe_layer;
    counter Count PUT_RECORDS_REQUESTS =
        "kinesis_sink_put_records_requests": "PutRecords requests sent";
    gauge Count PUT_RECORDS_REQUESTS_IN_FLIGHT =
        "kinesis_sink_put_records_requests_in_flight": "PutRecords requests in flight";
    histogram Count KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST =
        "kinesis_sink_kinesis_records_per_put_records_request":
        "Kinesis records per PutRecords request";
    histogram Seconds REQUEST_TIME =
        "kinesis_sink_request_time": "Time from sending a request to its response or error";
    counter Count KINESIS_RECORDS_PUT =
        "kinesis_sink_kinesis_records_put": "Kinesis records delivered";
    counter Count ALL_ERRORS =
        "kinesis_sink_all_errors": "Kinesis records that failed in an attempt";
    counter Count ERRORS_BY_CODE =
        "kinesis_sink_errors_by_code": "Kinesis records that failed in an attempt, by error code";
}

names! {
    fn describe_sink;
    counter Count USER_RECORDS_RECEIVED = "kinesis_sink_user_records_received": "Records accepted";
    counter Count USER_RECORDS_PUT = "kinesis_sink_user_records_put": "Records delivered";
    counter Bytes USER_RECORDS_DATA_PUT =
        "kinesis_sink_user_records_data_put": "Data and partition keys of the records delivered";
    counter Count USER_RECORDS_FAILED =
        "kinesis_sink_user_records_failed": "Records that failed permanently, by reason";
    counter Count USER_RECORDS_WITHDRAWN =
        "kinesis_sink_user_records_withdrawn":
        "Records withdrawn, or dropped with the sink, before they were settled";
    gauge Count USER_RECORDS_PENDING =
        "kinesis_sink_user_records_pending": "Records accepted and not settled";
    gauge Bytes BUFFERED_BYTES =
        "kinesis_sink_buffered_bytes": "Data and partition keys of the records in the buffer";
    gauge Seconds OLDEST_RECORD_AGE =
        "kinesis_sink_oldest_record_age":
        "Time since the oldest unsettled record was accepted";
    counter Bytes KINESIS_RECORDS_DATA_PUT =
        "kinesis_sink_kinesis_records_data_put":
        "Data and partition keys of the Kinesis records delivered";
    histogram Count USER_RECORDS_PER_KINESIS_RECORD =
        "kinesis_sink_user_records_per_kinesis_record": "Records per Kinesis record";
    histogram Count USER_RECORDS_PER_PUT_RECORDS_REQUEST =
        "kinesis_sink_user_records_per_put_records_request": "Records per PutRecords request";
    histogram Count RETRIES_PER_RECORD =
        "kinesis_sink_retries_per_record": "Attempts after the first per settled record";
    histogram Seconds BUFFERING_TIME =
        "kinesis_sink_buffering_time":
        "Time from accepting a record to the first request that contains it";
    histogram Seconds DELIVERY_TIME =
        "kinesis_sink_delivery_time":
        "Time from accepting a record to the response that confirms its delivery";
    counter Count PUT_RECORDS_REQUESTS_FLUSHED =
        "kinesis_sink_put_records_requests_flushed": "PutRecords requests, by flush reason";
    counter Count SHARD_KINESIS_RECORDS_PUT =
        "kinesis_sink_shard_kinesis_records_put": "Kinesis records delivered, by shard";
    counter Count SHARD_KINESIS_RECORDS_THROTTLED =
        "kinesis_sink_shard_kinesis_records_throttled": "Kinesis records throttled, by shard";
    gauge CountPerSecond SHARD_RATE_LIMIT =
        "kinesis_sink_shard_rate_limit":
        "Kinesis records per second that the sink sends to a shard at most";
}

names! {
    #[cfg(feature = "spool")]
    fn describe_spool;
    gauge Bytes SPOOL_BYTES =
        "kinesis_sink_spool_bytes": "Size of the spool on disk, with preallocated space";
    gauge Count SPOOL_RECORDS =
        "kinesis_sink_spool_records": "Records in the spool that are neither delivered nor taken";
    gauge Seconds SPOOL_OLDEST_AGE =
        "kinesis_sink_spool_oldest_age": "Time since the oldest record in the spool was accepted";
    histogram Seconds SPOOL_SYNC_DURATION =
        "kinesis_sink_spool_sync_duration": "Duration of a sync of the spool to the disk";
    counter Count SPOOL_DAMAGED_FRAMES =
        "kinesis_sink_spool_damaged_frames": "Damaged places found in the spool";
}

/// Label of every metric: the name of the stream, or [`OTHER_STREAMS`].
pub const STREAM: &str = "stream";
/// Value of the label [`STREAM`] that streams of a [router](super#streams-of-a-router) share. It is not a valid stream
/// name.
pub const OTHER_STREAMS: &str = "/other";
/// Label of [`ERRORS_BY_CODE`]: the error code.
pub const CODE: &str = "code";
/// Label of [`PUT_RECORDS_REQUESTS_FLUSHED`] and [`USER_RECORDS_FAILED`]: the reason.
pub const REASON: &str = "reason";
/// Label of the metrics of a shard: the id of the shard.
pub const SHARD: &str = "shard";
