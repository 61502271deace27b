use std::collections::HashMap;

use metrics::{Counter, Gauge, counter, gauge};
use smol_str::SmolStr;

use super::names::{
    SHARD, SHARD_KINESIS_RECORDS_PUT, SHARD_KINESIS_RECORDS_THROTTLED, SHARD_RATE_LIMIT, STREAM,
};
use crate::pipeline::ShardSample;

/// Maximum number of shard labels per sink, because resharding and servers with arbitrary ids can add any number.
const MAX_NAMED: usize = 1_000;

/// Label of entries that were sent before the sink knew their shard.
const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";

pub(super) struct Shards {
    stream: String,
    named: HashMap<SmolStr, Shard>,
    unknown: Option<Shard>,
    other: Option<Shard>,
}

struct Shard {
    labels: [(&'static str, String); 2],
    put: Counter,
    throttled: Counter,
    /// Registered when its first value is recorded.
    rate_limit: Option<Gauge>,
}

impl Shards {
    pub(super) fn new(stream: &str) -> Self {
        Self { stream: stream.to_owned(), named: HashMap::new(), unknown: None, other: None }
    }

    pub(super) fn record(&mut self, sample: ShardSample) {
        let Self { stream, named, unknown, other } = self;
        let new = |name: &str| Shard::new(stream, name);
        let shard = match sample.shard {
            None => unknown.get_or_insert_with(|| new(UNKNOWN)),
            Some(name) if named.len() < MAX_NAMED || named.contains_key(&name) => {
                named.entry(name).or_insert_with_key(|name| new(name))
            }
            Some(_) => other.get_or_insert_with(|| new(OTHER)),
        };
        shard.put.increment(sample.delivered as u64);
        shard.throttled.increment(sample.throttled as u64);
        if let Some(rate_limit) = sample.rate_limit {
            shard
                .rate_limit
                .get_or_insert_with(|| gauge!(SHARD_RATE_LIMIT, &shard.labels))
                .set(rate_limit);
        }
    }
}

impl Shard {
    fn new(stream: &str, name: &str) -> Self {
        let labels = [(STREAM, stream.to_owned()), (SHARD, name.to_owned())];
        let put = counter!(SHARD_KINESIS_RECORDS_PUT, &labels);
        let throttled = counter!(SHARD_KINESIS_RECORDS_THROTTLED, &labels);
        Self { labels, put, throttled, rate_limit: None }
    }
}
