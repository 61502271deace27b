//! A durable spool: accepted records survive a crash, a power cut, and a long outage, with the feature `spool`.
//!
//! Without a spool, the records in the buffer are lost if the process is killed, and an outage that lasts longer than
//! the buffer stops the source. With a spool, a producer writes each record to a directory before it is accepted. The
//! record stays there until it is delivered, and the next process sends what the last one has left:
//!
//! ```
//! use std::time::Duration;
//!
//! use kinesis_sink::spool::{Spool, Sync, WhenFull};
//! use kinesis_sink::{KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let client = example.client();
//! # let directory = std::env::temp_dir().join(format!("kinesis-sink-guide-{}", std::process::id()));
//! let spool = Spool::at(&directory) // such as /var/lib/app/clicks
//!     .with_max_bytes(10 << 30)
//!     .with_sync(Sync::Interval(Duration::from_millis(100)))
//!     .when_full(WhenFull::Wait);
//! let producer = KinesisSink::builder("example").with_spool(spool).build(&client)?.spawn();
//! println!("{} records are left from the last run", producer.recovered());
//!
//! let receipt = producer.put(Record::from(("device-7", "21.5"))).await?; // on disk
//! receipt.await?; // in the stream
//! producer.close().await?;
//! # assert_eq!(example.written().len(), 1);
//! # std::fs::remove_dir_all(directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! ```toml
//! kinesis-sink = { version = "0.1", features = ["spool"] }
//! ```
//!
//! A spool needs a [`Producer`](crate::Producer). A `KinesisSink` that was built with a spool returns an error if it is
//! used as a sink.
//!
//! # What survives what
//!
//! A record is *accepted* when `send` or `put` returns `Ok`. What an accepted record survives depends on
//! [`Sync`](crate::spool::Sync):
//!
//! | event | `Sync::Always` | `Sync::Interval(d)` | `Sync::Never` |
//! |---|---|---|---|
//! | outage of the stream, or of the network | kept | kept | kept |
//! | panic, `kill -9`, or out-of-memory kill of the process | kept | kept | kept |
//! | crash of the operating system, or power cut | kept | the records of the last `d` can be lost | the records of about the last 30 s can be lost |
//! | loss of the disk or of the container | lost | lost | lost |
//! | a damaged block of the disk | the records in it are lost, the others are kept | the same | the same |
//!
//! - The default is `Interval` with 100 ms. `Always` makes each `send` wait for the disk; calls at the same time share
//!   one sync, so the throughput depends on how many tasks send.
//! - `Always` is as good as the disk: some consumer disks, hypervisors, and network file systems confirm a sync that
//!   they have not done. On macOS, a sync is `F_FULLFSYNC`; on Windows, it is `FlushFileBuffers`.
//! - **`try_send`, `try_put`, `producer.sink()` and the `tower::Service` only stage a record**: they return before it is
//!   on disk, at most 8,192 records or 4 MiB earlier. A kill loses staged records. To know that they are safe, `flush`
//!   or await the receipts, or use `send` and `put`.
//! - With the mode [`Overflow`](crate::spool::SpoolMode::Overflow), records in the buffer do not survive a kill.
//!
//! # At least once
//!
//! A spool adds duplicates to [those of retries](super::failures#unknown-outcomes-and-duplicates), and only after a
//! process was killed: acknowledgements are written every 100 ms, or with `Interval(d)` every `d` if that is less. So
//! the records that were delivered in the last 100 ms before the kill, and those in flight, are sent again. After a
//! shutdown, a record can be sent again if its response arrived at the same time. After a power cut, acknowledgements since the last sync can be lost as well.
//!
//! With [`RecordOrdering::PerKey`](super::ordering), the records that were recovered are sent before new ones of the
//! same key, in their order. A repeated part of the sequence is in order too: after a kill, a consumer can see
//! 1 2 3 4 3 4 5.
//!
//! # Layout
//!
//! ```text
//!  send, put                                                         to the stream
//!      |                                                                  ^
//!      v                                                                  |
//!  +--------+  one write   +----------------------+   in order   +----------------+
//!  | staged |------------->| newest segment       |------------->| buffer of the  |
//!  | 4 MiB  |  per group   |                      |  (from disk  | producer       |
//!  +--------+              | older segments       |   if memory  +----------------+
//!                          |                      |   is full)           |
//!                          +----------------------+                      | delivered
//!                                     ^                                  |
//!                                     | acknowledgements, every 100 ms   |
//!                                     +----------------------------------+
//!
//!  /var/lib/app/clicks/                           0700, all files 0600
//!     lock                                        held by the process that uses the spool
//!     00000000000000000000.seg                    records 0 to 16,383, in the order of acceptance
//!     00000000000000000000.ack                    which of them are delivered
//!     00000000000000016384.seg                    a segment is named after its first record
//!     00000000000000016384.ack
//!     damaged/                                    bytes that could not be read, for an analysis
//! ```
//!
//! A segment has 16 MiB by default. When all of its records are delivered, it is removed, also if older segments are
//! still needed. A record that cannot be delivered thus keeps the space of its segment only. The file `docs/spool.md`
//! of the repository describes the format.
//!
//! Memory is bounded: a long outage fills the disk and not the memory, and opening a spool reads an index and not the
//! records.
//!
//! # Write-ahead or overflow
//!
//! | | [`WriteAhead`](crate::spool::SpoolMode::WriteAhead), the default | [`Overflow`](crate::spool::SpoolMode::Overflow) |
//! |---|---|---|
//! | records on disk | all | those that do not fit into the buffer, and at shutdown those that are not delivered |
//! | survives a kill | all accepted records | only the records on disk |
//! | survives a clean shutdown | all accepted records | all accepted records |
//! | cost on good days | one write and one checksum per record | none |
//!
//! Use write-ahead if the source cannot send a record again. Use overflow if it can, or if a kill may lose the buffer,
//! and outages shall not stop the source.
//!
//! # When the disk is full
//!
//! A full disk, an exceeded quota, and the limit of [`with_max_bytes`](crate::spool::Spool::with_max_bytes) are the same
//! case. Accepted records are not affected, and new ones are handled as [`when_full`](crate::spool::Spool::when_full)
//! says: `Wait` stops the source, `Refuse` returns the record with
//! [`ErrorKind::SpoolFull`](crate::ErrorKind::SpoolFull), and `DropOldest` passes the oldest records to the
//! [dead-letter handler](super::failures#dead-letters). Service resumes by itself when there is space.
//!
//! # Shutdown
//!
//! | call | the records that are not delivered |
//! |---|---|
//! | [`close`](crate::Producer::close) | are delivered first, also those on disk |
//! | [`close_within(d)`](crate::Producer::close_within) | stay in the spool after `d`; their receipts return [`FailureReason::Spooled`](crate::record::FailureReason::Spooled) |
//! | `close_within(Duration::ZERO)` | stay in the spool: the instant close |
//!
//! On `SIGTERM`, use the instant close. The next process sends the rest.
//!
//! # Operation
//!
//! - **One process per directory.** A second one gets an error that names the path. The lock of a process that was
//!   killed does not block. A spool does not know its stream, so do not change the stream of a directory that is not
//!   empty.
//! - **Payloads and keys are stored in clear text**, readable only for the owner. If they must be encrypted, use an
//!   encrypted file system, or encrypt the data before you send it.
//! - **The disk must outlive the process.** The file system of a container does not: mount a volume, for example a
//!   StatefulSet's persistent volume. On a tmpfs, a spool survives a kill, but no restart of the machine. A `flock` must
//!   work, which is not the case on some network file systems.
//! - **Watch** `spool_records`, `spool_oldest_age` and `spool_damaged_frames` (see [`Status::spool`](crate::status::Status::spool) and the
//!   [metrics](super::layers#layers-of-this-crate)). A growing age means that records are accepted faster than they are
//!   delivered. Kinesis keeps records for 24 hours by default from the time at which it receives them, so a backlog of
//!   days arrives with new timestamps.
//! - **Damage** costs the records in the damaged bytes, which are moved to `damaged/`, counted, and logged. With
//!   [`strict`](crate::spool::Spool::strict), the sink is not built instead.
//!
//! The example `pipe` inspects and empties the spool of any program:
//!
//! ```text
//! pipe --spool-info DIR                        records, bytes, segments; also while the program runs
//! pipe --spool-verify DIR                      reads and checks every record; changes nothing
//! pipe --spool-drain DIR --stream clicks       sends what is left, without the program
//! ```
//!
//! # How it is tested
//!
//! `cargo run --release --features spool --example spool_kill -- --kills 500` kills a sending process 500 times on one
//! spool, against a server that throttles and fails requests. It prints how many records were accepted, delivered, lost
//! (none), and duplicated, and it fails if a duplicate is not explained by the interval of acknowledgements.
