//! Ordering: the order in which consumers read records with the same key.
//!
//! By default, the sink does not preserve the order of records. One entry of a request can fail while the next one is
//! written, a request can overtake another, and failed records are sent again after later ones. If consumers rely on
//! the order of records with the same key, set [`RecordOrdering::PerKey`](crate::RecordOrdering::PerKey):
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
//! Records with the same key are then written in the order in which the sink accepted them. Partial failures,
//! throttles, timeouts, and resharding do not change this order. Records without a key have no order.
//!
//! # Cost
//!
//! For each key, only one Kinesis record is in flight at a time. The next one is sent after it was delivered or has
//! failed permanently.
//!
//! | keys | without aggregation | with aggregation |
//! |---|---|---|
//! | many | same throughput as without ordering, because a request can contain up to 500 different keys | same throughput as without ordering |
//! | one, or a few hot keys | one record per key and round trip: 50 per second at 20 ms | while an aggregate is in flight, later records are packed into the next one: at 20 ms, aggregates of 50 KiB reach 2.5 MB per second, which is more than a shard accepts |
//!
//! For hot keys, combine ordering with aggregation. If round trips are long, also use larger aggregates:
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
//! With [`Aggregation::PerShard`](crate::Aggregation::PerShard), each shard has only one aggregate in flight at a time,
//! and after a reshard the sink waits once until no request is in flight. Ordering increases the CPU time by about half
//! for small records, and not at all for large ones, as the [chapter on tuning](super::tuning#cpu-time) shows.
//!
//! # Duplicates and gaps
//!
//! **Duplicates are in order.** If the outcome of a request is unknown, its records are sent again, and can be in the
//! stream twice. Both copies of a record precede all records with the same key that are sent later. The records of an
//! aggregate are repeated together: 1 2 3 1 2 3. If a consumer reads only the first copy of each record, the records of
//! a key are in order, and the same is true for the last copies.
//!
//! **Gaps are records that failed permanently.** When a record has failed because of a deadline, an attempt limit, or a
//! rejection by the service, the next record with the same key is sent. By default there is neither a deadline nor an
//! attempt limit, so only rejected records are missing.
//!
//! # Resharding
//!
//! Consumers must read a closed shard to its end before they read its child shards, as the KCL does.
//!
//! With aggregation per shard, the first aggregate after a reshard can be misplaced. Such an aggregate was packed for
//! the old shard, and was written to a child shard that does not own the hash keys of all its records. The sink detects
//! this and sends the records again. When a response contains a shard that is not in the shard list, the sink repacks
//! the queued records, and aggregates per key until it has a new list. Consumers handle misplaced aggregates
//! differently:
//!
//! | consumers | what they read |
//! |---|---|
//! | with the KCL's discard rule, which skips misplaced aggregates | for each key, the first copies of the records in order, and the last copies in order |
//! | without this rule, such as AWS's deaggregation modules for Python and Node | for each key, the first copies of the records in order, and a second copy of each record of a misplaced aggregate, which can be out of order |
//!
//! The second row requires an up-to-date shard list: with an outdated list, more than the first aggregate can be
//! misplaced. It also does not apply to records that fail because of a deadline or an attempt limit. While the shards
//! cannot be listed, the sink aggregates per key.
//!
//! # Limits of the guarantee
//!
//! - **Streams that ignore keys.** On an on-demand stream with the `RecordDistributionStrategy` `AUTO`, the records of
//!   a key are distributed over the shards, so consumers cannot read them in order. A sink created by
//!   [`build`](crate::SinkBuilder::build) describes the stream, and [rejects such a
//!   stream](super::aggregation#streams-that-ignore-keys). This includes a stream that is switched to `AUTO` while
//!   records are sent. Records that were in flight at the switch, or were sent before a response revealed the switch,
//!   are delivered without a defined order.
//! - **Late writes**, which no producer can prevent. The service can write a request after the request has timed out,
//!   and even after later records. The stream then contains another copy of its records, out of order. A longer
//!   [timeout](crate::Settings::request_timeout) makes this less likely.
//! - **Several senders for a key.** If several tasks share a producer, their records are written in the order of
//!   acceptance, and which task's record is accepted first is not determined. Two sinks have no common order. Send all
//!   records with the same key from one task.
//! - **Explicit hash keys.** Records with one partition key and different hash keys can be in different shards. If such
//!   records alternate, aggregates are also small.
//! - **Sending withdrawn records again.** Records that were returned by
//!   [`take_undelivered`](crate::KinesisSink::take_undelivered) might already be in the stream, see
//!   [`may_have_been_written`](crate::Undelivered::may_have_been_written).
