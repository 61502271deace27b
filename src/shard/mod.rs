//! The hash ring of a stream and the shards that divide it.
//!
//! The hash keys of a stream range from 0 to 2^128 - 1. The open shards divide this range, and each of them owns one
//! [`HashRange`]. The service writes a record to the shard whose range contains the explicit hash key of the record. If
//! the record has no explicit hash key, the service uses the [hash](hash_of) of the partition key:
//!
//! ```
//! use kinesis_sink::record::HashKey;
//! use kinesis_sink::shard::{HashRange, Shard, hash_of};
//!
//! let half = 1 << 127;
//! let lower = HashRange::new(HashKey::new(0), HashKey::new(half - 1)).expect("in order");
//! let upper = HashRange::new(HashKey::new(half), HashKey::new(u128::MAX)).expect("in order");
//! let shards = [Shard::new("shardId-000000000000", lower), Shard::new("shardId-000000000001", upper)];
//!
//! let of_key = |key| shards.iter().find(|shard| shard.range().contains(hash_of(key)));
//! assert_eq!(of_key("a").map(Shard::id), Some("shardId-000000000000"));
//! assert_eq!(of_key("b").map(Shard::id), Some("shardId-000000000001"));
//! ```
//!
//! # Source of the shards
//!
//! A [`StreamInfo`](crate::stream::StreamInfo) lists the shards of a stream. For example,
//! [`SdkStreamInfo`](crate::service::SdkStreamInfo) calls the service, and
//! [`list_shards_fn`](crate::stream::list_shards_fn) wraps a closure.

mod hash;
mod hash_cache;
mod map;
mod rate_limiter;
mod ring;

pub use hash::{HashRange, hash_of};
pub(crate) use hash_cache::HashCache;
pub use map::Shard;
pub(crate) use map::ShardMap;
pub(crate) use rate_limiter::{Quota, RateLimiter, RestingLimiter, ShardOutcome};
pub(crate) use ring::Ring;
