//! Reads every shard as a consumer of the KCL would, and compares with what was sent.

use anyhow::Context;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;
use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::limits::PAYLOAD_UNIT_BYTES;
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::{HashRange, Shard, hash_of};

use super::events::{Events, number};

/// What a stream holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// Kinesis records.
    pub entries: u64,
    /// Their bytes: data and partition keys.
    pub entry_bytes: u64,
    /// PUT payload units of 25 KiB, each Kinesis record rounded up: what provisioned streams bill.
    pub units: u64,
    /// KiB, each Kinesis record rounded up: what on-demand streams bill.
    pub kib: u64,
    /// Events that a consumer of the KCL gets, duplicates not counted.
    pub events: u64,
    /// Events that were found before.
    pub duplicated: u64,
    /// Events in aggregates that a consumer of the KCL throws away, for one member or more lies outside of
    /// the shard.
    pub misplaced: u64,
    /// What is no event, or one with another text or key than it was sent with.
    pub strange: u64,
}

/// Reads all of a stream that nobody writes to any more.
pub async fn read_all(client: &Client, stream: &str, sent: Events) -> anyhow::Result<Found> {
    let mut check = Check { sent, seen: vec![false; sent.count as usize], found: Found::default() };
    for shard in shards(client, stream).await.context("cannot list the stream's shards")? {
        let call = client.get_shard_iterator().stream_name(stream).shard_id(shard.id());
        let call = call.shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut iterator = call.send().await.context("cannot read a shard")?.shard_iterator;
        while let Some(from) = iterator {
            let answer = client.get_records().shard_iterator(from).send().await;
            let answer = answer.context("cannot read a shard")?;
            if answer.records.is_empty() && answer.millis_behind_latest.unwrap_or(0) == 0 {
                break;
            }
            for record in answer.records {
                // Streams that distribute records themselves have some without.
                let key = record.partition_key.unwrap_or_default();
                check.record(&shard, record.data.into_bytes(), &key);
            }
            iterator = answer.next_shard_iterator;
        }
    }
    Ok(check.found)
}

struct Check {
    sent: Events,
    /// By the number of the event.
    seen: Vec<bool>,
    found: Found,
}

impl Check {
    fn record(&mut self, shard: &Shard, data: Bytes, partition_key: &str) {
        let bytes = data.len() + partition_key.len();
        self.found.entries += 1;
        self.found.entry_bytes += bytes as u64;
        self.found.units += bytes.div_ceil(PAYLOAD_UNIT_BYTES) as u64;
        self.found.kib += bytes.div_ceil(1024) as u64;
        // Twice, for the KCL gives no member of an aggregate to anybody before it has seen them all.
        if deaggregate(&data).any(|member| !belongs(&member, shard)) {
            self.found.misplaced += deaggregate(&data).len() as u64;
            return;
        }
        for member in deaggregate(&data) {
            let key = member.partition_key().map_or(partition_key, |key| key.as_str());
            self.event(member.data(), key);
        }
    }

    fn event(&mut self, json: &Bytes, key: &str) {
        let number = number(json).filter(|number| *number < self.sent.count);
        let event = number.map(|number| (number as usize, self.sent.event(number)));
        match event {
            Some((number, event)) if event.json == *json && event.device == key => {
                match std::mem::replace(&mut self.seen[number], true) {
                    false => self.found.events += 1,
                    true => self.found.duplicated += 1,
                }
            }
            _ => self.found.strange += 1,
        }
    }
}

/// The KCL's rule. Plain data has no key of its own: the service put it where it belongs.
fn belongs(member: &Member, shard: &Shard) -> bool {
    let hash = member.explicit_hash_key();
    let hash = hash.or_else(|| member.partition_key().map(|key| hash_of(key.as_str())));
    hash.is_none_or(|hash| shard.range().contains(hash))
}

/// As the service tells them, not as the sink knows them.
async fn shards(client: &Client, stream: &str) -> anyhow::Result<Vec<Shard>> {
    let answer = client.list_shards().stream_name(stream).send().await?;
    let shards = answer.shards.unwrap_or_default().into_iter().map(|shard| {
        let range = shard.hash_key_range.context("a shard without a range")?;
        let start: HashKey = range.starting_hash_key.parse()?;
        let end: HashKey = range.ending_hash_key.parse()?;
        let range = HashRange::new(start, end).context("a range that ends before it starts")?;
        Ok(Shard::new(shard.shard_id, range))
    });
    shards.collect()
}
