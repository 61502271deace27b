mod aimd_whole_stream;
mod baseline;
mod fixed_bucket;
mod requeue_at_once;
mod requeue_with_backoff;
mod through_sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use clap::ValueEnum;
use futures::future::BoxFuture;
use kinesis_sink::SinkBuilder;
use kinesis_sink::sim::SimStream;
use tokio::time::Instant;

use self::fixed_bucket::FixedBucket;
use super::load::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Policy {
    KinesisSink,
    /// Sends failed records again at once, one request at a time, like simple loops over PutRecords
    RequeueAtOnce,
    /// Sends failed records again after exponential backoff, like more careful loops over PutRecords
    RequeueWithBackoff,
    /// A token bucket per shard at 150 % of the quota that ignores throttles, like the KPL
    FixedBucket,
    /// A token bucket per shard at 100 % of the quota that ignores throttles
    FixedRate,
    /// AIMD with one rate for the whole stream, similar to Flink and Vector
    AimdWholeStream,
    /// An ideal producer that knows the quota and the number of producers, and sends at 98 % of its equal share of the
    /// quota
    Omniscient,
}

impl Policy {
    pub const ALL: [Self; 6] = [
        Self::KinesisSink,
        Self::RequeueAtOnce,
        Self::RequeueWithBackoff,
        Self::FixedBucket,
        Self::FixedRate,
        Self::AimdWholeStream,
    ];

    /// Returns the name that is used in the JSON files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::KinesisSink => "kinesis_sink",
            Self::RequeueAtOnce => "requeue_at_once",
            Self::RequeueWithBackoff => "requeue_with_backoff",
            Self::FixedBucket => "fixed_bucket",
            Self::FixedRate => "fixed_rate",
            Self::AimdWholeStream => "aimd_whole_stream",
            Self::Omniscient => "omniscient",
        }
    }

    /// Returns the name that is used in the charts.
    pub fn label(self) -> &'static str {
        match self {
            Self::KinesisSink => "kinesis-sink",
            Self::RequeueAtOnce => "requeue at once",
            Self::RequeueWithBackoff => "requeue with backoff",
            Self::FixedBucket => "fixed rate, 150 % of quota (KPL)",
            Self::FixedRate => "fixed rate, 100 % of quota",
            Self::AimdWholeStream => "AIMD, one rate per stream",
            Self::Omniscient => "98 % of an equal share",
        }
    }

    /// Returns `true` if the rate changes over time, so that a short run is not representative.
    pub fn adapts(self) -> bool {
        matches!(self, Self::KinesisSink | Self::AimdWholeStream)
    }

    pub fn run(self, job: Job) -> BoxFuture<'static, Outcome> {
        match self {
            Self::KinesisSink => Box::pin(through_sink::run(job)),
            Self::RequeueAtOnce => {
                Box::pin(baseline::drive(requeue_at_once::RequeueAtOnce::default(), job))
            }
            Self::RequeueWithBackoff => {
                let policy = requeue_with_backoff::RequeueWithBackoff::default();
                Box::pin(baseline::drive(policy, job))
            }
            Self::Omniscient => {
                let bucket = FixedBucket::scheduled(job.stream.clone(), job.fair_shares.clone());
                Box::pin(baseline::drive(bucket, job))
            }
            Self::FixedBucket => {
                let bucket = FixedBucket::new(job.stream.clone(), fixed_bucket::KPL_RATE_LIMIT);
                Box::pin(baseline::drive(bucket, job))
            }
            Self::FixedRate => {
                let bucket = FixedBucket::new(job.stream.clone(), 1.0);
                Box::pin(baseline::drive(bucket, job))
            }
            Self::AimdWholeStream => {
                Box::pin(baseline::drive(aimd_whole_stream::AimdWholeStream::new(), job))
            }
        }
    }
}

/// Input of one producer, which sends all records of the source.
pub struct Job {
    pub source: Source,
    pub stream: SimStream,
    pub seed: u64,
    pub settings: fn(SinkBuilder) -> SinkBuilder,
    pub gauge: Arc<Gauge>,
    /// Equal share of the shard quota, with the times at which it changes. Used by [`Policy::Omniscient`].
    pub fair_shares: Vec<(Duration, f64)>,
}

/// Maximum number of bytes buffered by any single producer.
#[derive(Debug, Default)]
pub struct Gauge {
    max: AtomicUsize,
}

impl Gauge {
    pub fn record(&self, buffered_bytes: usize) {
        self.max.fetch_max(buffered_bytes, Relaxed);
    }

    pub fn max(&self) -> usize {
        self.max.load(Relaxed)
    }
}

/// The outcome of one producer.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Numbers of the records taken from the source.
    pub accepted: Vec<u64>,
    pub accepted_at: Vec<Instant>,
    /// Numbers of the records that are still buffered at the end.
    pub buffered: Vec<u64>,
}
