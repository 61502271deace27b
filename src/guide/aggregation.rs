//! Aggregation: packing small records into one Kinesis record.
//!
//! A shard accepts 1,000 Kinesis records per second. For billing, the size of each Kinesis record is rounded up: to 25
//! KiB on provisioned streams, and to 1 KiB on on-demand streams. Small records therefore use only a fraction of what
//! you pay for. With aggregation, the sink packs many small records into one Kinesis record, in the format of the
//! Kinesis Producer Library (KPL):
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
//! [`deaggregate`](crate::aggregate::deaggregate) unpack aggregates. A consumer that does not support the format
//! receives binary protobuf data instead of your records. Consumers that support the format return plain records
//! unchanged, so a stream can contain both.
//!
//! Some readers fail on a plain payload that begins like an aggregate, with the bytes `F3 89 9A C2`. The sink sends
//! such a payload inside an aggregate, even if the aggregate contains only this record, so consumers read the original
//! payload. The receipt then has a sub-sequence number, which is 0 if the aggregate has one record. The payload is sent
//! plain only if the aggregate would exceed the [maximum record size](crate::limits::Limits::with_record_bytes).
//!
//! # Savings
//!
//! The table shows one million events of 100 bytes with 1,000 keys, sent to four shards
//! (`cargo run --release --example aggregate`):
//!
//! | | `Off` | `PerKey` | `PerShard` |
//! |---|---|---|---|
//! | requests | 2,000 | 40 (÷ 50.0) | 22 (÷ 90.9) |
//! | Kinesis records | 1,000,000 | 20,000 (÷ 50.0) | 2,188 (÷ 457.0) |
//! | bytes, with partition keys | 109,890,038 | 106,835,600 (÷ 1.03) | 111,825,468 (× 1.02) |
//! | billed, provisioned: units of 25 KiB | 1,000,000 | 20,000 (÷ 50.0) | 4,375 (÷ 228.6) |
//! | billed, on-demand: KiB | 1,000,000 | 114,616 (÷ 8.7) | 109,319 (÷ 9.1) |
//! | events per Kinesis record | 1.0 | 50.0 | 457.0 |
//! | sending time | 11.1 s | 2.2 s | 1.8 s |
//!
//! The figures are medians of three runs of a release build on two cores. The embedded server runs in the same process,
//! so the times include the server's work. The example reads all shards, unpacks the aggregates as the KCL does, and
//! fails if an event is missing, duplicated, or in an aggregate that the KCL would discard.
//!
//! Aggregation is worthwhile for records of up to a few hundred bytes. Above about 500 bytes, it costs more CPU time
//! than it saves, because each aggregate contains an MD5 digest of its data. Above a few KiB, it saves nothing.
//!
//! # Per key or per shard
//!
//! | | [`PerKey`](crate::Aggregation::PerKey) | [`PerShard`](crate::Aggregation::PerShard) |
//! |---|---|---|
//! | packed together | records with the same key; records without a key | all records for the same shard |
//! | suitable for | few keys, or none | many keys |
//! | required permission | none; with `kinesis:ListShards`, the sink can verify its aggregates | `kinesis:ListShards`; without it, the sink aggregates per key |
//!
//! With `PerKey`, the number of keys determines the size of aggregates: the keys share the buffer, and an aggregate
//! contains the records with one key that were accepted within one linger. In the table above, with 1,000 keys, these
//! were 50 to 53 events, and 22 to 30 while the machine was busy. With 10 keys, an aggregate has 480 events in both
//! cases.
//!
//! # Latency
//!
//! Filling an aggregate takes time. With aggregation, the default is therefore
//! [`Linger::Fixed`](crate::settings::Linger::Fixed) with 100 ms. A full aggregate is sent as soon as no request is in
//! flight, and other aggregates are sent when their oldest record has waited for 100 ms. The table was measured on
//! virtual time, with 1,000 records of 100 bytes per second, round trips of 20 ms, and four shards. Each cell contains
//! the **records per Kinesis record**, and the median and maximum time from acceptance to delivery:
//!
//! | aggregation | `Adaptive(100 ms)` | `Fixed(100 ms)` | `Fixed(1 s)` |
//! |---|---|---|---|
//! | `PerKey`, 1 key | **20.0**; 29, 39 ms | **100.0**; 70, 120 ms | **476.2**; 259, 502 ms |
//! | `PerKey`, no keys | **20.0**; 29, 39 ms | **100.0**; 70, 120 ms | **476.2**; 259, 502 ms |
//! | `PerKey`, 100 keys | **1.0**; 29, 39 ms | **1.8**; 81, 120 ms | **9.7**; 508, 1020 ms |
//! | `PerShard`, 100 keys | **5.0**; 29, 39 ms | **25.0**; 70, 120 ms | **250.0**; 520, 1020 ms |
//!
//! The documentation of [`Linger`](crate::settings::Linger) contains figures for other rates. Do not use
//! `SinkExt::send` with aggregation, because it flushes after each record and waits for the linger each time. Use
//! `feed`, `forward`, or a producer.
//!
//! # Misplaced aggregates
//!
//! The KCL discards a whole aggregate if the hash key of one of its records does not belong to the shard that the
//! aggregate was read from. With `PerKey` this cannot happen. With `PerShard`, the sink packs records by the shard
//! list, and compares each response with the list. After a reshard, an aggregate can be written to a different shard
//! than expected. It counts as delivered only if all of its records belong to the shard that it was written to.
//! Otherwise the sink packs the records by a new list and sends them again. The first copy stays in the stream, where
//! the KCL ignores it. [`Totals::misplaced`] counts these aggregates.
//!
//! # Streams that ignore keys
//!
//! On an on-demand stream whose `RecordDistributionStrategy` is `AUTO`, the service ignores partition keys, so the KCL
//! would discard aggregates. A sink created by [`build`](crate::SinkBuilder::build) describes the stream
//! (`kinesis:DescribeStreamSummary`). On an `AUTO` stream, the first use of the sink fails with
//! [`ErrorKind::Refused`](crate::ErrorKind::Refused). A sink created by [`build_with`](crate::SinkBuilder::build_with)
//! has no client with which it could describe the stream: set a [source of stream
//! information](crate::SinkBuilder::with_stream_info).
//!
//! A stream can also be switched to `AUTO` while records are sent, with immediate effect. To detect this, the sink
//! compares the shards in each response with the listed hash key ranges of these shards. The range of a shard never
//! changes. If an entry was written to a shard whose range does not contain the entry's hash key, a reshard cannot be
//! the cause. The sink then describes the stream again, bypassing any cache:
//!
//! | until the stream is described | if the stream is `AUTO` | otherwise |
//! |---|---|---|
//! | an aggregate counts as delivered only if the shard list shows that all of its records belong to the shard; other aggregates wait for verification | the sink fails as on its first use, and the waiting records are requeued | misplaced aggregates are sent again |
//!
//! **Requests that are in flight during the switch** are written under the new strategy. Aggregates that happen to
//! reach the right shard are delivered. All others stay in the stream, where the KCL discards them. Their records are
//! requeued, and [`may_have_been_written`](crate::Undelivered::may_have_been_written) returns `true` for them. The same
//! applies to requests that are sent before a response reveals the switch. If the sink can list the shards, it never
//! reports a record as delivered that the KCL discards.
//!
//! If responses also contradict the new description, the sink waits for a random time before it requests another one.
//! The maximum of this time doubles with each description, up to one minute. If the description is denied, or fails
//! five times, only the shard list is used to verify aggregates. A misplaced aggregate is then sent again. If it is
//! misplaced twice, its records are sent without aggregation, because consumers accept a plain record from any shard.
//!
//! A sink without `kinesis:ListShards`, or one created by `build_with` without a
//! [source](crate::SinkBuilder::with_stream_info) that lists the shards, has no shard list. It only knows the shards
//! from earlier responses, and detects the switch when a key that was sent before reaches another shard. If a key is
//! sent for the first time just after the switch, its aggregate can be lost.
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
//! All records in an aggregate share its sequence number. A [`Delivery`](crate::Delivery) contains this sequence
//! number, and the record's index in the aggregate as [`sub_sequence_number`](crate::Delivery::sub_sequence_number).
//! Consumers read the same two numbers. The module [`aggregate`](crate::aggregate) documents the format.
//!
//! # Settings
//!
//! | setting | default | when to change |
//! |---|---|---|
//! | [`aggregate_bytes`](crate::Settings::aggregate_bytes) | 50 KiB (two billing units of 25 KiB) | other record sizes, long round trips with ordering, or to send fewer bytes again after a throttle |
//! | [`aggregate_records`](crate::Settings::aggregate_records) | no limit | consumers accept a limited number of records per aggregate |
//! | [`aggregate_key`](crate::Settings::aggregate_key) | the key of the first record | consumers expect the KPL's constant key `a` |
//! | [`with_linger`](crate::SinkBuilder::with_linger) | `Fixed(100 ms)` | fuller aggregates, or lower latency |
//! | [`buffer_records`](crate::Settings::buffer_records) | 100,000 | many keys, or less memory |
//!
//! [`Totals::misplaced`]: crate::status::Totals::misplaced
