#![cfg_attr(
    all(feature = "config", feature = "json", feature = "metrics"),
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "config", feature = "json", feature = "metrics")),
    doc = "Forwards any async stream of records into Amazon Kinesis Data Streams."
)]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

mod build_error;
mod error;
mod limits;
mod pipeline;
mod producer;
mod record;
mod service_ext;
mod sink;
mod stream;
mod summary;

pub mod aggregate;
pub mod guide;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod service;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
pub mod timeout;
pub mod trace;

pub use build_error::{BuildError, SettingError};
pub use error::{NotAccepted, NotAcceptedReason, SinkError};
pub use limits::{
    DEFAULT_RECORD_BYTES, DEFAULT_REQUEST_BYTES, Limits, MAX_PARTITION_KEY_CHARS, MAX_RECORD_BYTES,
    MAX_REQUEST_BYTES, MAX_REQUEST_ENTRIES, PAYLOAD_UNIT_BYTES, RecordError,
    SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND,
};
#[cfg(feature = "metrics")]
pub use metrics::{MetricsGranularity, MetricsLayer};
pub use pipeline::{AggregateKey, Aggregation, Linger, Ordering};
pub use producer::{CloseError, Driver, Producer};
#[cfg(feature = "json")]
pub use record::JsonError;
pub use record::{
    AttemptError, DeadLetter, Delivery, FailedAttempt, HashKey, HashKeyError, Key, PartitionKey,
    Reason, Receipt, Record, Undelivered,
};
pub use service_ext::ServiceBuilderExt;
pub use sink::{DefaultService, FatalPolicy, KinesisSink, SinkBuilder};
pub use stream::{
    DescribeStream, Distribution, RegionMismatch, StreamDescription, StreamId, StreamIdError,
};
pub use summary::{RequestSummary, Totals};
pub use timeout::{TimeoutError, TimeoutLayer};
pub use trace::TraceLayer;
