//! The stream behind the AWS SDK: its requests are answered here instead of being sent.

mod answer;
mod codec;
mod describe;
mod http;
mod list_shards;
mod operation;
mod put_records;
mod read;
mod reshard;
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
use super::validation::{check_stream, invalid};
use super::{REGION, SimStream};
use crate::service::PutRecordsError;
use crate::stream::StreamId;

impl SimStream {
    /// A client of the AWS SDK whose requests go to this stream, not to a network: what it signs and
    /// serialises is read, answered and parsed again. Region `us-east-1`, credentials of its own, the SDK's
    /// default retries and timeouts; set up others with
    /// `client.config().to_builder()`. The SDK's clock is the stream's: virtual where
    /// tokio's is, from the first of January 2026 on.
    ///
    /// It understands PutRecords, with all faults of the stream, ListShards, DescribeStreamSummary,
    /// GetShardIterator, GetRecords, SplitShard, MergeShards and UpdateShardCount, in JSON, which the SDK
    /// speaks, and in CBOR.
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
        let credentials =
            Credentials::new("SIMULATED", "simulated", None, None, "kinesis-sink sim");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(credentials)
            .http_client(SimHttp::new(self.clone()))
            .sleep_impl(TokioSleep::new())
            .time_source(SimClock { started: self.lock().started })
            .build();
        Client::from_conf(config)
    }
}

/// Tells the time of day on tokio's clock.
#[derive(Debug)]
struct SimClock {
    started: Instant,
}

/// When streams are built: the first of January 2026.
const BUILT_AT: Duration = Duration::from_secs(1_767_225_600);

impl TimeSource for SimClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + BUILT_AT + self.started.elapsed()
    }
}

/// The stream that a request names, by name or by ARN.
fn given(name: Option<&str>, arn: Option<&str>) -> Result<StreamId, PutRecordsError> {
    let given = arn.or(name).ok_or_else(|| invalid("StreamName or StreamARN must be given"))?;
    given.parse().map_err(|_| invalid("StreamName or StreamARN is not well-formed"))
}

/// Whether a request names this stream.
fn check_named(
    config: &StreamConfig,
    name: Option<&str>,
    arn: Option<&str>,
) -> Result<(), PutRecordsError> {
    check_stream(config, &given(name, arn)?)
}

/// The service's answer to what makes no sense for its stream.
fn unusable(message: &str) -> PutRecordsError {
    PutRecordsError::service(Some("InvalidArgumentException"), Some(message), Some(400))
}
