//! The names of the metrics, as the [table](super#the-metrics) has them.
//!
//! For whoever configures a recorder by name: buckets, filters, aliases.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// PutRecords requests sent.
pub const PUT_RECORDS_REQUESTS: &str = "kinesis_sink_put_records_requests";
/// PutRecords requests not yet answered.
pub const PUT_RECORDS_REQUESTS_IN_FLIGHT: &str = "kinesis_sink_put_records_requests_in_flight";
/// Kinesis records in a request.
pub const KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST: &str =
    "kinesis_sink_kinesis_records_per_put_records_request";
/// Time from sending a request to its answer.
pub const REQUEST_TIME: &str = "kinesis_sink_request_time";
/// Kinesis records delivered.
pub const KINESIS_RECORDS_PUT: &str = "kinesis_sink_kinesis_records_put";
/// Kinesis records that failed in a request.
pub const ALL_ERRORS: &str = "kinesis_sink_all_errors";
/// Kinesis records that failed, by error code.
pub const ERRORS_BY_CODE: &str = "kinesis_sink_errors_by_code";
/// Records accepted.
pub const USER_RECORDS_RECEIVED: &str = "kinesis_sink_user_records_received";
/// Records delivered.
pub const USER_RECORDS_PUT: &str = "kinesis_sink_user_records_put";
/// Data and partition keys of the records delivered.
pub const USER_RECORDS_DATA_PUT: &str = "kinesis_sink_user_records_data_put";
/// Records given up, by reason.
pub const USER_RECORDS_FAILED: &str = "kinesis_sink_user_records_failed";
/// Records that left the sink before they were settled.
pub const USER_RECORDS_TAKEN_BACK: &str = "kinesis_sink_user_records_taken_back";
/// Records accepted and not settled.
pub const USER_RECORDS_PENDING: &str = "kinesis_sink_user_records_pending";
/// Data and partition keys that the sink holds.
pub const BUFFERED_BYTES: &str = "kinesis_sink_buffered_bytes";
/// Time since the oldest record was accepted that is not settled.
pub const OLDEST_RECORD_AGE: &str = "kinesis_sink_oldest_record_age";
/// Data and partition keys of the Kinesis records delivered.
pub const KINESIS_RECORDS_DATA_PUT: &str = "kinesis_sink_kinesis_records_data_put";
/// Records in a Kinesis record.
pub const USER_RECORDS_PER_KINESIS_RECORD: &str = "kinesis_sink_user_records_per_kinesis_record";
/// Records in a request.
pub const USER_RECORDS_PER_PUT_RECORDS_REQUEST: &str =
    "kinesis_sink_user_records_per_put_records_request";
/// Attempts beyond the first of a record that was settled.
pub const RETRIES_PER_RECORD: &str = "kinesis_sink_retries_per_record";
/// Time from accepting a record to the first request with it.
pub const BUFFERING_TIME: &str = "kinesis_sink_buffering_time";
/// Time from accepting a record to the answer that delivered it.
pub const DELIVERY_TIME: &str = "kinesis_sink_delivery_time";
/// Requests made, by the reason for which they were not left to grow.
pub const PUT_RECORDS_REQUESTS_CUT: &str = "kinesis_sink_put_records_requests_cut";
/// Kinesis records delivered, by shard.
pub const SHARD_KINESIS_RECORDS_PUT: &str = "kinesis_sink_shard_kinesis_records_put";
/// Kinesis records throttled, by shard.
pub const SHARD_KINESIS_RECORDS_THROTTLED: &str = "kinesis_sink_shard_kinesis_records_throttled";
/// Kinesis records a second that a shard is sent at most.
pub const SHARD_PACE: &str = "kinesis_sink_shard_pace";

/// The stream's name: a label of every metric.
pub const STREAM: &str = "stream";
/// An error code: the label of [`ERRORS_BY_CODE`].
pub const CODE: &str = "code";
/// The label of [`PUT_RECORDS_REQUESTS_CUT`] and of [`USER_RECORDS_FAILED`].
pub const REASON: &str = "reason";
/// A shard's id: the label of what is measured by shard.
pub const SHARD: &str = "shard";

/// What [`MetricsLayer`](super::MetricsLayer) measures.
pub(super) fn describe_layer() {
    describe_counter!(PUT_RECORDS_REQUESTS, Unit::Count, "PutRecords requests sent");
    describe_gauge!(
        PUT_RECORDS_REQUESTS_IN_FLIGHT,
        Unit::Count,
        "PutRecords requests not yet answered"
    );
    describe_histogram!(
        KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST,
        Unit::Count,
        "Kinesis records in a request"
    );
    describe_histogram!(REQUEST_TIME, Unit::Seconds, "Time from sending a request to its answer");
    describe_counter!(KINESIS_RECORDS_PUT, Unit::Count, "Kinesis records delivered");
    describe_counter!(ALL_ERRORS, Unit::Count, "Kinesis records that failed in a request");
    describe_counter!(ERRORS_BY_CODE, Unit::Count, "Kinesis records that failed, by error code");
}

/// What a sink measures.
pub(super) fn describe_sink() {
    describe_counter!(USER_RECORDS_RECEIVED, Unit::Count, "Records accepted");
    describe_counter!(USER_RECORDS_PUT, Unit::Count, "Records delivered");
    describe_counter!(
        USER_RECORDS_DATA_PUT,
        Unit::Bytes,
        "Data and partition keys of the records delivered"
    );
    describe_counter!(USER_RECORDS_FAILED, Unit::Count, "Records given up, by reason");
    describe_counter!(
        USER_RECORDS_TAKEN_BACK,
        Unit::Count,
        "Records that left the sink before they were settled"
    );
    describe_gauge!(USER_RECORDS_PENDING, Unit::Count, "Records accepted and not settled");
    describe_gauge!(BUFFERED_BYTES, Unit::Bytes, "Data and partition keys that the sink holds");
    describe_gauge!(
        OLDEST_RECORD_AGE,
        Unit::Seconds,
        "Time since the oldest record was accepted that is not settled"
    );
    describe_counter!(
        KINESIS_RECORDS_DATA_PUT,
        Unit::Bytes,
        "Data and partition keys of the Kinesis records delivered"
    );
    describe_histogram!(
        USER_RECORDS_PER_KINESIS_RECORD,
        Unit::Count,
        "Records in a Kinesis record"
    );
    describe_histogram!(USER_RECORDS_PER_PUT_RECORDS_REQUEST, Unit::Count, "Records in a request");
    describe_histogram!(
        RETRIES_PER_RECORD,
        Unit::Count,
        "Attempts beyond the first of a record that was settled"
    );
    describe_histogram!(
        BUFFERING_TIME,
        Unit::Seconds,
        "Time from accepting a record to the first request with it"
    );
    describe_histogram!(
        DELIVERY_TIME,
        Unit::Seconds,
        "Time from accepting a record to the answer that delivered it"
    );
    describe_counter!(
        PUT_RECORDS_REQUESTS_CUT,
        Unit::Count,
        "Requests made, by the reason for which they were not left to grow"
    );
    describe_counter!(
        SHARD_KINESIS_RECORDS_PUT,
        Unit::Count,
        "Kinesis records delivered, by shard"
    );
    describe_counter!(
        SHARD_KINESIS_RECORDS_THROTTLED,
        Unit::Count,
        "Kinesis records throttled, by shard"
    );
    describe_gauge!(
        SHARD_PACE,
        Unit::CountPerSecond,
        "Kinesis records a second that a shard is sent at most"
    );
}
