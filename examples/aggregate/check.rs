//! Reads a stream like a KCL consumer, and compares the events read with the events sent.

use anyhow::Context;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;
use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::limits::PAYLOAD_UNIT_BYTES;
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::{HashRange, Shard, hash_of};

use super::events::{Events, number};

#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// Number of Kinesis records.
    pub entries: u64,
    /// Size of the Kinesis records in bytes, including partition keys.
    pub entry_bytes: u64,
    /// Number of PUT payload units of 25 KiB, rounded up per Kinesis record. Provisioned streams bill these.
    pub payload_units: u64,
    /// Size in KiB, rounded up per Kinesis record. On-demand streams bill this.
    pub kib: u64,
    /// Number of events that a KCL consumer receives, without duplicates.
    pub events: u64,
    pub duplicated: u64,
    /// Number of events in aggregates that the KCL discards because a member does not belong to the shard.
    pub misplaced: u64,
    /// Number of records whose data or key differs from that of every event sent.
    pub unexpected: u64,
}

/// Reads all records of a stream. No record may be written to the stream meanwhile.
pub async fn read_all(client: &Client, stream: &str, sent: Events) -> anyhow::Result<Found> {
    let mut check = Check { sent, seen: vec![false; sent.count as usize], found: Found::default() };
    for shard in shards(client, stream).await.context("cannot list the shards of the stream")? {
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
                // If the distribution strategy is `AUTO`, records need not have a key.
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
    seen: Vec<bool>,
    found: Found,
}

impl Check {
    fn record(&mut self, shard: &Shard, data: Bytes, partition_key: &str) {
        let bytes = data.len() + partition_key.len();
        self.found.entries += 1;
        self.found.entry_bytes += bytes as u64;
        self.found.payload_units += bytes.div_ceil(PAYLOAD_UNIT_BYTES) as u64;
        self.found.kib += bytes.div_ceil(1024) as u64;
        // The KCL checks all members of an aggregate before it returns the first one.
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
                if std::mem::replace(&mut self.seen[number], true) {
                    self.found.duplicated += 1;
                } else {
                    self.found.events += 1;
                }
            }
            _ => self.found.unexpected += 1,
        }
    }
}

/// Returns `true` if the KCL accepts the member in this shard. Records that are not aggregated are always accepted.
fn belongs(member: &Member, shard: &Shard) -> bool {
    let hash = member.explicit_hash_key();
    let hash = hash.or_else(|| member.partition_key().map(|key| hash_of(key.as_str())));
    hash.is_none_or(|hash| shard.range().contains(hash))
}

async fn shards(client: &Client, stream: &str) -> anyhow::Result<Vec<Shard>> {
    let answer = client.list_shards().stream_name(stream).send().await?;
    let shards = answer.shards.unwrap_or_default().into_iter().map(|shard| {
        let range = shard.hash_key_range.context("shard without a hash key range")?;
        let start: HashKey = range.starting_hash_key.parse()?;
        let end: HashKey = range.ending_hash_key.parse()?;
        let range = HashRange::new(start, end).context("hash key range ends before its start")?;
        Ok(Shard::new(shard.shard_id, range))
    });
    shards.collect()
}
