//! Guide to the crate, in chapters.
//!
//! The reference documents each item. The guide describes how the items work together, what to choose, and what happens
//! on failures. Examples that send records run against the [simulated stream](testing), and so do copies of them in
//! your tests.
//!
//! # Chapters
//!
//! | question | chapter |
//! |---|---|
//! | How do I send a stream of records? | [`sink`] |
//! | How do many tasks send records and get the outcome of each one? | [`producer`] |
//! | How do I add a timeout, a limit or my own code around each request? | [`layers`] |
//! | My records are small. What does aggregation save, and what does it require of consumers? | [`aggregation`] |
//! | How fast are records sent, and what limits the rate? | [`pacing`] |
//! | Consumers rely on the order of records. What do I set? | [`ordering`] |
//! | What can fail, where are errors reported, and how do I handle them? | [`failures`] |
//! | How do I test my own pipeline? | [`testing`] |
//! | How do I get more throughput, less latency, less memory? | [`tuning`] |
//! | How do I set up credentials, TLS, proxies and endpoints? | [`clients`] |
//! | How do I migrate from the KPL, `KinesisWriter` or a `put_records` loop? | [`migrating`] |
//!
//! Start with [`sink`] or [`producer`], then read [`failures`]. Read [`testing`] and [`tuning`] before production. The
//! [crate page](crate#architecture) has a diagram of the architecture.
//!
//! # Sink or producer
//!
//! ```text
//!                     How many tasks send records?
//!                                   |
//!               one                 |           several
//!            +----------------------+---------------------+
//!            |                                            |
//!            v                                            |
//! Does it poll the sink until all records                 |
//! are settled: forward, flush, close?                     |
//!            |                                            |
//!      +-----+------------------+                         |
//!      v yes                    v no                      v
//!   KinesisSink               Producer, from KinesisSink::spawn; a clone for each task
//!    |                         |
//!    +- source is a stream     +- source is a stream
//!    |    forward              |    forward to producer.sink()
//!    |                         |
//!    +- single records         +- no outcome needed
//!    |    feed, then flush     |    send, or try_send, which does not wait
//!    |                         |
//!    +- outcome of each record +- outcome of each record
//!         Record::tracked      |    put, or try_put; await the receipt
//!                              |
//!                              +- outcomes in order, to commit offsets
//!                                   put_all
//! ```
//!
//! [`Producer`](crate::Producer#sink-or-producer) compares the two in a table. A sink costs less CPU time per record:
//! it has no lock and no second task.
//!
//! # States of a record
//!
//! ```text
//!  Record ---accept---> queued ---send---> in flight ---+---> delivered: shard, sequence number
//!     ^                   ^                             |
//!     |                   +---------- requeue <---------+
//!     |                                                 |
//!     +--- returned in the error,                       +---> failed: returned with the reason
//!          if it can never be sent
//! ```
//!
//! A record is *accepted* once `start_send` of a sink, or `send` or `put` of a producer, succeeds. From then on it is
//! always in one of these states, which [`Status`](crate::status::Status) counts. *Settled* means delivered, failed,
//! withdrawn or abandoned.
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | record | a [`Record`](crate::Record) that you send |
//! | entry | one Kinesis record in a request: a record, or an aggregate of several |
//! | request | one PutRecords call, with up to 500 entries |
//! | buffered | accepted and not settled, or failed and not taken: counts towards the bounds of the buffer |
//! | in flight | in a request without a response |
//! | throttle | to refuse an entry or a request because a shard, or the stream, is over its quota |
//! | requeue | to put a record back into the queue, to send it again |
//! | linger | the maximum time that a record waits for others to fill its request or aggregate |
//! | lane | the queue of one shard, with its own rate limiter and backoff |
//! | withdraw | to take a record out of the sink before it is settled |
//! | bisect | to halve a request or an aggregate until the invalid record is alone |
//! | isolate | to retry alone a record that fails its requests |
//! | receipt | a future of the outcome of one record |
//! | dead letters | records that failed for good, passed to a handler |
//!
//! # Examples
//!
//! The repository has complete programs, which run with `cargo run --example NAME`. Most of them start an embedded
//! Kinesis server unless they get a stream as an argument, and `-- --help` lists their arguments.
//!
//! | example | shows |
//! |---|---|
//! | `forward` | a file, sent line by line, read back and compared; `-- --throttled` enforces the quotas of the shards |
//! | `pipe` | a command line tool: standard input to a stream, with keys, dead letters and a progress bar |
//! | `fan_in` | 200 tasks on one producer; Ctrl-C drains and reports |
//! | `checkpoint` | a file whose position is stored; the program is killed four times and loses no line |
//! | `offsets` | a source with offsets that are committed once everything below them is delivered |
//! | `http_ingest` | an HTTP server that responds when a record is accepted, or delivered |
//! | `socket` | lines of many connections; a slow stream slows the senders |
//! | `lambda` | an AWS Lambda handler that flushes before it returns |
//! | `three_streams` | one client, one connection pool, three streams |
//! | `tower_stack` | a sink over a stack of layers |
//! | `aggregate` | what aggregation of small records saves |
//! | `observe` | metrics and traces of a stream under load |
//! | `soak` | 64 tasks at full speed through faults in the stack and on the socket (`-- --minutes 10`); fails if a record is lost or memory grows |
//!
//! Start with `forward`. It sends a log file of 50,000 lines through the AWS SDK to an embedded server with four
//! shards, reads it back, and prints a line like
//!
//! ```text
//! forwarded 50000 records in 335 requests, 0 failed; read back 50000, 0 missing, 0 duplicated; 4093 of 4000 records/s
//! ```
//!
//! With `-- --throttled` it sends over 90 % of the 4,000 records per second that four shards accept.

pub mod aggregation;
pub mod clients;
pub mod failures;
pub mod layers;
pub mod migrating;
pub mod ordering;
pub mod pacing;
pub mod producer;
pub mod sink;
pub mod testing;
pub mod tuning;
