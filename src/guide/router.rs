//! One producer, many streams: [`Router`](crate::Router) and [`Budget`](crate::budget::Budget).
//!
//! A router sends records to any number of streams, for example one per tenant. It opens the [`Producer`] of a stream
//! on first use, and closes it when the stream is idle. All streams share one client, its connections, and a budget of
//! buffered records, bytes and requests in flight:
//!
//! ```
//! use kinesis_sink::{Record, Router};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{SimRegion, SimStream};
//! # let region = SimRegion::new();
//! # for name in ["clicks", "orders"] {
//! #     region.add(SimStream::builder().with_name(name).build()?);
//! # }
//! # let client = region.client();
//! let router = Router::builder().spawn(&client)?;
//!
//! router.send_to("clicks", Record::from("a click")).await?;
//! let receipt = router.put_to("orders", Record::from(("customer-7", "an order"))).await?;
//! println!("written to {}", receipt.await?.shard_id());
//!
//! router.close().await?;
//! # assert_eq!(region.get("clicks").unwrap().written().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Router or producer
//!
//! | | [`Producer`] | `Router` |
//! |---|---|---|
//! | streams | one | any number, chosen per record |
//! | set of streams | known when the program starts | can change while the program runs |
//! | memory | bounded per stream | bounded for all streams together |
//! | settings | of the stream | defaults, and settings of individual streams |
//! | cost per record | that of a producer | in addition, a lookup of the stream and a read lock |
//!
//! With two or three streams whose names you know, use a producer for each. They can [share a
//! budget](#sinks-and-producers-with-a-budget) as well. With more streams, or if a record determines its stream, use a
//! router.
//!
//! # Sending
//!
//! `send_to`, `put_to`, `try_send_to` and `try_put_to` correspond to the [methods of a
//! producer](super::producer#ways-to-send). A call waits only for its own stream. A task that sends to several streams
//! is therefore as slow as the slowest of them. To avoid this, use one task per stream, or `try_send_to`, which returns
//! the record if the stream has no capacity:
//!
//! ```
//! use kinesis_sink::{ErrorKind, Record, Router};
//!
//! /// Stores an event of a tenant, and returns the HTTP status of the response.
//! fn store(router: &Router, tenant: &str, event: String) -> u16 {
//!     match router.try_send_to(tenant, Record::from(event)) {
//!         Ok(()) => 202,
//!         // Only this tenant has to slow down.
//!         Err(error) if error.kind() == ErrorKind::Full => 429,
//!         Err(_) => 503,
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{Faults, SimRegion, SimStream};
//! # let region = SimRegion::new();
//! # region.add(SimStream::builder().with_name("small").build()?);
//! # let outage = Faults::default().with_outage("ServiceUnavailable", 503);
//! # region.add(SimStream::builder().with_name("large").with_faults(outage).build()?);
//! # let router = Router::builder().spawn(&region.client())?;
//! # while store(&router, "large", "event".into()) == 202 {}
//! # assert_eq!(store(&router, "large", "event".into()), 429);
//! # assert_eq!(store(&router, "small", "event".into()), 202);
//! # assert_eq!(store(&router, "no valid name", "event".into()), 503);
//! # Ok(())
//! # }
//! ```
//!
//! [`router.sink()`](crate::Router::sink) is a `futures::Sink` of pairs of a stream and a record. It accepts a record
//! even if the stream has no capacity, because the next stream is not known in advance, and then waits until the stream
//! has capacity. To separate fast and slow streams, use a sink for each group of streams.
//!
//! # Settings
//!
//! [`RouterSettings`](crate::router::RouterSettings) can be read from a configuration file with the feature `serde`.
//! The table of a stream overlays `defaults`:
//!
//! ```
//! use kinesis_sink::Router;
//! use kinesis_sink::router::RouterSettings;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = kinesis_sink::sim::SimRegion::new().client();
//! let settings: RouterSettings = toml::from_str(r#"
//!     max_streams = 500
//!
//!     [budget]
//!     buffer_bytes = "128MiB"
//!
//!     [defaults]
//!     buffer_bytes = "8MiB"
//!
//!     [streams.clicks]
//!     aggregation = "per_shard"
//!
//!     [streams.orders]
//!     ordering = "per_key"
//! "#)?;
//!
//! let router = Router::builder()
//!     .with_settings(settings)
//!     .configure_stream(|stream, builder| {
//!         let name = stream.name().to_owned();
//!         builder.with_dead_letters(move |undelivered| eprintln!("{name}: {}", undelivered.reason()))
//!     })
//!     .spawn(&client)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`configure_stream`](crate::router::RouterBuilder::configure_stream) sets what is not plain data: dead-letter
//! handlers, classifiers, and sources of stream information. It can also change any setting, and is called each time a
//! stream is opened. Settings that code inserts into `streams` replace `defaults` instead of overlaying them.
//! [`spawn_with`](crate::router::RouterBuilder::spawn_with) sends the requests of all streams through a custom
//! [stack](super::layers).
//!
//! # Budget
//!
//! A [`Budget`](crate::budget::Budget) bounds the buffered records, their bytes and the requests in flight of all
//! streams together. Its [fair-share rule](crate::budget#fair-share) divides it between the open streams:
//!
//! - One half of the budget is divided into equal reserves, one for each stream.
//! - The other half is common space. A stream can use it as long as it uses at most as much as is free afterwards. A
//!   throttled stream, or one with an outage, therefore takes at most half of what the others have left.
//! - A stream that holds nothing gets whatever is free. Streams that wait are served in the order of the parts that
//!   they hold, the smallest first.
//!
//! The rule also applies to requests in flight: streams whose requests time out do not use up
//! [`max_in_flight`](crate::budget::BudgetSettings::max_in_flight).
//!
//! ```
//! use kinesis_sink::router::RouterSettings;
//! use kinesis_sink::{Record, Router};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{Faults, SimRegion, SimStream};
//! # let region = SimRegion::new();
//! # region.add(SimStream::builder().with_name("clicks").build()?);
//! # let outage = Faults::default().with_outage("ServiceUnavailable", 503);
//! # region.add(SimStream::builder().with_name("orders").with_faults(outage).build()?);
//! # let client = region.client();
//! let mut settings = RouterSettings::default();
//! settings.budget.buffer_records = 1_000;
//! let router = Router::builder().with_settings(settings).spawn(&client)?;
//!
//! // The stream `orders` has an outage.
//! while router.try_send_to("orders", Record::from("an order")).is_ok() {}
//! assert_eq!(router.status().buffered().records, 283);
//!
//! for number in 0..5_000 {
//!     router.send_to("clicks", Record::from(format!("click {number}"))).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! To limit a stream further, lower its own bounds, [`buffer_records`](crate::Settings::buffer_records) and
//! [`buffer_bytes`](crate::Settings::buffer_bytes).
//!
//! # Busy shards
//!
//! Within a stream, the rule divides the producer's buffer between the shards, so that a throttled or busy shard does
//! not fill it. Calls for the same shard wait in the order in which they were made. Calls for other shards do not wait
//! for them, and records without a partition key are sent to a shard that has capacity:
//!
//! ```
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(4);
//! # let client = example.client();
//! let producer = KinesisSink::builder("example")
//!     .configure(|settings| settings.buffer_records = Some(1_000))
//!     .build(&client)?
//!     .spawn();
//! # for number in 0..800 {
//! #     producer.send(Record::from((format!("{number}"), "data"))).await?;
//! # }
//! # producer.flush().await?;
//! # example.set_faults(kinesis_sink::sim::Faults::default().with_outage("ServiceUnavailable", 503));
//!
//! // The shard of this key is in an outage. It gets its reserve, and half of the common space.
//! let mut buffered = 0;
//! while producer.try_send(Record::from(("hot", "data"))).is_ok() {
//!     buffered += 1;
//! }
//! assert_eq!(buffered, 334);
//!
//! producer.send(Record::from(("another key", "data"))).await?;
//! producer.send(Record::from("without a key")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Shares apply once the producer knows the shards, which it [learns from
//! responses](super::pacing#finding-the-shard-of-a-record). On streams that choose the shard themselves, all records
//! have one share. A [`KinesisSink`](crate::KinesisSink) has one source and no shares: while its buffer is full, the
//! source waits.
//!
//! # Streams that cannot be used
//!
//! A stream can be missing, can be deleted while records are sent, or can deny access. Only its own records are
//! affected. By default, its producer stops, and the records are returned. The error contains the stream:
//!
//! ```
//! use kinesis_sink::{ErrorKind, Record, Router};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{SimRegion, SimStream};
//! # let region = SimRegion::new();
//! # region.add(SimStream::builder().with_name("clicks").build()?);
//! # let client = region.client();
//! let router = Router::builder().spawn(&client)?;
//!
//! let receipt = router.put_to("clocks", Record::from("a misspelt stream")).await?;
//! let undelivered = receipt.await.unwrap_err();
//! println!("{}", undelivered.reason()); // … ResourceNotFoundException: …
//! # assert!(undelivered.reason().to_string().contains("ResourceNotFoundException"));
//!
//! // Later records are returned immediately.
//! let error = router.send_to("clocks", Record::from("another record")).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Stopped);
//! assert_eq!(error.stream().map(|stream| stream.name()), Some("clocks"));
//! let _record = error.into_record();
//!
//! router.put_to("clicks", Record::from("a click")).await?.await?;
//! # Ok(())
//! # }
//! ```
//!
//! | record | returned by |
//! |---|---|
//! | with a receipt | its receipt |
//! | without a receipt | the dead-letter handler, or [`take_failed`](crate::Router::take_failed) |
//! | sent after the producer has stopped | the error of the call |
//! | not taken until the router is closed | the error of `close` |
//!
//! Returned records count towards the budget until they are taken, so take them regularly, or set a dead-letter
//! handler. The first use after [`idle_timeout`](crate::router::RouterSettings::idle_timeout) opens the stream again,
//! if all of its records were taken. The router therefore sends only a few requests per timeout to a missing stream,
//! and recovers when the stream is created. With [`FatalPolicy::Retry`](crate::settings::FatalPolicy), the producer
//! keeps its records and retries instead. It then holds a part of the budget.
//!
//! # Idle streams
//!
//! A stream is idle if the router has no record of it, not even a failed one, and no [`Producer`], sink or call uses
//! it. An idle stream is closed after `idle_timeout`, 5 minutes by default. Its next use opens it again, which sends no
//! request, except with settings that [describe the stream](crate::SinkBuilder::with_stream_info).
//!
//! At most [`max_streams`](crate::router::RouterSettings::max_streams) streams are open. If a record is for a further
//! stream, [`when_full`](crate::router::RouterSettings::when_full) applies. By default, the router closes the idle
//! stream that has not been used for the longest time. If no stream is idle, the call waits.
//!
//! A closed stream forgets its shard map and its rates. If streams are opened and closed all the time, because
//! `max_streams` is lower than the number of streams in use,
//! [`RouterStatus::opened`](crate::router::RouterStatus::opened) grows fast.
//!
//! # Status and metrics
//!
//! [`status`](crate::Router::status) returns the sums over all streams, [`stream_status`](crate::Router::stream_status)
//! the status of one stream, and [`stream_statuses`](crate::Router::stream_statuses) those of all open streams:
//!
//! ```
//! use kinesis_sink::Router;
//!
//! /// Prints the streams that do not deliver records.
//! fn report(router: &Router) {
//!     let status = router.status();
//!     println!("{} of {} records buffered", status.buffered().records, status.capacity.records);
//!     for stream in router.stream_statuses() {
//!         if let Some(error) = stream.condition.error() {
//!             println!("{}: {error}, oldest record: {:?}", stream.stream.name(), stream.oldest_age);
//!         }
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #     let router = Router::builder().spawn(&kinesis_sink::sim::SimRegion::new().client())?;
//! #     let _ = router.put_to("missing", "data".into()).await?.await;
//! #     tokio::task::yield_now().await;
//! #     assert!(router.stream_status("missing").unwrap().condition.error().is_some());
//! #     report(&router);
//! #     Ok(())
//! # }
//! ```
//!
//! With the feature `metrics`, the first
//! [`metric_streams`](crate::router::RouterSettings#structfield.metric_streams) streams have separate metrics, 100 by
//! default. All other streams share the label value `/other`, so that the number of time series is bounded.
//!
//! # Shutdown
//!
//! [`flush`](crate::Router::flush), [`close`](crate::Router::close) and [`close_within`](crate::Router::close_within)
//! apply to all streams concurrently. The error contains the undelivered records of all streams:
//!
//! ```
//! use std::time::Duration;
//!
//! use kinesis_sink::{Record, Router};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{Faults, SimRegion, SimStream};
//! # let region = SimRegion::new();
//! # region.add(SimStream::builder().with_name("clicks").build()?);
//! # let outage = Faults::default().with_outage("ServiceUnavailable", 503);
//! # region.add(SimStream::builder().with_name("orders").with_faults(outage).build()?);
//! # let client = region.client();
//! let router = Router::builder().spawn(&client)?;
//! for stream in ["clicks", "orders"] {
//!     router.send_to(stream, Record::from("data")).await?;
//! }
//!
//! if let Err(error) = router.close_within(Duration::from_secs(10)).await {
//!     for undelivered in error.into_undelivered() {
//!         // Store the record elsewhere, together with its stream.
//!         println!("{:?}: {}", undelivered.stream(), undelivered.reason());
//! #       assert_eq!(undelivered.stream().unwrap().name(), "orders");
//!     }
//! }
//! # assert_eq!(region.get("clicks").unwrap().written().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Sinks and producers with a budget
//!
//! Sinks and producers that you build yourself can share a budget, with each other and with routers:
//!
//! ```
//! use kinesis_sink::budget::{Budget, BudgetSettings};
//! use kinesis_sink::{KinesisSink, Record, Router};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use kinesis_sink::sim::{SimRegion, SimStream};
//! # let region = SimRegion::new();
//! # for name in ["audit", "clicks"] {
//! #     region.add(SimStream::builder().with_name(name).build()?);
//! # }
//! # let client = region.client();
//! let budget = Budget::new(BudgetSettings::default())?;
//! let audit = KinesisSink::builder("audit").with_budget(&budget).build(&client)?.spawn();
//! let router = Router::builder().with_budget(&budget).spawn(&client)?;
//!
//! audit.send(Record::from("a login")).await?;
//! router.send_to("clicks", Record::from("a click")).await?;
//! assert_eq!(budget.buffered().records, 2);
//! # audit.close().await?;
//! # router.close().await?;
//! # assert_eq!(budget.buffered().records, 0);
//! # Ok(())
//! # }
//! ```
//!
//! A `KinesisSink` with a budget must be polled, or dropped: its records count until they are settled or taken.
//!
//! [`Producer`]: crate::Producer
