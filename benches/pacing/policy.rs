//! The policies, and what a producer that follows one is given and gives back.

mod aimd_whole_stream;
mod baseline;
mod fixed_bucket;
mod requeue_at_once;
mod through_sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use clap::ValueEnum;
use futures::future::BoxFuture;
use kinesis_sink::SinkBuilder;
use kinesis_sink::sim::SimStream;

use super::load::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Policy {
    /// This crate.
    KinesisSink,
    /// What fails is sent again at once, as by hand-written producers.
    RequeueAtOnce,
    /// A bucket for each shard that heeds no throttles, as in the KPL.
    FixedBucket,
    /// A textbook AIMD on one rate for the whole stream, of the kind that Flink and Vector use.
    AimdWholeStream,
}

impl Policy {
    pub const ALL: [Self; 4] =
        [Self::KinesisSink, Self::RequeueAtOnce, Self::FixedBucket, Self::AimdWholeStream];

    pub fn name(self) -> &'static str {
        match self {
            Self::KinesisSink => "kinesis_sink",
            Self::RequeueAtOnce => "requeue_at_once",
            Self::FixedBucket => "fixed_bucket",
            Self::AimdWholeStream => "aimd_whole_stream",
        }
    }

    pub fn run(self, job: Job) -> BoxFuture<'static, Ended> {
        match self {
            Self::KinesisSink => Box::pin(through_sink::run(job)),
            Self::RequeueAtOnce => {
                Box::pin(baseline::drive(requeue_at_once::RequeueAtOnce::default(), job))
            }
            Self::FixedBucket => {
                let bucket = fixed_bucket::FixedBucket::new(job.stream.clone());
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
    /// Of those, the ones that it still had when it ended.
    pub held: Vec<u64>,
}
