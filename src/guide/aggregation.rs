//! Aggregation: packing small records into one Kinesis record.
//!
//! A shard accepts 1,000 Kinesis records per second. Each is billed rounded up: to 25 KiB on provisioned streams, to
//! 1 KiB on on-demand ones. Small records leave most of that empty. With aggregation the sink packs many of them into
//! one Kinesis record, in the format of the Kinesis Producer Library (KPL):
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
//! [`deaggregate`](crate::aggregate::deaggregate) unpack aggregates. A plain consumer reads a few hundred bytes of
//! protobuf. Readers of the format return plain records unchanged, so a stream can have both.
//!
//! Some readers fail on a plain payload that begins like an aggregate, with the bytes `F3 89 9A C2`. The sink sends
//! such a payload inside an aggregate, if necessary of one record, and consumers read it as it was accepted. Its
//! receipt then has a sub-sequence number, 0 in an aggregate of one. It is sent plain only if the aggregate would be
//! larger than a record [may be](crate::limits::Limits::with_record_bytes).
//!
//! # Savings
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
//! The figures are the median of three runs of a release build on two cores. The embedded server runs in the same
//! process, so the times include its work. The example reads every shard back, unpacks the aggregates as the KCL does,
//! and fails if an event is missing, duplicated, or in an aggregate that the KCL would discard.
//!
//! Aggregation pays for records of up to a few hundred bytes. Above some 500 bytes an aggregate costs more CPU time
//! than it saves, because of its MD5 digest. Above a few KiB it saves nothing.
//!
//! # Per key or per shard
//!
//! | | [`PerKey`](crate::Aggregation::PerKey) | [`PerShard`](crate::Aggregation::PerShard) |
//! |---|---|---|
//! | packed together | records with the same key; records without a key | all records of the same shard |
//! | suited for | few keys, or none | many keys |
//! | needs | nothing; `kinesis:ListShards` lets the sink check its aggregates | `kinesis:ListShards`; without it, the sink packs per key |
//!
//! Per key, the number of keys determines the size of aggregates: each of 1,000 keys has a thousandth of the buffer,
//! and its aggregate contains the records of one linger. In the table above that was 50 to 53 events, and 22 to 30
//! while the machine was busy. With 10 keys an aggregate has 480 in both cases.
//!
//! # Latency
//!
//! Filling an aggregate takes time. So the default with aggregation is
//! [`Linger::Fixed`](crate::settings::Linger::Fixed) with 100 ms: a full aggregate is sent as soon as no request is in
//! flight, the others when their oldest record has waited for 100 ms. The table has 1,000 records of 100 bytes per
//! second, round trips of 20 ms, four shards, in virtual time; **records per Kinesis record**, median and maximum time
//! from acceptance to delivery:
//!
//! | aggregation | `Adaptive(100 ms)` | `Fixed(100 ms)` | `Fixed(1 s)` |
//! |---|---|---|---|
//! | `PerKey`, 1 key | **20.0**; 29, 39 ms | **100.0**; 70, 120 ms | **476.2**; 259, 502 ms |
//! | `PerKey`, no keys | **20.0**; 29, 39 ms | **100.0**; 70, 120 ms | **476.2**; 259, 502 ms |
//! | `PerKey`, 100 keys | **1.0**; 29, 39 ms | **1.8**; 81, 120 ms | **9.7**; 508, 1020 ms |
//! | `PerShard`, 100 keys | **5.0**; 29, 39 ms | **25.0**; 70, 120 ms | **250.0**; 520, 1020 ms |
//!
//! [`Linger`](crate::settings::Linger) has figures for other rates. `SinkExt::send` flushes after each record and waits
//! for the linger each time: use `feed`, `forward` or a producer.
//!
//! # Misplaced aggregates
//!
//! The KCL discards a whole aggregate if the hash key of one member is outside of the shard that it was read from. Per
//! key this cannot happen. Per shard the sink packs by the list of shards, and compares each response with it. After a
//! reshard, an aggregate can be written to another shard than expected. It counts as delivered only if all of its
//! members belong to that shard. Otherwise the sink packs its records by a new list and sends them again; the first
//! copy stays in the stream, where the KCL ignores it. [`Totals::misplaced`] counts these aggregates.
//!
//! # Streams that ignore keys
//!
//! On an on-demand stream whose `RecordDistributionStrategy` is `AUTO` the service ignores partition keys, and
//! the KCL would discard aggregates. A sink made by [`build`](crate::SinkBuilder::build) describes the stream
//! (`kinesis:DescribeStreamSummary`), and its first use fails on such a stream with
//! [`ErrorKind::Refused`](crate::ErrorKind::Refused). A sink made by [`build_with`](crate::SinkBuilder::build_with) has
//! no client for that: set a [source](crate::SinkBuilder::with_stream_info) that describes the stream.
//!
//! A stream can also be switched to `AUTO` while records are sent, with immediate effect. The sink compares
//! the shard of each response with the range that was listed for that shard. The range of a shard never
//! changes, so an entry in a shard whose range does not contain its hash key cannot be explained by a reshard.
//! The sink then describes the stream again, past any cache:
//!
//! | until the stream is described | if the stream is `AUTO` | otherwise |
//! |---|---|---|
//! | an aggregate counts as delivered only if the list of shards proves that all members belong to its shard; the others wait for verification | the sink fails as at its first use; waiting records return to the buffer | misplaced aggregates are sent again |
//!
//! **Requests in flight at the moment of the switch** are written under the new strategy. Aggregates that happen to
//! reach the right shard are delivered. All others stay in the stream, where the KCL discards them, and their records
//! return to the buffer with [`may_have_been_written`](crate::Undelivered::may_have_been_written). The same applies to
//! requests that are sent before the first response reveals the switch. If the sink can list the shards, it reports no
//! record as delivered that the KCL discards.
//!
//! If responses contradict a new description as well, the sink waits before it requests another one: a random time
//! with an upper bound that doubles up to a minute. If the description is denied, or fails five times, the list of
//! shards alone decides. A misplaced aggregate is then sent again. After the second time its records are sent
//! without aggregation, since consumers read a plain record in any shard.
//!
//! Without `kinesis:ListShards`, and with `build_with` without a
//! [source](crate::SinkBuilder::with_stream_info) that lists the shards, the sink relies on the shards that earlier
//! responses named: it detects the switch when a key that it has sent before reaches another shard. An aggregate of a
//! key that is sent for the first time just after the switch can be lost.
//!
//! # Reading aggregates
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
//! Members of an aggregate share its sequence number. A [`Delivery`](crate::Delivery) has it, and with
//! [`sub_sequence_number`](crate::Delivery::sub_sequence_number) the index in the aggregate, as the consumer reads
//! both. The module [`aggregate`](crate::aggregate) documents the format.
//!
//! # Settings
//!
//! | setting | default | when to change |
//! |---|---|---|
//! | [`aggregate_bytes`](crate::Settings::aggregate_bytes) | 2 units of 25 KiB | other sizes of records, long round trips with ordering, or fewer bytes to send again after a throttle |
//! | [`aggregate_records`](crate::Settings::aggregate_records) | no limit | consumers that accept a limited number of records |
//! | [`aggregate_key`](crate::Settings::aggregate_key) | the first member's | consumers expect the KPL's constant `a` |
//! | [`with_linger`](crate::SinkBuilder::with_linger) | `Fixed(100 ms)` | fuller aggregates, or lower latency |
//! | [`buffer_records`](crate::Settings::buffer_records) | 100,000 | many keys, or less memory |
//!
//! [`Totals::misplaced`]: crate::status::Totals::misplaced
