//! Metrics of sinks and their requests, for recorders of the [`metrics`] facade.
//!
//! Two sources: each [`KinesisSink`](crate::KinesisSink) measures its records by itself, see
//! [`Settings::metrics`](crate::Settings::metrics); [`MetricsLayer`] measures each request,
//! where it stands in the stack. The stack that [`SinkBuilder::build`](crate::SinkBuilder::build) makes has
//! it. Without a recorder installed by the application nothing is kept, and little is spent. Needs the feature
//! `metrics`, which is on by default.
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
//! // Before the sink is built: it registers with the recorder that is there.
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
//! The names are the KPL's in snake case, under the prefix `kinesis_sink_`; each has the label `stream`. As
//! constants they are in [`names`]. A *record* is what the sink was given, a *Kinesis record* what the service counts:
//! with aggregation many records are one.
//!
//! | of the sink | type | unit | labels | when |
//! |---|---|---|---|---|
//! | `kinesis_sink_user_records_received` | counter | records | | accepted |
//! | `kinesis_sink_user_records_put` | counter | records | | delivered |
//! | `kinesis_sink_user_records_data_put` | counter | bytes | | the same, data and partition keys |
//! | `kinesis_sink_user_records_failed` | counter | records | `reason` | given up |
//! | `kinesis_sink_user_records_withdrawn` | counter | records | | taken out, or abandoned with the sink, before they were settled |
//! | `kinesis_sink_user_records_pending` | gauge | records | | accepted and not settled |
//! | `kinesis_sink_buffered_bytes` | gauge | bytes | | buffered: queued, in flight, failed and not taken |
//! | `kinesis_sink_oldest_record_age` | gauge | seconds | | of the oldest record that is not settled; 0 if all are |
//! | `kinesis_sink_retries_per_record` | histogram | attempts | | delivered or given up: attempts beyond the first |
//! | `kinesis_sink_buffering_time` | histogram | seconds | | the first request with a record is made: since its acceptance |
//! | `kinesis_sink_delivery_time` | histogram | seconds | | delivered: since acceptance |
//! | `kinesis_sink_user_records_per_kinesis_record` | histogram | records | | a request is made: of each of its entries |
//! | `kinesis_sink_user_records_per_put_records_request` | histogram | records | | a request is made |
//! | `kinesis_sink_put_records_requests_flushed` | counter | requests | `reason` | a request is made |
//! | `kinesis_sink_kinesis_records_data_put` | counter | bytes | | delivered, data and partition keys |
//! | `kinesis_sink_shard_kinesis_records_put` | counter | Kinesis records | `shard` | delivered |
//! | `kinesis_sink_shard_kinesis_records_throttled` | counter | Kinesis records | `shard` | throttled |
//! | `kinesis_sink_shard_rate_limit` | gauge | Kinesis records a second | `shard` | what the shard is sent at most, after an answer about it |
//!
//! | of the layer | type | unit | labels | when |
//! |---|---|---|---|---|
//! | `kinesis_sink_put_records_requests` | counter | requests | | at `call` |
//! | `kinesis_sink_put_records_requests_in_flight` | gauge | requests | | `call` to answer, error or drop |
//! | `kinesis_sink_kinesis_records_per_put_records_request` | histogram | Kinesis records | | at `call` |
//! | `kinesis_sink_request_time` | histogram | seconds | | at an answer or error |
//! | `kinesis_sink_kinesis_records_put` | counter | Kinesis records | | at an answer: those delivered |
//! | `kinesis_sink_all_errors` | counter | Kinesis records | | entries that failed, and all of a failed request |
//! | `kinesis_sink_errors_by_code` | counter | Kinesis records | `code` | the same |
//!
//! Each time that a sink has reported all metrics, received is the sum of put, failed, withdrawn and pending.
//!
//! # When they are reported
//!
//! A sink reports its metrics when it is polled: after each request and response, and otherwise every 0.1 s. A sink
//! that is not polled reports nothing. While requests are in flight or back off, the sink is not woken, so the age of
//! the oldest record is not updated for up to one round trip or backoff. Records that were accepted within 0.1 ms of
//! each other count as equally old.
//!
//! Several sinks to one stream share the metrics: counters, `pending` and `buffered_bytes` add up. The age and the
//! paces are those of the sink that reported last. The pace of a shard that was closed stays as it was.
//!
//! # Labels
//!
//! All have few values, whatever a server answers:
//!
//! - `code` is one of a fixed set of words; unknown codes are `other`.
//! - `reason` of a cut: `full` (nothing more fits), `idle` (nothing was in flight), `linger` (its oldest record
//!   has waited for so long), `backpressure` (the buffer is full), `close`, `split` (one half of a request that
//!   was refused as invalid), `isolated` (records that failed alone before).
//! - `reason` of a failure is the [code](crate::record::FailureReason::code) of the record's reason: `rejected`,
//!   `attempts_exhausted`, `deadline_exceeded` or `refused`.
//! - `shard` is the shard's id where the sink knew beforehand which one it was, else `unknown`: before the first
//!   answers, and on streams that [place records themselves](crate::stream::Distribution::Auto). Shards beyond the
//!   first 1,000 that one sink meets are `other`. [`MetricsGranularity::Stream`] leaves out what has this label.
//!
//! The throttle rate of a shard is what was throttled of what was sent, in PromQL:
//!
//! ```text
//! rate(kinesis_sink_shard_kinesis_records_throttled[1m])
//!   / (rate(kinesis_sink_shard_kinesis_records_throttled[1m]) + rate(kinesis_sink_shard_kinesis_records_put[1m]))
//! ```
//!
//! # Cancel safety
//!
//! The layer's is that of the service inside; a dropped request leaves the gauge and is counted in no other way.

mod future;
mod layer;
pub mod names;
mod service;
mod shards;
mod sink;

pub use future::ResponseFuture;
pub use layer::MetricsLayer;
pub use service::Metrics;
pub(crate) use sink::SinkMetrics;

pub use crate::pipeline::MetricsGranularity;
