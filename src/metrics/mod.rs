//! Middleware that records metrics of requests.
//!
//! This crate records metrics with the [`metrics`] facade, in two places:
//!
//! - A [`KinesisSink`](crate::KinesisSink) records the number, size, latency and retries of its records. To turn these
//!   metrics off, use [`Settings::metrics`](crate::Settings::metrics).
//! - [`MetricsLayer`] records the number, duration and errors of the requests that pass through it. The default stack,
//!   built by [`SinkBuilder::build`](crate::SinkBuilder::build), includes this layer.
//!
//! The facade discards all metrics until the application installs a recorder.
//!
//! Requires the feature `metrics`, which is on by default.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use kinesis_sink::metrics::names;
//! use kinesis_sink::service::ServiceBuilderExt;
//! use kinesis_sink::KinesisSink;
//! use kinesis_sink::service::PutRecords;
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tower::ServiceBuilder;
//!
//! # fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
//! // Install the recorder before building the sink, because the sink registers its metrics when it is built.
//! PrometheusBuilder::new()
//!     .set_buckets_for_metric(
//!         Matcher::Full(names::DELIVERY_TIME.to_owned()),
//!         &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
//!     )?
//!     .install()?;
//!
//! let service = ServiceBuilder::new()
//!     .metrics_put_records()
//!     .timeout_put_records(Duration::from_secs(10))
//!     .service(PutRecords::new(&client));
//! let sink = KinesisSink::builder("example").build_with(service)?;
//! # Ok(())
//! # }
//! ```
//!
//! # The metrics
//!
//! The names are those of the KPL in snake case, with the prefix `kinesis_sink_`. Each metric has the label `stream`.
//! [`names`] has a constant for each name. A *record* is an item passed to the sink by the application. A *Kinesis
//! record* is an entry of a request, which can contain many records if aggregation is on.
//!
//! Metrics of a sink:
//!
//! | name | type | unit | labels | recorded |
//! |---|---|---|---|---|
//! | `kinesis_sink_user_records_received` | counter | records | | when a record is accepted |
//! | `kinesis_sink_user_records_put` | counter | records | | when a record is delivered |
//! | `kinesis_sink_user_records_data_put` | counter | bytes | | when a record is delivered: its data and partition key |
//! | `kinesis_sink_user_records_failed` | counter | records | `reason` | when a record fails permanently |
//! | `kinesis_sink_user_records_withdrawn` | counter | records | | when an unsettled record is withdrawn or dropped with the sink |
//! | `kinesis_sink_user_records_pending` | gauge | records | | records that have been accepted but not settled |
//! | `kinesis_sink_buffered_bytes` | gauge | bytes | | size of the records that are queued, in flight, or failed but not yet taken by the application |
//! | `kinesis_sink_oldest_record_age` | gauge | seconds | | time since the oldest unsettled record was accepted; 0 if there is none |
//! | `kinesis_sink_retries_per_record` | histogram | attempts | | when a record is delivered or fails permanently: attempts after the first |
//! | `kinesis_sink_buffering_time` | histogram | seconds | | when a record is first sent: time since it was accepted |
//! | `kinesis_sink_delivery_time` | histogram | seconds | | when a record is delivered: time since it was accepted |
//! | `kinesis_sink_user_records_per_kinesis_record` | histogram | records | | for each entry of a request |
//! | `kinesis_sink_user_records_per_put_records_request` | histogram | records | | for each request |
//! | `kinesis_sink_put_records_requests_flushed` | counter | requests | `reason` | for each request, by flush reason |
//! | `kinesis_sink_kinesis_records_data_put` | counter | bytes | | when a Kinesis record is delivered: its data and partition key |
//! | `kinesis_sink_shard_kinesis_records_put` | counter | Kinesis records | `shard` | when a Kinesis record is delivered |
//! | `kinesis_sink_shard_kinesis_records_throttled` | counter | Kinesis records | `shard` | when a Kinesis record is throttled |
//! | `kinesis_sink_shard_rate_limit` | gauge | Kinesis records per second | `shard` | after a response for the shard: the maximum send rate of the sink |
//!
//! Metrics of a sink with a spool (feature `spool`):
//!
//! | name | type | unit | labels | recorded |
//! |---|---|---|---|---|
//! | `kinesis_sink_spool_bytes` | gauge | bytes | | after each change: size on disk, with preallocated space |
//! | `kinesis_sink_spool_records` | gauge | records | | after each change: records that are neither delivered nor taken |
//! | `kinesis_sink_spool_oldest_age` | gauge | seconds | | after each change: time since the oldest record was accepted, at most |
//! | `kinesis_sink_spool_sync_duration` | histogram | seconds | | after each sync to the disk |
//! | `kinesis_sink_spool_damaged_frames` | counter | places | | when a damaged place is found |
//!
//! Metrics of the layer:
//!
//! | name | type | unit | labels | recorded |
//! |---|---|---|---|---|
//! | `kinesis_sink_put_records_requests` | counter | requests | | at `call` |
//! | `kinesis_sink_put_records_requests_in_flight` | gauge | requests | | from `call` until the future completes or is dropped |
//! | `kinesis_sink_kinesis_records_per_put_records_request` | histogram | Kinesis records | | at `call` |
//! | `kinesis_sink_request_time` | histogram | seconds | | at a response or error: time since `call` |
//! | `kinesis_sink_kinesis_records_put` | counter | Kinesis records | | at a response: entries delivered |
//! | `kinesis_sink_all_errors` | counter | Kinesis records | | at a response: entries that failed; at an error: all entries |
//! | `kinesis_sink_errors_by_code` | counter | Kinesis records | `code` | as `kinesis_sink_all_errors`, by error code |
//!
//! Whenever a sink has updated its metrics, `kinesis_sink_user_records_received` equals the sum of the records put,
//! failed, withdrawn and pending.
//!
//! # When a sink updates its metrics
//!
//! A sink updates its metrics only while it is polled: after each request and response, and otherwise every 100 ms. The
//! sink does not wake its task for an update. While the sink waits for a response or a backoff, the age of the oldest
//! record can be out of date by the length of that wait. Ages have a resolution of 100 µs.
//!
//! Sinks that send to the same stream share its metrics. Counters, `user_records_pending` and `buffered_bytes` are sums
//! over the sinks. `oldest_record_age` and `shard_rate_limit` have the value of the sink that updated them last. The
//! rate limit of a closed shard keeps its last value.
//!
//! # Labels
//!
//! Each label has a bounded number of values, even if a server returns arbitrary codes or ids:
//!
//! - `stream` is the name of the stream. The streams of a router have a [maximum number of
//!   values](#streams-of-a-router).
//! - `code` is an error code of the service or of this crate. Codes unknown to this crate are recorded as `other`.
//! - `reason` of a request is its flush reason: `full` (nothing more fits), `idle` (no request was in flight), `linger`
//!   (the oldest record has waited for the linger), `backpressure` (the buffer is full), `close` (the sink is closing),
//!   `bisected` (the request is part of a request that was rejected as invalid), `isolated` (the request retries records
//!   that keep failing, separately from other records).
//! - `reason` of a failed record is the [code](crate::record::FailureReason::code) of its failure: `rejected`,
//!   `attempts_exhausted`, `deadline_exceeded` or `refused`.
//! - `shard` is the id of the shard that the sink expected for a Kinesis record. The label is `unknown` until the sink
//!   knows the shards, and always `unknown` on streams that
//!   [distribute records themselves](crate::stream::Distribution::Auto). A sink records at most 1,000 shards by id, and
//!   all further shards as `other`. [`MetricsGranularity::Stream`] turns off all metrics with this label.
//!
//! The throttle rate of a shard is the fraction of its entries that were throttled. In PromQL:
//!
//! ```text
//! rate(kinesis_sink_shard_kinesis_records_throttled[1m])
//!   / (rate(kinesis_sink_shard_kinesis_records_throttled[1m]) + rate(kinesis_sink_shard_kinesis_records_put[1m]))
//! ```
//!
//! # Streams of a router
//!
//! A [`Router`](crate::router::Router) can have thousands of streams. The first streams that it opens have their names
//! as the label `stream`, up to [`RouterSettings::metric_streams`](crate::router::RouterSettings::metric_streams),
//! which is 100 by default. All other streams share the value `/other` ([`names::OTHER_STREAMS`]). A stream that is
//! closed and opened again keeps its label.
//!
//! A stream that has been idle for one or two minutes releases the handles of its metrics. It registers them again when it
//! is used, and their values continue.
//!
//! The router chooses the label, which also applies to the metrics of every [`MetricsLayer`] below it. For the value
//! `/other`:
//!
//! - Counters, histograms, and the gauges of pending records, buffered bytes, and requests in flight are sums over the
//!   streams. A sum over all labels is therefore a sum over all streams.
//! - `oldest_record_age` is the maximum over the streams. If several routers have such streams, it has the value of the
//!   router that updated it last.
//! - There are no metrics with the label `shard`, because the number of shards of all streams is not bounded.
//!
//! With `metric_streams = 0`, the router has only metrics with the value `/other`. The value is not a valid name of a
//! stream, and contains no special characters of regular expressions.
//!
//! # Cancel safety
//!
//! Dropping the future drops the call of the inner service, so the middleware is as cancel safe as that service. A
//! dropped request no longer counts as in flight. It is counted in `put_records_requests` and
//! `kinesis_records_per_put_records_request`, but not in the metrics that are recorded at a response or error.

mod future;
mod handles;
mod layer;
pub mod names;
mod service;
mod shards;
mod sink;
#[cfg(feature = "spool")]
mod spool;
mod streams;

pub use future::ResponseFuture;
pub use layer::MetricsLayer;
pub use service::Metrics;
pub(crate) use sink::SinkMetrics;
#[cfg(feature = "spool")]
pub(crate) use spool::{SpoolMetrics, SpoolSample};
pub(crate) use streams::{StreamLabel, StreamLabels};

pub use crate::pipeline::MetricsGranularity;
