//! The response of a service must be `PutRecordsResponse`.

use kinesis_sink::KinesisSink;
use kinesis_sink::service::PutRecordsRequest;
use tower::{BoxError, service_fn};

pub fn sink() {
    let service = service_fn(|request: PutRecordsRequest| async move {
        Ok::<_, BoxError>(request.entries().len())
    });
    let _ = KinesisSink::builder("example").build_with(service);
}
