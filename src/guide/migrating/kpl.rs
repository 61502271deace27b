//! From the Kinesis Producer Library (KPL).
//!
//! Every setting and every metric of the KPL for Java, versions 0.x to 1.0.7, and what corresponds to it
//! here. Sources: its `KinesisProducerConfiguration`, `metrics.md` and `metrics_constants.h`.
//!
//! # What changes
//!
//! - There is no native process beside yours: no `LogLevel`, no temporary directory, no daemon to watch.
//! - **Nothing expires.** The KPL gives up a record after 30 s (`RecordTtl`). Here it waits unless you set a
//!   deadline.
//! - **Memory is bounded.** `addUserRecord` always returns; here `put` waits while the buffer is full, and
//!   `try_put` hands the record back.
//! - **Throttles slow the sender**, shard by shard, instead of being sent again at 150 % of the quota.
//! - **Aggregation is off** until you ask for it, and consumers read the same format.
//! - **Order can be kept**, see [ordering](super::super::ordering).
//!
//! # The calls
//!
//! | KPL | here |
//! |---|---|
//! | `new KinesisProducer(config)` | `KinesisSink::builder("example")..build(&client)?.spawn()`: a producer for each stream |
//! | `addUserRecord(stream, key, data)` | `producer.put(Record::from((key, data))).await?` |
//! | `addUserRecord(.., explicitHashKey, ..)` | [`with_explicit_hash_key`](crate::Record::with_explicit_hash_key) |
//! | `addUserRecord(.., schema)` | encode with the schema registry's client before |
//! | the future: `UserRecordResult` | the [receipt](crate::Receipt): [`Delivery`](crate::Delivery), with shard, sequence number, attempts |
//! | the future fails: `UserRecordFailedException` | [`Undelivered`](crate::Undelivered), with reason, history and the record |
//! | `flush()`, `flush(stream)` | nothing: partial requests go by themselves |
//! | `flushSync()` | `producer.flush().await` |
//! | `getOutstandingRecordsCount()` | [`Totals`](crate::status::Totals): `accepted` less what was `delivered`, `failed` or `withdrawn`; the metric `user_records_pending` |
//! | `getOldestRecordTimeInMillis()` | the metric `oldest_record_age` |
//! | `getMetrics(..)` | a recorder of the `metrics` facade |
//! | `destroy()` | `producer.close().await`, or `close_within` |
//!
//! # The KPL's defaults
//!
//! A producer that behaves as a KPL with its default settings, as far as it can:
//!
//! ```
//! use std::time::Duration;
//!
//! use kinesis_sink::settings::AggregateKey;
//! use kinesis_sink::{Aggregation, KinesisSink, Producer};
//!
//! # async fn kpl_like(client: aws_sdk_kinesis::Client) -> Result<Producer, kinesis_sink::BuildError> {
//! let producer = KinesisSink::builder("example")
//!     .with_aggregation(Aggregation::PerShard)
//!     .with_max_in_flight(24)
//!     .with_deadline(Duration::from_secs(30)) // better without
//!     .configure(|settings| {
//!         settings.aggregate_key = AggregateKey::Kpl; // only if consumers expect the key `a`
//!         settings.request_timeout = Duration::from_secs(6);
//!     })
//!     .build(&client)?
//!     .spawn();
//! # Ok(producer)
//! # }
//! ```
//!
//! # Settings
//!
//! | KPL, default | here |
//! |---|---|
//! | `AggregationEnabled`, true | [`with_aggregation`](crate::SinkBuilder::with_aggregation): `PerShard` is what the KPL does; off by default |
//! | `AggregationMaxCount`, 4294967295 | [`aggregate_records`](crate::Settings::aggregate_records), the same default |
//! | `AggregationMaxSize`, 51200 | [`aggregate_bytes`](crate::Settings::aggregate_bytes), the same default |
//! | `CollectionMaxCount`, 500 | [`Limits::with_request_entries`](crate::limits::Limits::with_request_entries), the same default |
//! | `CollectionMaxSize`, 5 MiB | [`Limits::with_request_bytes`](crate::limits::Limits::with_request_bytes), the same default |
//! | `MaxUserRecordSize`, 1 MiB | [`Limits::with_record_bytes`](crate::limits::Limits::with_record_bytes), the same default; a described stream tells it |
//! | `RecordMaxBufferedTime`, 100 ms | [`with_linger`](crate::SinkBuilder::with_linger): with aggregation `Fixed(100 ms)` by default |
//! | `RecordTtl`, 30 s | [`with_deadline`](crate::SinkBuilder::with_deadline), off by default |
//! | `UserRecordTimeoutInMillis`, off | the same [`with_deadline`](crate::SinkBuilder::with_deadline): there is no second layer where records could get stuck |
//! | `FailIfThrottled`, false | a [`Classify`](crate::service::Classify), [see below](#failing-throttled-records) |
//! | `RateLimit`, 150 % | [`Limits::with_shard_records`](crate::limits::Limits::with_shard_records) and [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes): 100 % by default, less while the shard says so |
//! | `MaxConnections`, 24 | [`with_max_in_flight`](crate::SinkBuilder::with_max_in_flight), 4 by default; connections are the [client's](super::super::clients::http#connections) |
//! | `MinConnections`, 1 | none: the HTTP client opens connections as they are needed |
//! | `RequestTimeout`, 6 s | [`request_timeout`](crate::Settings::request_timeout), 10 s |
//! | `ConnectTimeout`, 6 s | the client's [`TimeoutConfig`](super::super::clients#timeouts), 3.1 s |
//! | `Region` | the client's [region](super::super::clients#region) |
//! | `KinesisEndpoint`, `KinesisPort` | the client's [`endpoint_url`](super::super::clients#a-vpc-endpoint), with scheme and port |
//! | `VerifyCertificate`, true | none: for a server of your own trust its [certificate](super::super::clients::http#tls-aws-lc-ring-fips), or use `http://` |
//! | `CaCertPath`, `CaCertFile` | the client's [`TlsContext`](super::super::clients::http#tls-aws-lc-ring-fips) |
//! | `ProxyHost`, `ProxyPort` | the client's [proxy](super::super::clients::http#a-proxy), or `HTTPS_PROXY` |
//! | `ProxyUserName`, `ProxyPassword` | `ProxyConfig::with_basic_auth` there |
//! | `CredentialsProvider` | the client's [credentials](super::super::clients#credentials) |
//! | `CredentialsRefreshDelay`, 5 s | none: the SDK renews what expires |
//! | `StsEndpoint`, `StsPort` | none: nothing asks STS for the account's number. `AWS_ENDPOINT_URL_STS` where a role is assumed |
//! | `ThreadingModel`, `ThreadPoolSize` | the tokio runtime's threads |
//! | `EnableOldestFutureTracker`, true | none; the metric `oldest_record_age` goes with the others |
//! | `ReturnUserRecordOnFailure`, false | none: a record that fails always comes back |
//! | `MetricsLevel`, detailed | `Settings::metrics`: `Off`, or everything; the recorder drops what you do not want |
//! | `MetricsGranularity`, shard | `Settings::metrics`: `Stream` or `Shard`; `global` is a sum over the label `stream` |
//! | `MetricsNamespace` | the recorder's; names begin with `kinesis_sink_` |
//! | `MetricsUploadDelay`, 60 s | the recorder's |
//! | `MetricsCredentialsProvider` | the recorder's |
//! | `CloudwatchEndpoint`, `CloudwatchPort` | the recorder's: nothing here speaks to CloudWatch |
//! | `addAdditionalMetricsDimension` | global labels of the recorder |
//! | `LogLevel`, info | the `tracing` subscriber's filter, target `kinesis_sink` |
//! | `EnableCoreDumps`, `NativeExecutable`, `TempDirectory` | none: no native process |
//! | `EnableDaemonHealthCheck`, `DaemonHealthCheckTimeoutMs` | none: no daemon. A driver that panics ends every receipt |
//! | `GlueSchemaRegistryConfiguration`, `GlueSchemaRegistryPropertiesFilePath`, `GlueSchemaRegistryCredentialsProvider` | none: encode records before they are handed in |
//! | `fromPropertiesFile(path)` | `Settings` (feature `serde`), in any format that serde reads |
//!
//! # Failing throttled records
//!
//! With `FailIfThrottled` a throttled record fails at once, for example to be sent to another stream. Say
//! that a throttle of an entry is a refusal:
//!
//! ```
//! use kinesis_sink::service::{Classify, DefaultClassify, EntryClass, EntryError};
//! # use futures::SinkExt;
//! # use kinesis_sink::record::FailureReason;
//! # use kinesis_sink::sim::{Faults, SimStream};
//! # use kinesis_sink::{KinesisSink, Record};
//!
//! struct FailIfThrottled;
//!
//! impl Classify for FailIfThrottled {
//!     fn classify_entry(&self, error: &EntryError) -> EntryClass {
//!         match DefaultClassify.classify_entry(error) {
//!             EntryClass::Throttled => EntryClass::Rejected,
//!             class => class,
//!         }
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = SimStream::builder().with_faults(Faults::default().with_throttles(1.0)).build()?;
//! # let builder = KinesisSink::builder("example").with_classify(FailIfThrottled);
//! # let mut sink = builder.build(&example.client())?;
//! # sink.send(Record::from("a record")).await.unwrap_err();
//! # assert!(matches!(sink.take_failed()[0].reason(), FailureReason::Rejected(_)));
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! With the feature `metrics`; all names begin with `kinesis_sink_`, all have the label `stream`. Times are
//! seconds instead of milliseconds.
//!
//! | KPL | here | differs |
//! |---|---|---|
//! | `UserRecordsReceived` | `user_records_received` | |
//! | `UserRecordsPending` | `user_records_pending` | |
//! | `UserRecordsPut` | `user_records_put` | counts successes only; failures are `user_records_failed` |
//! | `UserRecordsDataPut` | `user_records_data_put` | |
//! | `KinesisRecordsPut` | `kinesis_records_put`, `shard_kinesis_records_put` | counts successes only |
//! | `KinesisRecordsDataPut` | `kinesis_records_data_put` | |
//! | `ErrorsByCode` | `errors_by_code`, label `code` | |
//! | `AllErrors` | `all_errors` | counts errors only; the KPL counts a zero for each success |
//! | `RetriesPerRecord` | `retries_per_record` | |
//! | `UserRecordExpired` | `user_records_failed`, label `reason` | |
//! | `BufferingTime` | `buffering_time` | |
//! | `RequestTime` | `request_time` | |
//! | `UserRecordsPerKinesisRecord` | `user_records_per_kinesis_record` | |
//! | `KinesisRecordsPerPutRecordsRequest` | `kinesis_records_per_put_records_request` | |
//! | `UserRecordsPerPutRecordsRequest` | `user_records_per_put_records_request` | |
//! | `UnhealthyDaemon` | none | no daemon |
//!
//! What the KPL has not: `put_records_requests`, `put_records_requests_in_flight`,
//! `put_records_requests_cut` (by reason), `user_records_withdrawn`, `buffered_bytes`, `oldest_record_age`,
//! `delivery_time`, `shard_kinesis_records_throttled`, `shard_pace`.
