//! Tests of the simulated stream through its public API.
#![cfg(feature = "sim")]

mod client;
mod faults;
mod limiter;
mod quota;
mod region;
mod requests;
mod seeds;
mod shards;

use std::time::Duration;

use bytes::Bytes;
use kinesis_sink::record::HashKey;
use kinesis_sink::service::{Entry, PutRecordsError, PutRecordsRequest, PutRecordsResponse};
use kinesis_sink::sim::{Latency, Limiter, SimBuilder, SimStream, Written};
use tower::{Service, ServiceExt};

const THROTTLE: &str = "ProvisionedThroughputExceededException";

fn no_latency() -> SimBuilder {
    SimStream::builder().with_latency(Latency::constant(Duration::ZERO)).with_seed(1)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn entry(key: &str, data: impl Into<Bytes>) -> Entry {
    Entry::new(data.into(), Some(key.into()), None)
}

fn at_hash(hash: u128, data: &str) -> Entry {
    Entry::new(data.to_owned().into(), Some("k".into()), Some(HashKey::new(hash)))
}

fn request(stream: &SimStream, entries: Vec<Entry>) -> PutRecordsRequest {
    PutRecordsRequest::new(stream.id(), entries)
}

async fn try_put(
    stream: &SimStream,
    entries: Vec<Entry>,
) -> Result<PutRecordsResponse, PutRecordsError> {
    stream.service().ready().await?.call(request(stream, entries)).await
}

async fn put(stream: &SimStream, entries: Vec<Entry>) -> PutRecordsResponse {
    try_put(stream, entries).await.unwrap()
}

/// Puts entries of four bytes, including the key, in requests of 500. Returns the number of accepted entries.
async fn put_small(stream: &SimStream, entries: usize) -> usize {
    let mut accepted = 0;
    let all: Vec<_> = (0..entries).map(|_| entry("k", "xyz")).collect();
    for some in all.chunks(500) {
        accepted += put(stream, some.to_vec()).await.delivered();
    }
    accepted
}

fn texts(written: &[Written]) -> Vec<&str> {
    written.iter().map(|record| std::str::from_utf8(record.data()).unwrap()).collect()
}
