//! `build_with` needs a service that is `Clone`.

use std::time::Duration;

use kinesis_sink::KinesisSink;
use kinesis_sink::service::PutRecords;
use tower::ServiceBuilder;

pub fn sink(client: aws_sdk_kinesis::Client) {
    let service = ServiceBuilder::new()
        .rate_limit(20, Duration::from_secs(1))
        .service(PutRecords::new(&client));
    let _ = KinesisSink::builder("example").build_with(service);
}
