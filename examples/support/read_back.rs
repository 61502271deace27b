//! Reads every shard and compares with what was sent.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;

/// How long to wait for records that do not show up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where in the stream to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "not every user of this module reads from everywhere")]
pub enum From {
    /// With its oldest record.
    Start,
    /// With what is written from now on.
    Now,
}

/// A reader of all shards that knows what to expect.
pub struct ReadBack {
    client: Client,
    iterators: Vec<String>,
    /// How often each payload was sent.
    expected: HashMap<Bytes, usize>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Records that were expected and found, duplicates not counted.
    pub records: usize,
    /// Records that were expected and not found.
    pub missing: usize,
    /// Records that were found more often than they were sent.
    pub duplicated: usize,
}

impl ReadBack {
    pub async fn begin(client: &Client, stream: &str, from: From) -> anyhow::Result<Self> {
        let mut iterators = Vec::new();
        for shard in shards(client, stream).await.context("cannot list the stream's shards")? {
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
        Ok(Self { client: client.clone(), iterators, expected: HashMap::new() })
    }

    /// One more record was sent.
    pub fn expect(&mut self, data: Bytes) {
        *self.expected.entry(data).or_default() += 1;
    }

    /// Reads until everything expected was found and every shard has been read to its tip; gives up on
    /// what does not show up for a while.
    pub async fn finish(self) -> anyhow::Result<Found> {
        let sent: usize = self.expected.values().sum();
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
                for record in answer.records {
                    let data = record.data.into_bytes();
                    let Some(sent) = self.expected.get(&data) else { continue };
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
            if complete || iterators.is_empty() || last_progress.elapsed() > PATIENCE {
                found.missing = sent - found.records;
                return Ok(found);
            }
            if at_tip {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn shards(client: &Client, stream: &str) -> anyhow::Result<Vec<String>> {
    let mut shards = Vec::new();
    let mut token = None;
    loop {
        let call = client.list_shards();
        // A follow-up carries the token alone.
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
