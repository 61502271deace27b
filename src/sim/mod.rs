//! Simulated Kinesis streams for tests, in the process and on tokio's virtual time.
//!
//! Requires the feature `sim`. The [chapter on testing](crate::guide::testing) shows how to use it.
//!
//! A [`SimStream`] simulates what a producer can observe of the service: shards with their hash key ranges, a quota per
//! shard, latency, throttling, failures, requests that are lost or arrive after the client's timeout, and resharding
//! under load. It stores the accepted records in order, so that a test can check for losses, duplicates and reordering.
//! With tokio's paused clock, a simulated minute takes milliseconds.
//!
//! ```
//! use std::collections::HashSet;
//! use std::time::Duration;
//!
//! use futures::{StreamExt, stream};
//! use kinesis_sink::sim::{Faults, SimStream};
//! use kinesis_sink::timeout::TimeoutLayer;
//! use kinesis_sink::{KinesisSink, Record};
//! use tower::ServiceBuilder;
//!
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let faults = Faults::default().with_internal_failures(0.05).with_lost_answers(0.05);
//!     let clicks = SimStream::builder().with_name("clicks").with_shards(4).with_faults(faults);
//!     let clicks = clicks.with_seed(1).build()?;
//!
//!     let service = ServiceBuilder::new()
//!         .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!         .service(clicks.service());
//!     let mut sink = KinesisSink::builder("clicks").build_with(service)?;
//!     let records = (0..20_000).map(|number| Ok(Record::from(number.to_string())));
//!     stream::iter(records).forward(&mut sink).await?;
//!
//!     let written = clicks.written();
//!     let distinct: HashSet<_> = written.iter().map(|record| record.data().clone()).collect();
//!     assert_eq!(distinct.len(), 20_000, "records were lost: {clicks:?}");
//!     assert!(written.len() > 20_000, "requests with a lost response were not retried");
//!     Ok(())
//! }
//! ```
//!
//! # Interfaces
//!
//! - [`SimStream::service`] returns a `tower::Service` to build a sink over.
//! - [`SimStream::client`] returns an AWS SDK client that is connected to the stream, so that signing, serialization,
//!   timeouts and error parsing are those of the SDK.
//! - [`SimStream`] implements [`StreamInfo`](crate::stream::StreamInfo), which lists shards and describes the stream.
//!
//! # Time
//!
//! The simulation uses tokio's clock. `#[tokio::test(start_paused = true)]` or `tokio::time::pause` makes it virtual.
//! The round trip of each request is drawn from [`Latency`]. The request is checked and written halfway through it, and
//! the response returns at its end. Lookups take a round trip as well.
//!
//! # Quota
//!
//! The quota of a shard limits its records and bytes per second, see
//! [`with_shard_quota`](SimBuilder::with_shard_quota). [`set_shard_quota`](SimStream::set_shard_quota) changes it, and
//! [`set_load`](SimStream::set_load) sets the share that other producers use. By default, two token buckets enforce the
//! quota. They start full and refill continuously. [`Limiter`] offers alternatives: windows, a quota that is divided
//! among front ends, and delayed accounting.
//!
//! Entries are admitted one by one in the order of the request, unless
//! [`with_random_order`](Limiter::with_random_order) is set. An entry that does not fit is throttled and uses no quota,
//! so a smaller entry after it may be accepted.
//!
//! # Randomness
//!
//! The outcome of a request is drawn from the seed when it is sent: the same calls in the same order have the same
//! outcomes. The seed is random unless it is set. `Debug` shows it, and a panicking test prints it.
//!
//! Replay requires a single-threaded runtime, such as tokio's `current_thread`, the default of `#[tokio::test]`. On
//! several threads calls race with each other, so the order of the calls, and with it the outcome, varies.
//!
//! # Limitations
//!
//! Splits and merges take no time. Reads are not limited, and records do not expire. Permissions and encryption are not
//! simulated; use [`Faults::with_outage`] to simulate their errors.

use std::time::Duration;

mod accounting;
mod builder;
mod client;
mod error;
mod faults;
mod latency;
mod limiter;
mod quota;
mod ring;
mod service;
mod state;
mod stats;
mod stream;
mod stream_info;
mod validation;
mod written;

pub use builder::SimBuilder;
pub use faults::Faults;
pub use latency::Latency;
pub use limiter::Limiter;
pub use service::SimService;
pub use stats::SimStats;
pub use stream::SimStream;
pub use written::Written;

/// Maximum number of shards: half of the largest default quota of an account.
const MAX_SHARDS: usize = 10_000;

const MAX_FRONT_ENDS: usize = 1_000;

/// Maximum latency, delay, lag and burst: longer than any timeout, and far from an overflow of the clock.
const MAX_DURATION: Duration = Duration::from_secs(3_600);

const REGION: &str = "us-east-1";
