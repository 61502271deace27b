//! The clients, which differ in their service.

use std::future::{Pending, Ready, pending, ready};
use std::path::Path;
use std::task::{Context, Poll};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use kinesis_sink::limits::Limits;
use kinesis_sink::service::{Placement, PutRecords, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::spool::Spool;
use kinesis_sink::{KinesisSink, SinkBuilder};
use tower::{BoxError, Service};

use crate::server::SHARD_ID;

const STREAM: &str = "spool";
const IN_FLIGHT: usize = 4;
/// More than any backlog.
const MAX_SPOOL_BYTES: u64 = 1 << 40;

/// Returns a builder without shard quotas.
pub fn builder() -> SinkBuilder {
    let limits = Limits::default().with_shard_records(1_000_000_000).with_shard_bytes(1 << 40);
    KinesisSink::builder(STREAM)
        .configure(|settings| settings.limits = limits)
        .with_max_in_flight(IN_FLIGHT)
}

pub fn spool(directory: &Path) -> Spool {
    Spool::at(directory).with_max_bytes(MAX_SPOOL_BYTES)
}

pub fn put_records(port: u16) -> PutRecords {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "spool"))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .retry_config(RetryConfig::disabled());
    PutRecords::new(&Client::from_conf(config.build()))
}

/// A service that responds at once.
#[derive(Clone)]
pub struct AtOnce;

impl Service<PutRecordsRequest> for AtOnce {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Ready<Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        let written = |_: &_| Ok(Placement::new(SHARD_ID, "1"));
        ready(Ok(PutRecordsResponse::new(request.entries().iter().map(written).collect())))
    }
}

/// A service that never responds.
#[derive(Clone)]
pub struct Silent;

impl Service<PutRecordsRequest> for Silent {
    type Response = PutRecordsResponse;
    type Error = BoxError;
    type Future = Pending<Result<PutRecordsResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: PutRecordsRequest) -> Self::Future {
        pending()
    }
}
