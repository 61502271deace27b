use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::types::{Shard as SdkShard, ShardFilter, ShardFilterType};

use crate::parse_error::ParseError;
use crate::record::HashKey;
use crate::service::sdk::{Attempt, check_region};
use crate::service::{PutRecordsError, PutRecordsErrorKind};
use crate::shard::{HashRange, Shard};
use crate::stream::StreamId;

/// Maximum number of pages, which can contain a million shards. A longer list is treated as endless.
const MAX_PAGES: usize = 1_000;

pub(super) async fn list_shards(
    client: &Client,
    stream: &StreamId,
) -> Result<Vec<Shard>, PutRecordsError> {
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
        // Like the SDK's paginators, treats an empty token as the end of the list.
        match page.next_token.filter(|next| !next.is_empty()) {
            None => return Ok(open),
            next if next == token => return Err(InvalidListing::RepeatedToken.into()),
            next => token = next,
        }
    }
    Err(InvalidListing::Endless.into())
}

async fn list_page(
    client: &Client,
    stream: &StreamId,
    token: Option<&str>,
) -> Result<ListShardsOutput, PutRecordsError> {
    let call = client.list_shards();
    let call = match (token, stream.arn()) {
        // The token includes the stream and the filter, and the service rejects a request that repeats them.
        (Some(token), _) => call.next_token(token),
        (None, Some(arn)) => call.stream_arn(arn).shard_filter(at_latest()),
        (None, None) => call.stream_name(stream.name()).shard_filter(at_latest()),
    };
    let attempt = Attempt::default();
    let call = call.customize().interceptor(attempt.observed());
    attempt.end(call.send().await)
}

fn at_latest() -> ShardFilter {
    let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest);
    filter.build().expect("the type, the only required member, is set")
}

/// Returns `true` for a closed shard. Some servers ignore the filter and list closed shards as well.
fn is_closed(shard: &SdkShard) -> bool {
    shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some())
}

fn read(shard: SdkShard) -> Result<Shard, InvalidListing> {
    let SdkShard { shard_id: id, hash_key_range, .. } = shard;
    let Some(range) = hash_key_range else { return Err(InvalidListing::NoRange { id }) };
    let hash_key = |text: &str| {
        let parsed = text.parse::<HashKey>();
        parsed.map_err(|source| InvalidListing::HashKey { id: id.clone(), source })
    };
    let (start, end) = (hash_key(&range.starting_hash_key)?, hash_key(&range.ending_hash_key)?);
    let Some(range) = HashRange::new(start, end) else { return Err(InvalidListing::Order { id }) };
    Ok(Shard::new(id, range))
}

#[derive(Debug, thiserror::Error)]
enum InvalidListing {
    #[error("response to a NextToken contains the same token again")]
    RepeatedToken,
    #[error("list has more than {MAX_PAGES} pages")]
    Endless,
    #[error("shard {id} has no hash key range")]
    NoRange { id: String },
    #[error("hash key range of shard {id} ends before it starts")]
    Order { id: String },
    #[error("hash key range of shard {id} cannot be read")]
    HashKey { id: String, source: ParseError },
}

impl From<InvalidListing> for PutRecordsError {
    fn from(invalid: InvalidListing) -> Self {
        Self::new(PutRecordsErrorKind::Response, Some(invalid.into()))
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
    fn shard_range_can_span_hash_ring() {
        let shard = read(with_range("0", &u128::MAX.to_string())).unwrap();
        let range = HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).unwrap();
        assert_eq!(shard, Shard::new("shard-1", range));
    }

    #[test]
    fn invalid_range_error_names_shard() {
        let without = SdkShard::builder().shard_id("shard-1").build().unwrap();
        let too_large = "340282366920938463463374607431768211456";
        for (shard, expected) in [
            (without, "has no hash key range"),
            (with_range("7", "6"), "ends before it starts"),
            (with_range("", "6"), "cannot be read"),
            (with_range("0x1", "6"), "cannot be read"),
            (with_range("0", too_large), "cannot be read"),
        ] {
            let error = PutRecordsError::from(read(shard).unwrap_err());
            let message = error.source().unwrap().to_string();
            assert!(message.contains("shard-1") && message.contains(expected), "{message}");
        }
    }
}
