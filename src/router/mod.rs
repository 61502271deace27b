//! A producer that sends to many streams.
//!
//! A [`Router`] opens the producer of a stream when the first record is sent to it, and closes it when the stream has been
//! idle for a while. All producers share one client, its connections, and a [`Budget`](crate::budget::Budget).
//!
//! # Tutorial
//!
//! [`Router::builder`] returns a builder. It spawns the router onto the current tokio runtime:
//!
//! ```no_run
//! use kinesis_sink::{Record, Router};
//!
//! # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::builder().spawn(&client)?;
//!
//! router.send_to("clicks", Record::from("a click")).await?;
//! let receipt = router.put_to("orders", Record::from(("customer-7", "an order"))).await?;
//! println!("written to {}", receipt.await?.shard_id());
//!
//! router.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The [chapter of the guide](crate::guide::router) describes when to use a router, and has more examples.
//!
//! A stream is given by its name or ARN. A name and an ARN of the same stream are two streams for the router, so use only
//! one of them, or else the order of records is not kept between the two.
//!
//! ## Ways to send
//!
//! | method | completes | result |
//! |---|---|---|
//! | [`send_to`](Router::send_to), [`try_send_to`](Router::try_send_to) | when the record is accepted | |
//! | [`put_to`](Router::put_to), [`try_put_to`](Router::try_put_to) | when the record is accepted | a [`Receipt`], the future of its [`Delivery`](crate::Delivery) |
//! | [`sink()`](Router::sink) | immediately | a [`futures::Sink`] of streams and records, for `forward` and `send_all` |
//! | [`producer`](Router::producer) | immediately | the [`Producer`] of one stream, which stays open |
//! | [`tower::Service`] | when the record is delivered | a `Delivery`; allows tower layers and `call_all` for single records |
//!
//! ## Settings
//!
//! [`RouterSettings`] contains the settings of all streams and of individual streams. It can be deserialized from a
//! configuration file. [`RouterBuilder::configure_stream`] sets options that are not plain data, such as a dead-letter
//! handler:
//!
//! ```no_run
//! use kinesis_sink::router::RouterSettings;
//! use kinesis_sink::{Aggregation, Router};
//!
//! # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = RouterSettings::default();
//! settings.defaults.max_attempts = Some(100);
//! let mut clicks = settings.defaults.clone();
//! clicks.aggregation = Aggregation::PerShard;
//! settings.streams.insert("clicks".parse()?, clicks);
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
//! # Open streams
//!
//! A stream is opened by its first use, which builds its producer and sends no request. It is idle if the router has no
//! record of it, not even a failed one, and if no [`Producer`], sink or call uses it. A stream that has been idle for the
//! [`idle_timeout`](RouterSettings::idle_timeout) is closed, within an eighth of the timeout. The next use opens it again.
//! Nothing is lost, and the order of records with the same key is kept, because an idle stream has no records.
//!
//! A stream that has been idle for one or two minutes releases the memory of its buffers. It then holds about 4 KiB, and
//! 150 bytes for each further shard.
//!
//! At most [`max_streams`](RouterSettings::max_streams) streams are open. If a further stream is used,
//! [`when_full`](RouterSettings::when_full) determines what happens:
//!
//! - [`WhenFull::Evict`] closes the idle stream that has not been used for the longest time. If no stream is idle,
//!   `send_to` and `put_to` wait until one is idle, and the methods that do not wait return
//!   [`ErrorKind::TooManyStreams`](crate::ErrorKind::TooManyStreams). Waiting calls are served in order.
//! - [`WhenFull::Reject`] returns `TooManyStreams` with the record.
//!
//! # Bounds
//!
//! The streams share a [budget](RouterSettings::budget) of records, bytes, and requests in flight, which is divided by the
//! [fair-share rule](crate::budget#fair-share). Each stream also has the bounds of its [`Settings`](crate::Settings). A
//! stream that makes no progress holds its reserve and at most half of the common space. While a stream has no
//! capacity, `send_to` and `put_to` wait, and calls for other streams do not.
//!
//! # Streams that cannot be used
//!
//! A missing stream, a stream that is being deleted, or one to which the permissions are missing does not affect the other
//! streams. Its [condition](Router::stream_status) shows the error. The
//! [`FatalPolicy`](crate::settings::FatalPolicy) of its settings applies: by default its producer stops, its records are
//! returned by their receipts, the dead-letter handler or [`take_failed`](Router::take_failed), and each call returns
//! [`ErrorKind::Stopped`](crate::ErrorKind::Stopped) with the record. The first use after the `idle_timeout` opens the stream
//! again, once `take_failed` has returned all of its records. Until then, they count towards the budget.
//!
//! # Shutdown
//!
//! [`close`](Router::close) and [`close_within`](Router::close_within) close all streams. Their errors are merged: the error
//! contains the undelivered records of all streams, and each [`Undelivered`] has its
//! [stream](Undelivered::stream).
//!
//! If the last handle is dropped, the producers drain their records and end. Clones and [sinks](RouterSink) are handles.
//! A stream whose [`Producer`] is in use elsewhere stays open until that handle is dropped, too.

