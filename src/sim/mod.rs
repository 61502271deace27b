//! Simulated Kinesis streams for tests. They run inside the test process and can use tokio's virtual time.
//!
//! Requires the feature `sim`. The [guide](crate::guide::testing) shows how to use the simulation.
//!
//! A [`SimStream`] simulates the behavior of the service that a producer can observe: shards with hash key ranges, a
//! quota per shard, latency, throttling, failures, requests that are lost or that arrive after the client's timeout,
//! and resharding under load. It stores the accepted records in order, so that a test can check for lost, duplicated
//! and reordered records. With tokio's paused clock, a simulated minute takes milliseconds.
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
//! - [`SimStream::service`] returns a `tower::Service` that can be passed to
//!   [`build_with`](crate::SinkBuilder::build_with).
//! - [`SimStream::client`] returns an AWS SDK client that is connected to the stream. With the client, a test also
//!   covers the signing, serialization, timeouts and error parsing of the SDK.
//! - [`SimStream`] implements [`StreamInfo`](crate::stream::StreamInfo), so it can list its shards and describe itself.
//! - [`SimRegion`] contains several streams, and has the same three interfaces: a service, a client, and a `StreamInfo`.
//!
//! # Time
//!
//! The simulation uses tokio's clock. Use `#[tokio::test(start_paused = true)]` or `tokio::time::pause` to run it in
//! virtual time. The round-trip time of each request is drawn from [`Latency`]. The stream checks and writes the
//! request after half of the round-trip time, and the response arrives at its end. Lookups also take one round trip.
//!
//! # Quota
//!
//! Each shard has a quota of records and bytes per second, which is set with
//! [`with_shard_quota`](SimBuilder::with_shard_quota). During a test, [`set_shard_quota`](SimStream::set_shard_quota)
//! changes the quota, and [`set_load`](SimStream::set_load) sets the share of the quota that other producers use.
//!
//! By default, two token buckets enforce the quota of a shard. They start full and refill continuously. [`Limiter`] has
//! other options: windows, a quota that is divided among several front ends, and delayed accounting.
//!
//! The entries of a request are admitted one by one, in the order of the request unless
//! [`with_random_order`](Limiter::with_random_order) is set. An entry that exceeds the remaining quota is throttled and
//! uses no quota, so a smaller entry after it can still be accepted.
//!
//! # Randomness
//!
//! The outcome of a request is drawn from a seeded random number generator when the request is sent. Calls that are
//! made in the same order therefore have the same outcomes. By default, the seed is random. The `Debug` output contains
//! the seed, and a panicking test prints it, so that the test can be run again with
//! [`with_seed`](SimBuilder::with_seed).
//!
//! Outcomes are reproducible only on a single-threaded runtime, such as tokio's `current_thread` runtime, which
//! `#[tokio::test]` uses by default. On several threads, the order of the calls varies, and so do their outcomes.
//!
//! # Limitations
//!
//! - Splits and merges take no time.
//! - Reads are not limited, and records do not expire.
//! - Permissions and encryption are not simulated. Use [`Faults::with_outage`] to simulate their errors, or
//!   [`Faults::with_request_errors`] if lookups are permitted.

use std::time::Duration;

mod accounting;
mod builder;
mod client;
mod error;
mod faults;
mod latency;
mod limiter;
mod quota;
mod region;
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
pub use region::SimRegion;
pub use service::SimService;
pub use stats::SimStats;
pub use stream::SimStream;
pub use written::Written;

/// Maximum number of shards: half of the largest default quota of an account.
const MAX_SHARDS: usize = 10_000;

const MAX_FRONT_ENDS: usize = 1_000;

/// Maximum latency, delay, lag and burst. It is longer than any timeout, and short enough not to overflow the clock.
const MAX_DURATION: Duration = Duration::from_secs(3_600);

const REGION: &str = "us-east-1";
