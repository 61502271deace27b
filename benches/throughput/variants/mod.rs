//! The ways of bringing records to the service, one per file.

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

/// What became of the records, in the sender's own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub delivered: u64,
    /// Kinesis records.
    pub entries: u64,
}

pub trait Way {
    /// Sends so many records and stays usable, with its connections open.
    async fn warm_up(&mut self, load: &Load, records: usize);

    /// Sends so many records, and is ready when all are delivered.
    async fn send(self, load: &Load, records: usize) -> Told;
}

/// The client of every case, with the HTTP client that the SDK has by default.
pub fn client(case: Case, endpoint: &str) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "throughput"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled());
    let config = match case {
        // A sink's service has a way of its own to ask for it.
        Case::RawCbor => config.protocol(kinesis_sink::service::KinesisCbor::new()),
        _ => config,
    };
    Client::from_conf(config.build())
}

/// The service at the bottom of every case but the raw loops.
fn put_records(case: Case, client: &Client) -> PutRecords {
    let service = PutRecords::new(client);
    match case.body() {
        Body::Sdk => service.with_sdk_serialization(),
        Body::Direct => service,
        Body::Cbor => service.with_cbor(),
    }
}

/// The one shard has no quota: how fast it may be written to is not what is measured.
fn limits() -> Limits {
    Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40)
}
