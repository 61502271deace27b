//! Guide to the crate, in chapters.
//!
//! The reference documents each item. The guide describes how the items work together, which ones to choose, and what
//! happens on failures. Examples that send records run against the [simulated stream](testing). If you copy them into
//! your tests, they run in the same way.
//!
//! # Chapters
//!
//! | question | chapter |
//! |---|---|
//! | How do I send a stream of records? | [`sink`] |
//! | How can many tasks send records and get the outcome of each record? | [`producer`] |
//! | How do I send to many streams, for example one per tenant, with bounded memory? | [`router`] |
//! | How do I add a timeout, a limit or my own code around each request? | [`layers`] |
//! | My records are small. What does aggregation save, and what does it require of consumers? | [`aggregation`] |
//! | How fast are records sent, and what limits the send rate? | [`pacing`] |
//! | My consumers rely on the order of records. What do I configure? | [`ordering`] |
//! | What can fail, where are errors reported, and how do I handle them? | [`failures`] |
//! | How do accepted records survive a crash, a power cut, or an outage of hours? | [`spool`] |
//! | How do I test my own pipeline? | [`testing`] |
//! | How do I increase throughput, or reduce latency or memory use? | [`tuning`] |
//! | How do I set up credentials, TLS, proxies and endpoints? | [`clients`] |
//! | How do I migrate from the KPL, `KinesisWriter` or a `put_records` loop? | [`migrating`] |
//!
//! Start with [`sink`] or [`producer`], then read [`failures`]. Read [`testing`] and [`tuning`] before you deploy to
//! production. The [crate page](crate#architecture) has a diagram of the architecture.
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
//! Does the task poll the sink until all                   |
//! records are settled (forward, flush, close)?            |
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
//! If a record determines its stream, or if there are many streams, use a [`Router`](router), which has a producer for
//! each stream. A table in [`Producer`](crate::Producer#sink-or-producer) compares sinks and producers. A sink needs
//! less CPU time per record, because it has no lock and no second task.
//!
//! # States of a record
//!
//! ```text
//!  Record ---accept---> queued ---send---> in flight ---+---> delivered: shard, sequence number
//!     |                   ^                             |
//!     |                   +---------- requeue <---------+---> failed: returned with the reason
//!     |                                                 |
//!     |                                                 +---> withdrawn: returned to the caller
//!     |
//!     +---> returned in the error, if it is not accepted
//! ```
//!
//! A record is *accepted* once a sink's `start_send`, or a producer's `send` or `put`, succeeds. An accepted record is
//! queued, in flight, delivered, failed, or withdrawn. [`Status`](crate::status::Status) counts the records in each
//! state. *Settled* means delivered, failed, or withdrawn. A queued record can also be withdrawn, or fail at its
//! deadline.
//!
//! When a sink is dropped, or a producer's driver ends early, the records that are not settled are *abandoned*. Their
//! receipts complete with this reason, and [`Totals`](crate::status::Totals) counts them as withdrawn.
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | record | a [`Record`](crate::Record) that you send |
//! | entry | one Kinesis record in a request: a record, or an aggregate of several |
//! | aggregate | several records [packed](aggregation) into one Kinesis record |
//! | request | one PutRecords call, with up to 500 entries |
//! | stack | the [tower layers](layers) and the service below the sink, which send its requests |
//! | buffered | accepted but not settled, or failed but not yet taken by the caller; counts towards the buffer limits |
//! | in flight | in a request whose response has not arrived yet |
//! | settled | delivered, failed, or withdrawn |
//! | throttle | to decline an entry or a request because a shard, or the stream, exceeds its quota |
//! | requeue | to return a record to the queue so that it is sent again |
//! | budget | bounds for buffered records, bytes, and requests in flight that several sinks and producers share |
//! | share | the part of a buffer or of a budget that a shard, a sink, or a producer can use |
//! | linger | the maximum time that a record waits for more records to fill its request or aggregate |
//! | lane | the queue of one shard, with a separate rate limiter and backoff |
//! | ordering key | the partition key of a record, if [ordering is enabled](ordering): records with the same key keep their order |
//! | outage | a period in which whole requests fail; the chapter on failures describes [its two ends](failures#retries-and-backoff) |
//! | probe | a request, or a few entries for a shard, which shows whether the service accepts records again |
//! | stream description | the stream's record limit and whether the stream ignores keys, from DescribeStreamSummary |
//! | lookup | a request for the stream description or the shard list |
//! | topology | the shards of the stream with their ranges of hash keys, from responses or from ListShards |
//! | reshard | a split or a merge of shards, which changes the topology |
//! | withdraw | to return an accepted record to the caller before it is delivered or fails |
//! | bisect | to halve a request or an aggregate until the invalid record is alone |
//! | isolate | to retry a record alone because requests that contain it fail |
//! | receipt | a future that returns the outcome of one record |
//! | dead letters | records that failed permanently and were passed to a handler |
//! | KPL | the Kinesis Producer Library of AWS, which defines the format of aggregates |
//! | KCL | the Kinesis Client Library of AWS, which reads streams and unpacks aggregates |
//!
//! # Examples
//!
//! The repository contains complete programs, which you run with `cargo run --example NAME`. Most of them start an
//! embedded Kinesis server unless you pass a stream as an argument. `-- --help` lists the arguments.
//!
//! | example | shows |
//! |---|---|
//! | `forward` | sends a file line by line, reads it back, and compares; `-- --throttled` enforces the shard quotas |
//! | `pipe` | a command-line tool that sends standard input to a stream, with keys, a progress bar, dead letters that it can send again, and a spool |
//! | `fan_in` | 200 tasks that share a producer; Ctrl-C drains the producer and prints a report |
//! | `checkpoint` | sends a file and stores its read position; the program is killed four times and loses no line |
//! | `offsets` | commits an offset of its source once all records up to that offset are delivered |
//! | `http_ingest` | an HTTP server that responds when a record is accepted, or when it is delivered |
//! | `socket` | sends lines from many connections; a slow stream slows down the clients |
//! | `lambda` | an AWS Lambda handler that flushes before it returns |
//! | `tenants` | one router for the streams of 50 tenants, of which one is missing and one is throttled |
//! | `tower_stack` | a sink over a custom stack of layers |
//! | `aggregate` | measures the savings of aggregating small records |
//! | `observe` | metrics and traces of a stream under load |
//! | `spool_kill` | kills a process that sends through a spool 100 times, and verifies that no accepted record is lost |
//! | `soak` | runs 64 tasks at full speed while faults occur in the stack and on the socket (`-- --minutes 10`); fails if a record is lost or memory grows |
//!
//! Start with `forward`. It sends a log file of 50,000 lines through the AWS SDK to an embedded server with four
//! shards, reads it back, and prints a line like
//!
//! ```text
//! forwarded 50000 records in 335 requests, 0 failed; read back 50000, 0 missing, 0 duplicated; 4093 of 4000 records/s
//! ```
//!
//! With `-- --throttled`, the server enforces the shard quotas, and the example still sends at over 90 % of the 4,000
//! records per second that four shards accept.
//!
#![cfg_attr(not(feature = "spool"), doc = "[`spool`]: self")]

pub mod aggregation;
pub mod clients;
pub mod failures;
pub mod layers;
pub mod migrating;
pub mod ordering;
pub mod pacing;
pub mod producer;
pub mod router;
pub mod sink;
#[cfg(feature = "spool")]
pub mod spool;
pub mod testing;
pub mod tuning;
