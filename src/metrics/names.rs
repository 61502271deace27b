//! The names of the metrics, as the module's table has them.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(super) const REQUESTS: &str = "kinesis_sink_put_records_requests";
pub(super) const IN_FLIGHT: &str = "kinesis_sink_put_records_requests_in_flight";
pub(super) const RECORDS_PER_REQUEST: &str = "kinesis_sink_kinesis_records_per_put_records_request";
pub(super) const REQUEST_TIME: &str = "kinesis_sink_request_time";
pub(super) const RECORDS_PUT: &str = "kinesis_sink_kinesis_records_put";
pub(super) const ALL_ERRORS: &str = "kinesis_sink_all_errors";
pub(super) const ERRORS_BY_CODE: &str = "kinesis_sink_errors_by_code";

pub(super) const STREAM: &str = "stream";
pub(super) const CODE: &str = "code";

pub(super) fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "PutRecords requests sent");
    describe_gauge!(IN_FLIGHT, Unit::Count, "PutRecords requests not yet answered");
    describe_histogram!(RECORDS_PER_REQUEST, Unit::Count, "Kinesis records in a request");
    describe_histogram!(REQUEST_TIME, Unit::Seconds, "Time from sending a request to its answer");
    describe_counter!(RECORDS_PUT, Unit::Count, "Kinesis records delivered");
    describe_counter!(ALL_ERRORS, Unit::Count, "Kinesis records that failed in a request");
    describe_counter!(ERRORS_BY_CODE, Unit::Count, "Kinesis records that failed, by error code");
}
