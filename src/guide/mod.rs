//! Guide to the crate, in chapters.
//!
//! The reference says what each item does. The guide says how items work together, what to choose, and what happens
//! when something fails. Examples that send records run against the [simulated stream](testing), and so do copies of
//! them in your tests.
//!
//! # Where to look
//!
//! | question | chapter |
//! |---|---|
//! | How do I send a stream of records? | [`sink`] |
//! | How do many tasks send, and get the outcome of each record? | [`producer`] |
//! | How do I put a timeout, a limit or code of my own around each request? | [`layers`] |
//! | My records are small. What does aggregation save, and what does it require of consumers? | [`aggregation`] |
//! | How fast are records sent, and what limits the rate? | [`pacing`] |
//! | Consumers rely on the order of records. What do I set? | [`ordering`] |
//! | What can fail, where are errors reported, and what do I do? | [`failures`] |
//! | How do I test my own pipeline? | [`testing`] |
//! | How do I get more throughput, less latency, less memory? | [`tuning`] |
//! | How do I set up credentials, TLS, proxies and endpoints? | [`clients`] |
//! | How do I migrate from the KPL, `KinesisWriter` or a loop of my own? | [`migrating`] |
//!
//! Start with [`sink`] or [`producer`], then read [`failures`]. Read [`testing`] and [`tuning`] before production.
//!
//! # The path of a record
//!
//! ```text
//! Record ──accepted──▶ queued ──flushed──▶ in flight ──▶ delivered: shard, sequence number
//!    ▲                    ▲                    │
//!    └─ handed back, if   └──── requeued ◀─────┴───────▶ failed: handed back with the reason
//!       it can never be sent
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
//! | request | one PutRecords call, of up to 500 entries |
//! | in flight | in a request without a response |
//! | throttle | the service's refusal because a shard, or the stream, is over its quota |
//! | requeue | to put a record back into the queue, to send it again |
//! | linger | how long a record may wait for others to fill its request or aggregate |
//! | lane | the queue of one shard, with its own rate limiter and backoff |
//! | withdraw | to take a record out of the sink before it is settled |
//! | isolate | to retry alone a record that fails its requests |
//! | receipt | a future of the outcome of one record |
//! | dead letters | records that failed for good, passed to a handler |

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
