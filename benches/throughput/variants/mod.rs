mod producer;
mod raw;
mod sink;

pub use self::producer::ThroughProducer;
pub use self::raw::Raw;
pub use self::sink::{DEFAULT_BUFFER_BYTES, Soak, ThroughSink};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use kinesis_sink::limits::Limits;
use kinesis_sink::service::PutRecords;

use super::case::{Body, Case};
use super::load::Load;

pub const STREAM: &str = "throughput";

/// Counts that the client reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub delivered: u64,
    /// Number of Kinesis records.
    pub entries: u64,
}

pub trait Variant {
    /// Sends `records` records, and keeps the connections open.
    async fn warm_up(&mut self, load: &Load, records: usize);

    /// Sends `records` records, and waits until all of them are delivered.
    async fn send(self, load: &Load, records: usize) -> Counts;
}

pub fn client(case: Case, endpoint: &str) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "throughput"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled());
    let config = match case {
        // Only the raw loop needs the protocol here, because the service of a sink sets it itself.
        Case::RawCbor => config.protocol(kinesis_sink::service::KinesisCbor::new()),
        _ => config,
    };
    Client::from_conf(config.build())
}

fn put_records(case: Case, client: &Client) -> PutRecords {
    let service = PutRecords::new(client);
    match case.body() {
        Body::Sdk => service.with_sdk_serialization(),
        Body::Direct => service,
        Body::Cbor => service.with_cbor(),
    }
}

fn limits() -> Limits {
    Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40)
}
