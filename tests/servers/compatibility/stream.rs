//! A stream on a server, with its shards and records.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ShardIteratorType, StreamStatus};
use bytes::Bytes;
use kinesis_sink::aggregate::{Member, deaggregate};
use kinesis_sink::record::HashKey;
use kinesis_sink::shard::{HashRange, hash_of};
use kinesis_sink::{KinesisSink, SinkBuilder};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub id: String,
    pub range: HashRange,
    pub is_open: bool,
}

#[derive(Debug, Clone)]
pub struct Found {
    pub shard: Shard,
    pub sequence_number: String,
    pub partition_key: String,
    pub data: Bytes,
}

impl Found {
    /// Returns the members of an aggregate, or the record itself.
    pub fn members(&self) -> Vec<Member> {
        deaggregate(&self.data).collect()
    }

    pub fn is_aggregate(&self) -> bool {
        deaggregate(&self.data).is_aggregate()
    }

    /// Returns `false` for an aggregate that the KCL discards because a member's hash is outside the shard's range.
    pub fn is_readable_by_kcl(&self) -> bool {
        let belongs_here = |member: Member| {
            let hash_of_key =
                || hash_of(member.partition_key().expect("a member has a partition key").as_str());
            let hash_key = member.explicit_hash_key().unwrap_or_else(hash_of_key);
            self.shard.range.contains(hash_key)
        };
        !self.is_aggregate() || self.members().into_iter().all(belongs_here)
    }
}

pub struct Stream {
    client: Client,
    reader: Client,
    name: String,
}

impl Stream {
    pub async fn create(client: &Client, reader: &Client, name: String, shards: i32) -> Self {
        let call = client.create_stream().stream_name(&name).shard_count(shards);
        call.send().await.expect("CreateStream succeeds");
        let stream = Self { client: client.clone(), reader: reader.clone(), name };
        stream.wait_until_active().await;
        stream
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub async fn arn(&self) -> String {
        let call = self.client.describe_stream_summary().stream_name(&self.name);
        let answer = call.send().await.expect("the stream is described");
        answer.stream_description_summary.expect("the response has a summary").stream_arn
    }

    pub fn sink(&self, builder: SinkBuilder) -> KinesisSink {
        builder.build(&self.client).expect("the settings are valid")
    }

    pub async fn wait_until_active(&self) {
        for _ in 0..1_000 {
            let call = self.client.describe_stream_summary().stream_name(&self.name);
            let answer = call.send().await.expect("the stream is described");
            let summary = answer.stream_description_summary.expect("the response has a summary");
            if summary.stream_status == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("timed out waiting for an active stream");
    }

    /// Returns all open and closed shards, ordered by creation.
    pub async fn shards(&self) -> Vec<Shard> {
        let answer = self.reader.list_shards().stream_name(&self.name).send().await;
        let shards = answer.expect("the shards are listed").shards.unwrap_or_default();
        let shard = |shard: aws_sdk_kinesis::types::Shard| {
            let range = shard.hash_key_range.expect("the shard has a range");
            let bound = |text: String| text.parse::<HashKey>().expect("the bound is a hash key");
            let (start, end) = (bound(range.starting_hash_key), bound(range.ending_hash_key));
            let numbers = shard.sequence_number_range.expect("the shard has sequence numbers");
            Shard {
                id: shard.shard_id,
                range: HashRange::new(start, end).expect("the range is valid"),
                is_open: numbers.ending_sequence_number.is_none(),
            }
        };
        let mut shards: Vec<_> = shards.into_iter().map(shard).collect();
        shards.sort_by(|one, other| one.id.cmp(&other.id));
        shards
    }

    /// Returns the open shards, ordered by hash key.
    pub async fn open_shards(&self) -> Vec<Shard> {
        let mut shards = self.shards().await;
        shards.retain(|shard| shard.is_open);
        shards.sort_by_key(|shard| shard.range.start());
        shards
    }

    /// Splits the first open shard.
    pub async fn split(&self) {
        let shards = self.open_shards().await;
        let (start, end) = (shards[0].range.start().get(), shards[0].range.end().get());
        let call = self.client.split_shard().stream_name(&self.name).shard_to_split(&shards[0].id);
        let middle = (start + (end - start) / 2).to_string();
        call.new_starting_hash_key(middle).send().await.expect("the shard is split");
        self.wait_until_active().await;
    }

    /// Merges the last two open shards.
    pub async fn merge(&self) {
        let shards = self.open_shards().await;
        let [.., one, other] = &shards[..] else { panic!("less than two shards") };
        let call = self.client.merge_shards().stream_name(&self.name).shard_to_merge(&one.id);
        let call = call.adjacent_shard_to_merge(&other.id);
        call.send().await.expect("the shards are merged");
        self.wait_until_active().await;
    }

    /// Returns all records shard by shard, parents before children.
    pub async fn read(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for shard in self.shards().await {
            found.extend(self.read_shard(&shard).await);
        }
        found
    }

    async fn read_shard(&self, shard: &Shard) -> Vec<Found> {
        let call = self.reader.get_shard_iterator().stream_name(&self.name).shard_id(&shard.id);
        let call = call.shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut iterator = call.send().await.expect("the shard can be read").shard_iterator;
        let mut found = Vec::new();
        while let Some(from) = iterator {
            let answer = self.reader.get_records().shard_iterator(from).send().await;
            let answer = answer.expect("the shard is read");
            let at_tip = answer.records.is_empty() && answer.millis_behind_latest.unwrap_or(0) == 0;
            iterator = answer.next_shard_iterator.filter(|_| !at_tip);
            found.extend(answer.records.into_iter().map(|record| Found {
                shard: shard.clone(),
                sequence_number: record.sequence_number,
                partition_key: record.partition_key.unwrap_or_default(),
                data: record.data.into_bytes(),
            }));
        }
        found
    }
}
