//! A Kinesis stream in the process, on tokio's virtual time, to test a pipeline against.
//!
//! Needs the feature `sim`. The [chapter on testing](crate::guide::testing) shows how to use it.
//!
//! A [`SimStream`] behaves as the service does where a producer can tell: shards with pieces of the hash
//! ring, a quota per shard, round trips, throttles, failures, requests that are lost or arrive after the
//! producer has given up, shards that are split and merged under load. It keeps what it accepted, in order,
//! so that a test can ask what was lost, what came twice, and in which order. With tokio's paused clock a
//! minute of it takes a moment.
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
//!     assert_eq!(distinct.len(), 20_000, "nothing is lost: {clicks:?}");
//!     assert!(written.len() > 20_000, "what had no answer was sent again");
//!     Ok(())
//! }
//! ```
//!
//! # Ways in
//!
//! - [`SimStream::service`], a `tower::Service` to build a sink over;
//! - [`SimStream::client`], a client of the AWS SDK that talks to the stream, so that signing,
//!   serialisation, timeouts and the reading of errors are the real ones;
//! - [`SimStream`] itself, which is a [`StreamInfo`](crate::stream::StreamInfo) that lists and describes.
//!
//! # Time
//!
//! All of it is tokio's: `#[tokio::test(start_paused = true)]`, or `tokio::time::pause`, makes it virtual.
//! A request takes what [`Latency`] draws for it. Half of that passes until it arrives, is checked, and
//! written; the other half until the answer is there. Lookups take such a round trip, too.
//!
//! # Quota
//!
//! The quota of a shard is a number of records and bytes a second, see
//! [`with_shard_quota`](SimBuilder::with_shard_quota); [`set_shard_quota`](SimStream::set_shard_quota) scales
//! it, and [`set_load`](SimStream::set_load) sets what other producers take of it. By default two token
//! buckets enforce it, which start full and refill continuously. [`Limiter`] has the alternatives: windows, a
//! quota that is split over front ends, accounting that lags.
//!
//! Entries are admitted one by one, in the order of the request unless
//! [`with_random_order`](Limiter::with_random_order) is set. One that does not fit is throttled and takes
//! nothing of the quota, so that a smaller one behind it may pass.
//!
//! # Chance
//!
//! What befalls a request is drawn from the seed when it is sent: the same calls in the same order meet
//! the same fate, whatever runs between them. The seed is drawn unless it is set. `Debug` shows it, and a
//! test that panics prints it.
//!
//! That takes a runtime of one thread, tokio's `current_thread`, which is what `#[tokio::test]` makes. On several
//! threads all of the above holds as well, but calls race each other: one seed then gives many outcomes.
//!
//! # What it leaves out
//!
//! Splits and merges take no time. Readers have no limits, and nothing is ever too old to be read. There
//! are no permissions and no encryption; [`Faults::with_outage`] stands in for what comes of them.

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

/// Most shards of a stream: half of what the service gives an account without a talk where it gives most.
const MAX_SHARDS: usize = 10_000;

/// The largest number of front ends of a shard.
const MAX_FRONT_ENDS: usize = 1_000;

/// The longest latency, delay, lag and burst: longer than any timeout, and far from an overflow of the clock.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Where the stream is said to lie.
const REGION: &str = "us-east-1";
