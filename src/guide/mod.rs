//! The guide: chapters to read, without code of their own.
//!
//! The rest of this documentation says what each item does. The guide says how they work together, what
//! to choose, and what happens when something fails. Every example compiles. Those that send run against
//! the [simulated stream](testing), and so do yours if you copy them into a test.
//!
//! # Where to look
//!
//! | question | chapter |
//! |---|---|
//! | How do I send a stream of records? | [`sink`] |
//! | How do many tasks send, and learn what became of each record? | [`producer`] |
//! | How do I put a time-out, a limit or code of my own around each request? | [`layers`] |
//! | My records are small. What does packing them save, and what does it ask of consumers? | [`aggregation`] |
//! | How fast do records go, and who decides? | [`pacing`] |
//! | Consumers rely on the order of records. What do I set? | [`ordering`] |
//! | What can fail, who is told, and what do I do then? | [`failures`] |
//! | How do I test my own pipeline? | [`testing`] |
//! | How do I get more throughput, less latency, less memory? | [`tuning`] |
//! | How do I set up credentials, TLS, proxies and endpoints? | [`clients`] |
//! | I have something else today. What becomes of it? | [`migrating`] |
//!
//! Who is new here reads [`sink`] or [`producer`], then [`failures`]. Before the first day in
//! production: [`tuning`] and [`testing`].
//!
//! # The path of a record
//!
//! ```text
//! Record ──accepted──▶ waiting ──cut──▶ in flight ──▶ delivered: shard, sequence number
//!    ▲                    ▲                │
//!    └─ handed back, if   └── requeued ◀───┴────────▶ failed: handed back with the reason
//!       it can never be sent
//! ```
//!
//! A record is *accepted* once `start_send` (a producer's `send` or `put`) has taken it. From then on it
//! is at every moment in one of these places, and [`Totals`](crate::status::Totals) counts them. *Settled* means
//! delivered, failed or taken back.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | record | what you hand in: a [`Record`](crate::Record) |
//! | entry | one Kinesis record in a request: a record, or an aggregate of several |
//! | request | one PutRecords call, of up to 500 entries |
//! | in flight | in a request that has no answer yet |
//! | throttle | the service's refusal because a shard, or the stream, is over its quota |
//! | requeue | to put a record back, to be sent again |
//! | linger | how long a record may wait for others to fill its request or aggregate |
//! | lane | what waits for one shard, with a rate limiter and a backoff of its own |
//! | receipt | a future that tells what became of one record |
//! | dead letters | whoever takes the records that failed for good |

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
