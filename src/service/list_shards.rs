use std::fmt;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::types::{Shard as SdkShard, ShardFilter, ShardFilterType};
use futures::FutureExt;
use futures::future::BoxFuture;
use tower::BoxError;

use super::call::{Attempt, check_region, derive, without_stalled_stream_protection};
use super::{LookupError, PutRecordsError, PutRecordsErrorKind};
use crate::record::{HashKey, HashKeyError};
use crate::shard::{HashRange, ListShards, Shard};
use crate::stream::StreamId;

/// Lists a stream's open shards with the service's ListShards, page by page.
///
/// It derives a client of its own from the given one, with the SDK's retries off, as
/// [`PutRecords`](super::PutRecords) does: whoever asks tries again, and says how long a listing may take. A
/// failure is a [`LookupError`]. A stream may be asked about 1,000 times a second; each page of up to
/// 1,000 shards counts.
///
/// Source: ListShards API reference.
///
/// ```no_run
/// use kinesis_sink::service::ShardLister;
/// use kinesis_sink::shard::ListShards;
///
/// # async fn demo(client: aws_sdk_kinesis::Client) -> Result<(), tower::BoxError> {
/// for shard in ShardLister::new(&client).list_shards(&"clicks".parse()?).await? {
///     println!("{} takes {}", shard.id(), shard.range());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping the future abandons the listing. Nothing is remembered of it.
#[derive(Clone)]
pub struct ShardLister {
    client: Client,
}

impl ShardLister {
    /// Lists over a client derived from `client`.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { client: derive(client) }
    }

    /// Turns off the SDK's stalled-stream protection, which fails a call that makes no progress for a few
    /// seconds. Use it if you limit the time of a call yourself, as a sink does with 10 s.
    #[must_use]
    pub fn without_stalled_stream_protection(mut self) -> Self {
        self.client = without_stalled_stream_protection(&self.client);
        self
    }
}

impl fmt::Debug for ShardLister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardLister").finish_non_exhaustive()
    }
}

impl ListShards for ShardLister {
    fn list_shards(&self, stream: &StreamId) -> BoxFuture<'static, Result<Vec<Shard>, BoxError>> {
        let (client, stream) = (self.client.clone(), stream.clone());
        async move {
            let listed = list_shards(&client, &stream).await;
            listed.map_err(|reason| LookupError::new("ListShards", stream, reason).into())
        }
        .boxed()
    }
}

/// A listing that is longer never ends: this is a million shards.
const MAX_PAGES: usize = 1_000;

async fn list_shards(client: &Client, stream: &StreamId) -> Result<Vec<Shard>, PutRecordsError> {
    check_region(client, stream)?;
    let mut open = Vec::new();
    let mut token = None;
    for _ in 0..MAX_PAGES {
        let page = list_page(client, stream, token.as_deref()).await?;
        for shard in page.shards.unwrap_or_default() {
            if !is_closed(&shard) {
                open.push(read(shard)?);
            }
        }
        // An empty token is the end for the SDK's own paginators, too.
        match page.next_token.filter(|next| !next.is_empty()) {
            None => return Ok(open),
            next if next == token => return Err(Unusable::RepeatedToken.into()),
            next => token = next,
        }
    }
    Err(Unusable::Endless.into())
}

async fn list_page(
    client: &Client,
    stream: &StreamId,
    token: Option<&str>,
) -> Result<ListShardsOutput, PutRecordsError> {
    let call = client.list_shards();
    let call = match (token, stream.arn()) {
        // It stands for the stream and the filter: the service refuses a request with both.
        (Some(token), _) => call.next_token(token),
        (None, Some(arn)) => call.stream_arn(arn).shard_filter(at_latest()),
        (None, None) => call.stream_name(stream.name()).shard_filter(at_latest()),
    };
    let attempt = Attempt::default();
    let call = call.customize().interceptor(attempt.observed());
    attempt.end(call.send().await)
}

/// Those that are open now.
fn at_latest() -> ShardFilter {
    let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest);
    filter.build().expect("the type is the only required member")
}

/// Some servers ignore the filter.
fn is_closed(shard: &SdkShard) -> bool {
    shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some())
}

fn read(shard: SdkShard) -> Result<Shard, Unusable> {
    let SdkShard { shard_id: id, hash_key_range, .. } = shard;
    let Some(range) = hash_key_range else { return Err(Unusable::NoRange { id }) };
    let hash_key = |text: &str| {
        let parsed = text.parse::<HashKey>();
        parsed.map_err(|source| Unusable::HashKey { id: id.clone(), source })
    };
    let (start, end) = (hash_key(&range.starting_hash_key)?, hash_key(&range.ending_hash_key)?);
    let Some(range) = HashRange::new(start, end) else { return Err(Unusable::Order { id }) };
    Ok(Shard::new(id, range))
}

/// What is wrong with an answer of ListShards.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the answer to a NextToken holds the same token again")]
    RepeatedToken,
    #[error("the listing has no end after {MAX_PAGES} pages")]
    Endless,
    #[error("the shard {id} has no range of hash keys")]
    NoRange { id: String },
    #[error("the range of the shard {id} ends before it starts")]
    Order { id: String },
    #[error("the range of the shard {id} cannot be read")]
    HashKey { id: String, source: HashKeyError },
}

impl From<Unusable> for PutRecordsError {
    fn from(unusable: Unusable) -> Self {
        Self::new(PutRecordsErrorKind::Response, Some(unusable.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use aws_sdk_kinesis::types::HashKeyRange;

    use super::*;

    fn with_range(start: &str, end: &str) -> SdkShard {
        let range = HashKeyRange::builder().starting_hash_key(start).ending_hash_key(end);
        let shard = SdkShard::builder().shard_id("shard-1");
        shard.hash_key_range(range.build().unwrap()).build().unwrap()
    }

    #[test]
    fn the_ends_of_the_ring_are_read() {
        let shard = read(with_range("0", &u128::MAX.to_string())).unwrap();
        let range = HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).unwrap();
        assert_eq!(shard, Shard::new("shard-1", range));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_shard() {
        let without = SdkShard::builder().shard_id("shard-1").build().unwrap();
        let too_large = "340282366920938463463374607431768211456";
        for (shard, expected) in [
            (without, "has no range"),
            (with_range("7", "6"), "ends before it starts"),
            (with_range("", "6"), "cannot be read"),
            (with_range("0x1", "6"), "cannot be read"),
            (with_range("0", too_large), "cannot be read"),
        ] {
            let error = PutRecordsError::from(read(shard).unwrap_err());
            let told = error.source().unwrap().to_string();
            assert!(told.contains("shard-1") && told.contains(expected), "{told}");
        }
    }
}
