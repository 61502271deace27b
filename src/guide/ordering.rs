//! Ordering: the order in which consumers read the records of a key.
//!
//! By default the sink keeps no order. An entry of a request can fail while the next one is written, requests overtake
//! each other, and failed records are sent again after later ones. Set [`RecordOrdering`](crate::RecordOrdering) if
//! consumers rely on the order of the records of a key:
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
//! The order is that in which the sink accepted the records. It holds through partial failures, throttles, timeouts and
//! resharding. Records without a key have no order.
//!
//! # Cost
//!
//! One Kinesis record of each key is in flight at a time. The next one is sent when it is delivered or has failed.
//!
//! | keys | without aggregation | with aggregation |
//! |---|---|---|
//! | many | the throughput without order: a request carries up to 500 different keys | the throughput without order |
//! | one, or a few hot ones | one record of a key per round trip: 50 per second at 20 ms | later records gather in the next aggregate: at 20 ms, aggregates of 50 KiB make 2.5 MB per second, more than a shard accepts |
//!
//! So use both for hot keys, with larger aggregates if round trips are long:
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
//! With [`Aggregation::PerShard`](crate::Aggregation::PerShard) a shard has one aggregate in flight at a time, and
//! after a reshard the sink waits once until no request is in flight. The [chapter on tuning](super::tuning#cpu-time)
//! has the CPU time: about half as much again for small records, and no more for large ones.
//!
//! # Duplicates and gaps
//!
//! **Duplicates are in order.** A record whose request has an unknown outcome is sent again, and can be in the stream
//! twice. Both copies are before all records that are sent after it. The members of an aggregate are repeated together:
//! 1 2 3 1 2 3. The first copies of the records of a key are in order, and so are the last ones.
//!
//! **Gaps are records that failed for good.** After a record has failed by a deadline, a limit of attempts or a
//! rejection by the service, the next record of its key is sent. By default there is neither a deadline nor a limit, so
//! only rejected records are missing.
//!
//! # Resharding
//!
//! Consumers must read a closed shard to its end before its children, as the KCL does.
//!
//! With aggregation per shard, the first aggregate after a reshard can be misplaced: it was packed before any response
//! named a new shard, and was written to a child that does not own the hash keys of all its members. Its records are
//! sent again. From the first response that names an unlisted shard until the new list is known, the sink packs per
//! key, and repacks the queued records. Consumers differ in how they treat a misplaced aggregate:
//!
//! | consumers | read |
//! |---|---|
//! | with the KCL's discard rule, which skips misplaced aggregates | the first copies of the records of a key in order, and the last copies in order |
//! | without it, such as AWS's deaggregation modules for Python and Node | the first copies in order; a second copy, out of order, of each record of a misplaced aggregate |
//!
//! The second line assumes an up-to-date list of shards: with an outdated list, more than the first aggregate can be
//! misplaced. While the shards cannot be listed, the sink packs per key. The second line does not hold for records that
//! fail by a deadline or a limit of attempts.
//!
//! # Limits of the guarantee
//!
//! - **A stream that ignores keys.** On an on-demand stream with the `RecordDistributionStrategy` `AUTO` the records of
//!   a key are spread over the shards, and no consumer reads them in order. A sink made by
//!   [`build`](crate::SinkBuilder::build) describes the stream, and [refuses such a
//!   stream](super::aggregation#streams-that-ignore-keys), also if the stream is switched to `AUTO` while records are
//!   sent. Records of requests that were in flight at the switch, or were sent before a response revealed it, are
//!   delivered without an order.
//! - **A late write**, which no producer can rule out. The service may write a request after its timeout, and after
//!   later records. Its records are then in the stream once more, out of order. A longer
//!   [timeout](crate::Settings::request_timeout) makes this rarer.
//! - **Several senders of a key.** The order among tasks that share a producer is that of acceptance, for which the
//!   tasks race. There is no order between two sinks. Send the records of a key from one task.
//! - **Explicit hash keys.** Records with one partition key and different hash keys can be in different shards. If
//!   such records alternate, aggregates are small as well.
//! - **Sending withdrawn records again.** Records returned by
//!   [`take_undelivered`](crate::KinesisSink::take_undelivered) may be in the stream already, see
//!   [`may_have_been_written`](crate::Undelivered::may_have_been_written).
