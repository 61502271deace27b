//! The hash ring and the shards that share it.
//!
//! A stream's open shards divide the hash keys, 0 to 2^128 - 1, among themselves: each has a
//! [`HashRange`]. A record goes to the shard whose range holds its explicit hash key or, without one,
//! [`hash_of`] its partition key. Whoever knows the shards so knows where a record will lie:
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
//! # Where the shards come from
//!
//! From a [`StreamInfo`](crate::stream::StreamInfo): [`SdkStreamInfo`](crate::service::SdkStreamInfo) asks the service,
//! [`list_shards_fn`](crate::stream::list_shards_fn) makes one from a closure.

mod hash;
mod hash_cache;
mod map;
mod rate_limiter;
mod ring;

pub use hash::{HashRange, hash_of};
pub(crate) use hash_cache::HashCache;
pub use map::Shard;
pub(crate) use map::ShardMap;
pub(crate) use rate_limiter::{Quota, RateLimiter, ShardAnswer};
pub(crate) use ring::Ring;
