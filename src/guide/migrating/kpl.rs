//! Migrating from the Kinesis Producer Library (KPL).
//!
//! This chapter lists all settings and metrics of the KPL for Java, versions 0.x to 1.0.7, with their counterparts in
//! this crate. Sources: `KinesisProducerConfiguration`, `metrics.md`, and `metrics_constants.h` of the KPL.
//!
//! # Differences
//!
//! - There is no native process. Therefore there is no `LogLevel`, no temporary directory, and no daemon to monitor.
//! - **Records do not expire.** In the KPL, a record expires after 30 s (`RecordTtl`). This crate retries a record
//!   indefinitely, unless you set a deadline.
//! - **Memory is bounded.** The KPL's `addUserRecord` always accepts the record. With this crate, `put` waits while the
//!   buffer is full, and `try_put` returns the record in an error.
//! - **Throttles lower the send rate** to a shard. The KPL continues to send at 150 % of the quota.
//! - **Aggregation is off** by default. If you enable it, the format is the same as the KPL's, so consumers need no
//!   change.
//! - **Order can be preserved**, see [ordering](super::super::ordering).
//!
//! # Calls
//!
//! | KPL | this crate |
//! |---|---|
//! | `new KinesisProducer(config)` | `KinesisSink::builder("example")..build(&client)?.spawn()`; each stream needs its own producer |
//! | `addUserRecord(stream, key, data)` | `producer.put(Record::from((key, data))).await?` |
//! | `addUserRecord(.., explicitHashKey, ..)` | [`with_explicit_hash_key`](crate::Record::with_explicit_hash_key) |
//! | `addUserRecord(.., schema)` | encode the data with the client of the schema registry first |
//! | the future returns `UserRecordResult` | the [receipt](crate::Receipt) returns a [`Delivery`](crate::Delivery) with shard, sequence number, and attempts |
//! | the future fails with `UserRecordFailedException` | the receipt returns an [`Undelivered`](crate::Undelivered) with reason, history, and the record |
//! | `flush()`, `flush(stream)` | not needed: the driver sends partial requests |
//! | `flushSync()` | `producer.flush().await` |
//! | `getOutstandingRecordsCount()` | [`Totals`](crate::status::Totals): `accepted` minus `delivered`, `failed`, and `withdrawn`; or the metric `user_records_pending` |
//! | `getOldestRecordTimeInMillis()` | the metric `oldest_record_age` |
//! | `getMetrics(..)` | a recorder of the `metrics` facade |
//! | `destroy()` | `producer.close().await`, or `close_within` |
//!
//! # The KPL's defaults
//!
//! This producer behaves like a KPL with default settings, as far as possible:
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
//!     .with_deadline(Duration::from_secs(30)) // not recommended
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
//! | KPL, default | this crate |
//! |---|---|
//! | `AggregationEnabled`, true | [`with_aggregation`](crate::SinkBuilder::with_aggregation): `PerShard` corresponds to the KPL; off by default |
//! | `AggregationMaxCount`, 4294967295 | [`aggregate_records`](crate::Settings::aggregate_records), same default |
//! | `AggregationMaxSize`, 51200 | [`aggregate_bytes`](crate::Settings::aggregate_bytes), same default |
//! | `CollectionMaxCount`, 500 | [`Limits::with_request_entries`](crate::limits::Limits::with_request_entries), same default |
//! | `CollectionMaxSize`, 5 MiB | [`Limits::with_request_bytes`](crate::limits::Limits::with_request_bytes), same default |
//! | `MaxUserRecordSize`, 1 MiB | [`Limits::with_record_bytes`](crate::limits::Limits::with_record_bytes), same default; if the sink describes the stream, it uses the stream's limit |
//! | `RecordMaxBufferedTime`, 100 ms | [`with_linger`](crate::SinkBuilder::with_linger): with aggregation `Fixed(100 ms)` by default |
//! | `RecordTtl`, 30 s | [`with_deadline`](crate::SinkBuilder::with_deadline), off by default |
//! | `UserRecordTimeoutInMillis`, off | [`with_deadline`](crate::SinkBuilder::with_deadline); no separate timeout for a second process is needed |
//! | `FailIfThrottled`, false | a [`Classify`](crate::service::Classify), [see below](#failing-throttled-records) |
//! | `RateLimit`, 150 % | [`Limits::with_shard_records`](crate::limits::Limits::with_shard_records) and [`with_shard_bytes`](crate::limits::Limits::with_shard_bytes): 100 % by default, and less while the shard throttles |
//! | `MaxConnections`, 24 | [`with_max_in_flight`](crate::SinkBuilder::with_max_in_flight), 4 by default; the [HTTP client](super::super::clients::http#connections) manages connections |
//! | `MinConnections`, 1 | none: the HTTP client opens connections on demand |
//! | `RequestTimeout`, 6 s | [`request_timeout`](crate::Settings::request_timeout), 10 s |
//! | `ConnectTimeout`, 6 s | the client's [`TimeoutConfig`](super::super::clients#timeouts), 3.1 s |
//! | `Region` | the client's [region](super::super::clients#region) |
//! | `KinesisEndpoint`, `KinesisPort` | the client's [`endpoint_url`](super::super::clients#a-vpc-endpoint), with scheme and port |
//! | `VerifyCertificate`, true | none: add the [certificate](super::super::clients::http#tls-aws-lc-ring-fips) of a private server to the trust store, or use `http://` |
//! | `CaCertPath`, `CaCertFile` | the client's [`TlsContext`](super::super::clients::http#tls-aws-lc-ring-fips) |
//! | `ProxyHost`, `ProxyPort` | the client's [proxy](super::super::clients::http#a-proxy), or `HTTPS_PROXY` |
//! | `ProxyUserName`, `ProxyPassword` | `ProxyConfig::with_basic_auth` of that proxy |
//! | `CredentialsProvider` | the client's [credentials](super::super::clients#credentials) |
//! | `CredentialsRefreshDelay`, 5 s | none: the SDK renews credentials before they expire |
//! | `StsEndpoint`, `StsPort` | none: the account id is not looked up. If you assume a role, set `AWS_ENDPOINT_URL_STS` |
//! | `ThreadingModel`, `ThreadPoolSize` | the tokio runtime's threads |
//! | `EnableOldestFutureTracker`, true | none; the metric `oldest_record_age` is always recorded with the others |
//! | `ReturnUserRecordOnFailure`, false | none: a failed record is always returned |
//! | `MetricsLevel`, detailed | `Settings::metrics`: `Off`, or all metrics; the recorder can filter them |
//! | `MetricsGranularity`, shard | `Settings::metrics`: `Stream` or `Shard`; `global` is a sum over the label `stream` |
//! | `MetricsNamespace` | a setting of the recorder; names begin with `kinesis_sink_` |
//! | `MetricsUploadDelay`, 60 s | a setting of the recorder |
//! | `MetricsCredentialsProvider` | a setting of the recorder |
//! | `CloudwatchEndpoint`, `CloudwatchPort` | a setting of the recorder: this crate does not connect to CloudWatch |
//! | `addAdditionalMetricsDimension` | global labels of the recorder |
//! | `LogLevel`, info | the `tracing` subscriber's filter, target `kinesis_sink` |
//! | `EnableCoreDumps`, `NativeExecutable`, `TempDirectory` | none: there is no native process |
//! | `EnableDaemonHealthCheck`, `DaemonHealthCheckTimeoutMs` | none: there is no daemon, and if the driver panics, every receipt completes |
//! | `GlueSchemaRegistryConfiguration`, `GlueSchemaRegistryPropertiesFilePath`, `GlueSchemaRegistryCredentialsProvider` | none: encode the data before it is sent |
//! | `fromPropertiesFile(path)` | deserialize `Settings` (feature `serde`) from any format that serde supports |
//!
//! # Failing throttled records
//!
//! With the KPL's `FailIfThrottled`, a throttled record fails immediately, for example so that you can send it to
//! another stream. A classifier that classifies throttled entries as rejected has the same effect:
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
//! The metrics require the feature `metrics`. All names begin with `kinesis_sink_`, and all metrics have the label
//! `stream`. Durations are in seconds instead of milliseconds.
//!
//! | KPL | this crate | difference |
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
//! The following metrics have no counterpart in the KPL: requests (sent, in flight, and by flush reason), withdrawn
//! records, buffered bytes, the age of the oldest record, the delivery time, and the throttles and rate limit per
//! shard. The module `metrics` lists their names.
