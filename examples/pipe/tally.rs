//! A tally of records that takes constant memory. It is used to compare the embedded stream with the records sent.

use std::hash::{DefaultHasher, Hasher};

use anyhow::Context;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use kinesis_sink::aggregate::deaggregate;

/// Number of records, and the sum of their hashes. Neither depends on the order of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub records: u64,
    sum: u64,
}

impl Tally {
    pub fn add(&mut self, data: &[u8]) {
        let mut hasher = DefaultHasher::new();
        hasher.write(data);
        self.records += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }

    /// Reads and deaggregates all records of a stream. No record may be written to the stream meanwhile.
    pub async fn of_stream(client: &Client, stream: &str) -> anyhow::Result<Self> {
        let mut tally = Self::default();
        let listed = client.list_shards().stream_name(stream).send().await;
        let listed = listed.context("cannot list the shards of the stream")?;
        for shard in listed.shards.unwrap_or_default() {
            let call = client.get_shard_iterator().stream_name(stream).shard_id(shard.shard_id);
            let call = call.shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut iterator = call.send().await.context("cannot read a shard")?.shard_iterator;
            while let Some(from) = iterator {
                let answer = client.get_records().shard_iterator(from).send().await;
                let answer = answer.context("cannot read a shard")?;
                if answer.records.is_empty() && answer.millis_behind_latest.unwrap_or(0) == 0 {
                    break;
                }
                for record in answer.records {
                    let data = record.data.into_bytes();
                    for member in deaggregate(&data) {
                        tally.add(member.data());
                    }
                }
                iterator = answer.next_shard_iterator;
            }
        }
        Ok(tally)
    }
}
