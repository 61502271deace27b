//! Reads a stream, and compares the records read with the records sent.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;
use kinesis_sink::aggregate::deaggregate;

/// Time to wait for a new record. When it has passed, all records that were not found count as missing.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Position in the stream at which reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "not every user of this module needs both variants")]
pub enum From {
    Start,
    Now,
}

/// A reader of all shards of a stream that looks for expected records.
pub struct ReadBack {
    client: Client,
    iterators: Vec<String>,
    expected_counts: HashMap<Bytes, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Number of expected records that were found, without duplicates.
    pub records: usize,
    pub missing: usize,
    /// Number of records found in addition to those sent.
    pub duplicated: usize,
}

impl ReadBack {
    pub async fn begin(client: &Client, stream: &str, from: From) -> anyhow::Result<Self> {
        let mut iterators = Vec::new();
        for shard in shards(client, stream).await.context("cannot list the shards of the stream")? {
            let kind = match from {
                From::Start => ShardIteratorType::TrimHorizon,
                From::Now => ShardIteratorType::Latest,
            };
            let call = client.get_shard_iterator().shard_id(&shard).shard_iterator_type(kind);
            let call =
                if is_arn(stream) { call.stream_arn(stream) } else { call.stream_name(stream) };
            let answer = call.send().await.with_context(|| format!("cannot read shard {shard}"))?;
            iterators.extend(answer.shard_iterator);
        }
        Ok(Self { client: client.clone(), iterators, expected_counts: HashMap::new() })
    }

    pub fn expect(&mut self, data: Bytes) {
        *self.expected_counts.entry(data).or_default() += 1;
    }

    /// Reads until all expected records are found and each shard is read to its tip.
    pub async fn finish(self) -> anyhow::Result<Found> {
        let sent: usize = self.expected_counts.values().sum();
        let mut counts: HashMap<Bytes, usize> = HashMap::new();
        let mut found = Found::default();
        let mut last_progress = Instant::now();
        let mut iterators = self.iterators;
        loop {
            let mut at_tip = true;
            let mut next = Vec::new();
            for iterator in iterators {
                let answer = self.client.get_records().shard_iterator(iterator).send().await;
                let answer = answer.context("cannot read a shard")?;
                at_tip &=
                    answer.records.is_empty() && answer.millis_behind_latest.unwrap_or(0) == 0;
                let records = answer.records.into_iter().map(|record| record.data.into_bytes());
                for member in records.flat_map(|data| deaggregate(&data)) {
                    let data = member.data().clone();
                    let Some(sent) = self.expected_counts.get(&data) else { continue };
                    let count = counts.entry(data).or_default();
                    *count += 1;
                    if *count <= *sent {
                        found.records += 1;
                        last_progress = Instant::now();
                    } else {
                        found.duplicated += 1;
                    }
                }
                next.extend(answer.next_shard_iterator);
            }
            iterators = next;
            let complete = found.records == sent && at_tip;
            if complete || iterators.is_empty() || last_progress.elapsed() > READ_TIMEOUT {
                found.missing = sent - found.records;
                return Ok(found);
            }
            if at_tip {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl ReadBack {
    /// Finishes reading, prints the result, and returns an error if records are missing.
    #[allow(dead_code, reason = "not every user of this module calls it")]
    pub async fn check(self) -> anyhow::Result<()> {
        let found = self.finish().await?;
        println!("{found}");
        found.ensure_complete()
    }
}

impl Found {
    #[allow(dead_code, reason = "not every user of this module calls it")]
    pub fn ensure_complete(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.missing == 0, "{} records are missing in the stream", self.missing);
        Ok(())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, missing, duplicated } = self;
        write!(f, "read back {records}, {missing} missing, {duplicated} duplicated")
    }
}

async fn shards(client: &Client, stream: &str) -> anyhow::Result<Vec<String>> {
    let mut shards = Vec::new();
    let mut token = None;
    loop {
        let call = client.list_shards();
        // `ListShards` rejects requests that contain both a token and a stream name.
        let call = match token {
            Some(token) => call.next_token(token),
            None if is_arn(stream) => call.stream_arn(stream),
            None => call.stream_name(stream),
        };
        let answer = call.send().await?;
        shards.extend(answer.shards.unwrap_or_default().into_iter().map(|shard| shard.shard_id));
        token = answer.next_token;
        if token.is_none() {
            return Ok(shards);
        }
    }
}

fn is_arn(stream: &str) -> bool {
    stream.starts_with("arn:")
}