mod builder;
mod close;
mod entry;
mod factory;
mod maintenance;
mod service;
mod settings;
mod shared;
mod sink;
mod status;
mod streams;
mod waiters;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use builder::RouterBuilder;
pub use settings::{RouterSettings, WhenFull};
pub use sink::RouterSink;
pub use status::RouterStatus;

use self::shared::Shared;
use crate::error::Error;
use crate::producer::Producer;
use crate::record::{Receipt, Record, Undelivered};
use crate::status::Status;

/// Cheaply cloneable handle to producers of many streams, which are opened on first use.
///
/// The [module documentation](self) describes when streams are opened and closed. Handles can be used in any task, and
/// outside of the runtime in which the router was built.
///
/// # Errors
///
/// If a record is not accepted, the error [contains it](Error::into_record), and [`Error::stream`] returns the stream.
///
/// # Cancel safety
///
/// If the future of `send_to` or `put_to` is dropped before it is ready, the record is not accepted: it is dropped and
/// loses its place in the queue. The other methods document their cancel safety.
#[derive(Clone)]
pub struct Router(Arc<Shared>);

impl Router {
    /// Returns a builder for a router.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::default()
    }

    /// Sends a record to a stream, waiting until the stream has capacity for it.
    ///
    /// `stream` is a stream name, an ARN or a [`StreamId`](crate::StreamId). The future completes when the record is
    /// accepted, not when it is delivered. Use [`put_to`](Self::put_to) to get a receipt that completes with the outcome.
    ///
    /// # Errors
    ///
    /// The error contains [the record](Error::into_record). It is one of the errors of [`Producer::send`], or its kind is
    ///
    /// - [`Build`](crate::ErrorKind::Build) if the stream cannot be opened, because it is neither a name nor an ARN, because
    ///   it is in another region, or because its settings are invalid;
    /// - [`TooManyStreams`](crate::ErrorKind::TooManyStreams) with [`WhenFull::Reject`];
    /// - [`Closed`](crate::ErrorKind::Closed) if the router was closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the record is not accepted and is dropped.
    pub async fn send_to(&self, stream: impl AsRef<str>, record: Record) -> Result<(), Error> {
        match self.0.acquire_when_idle(stream.as_ref()).await {
            Ok(guard) => guard.producer().send(record).await,
            Err(error) => Err(error.with_record(record)),
        }
    }

    /// Sends a record to a stream, waiting until the stream has capacity for it, and returns the receipt of the record.
    ///
    /// The future completes when the record is accepted. The receipt completes when the record is settled. As with
    /// [`Producer::put`], an earlier receipt of the record completes as if the record had been dropped.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`send_to`](Self::send_to).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the record is not accepted and is dropped.
    pub async fn put_to(&self, stream: impl AsRef<str>, record: Record) -> Result<Receipt, Error> {
        match self.0.acquire_when_idle(stream.as_ref()).await {
            Ok(guard) => guard.producer().put(record).await,
            Err(error) => Err(error.with_record(record)),
        }
    }

    /// Tries to send a record to a stream without waiting.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`send_to`](Self::send_to). If `send_to` would wait, the kind is
    /// [`Full`](crate::ErrorKind::Full) or [`TooManyStreams`](crate::ErrorKind::TooManyStreams).
    pub fn try_send_to(&self, stream: impl AsRef<str>, record: Record) -> Result<(), Error> {
        match self.0.acquire(stream.as_ref()) {
            Ok(guard) => guard.producer().try_send(record),
            Err(error) => Err(error.with_record(record)),
        }
    }

    /// Tries to send a record like [`try_send_to`](Self::try_send_to), and returns the receipt of the record.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`try_send_to`](Self::try_send_to).
    pub fn try_put_to(&self, stream: impl AsRef<str>, record: Record) -> Result<Receipt, Error> {
        match self.0.acquire(stream.as_ref()) {
            Ok(guard) => guard.producer().try_put(record),
            Err(error) => Err(error.with_record(record)),
        }
    }

    /// Returns a handle to the producer of a stream, and opens the stream if necessary.
    ///
    /// The stream stays open until the handle is dropped. Closing the producer closes the stream for all users of the
    /// router. When its records are settled, the next use opens it again.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`try_send_to`](Self::try_send_to), without a record, if the stream cannot be opened.
    pub fn producer(&self, stream: impl AsRef<str>) -> Result<Producer, Error> {
        self.0.acquire(stream.as_ref()).map(|guard| guard.producer().clone())
    }

    /// Returns the status: the sums over all streams.
    ///
    /// The cost is proportional to the number of open streams.
    #[must_use]
    pub fn status(&self) -> RouterStatus {
        self.0.status()
    }

    /// Returns the status of a stream, or `None` if the stream is not open. Does not count as a use of the stream.
    #[must_use]
    pub fn stream_status(&self, stream: impl AsRef<str>) -> Option<Status> {
        self.0.stream_status(stream.as_ref())
    }

    /// Returns the statuses of all open streams, in any order.
    #[must_use]
    pub fn stream_statuses(&self) -> Vec<Status> {
        self.0.stream_statuses()
    }

    /// Waits until all records that were accepted before the call, through any handle, are settled.
    ///
    /// All streams are flushed concurrently.
    ///
    /// # Errors
    ///
    /// Returns the error of [`Producer::flush`] if one stream returns an error. If several streams return errors, they are
    /// merged into one error. Its message contains the number of streams, and its kind is that of the most severe error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn flush(&self) -> Result<(), Error> {
        self.0.flush().await
    }

    /// Takes the failed records of all streams that were not returned by a receipt or passed to a dead-letter handler.
    ///
    /// [`Undelivered::stream`] returns the stream of a record. The records of a stream are in the order in which they were
    /// accepted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not lose records: the next call returns them.
    #[must_use = "the records are no longer in the router"]
    pub async fn take_failed(&self) -> Vec<Undelivered> {
        self.0.take_failed().await
    }

    /// Closes the router, and waits until all accepted records are settled and the drivers of all streams have ended.
    ///
    /// When the future is polled for the first time, all handles stop accepting records. The [producers](Self::producer) of
    /// all streams are closed, too. This method can be called on any handle, any number of times.
    ///
    /// # Errors
    ///
    /// Returns the error of [`Producer::close`] if one stream returns an error. If several streams return errors, they are
    /// merged as described in [`flush`](Self::flush). The error contains the
    /// [undelivered records](Error::undelivered) of all streams.
    ///
    /// # Cancel safety
    ///
    /// The first poll closes the router. If the future is dropped afterwards, the drivers continue to drain the accepted
    /// records. No record is lost: the next call returns the undelivered records.
    pub async fn close(&self) -> Result<(), Error> {
        self.0.close_all(None).await
    }

    /// Closes the router, and withdraws the records that are not settled within `deadline`.
    ///
    /// See [`Producer::close_within`].
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`close`](Self::close).
    ///
    /// # Panics
    ///
    /// Panics if it is called outside of a tokio runtime or if the timer of the runtime is disabled.
    ///
    /// # Cancel safety
    ///
    /// See [`close`](Self::close). If the future is dropped before the deadline, no record is withdrawn.
    pub async fn close_within(&self, deadline: Duration) -> Result<(), Error> {
        self.0.close_all(Some(deadline)).await
    }

    /// Waits until the router is closed. Does not close the router.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Returns `true` if the router was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("open_streams", &self.0.streams().len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
