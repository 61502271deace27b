//! Order in which consumers read the records.
//!
//! By default in no certain one. An entry of a request can fail while the next one is written, requests
//! overtake each other, and what failed is sent again after what did not. Where consumers rely on the order
//! of a key's records, ask for it:
//!
//! ```
//! use futures::{StreamExt, stream};
//! use kinesis_sink::sim::{Faults, SimStream};
//! use kinesis_sink::{KinesisSink, RecordOrdering, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One entry in ten fails.
//! let faults = Faults::default().with_internal_failures(0.1);
//! let example = SimStream::builder().with_shards(4).with_faults(faults).with_seed(1).build()?;
//!
//! let mut sink =
//!     KinesisSink::builder("example").with_ordering(RecordOrdering::PerKey).build(&example.client())?;
//! let steps = (0..2_000).map(|n| (format!("device-{}", n % 50), format!("{:04}", n / 50)));
//! stream::iter(steps).map(Record::from).map(Ok).forward(&mut sink).await?;
//!
//! for device in 0..50 {
//!     let key = format!("device-{device}");
//!     let written = example.written();
//!     let of_key = written.iter().filter(|record| record.partition_key().is_some_and(|k| **k == *key));
//!     let steps: Vec<_> = of_key.map(|record| record.data().clone()).collect();
//!     assert_eq!(steps.len(), 40);
//!     assert!(steps.is_sorted(), "{key} is in order");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The order is that in which the sink accepted the records. It holds through partial failures, throttles,
//! timeouts and resharding. Records without a key have no order to keep.
//!
//! # What it costs
//!
//! Of a key, one Kinesis record is in flight at a time.
//!
//! | keys | without aggregation | with aggregation |
//! |---|---|---|
//! | many | a request still carries up to 500 different keys: as fast as without order | the same |
//! | one, or a few hot ones | one record of a key in each round trip: 50 a second at 20 ms | what comes meanwhile gathers in the next aggregate: at 20 ms, 50 KiB of it are 2.5 MB a second, more than a shard takes |
//!
//! So for hot keys set both, and with long round trips larger aggregates:
//!
//! ```
//! use kinesis_sink::{Aggregation, KinesisSink, RecordOrdering};
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
//! let sink = KinesisSink::builder("example")
//!     .with_ordering(RecordOrdering::PerKey)
//!     .with_aggregation(Aggregation::PerKey)
//!     .configure(|settings| settings.aggregate_bytes = 200 * 1024)
//!     .build(&client)?;
//! # Ok(())
//! # }
//! ```
//!
//! With [`Aggregation::PerShard`](crate::Aggregation::PerShard) a shard has one aggregate in flight at a
//! time, and when the stream is resharded the sink waits once for what is in flight. A record costs about
//! half as much CPU time again when it is small, and no more when it is large; `docs/performance.md` in the
//! repository has the table.
//!
//! # What consumers find
//!
//! **Duplicates stay in order.** A record whose request had an unknown outcome is sent again, and can be in
//! the stream twice: both times before everything that is sent after it. The members of an aggregate come
//! again together: 1 2 3 1 2 3. The first copies of a key's records are in order, and so are the last ones.
//!
//! **Gaps are records that failed for good.** One that is given up, by a deadline, a limit of attempts or
//! because the service refuses it, lets the next one go. Without a deadline and a limit, which is the
//! default, only what the service refuses is left out.
//!
//! **Resharding.** Consumers must read a closed shard to its end before its children, as the KCL does. With
//! aggregation per shard, the first aggregate after a reshard can be misplaced: it was packed before any answer
//! named a new shard, and it reaches a child that does not hold all its members. Its records are sent again. From
//! the first answer that names an unlisted shard until the new list arrives, the sink packs per key, and repacks
//! the records that wait. What consumers find depends on how they treat a misplaced aggregate:
//!
//! | consumers | find |
//! |---|---|
//! | with the KCL's discard rule, which skip misplaced aggregates | the first copies of a key's records in order, and the last ones |
//! | without it, such as AWS's deaggregation modules for Python and Node | the first copies in order; a second copy out of order for each record of a misplaced aggregate |
//!
//! The second line assumes an up-to-date list of shards: with an outdated list, more than the first aggregate can
//! be misplaced. While the shards cannot be listed, the sink packs per key. The second line does not hold for
//! records that are given up by a deadline or a limit of attempts.
//!
//! # What breaks it
//!
//! - **A stream that ignores keys**: where an on-demand stream's `RecordDistributionStrategy` is `AUTO`, the
//!   records of a key are spread over shards, and no consumer reads them in order. A sink made by
//!   [`build`](crate::SinkBuilder::build) has the stream described (`kinesis:DescribeStreamSummary`) and fails
//!   there with [`ErrorKind::Refused`](crate::ErrorKind::Refused). If the stream is switched while records are
//!   sent, answers name shards that no reshard explains. The sink then has the stream described again and
//!   fails in the same way. Records of requests that were in flight at the switch, or were sent before an answer
//!   revealed it, are delivered without an order.
//! - **A late write**, which no producer can rule out: a request that was given up after its timeout may
//!   still be on its way, and be written after later records. Its records then come once more, out of order.
//!   A longer [timeout](crate::Settings::request_timeout) makes that rarer.
//! - **Several senders of a key**: tasks that share a producer are in the order of acceptance, which their
//!   race decides; two sinks know nothing of each other. Send a key from one place.
//! - **Explicit hash keys**: records with one partition key and different hash keys can lie in different
//!   shards. Where they alternate, aggregates are small, too.
//! - **Sending again what was taken back**: records that came out of
//!   [`take_undelivered`](crate::KinesisSink::take_undelivered) may be in the stream already, see
//!   [`may_have_been_written`](crate::Undelivered::may_have_been_written).
