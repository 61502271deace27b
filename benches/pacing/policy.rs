//! The policies, and what a producer that follows one is given and gives back.

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
    /// This crate.
    KinesisSink,
    /// What fails is sent again at once, as by hand-written producers.
    RequeueAtOnce,
    /// What fails is sent again after a time that doubles, as by hand-written producers with more care.
    RequeueWithBackoff,
    /// A bucket for each shard that heeds no throttles, as in the KPL.
    FixedBucket,
    /// The same at 100 % of the quota.
    FixedRate,
    /// A textbook AIMD on one rate for the whole stream, of the kind that Flink and Vector use.
    AimdWholeStream,
    /// No policy, but what one could reach that knows the quota, its changes, and how many others there are: 98 % of
    /// an equal part of it.
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

    /// Whether it looks for its rate over time. The others do in the first second what they do later.
    pub fn converges(self) -> bool {
        matches!(self, Self::KinesisSink | Self::AimdWholeStream)
    }

    pub fn run(self, job: Job) -> BoxFuture<'static, Ended> {
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
                let bucket = FixedBucket::scheduled(job.stream.clone(), job.parts.clone());
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

/// What one producer is to do: send what the source offers until it ends.
pub struct Job {
    pub source: Source,
    pub stream: SimStream,
    pub seed: u64,
    /// For the sink.
    pub settings: fn(SinkBuilder) -> SinkBuilder,
    pub gauge: Arc<Gauge>,
    /// From when on which part of a shard's quota is its own, for those who know.
    pub parts: Vec<(Duration, f64)>,
}

/// The most that the producers held at any moment, each by itself.
#[derive(Debug, Default)]
pub struct Gauge {
    max: AtomicUsize,
}

impl Gauge {
    pub fn note(&self, held_bytes: usize) {
        self.max.fetch_max(held_bytes, Relaxed);
    }

    pub fn max(&self) -> usize {
        self.max.load(Relaxed)
    }
}

/// What a producer says in the end.
#[derive(Debug, Default)]
pub struct Ended {
    /// The numbers of the records that it took from the source.
    pub accepted: Vec<u64>,
    /// When it took each of them.
    pub accepted_at: Vec<Instant>,
    /// Of those, the ones that it still had when it ended.
    pub held: Vec<u64>,
}
