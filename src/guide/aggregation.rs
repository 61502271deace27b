//! Aggregation: packing small records into one Kinesis record.
//!
//! A shard takes 1,000 Kinesis records a second, and each is billed rounded up: to 25 KiB on provisioned
//! streams, to 1 KiB on on-demand ones. Small records leave most of that empty. With aggregation the sink
//! packs many of them into one Kinesis record, in the format of the Kinesis Producer Library (KPL):
//!
//! ```
//! use futures::{StreamExt, stream};
//! use kinesis_sink::aggregate::deaggregate;
//! use kinesis_sink::{Aggregation, KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(4);
//! # let client = example.client();
//! let mut sink = KinesisSink::builder("example")
//!     .with_aggregation(Aggregation::PerShard)
//!     .build(&client)?;
//! let readings = (0..10_000).map(|n| Record::from((format!("device-{}", n % 100), "21.5")));
//! stream::iter(readings).map(Ok).forward(&mut sink).await?;
//!
//! let totals = sink.totals();
//! assert_eq!(totals.delivered, 10_000);
//! assert!(totals.entries < 100, "{} Kinesis records", totals.entries);
//! # let read = example.written().iter().map(|written| deaggregate(written.data()).len()).sum::<usize>();
//! # assert_eq!(read, 10_000);
//! # Ok(())
//! # }
//! ```
//!
//! **Change the consumers first.** The KCL, Lambda's deaggregation modules and
//! [`deaggregate`](crate::aggregate::deaggregate) take aggregates apart; a plain consumer sees a few
//! hundred bytes of protobuf. Readers of the format take plain records as they are, so both can be in a
//! stream. Some readers fail at a plain payload that begins like an aggregate, with the bytes `F3 89 9A C2`. The
//! sink sends such a payload inside an aggregate, if necessary of one record, and consumers find it as it was
//! accepted. Its receipt then has a sub-sequence number, 0 in an aggregate of one. It is sent plain only if the
//! aggregate would be larger than a record [may be](crate::limits::Limits::with_record_bytes).
//!
//! # When it pays
//!
//! One million events of 100 bytes, 1,000 keys, four shards (`cargo run --release --example aggregate`):
//!
//! | | `Off` | `PerKey` | `PerShard` |
//! |---|---|---|---|
//! | requests | 2,000 | 40 (÷ 50.0) | 22 (÷ 90.9) |
//! | Kinesis records | 1,000,000 | 20,000 (÷ 50.0) | 2,188 (÷ 457.0) |
//! | bytes, with partition keys | 109,890,038 | 106,835,600 (÷ 1.03) | 111,825,468 (× 1.02) |
//! | billed, provisioned: units of 25 KiB | 1,000,000 | 20,000 (÷ 50.0) | 4,375 (÷ 228.6) |
//! | billed, on-demand: KiB | 1,000,000 | 114,616 (÷ 8.7) | 109,319 (÷ 9.1) |
//! | events per Kinesis record | 1.0 | 50.0 | 457.0 |
//! | time of sending | 11.1 s | 2.2 s | 1.8 s |
//!
//! A release build on two cores, with the embedded server in the same process, so the times are the
//! server's, too; the median of three runs. The example reads every shard back, takes the aggregates apart
//! as the KCL does, and fails if an event is missing, there twice, or where the KCL would throw it away.
//!
//! It pays for records of up to a few hundred bytes. Above some 500 bytes an aggregate costs more CPU time
//! than it saves, for it has an MD5 digest; above a few KiB there is nothing left to gain.
//!
//! # Per key or per shard
//!
//! | | [`PerKey`](crate::Aggregation::PerKey) | [`PerShard`](crate::Aggregation::PerShard) |
//! |---|---|---|
//! | travel together | records with the same key; records without one | all records of the same shard |
//! | right for | few keys, or none | many keys |
//! | needs | nothing; `kinesis:ListShards` lets the sink check its aggregates | `kinesis:ListShards`; without it, it packs per key |
//!
//! Per key it is the number of keys that decides: each of 1,000 keys has a thousandth of the buffer, and
//! goes with what came within the linger. In the table above that was 50 to 53 events, and 22 to 30 on the
//! same machine when it was busy. With 10 keys an aggregate holds 480 either way.
//!
//! # What it waits for
//!
//! Packing takes waiting. So with aggregation the default is [`Linger::Fixed`](crate::settings::Linger::Fixed) with
//! 100 ms: a full aggregate goes as soon as nothing is in flight, the others when their oldest record has
//! waited so long. 1,000 records a second of 100 bytes, round trips of 20 ms, four shards, in virtual time;
//! **records in each Kinesis record**, median and longest time from acceptance to delivery:
//!
//! | aggregation | `Adaptive(100 ms)` | `Fixed(100 ms)` | `Fixed(1 s)` |
//! |---|---|---|---|
//! | `PerKey`, 1 key | **20.0**; 29, 39 ms | **100.0**; 70, 120 ms | **476.2**; 259, 502 ms |
//! | `PerKey`, no keys | **20.0**; 29, 39 ms | **100.0**; 70, 120 ms | **476.2**; 259, 502 ms |
//! | `PerKey`, 100 keys | **1.0**; 29, 39 ms | **1.8**; 81, 120 ms | **9.7**; 508, 1020 ms |
//! | `PerShard`, 100 keys | **5.0**; 29, 39 ms | **25.0**; 70, 120 ms | **250.0**; 520, 1020 ms |
//!
//! [`Linger`](crate::settings::Linger) has the same for other rates. `SinkExt::send` flushes after each record and
//! waits for the linger each time: use `feed`, `forward` or a producer.
//!
//! # Members stay with their shard
//!
//! The KCL throws a whole aggregate away if one of its members hashes outside of the shard that it was read
//! from. Per key that cannot happen. Per shard the sink packs by the list of shards, and compares each
//! answer with it: after a reshard, an aggregate that came to lie in another shard counts as delivered only
//! if all of its members belong there. If not, its records are packed anew by a new list and sent again;
//! the first copy stays in the stream, where the KCL ignores it. [`Totals::misplaced`] counts those.
//!
//! # Streams that ignore keys
//!
//! On an on-demand stream whose `RecordDistributionStrategy` is `AUTO` the service ignores partition keys, and
//! the KCL would discard aggregates. A sink made by [`build`](crate::SinkBuilder::build) has the stream
//! described (`kinesis:DescribeStreamSummary`), and its first use fails there with
//! [`ErrorKind::Refused`](crate::ErrorKind::Refused). With
//! [`build_with`](crate::SinkBuilder::build_with) the sink has no client to ask: set a
//! [source](crate::SinkBuilder::with_stream_info) that describes the stream.
//!
//! A stream can also be switched to `AUTO` while records are sent, with effect at once. The sink compares
//! the shard of each answer with the range that was listed for that shard. The range of a shard never
//! changes, so an entry in a shard whose range does not hold its hash key cannot be explained by a reshard.
//! The sink then has the stream described again, past any cache:
//!
//! | until the stream is described | if the stream is `AUTO` | otherwise |
//! |---|---|---|
//! | an aggregate counts as delivered only if the list of shards proves that its shard holds all members; the others are held | the sink fails as at its first use; held records return to the buffer | misplaced aggregates are sent again |
//!
//! **Requests in flight at the moment of the switch** are written under the new strategy. Aggregates that happen
//! to reach the right shard are delivered. All others stay in the stream, where the KCL discards
//! them, and their records return to the buffer with
//! [`may_have_been_written`](crate::Undelivered::may_have_been_written). The same holds for requests that are sent
//! before the first answer reveals the switch. If the sink can list the shards, no record that the KCL discards is
//! reported as delivered.
//!
//! If answers still contradict a new description, the sink waits before it asks for another one: a random time
//! with an upper bound that doubles up to a minute. If the description is denied, or fails five times, the list of
//! shards alone decides. A misplaced aggregate is then sent again. After the second time its records are sent
//! without aggregation, since consumers read a plain record in any shard.
//!
//! Without `kinesis:ListShards`, and with `build_with` without a
//! [source](crate::SinkBuilder::with_stream_info) that lists the shards, the sink relies on the shards that earlier
//! answers named: it detects the switch when a key that it has sent before reaches another shard. An aggregate of a key
//! that is sent for the first time just after the switch can be lost.
//!
//! # Reading
//!
//! ```
//! use aws_sdk_kinesis::types::Record;
//! use bytes::Bytes;
//! use kinesis_sink::aggregate::deaggregate;
//!
//! fn handle(record: Record) {
//!     let outer_key = record.partition_key;
//!     for member in deaggregate(&Bytes::from(record.data.into_inner())) {
//!         let key = member.partition_key().map(|key| key.as_str()).or(outer_key.as_deref());
//!         let place = (&record.sequence_number, member.sub_sequence_number());
//!         println!("{place:?} {key:?}: {} bytes", member.data().len());
//!     }
//! }
//! # let record = Record::builder().data(aws_sdk_kinesis::primitives::Blob::new("data"));
//! # handle(record.partition_key("k").sequence_number("1").build().unwrap());
//! ```
//!
//! Members of an aggregate share its sequence number. A receipt tells it, and with
//! [`sub_sequence_number`](crate::Delivery::sub_sequence_number) the place in the aggregate, which is what
//! the consumer sees. The module [`aggregate`](crate::aggregate) has the format.
//!
//! # What to set
//!
//! | setting | default | why change it |
//! |---|---|---|
//! | [`aggregate_bytes`](crate::Settings::aggregate_bytes) | 2 units of 25 KiB | other sizes of records, long round trips with order, or less to send again after a throttle |
//! | [`aggregate_records`](crate::Settings::aggregate_records) | no limit | consumers that take only so many at a time |
//! | [`aggregate_key`](crate::Settings::aggregate_key) | the first member's | consumers expect the KPL's constant `a` |
//! | [`with_linger`](crate::SinkBuilder::with_linger) | `Fixed(100 ms)` | fuller aggregates, or less waiting |
//! | [`buffer_records`](crate::Settings::buffer_records) | 100,000 | many keys, or less memory |
//!
//! [`Totals::misplaced`]: crate::status::Totals::misplaced
