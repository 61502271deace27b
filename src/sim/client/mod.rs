//! AWS SDK client that is connected to a simulated stream.

mod codec;
mod describe;
mod http;
mod list_shards;
mod operation;
mod put_records;
mod read;
mod reshard;
mod response;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use tokio::time::Instant;

use self::http::SimHttp;
use super::builder::Config as StreamConfig;
use super::region::Target;
use super::state::State;
use super::validation::invalid;
use super::{REGION, SimRegion, SimStream};
use crate::service::PutRecordsError;
use crate::stream::StreamId;

impl SimStream {
    /// Returns an AWS SDK client that sends its requests to this stream instead of the network.
    ///
    /// The SDK signs and serializes each request and parses the response, as it does for the real service. The client
    /// uses the region `us-east-1`, static credentials, and the default retries and timeouts of the SDK. Use
    /// `client.config().to_builder()` to change them. The client uses tokio's clock, starting at January 1, 2026.
    ///
    /// The stream supports PutRecords with all faults, ListShards, DescribeStreamSummary, GetShardIterator, GetRecords,
    /// SplitShard, MergeShards and UpdateShardCount. Requests can be encoded as JSON, which the SDK uses, or as CBOR.
    ///
    /// ```
    /// use futures::SinkExt;
    /// use kinesis_sink::sim::SimStream;
    /// use kinesis_sink::{KinesisSink, Record};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let stream = SimStream::new(2);
    /// let mut sink = KinesisSink::builder("example").build(&stream.client())?;
    /// sink.send(Record::from(("device-7", "on"))).await?;
    /// assert_eq!(&stream.written()[0].data()[..], b"on");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn client(&self) -> Client {
        client(Target::Stream(self.clone()), self.lock().started)
    }
}

impl SimRegion {
    /// Returns an AWS SDK client that sends its requests to the streams of this region instead of the network.
    ///
    /// See [`SimStream::client`]. Its clock starts at January 1, 2026, when the region is created.
    #[must_use]
    pub fn client(&self) -> Client {
        client(Target::Region(self.clone()), self.started())
    }
}

fn client(target: Target, started: Instant) -> Client {
    let credentials = Credentials::new("SIMULATED", "simulated", None, None, "kinesis-sink sim");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .http_client(SimHttp::new(target))
        .sleep_impl(TokioSleep::new())
        .time_source(SimClock { started })
        .build();
    Client::from_conf(config)
}

#[derive(Debug)]
struct SimClock {
    started: Instant,
}

/// Unix time at which every simulated stream is built: January 1, 2026.
const BUILT_AT: Duration = Duration::from_secs(1_767_225_600);

impl TimeSource for SimClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + BUILT_AT + self.started.elapsed()
    }
}

fn parse_stream_id(name: Option<&str>, arn: Option<&str>) -> Result<StreamId, PutRecordsError> {
    let id = arn.or(name).ok_or_else(|| invalid("StreamName or StreamARN must be set"))?;
    id.parse().map_err(|_| invalid("StreamName or StreamARN is not well-formed"))
}

fn check_named(
    config: &StreamConfig,
    state: &State,
    name: Option<&str>,
    arn: Option<&str>,
) -> Result<(), PutRecordsError> {
    state.check_stream(config, &parse_stream_id(name, arn)?)
}

/// Checks the stream of an operation that requires an active stream.
fn check_active(
    config: &StreamConfig,
    state: &State,
    name: Option<&str>,
    arn: Option<&str>,
) -> Result<(), PutRecordsError> {
    state.check_active(config, &parse_stream_id(name, arn)?)
}

fn invalid_argument(message: &str) -> PutRecordsError {
    PutRecordsError::service(Some("InvalidArgumentException"), Some(message), Some(400))
}
