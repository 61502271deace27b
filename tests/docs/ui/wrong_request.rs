//! The request of a service must be `PutRecordsRequest`.

use kinesis_sink::service::PutRecordsResponse;
use kinesis_sink::{KinesisSink, Record};
use tower::BoxError;
use tower::util::BoxCloneSyncService;

pub fn sink(service: BoxCloneSyncService<Vec<Record>, PutRecordsResponse, BoxError>) {
    let _ = KinesisSink::builder("example").build_with(service);
}
