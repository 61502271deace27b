//! Durable spool: records that were accepted are kept on disk until they are delivered.
//!
//! Without a spool, accepted records are only in memory: a crash loses them, and an outage that lasts longer than the
//! buffer stops the source. With a spool, a [`Producer`](crate::Producer) writes each record to files in a directory
//! before it sends it, and removes it when it is delivered. After a crash or a restart, the records that are left are
//! sent before any new record.
//!
//! Requires the feature `spool`.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use kinesis_sink::spool::{Spool, Sync, WhenFull};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let spool = Spool::at("/var/lib/app/clicks")
//!     .with_max_bytes(10 << 30)
//!     .with_sync(Sync::Interval(Duration::from_millis(100)))
//!     .when_full(WhenFull::Wait);
//! let producer = KinesisSink::builder("clicks").with_spool(spool).build(&client)?.spawn();
//! println!("{} records of the last run are sent first", producer.recovered());
//!
//! let receipt = producer.put(Record::from(("device-7", "21.5"))).await?; // On disk, as durable as `Sync` says.
//! receipt.await?; // In the stream.
//!
//! // Leaves undelivered records to the next run, instead of waiting for them.
//! producer.close_within(Duration::ZERO).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What survives
//!
//! A record is accepted when [`send`](crate::Producer::send) or [`put`](crate::Producer::put) completes. An accepted
//! record survives a crash of the process at any time. [`Sync`] decides what survives a power cut, or a crash of the
//! operating system:
//!
//! | setting | `send` and `put` complete | a power cut loses |
//! |---|---|---|
//! | [`Sync::Always`] | after a sync, which concurrent calls share | nothing |
//! | [`Sync::Interval(d)`](Sync::Interval) | after the write | at most the records of the last `d` |
//! | [`Sync::Never`] | after the write | what the operating system has not written |
//!
//! A sync is as durable as the disk: `fsync` on Linux, `F_FULLFSYNC` on macOS, and `FlushFileBuffers` on Windows, as
//! the standard library calls them. If a sync fails, the affected records are written again to a new segment, and the
//! failed sync is never repeated on the same data.
//!
//! [`try_send`](crate::Producer::try_send), [`try_put`](crate::Producer::try_put), [`sink`](crate::Producer::sink),
//! [`put_all`](crate::Producer::put_all), and the [`Service`](tower::Service) only stage a record, because they must not
//! wait. The record is written soon afterwards. To be sure that it is in the stream, wait for its receipt, or call
//! [`flush`](crate::Producer::flush).
//!
//! # Duplicates
//!
//! Delivery stays at least once. After a crash, records come again that were delivered, but whose acknowledgement was
//! not on disk yet. Acknowledgements are written within the interval of [`Sync::Interval`], at most 100 ms, and are
//! synced with the records.
//!
//! A failed record without a receipt stays in the spool until the dead-letter handler or
//! [`take_failed`](crate::Producer::take_failed) takes it. A record that is not taken is sent again after
//! the next start.
//!
//! # Modes
//!
//! In the mode [`WriteAhead`](SpoolMode::WriteAhead), all records pass the disk. In the mode
//! [`Overflow`](SpoolMode::Overflow), records are written only if they do not fit into the buffer. This costs nothing on
//! good days and survives a clean shutdown, but a crash loses the records that are only in memory. A source that is always
//! faster than the stream fills the buffer, and then the disk.
//!
//! # Order
//!
//! Records leave the spool in the order in which they were accepted. With
//! [`RecordOrdering::PerKey`](crate::RecordOrdering::PerKey), the order of each key is kept across restarts as well.
//!
//! A producer with a spool does not divide its buffer [between the shards](crate::Producer#backpressure). If a shard is
//! throttled for long, its records fill the buffer, and records for other shards wait on disk.
//!
//! # Limits
//!
//! - **Disk.** The spool has a [maximum size](Spool::with_max_bytes). [`WhenFull`] decides what happens when it is
//!   reached, or when the disk or a quota is full. Segments are preallocated. Accepted records are not damaged by a full
//!   disk, and the producer accepts records again when there is space.
//! - **Memory.** In addition to the [buffer](crate::Settings::buffer_bytes), about 4 MiB of records wait to be written,
//!   up to 8 MiB wait to be sent, and up to 8 MiB are kept until they are synced. This does not depend on the size of the
//!   backlog. A receipt of a record that is only on disk takes about 200 bytes.
//! - **Start.** A start reads the index, and not the records.
//!
//! # Damage
//!
//! A damaged place costs the records in it, and no others. It is counted in the [status](SpoolStatus), logged, and
//! copied to the subdirectory `damaged`. The sink starts in any case, unless the spool is
//! [`strict`](Spool::strict). [`Spool::verify`] checks a spool that is not in use.
//!
//! # Owner and files
//!
//! A directory has one owner at a time. A second sink gets a [`BuildError`](crate::BuildError) that names the path. The
//! lock is released when the process ends, even by a crash. [`Producer::close`](crate::Producer::close) waits until it is
//! released. After the last handle was dropped, it is released in the background.
//!
//! The files contain payloads and keys in clear text. On Unix, only their owner can read them: the directory has the mode
//! 0700 and the files 0600. The format is documented in `docs/spool.md` in the repository.
//!
//! # Shutdown
//!
//! | | records that are not delivered |
//! |---|---|
//! | [`close`](crate::Producer::close) | are delivered first, also those on disk |
//! | [`close_within(d)`](crate::Producer::close_within) | are delivered for `d`; the rest stays in the spool |
//! | last handle dropped | are delivered in the background |
//! | driver dropped, runtime shut down | stay in the spool |
//! | fatal error with [`FatalPolicy::Stop`](crate::settings::FatalPolicy::Stop) | stay in the spool |
//!
//! Receipts of records that stay in the spool complete with
//! [`FailureReason::Spooled`](crate::record::FailureReason::Spooled). Such a record must not be sent again.

mod error;
mod files;
mod format;
#[cfg(test)]
mod fuzz_corpus;
mod info;
mod log;
mod settings;
mod status;
pub(crate) mod worker;

pub use error::{SpoolError, SpoolErrorKind};
pub use info::{SegmentInfo, SpoolDamage, SpoolInfo};
pub use settings::{Spool, SpoolMode, Sync, WhenFull};
pub use status::SpoolStatus;
