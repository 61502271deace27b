use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use bytes_utils::Str;
use smol_str::SmolStr;
use tower::Service;

use super::protocol::{Entries, ResponseSlot};
use super::response::ResultMembers;
use super::sdk::{Attempt, check_region, derive, without_stalled_stream_protection};
use super::{Entry, EntryError, Placement, PutRecordsError, PutRecordsRequest, PutRecordsResponse};

/// [`Service`] that sends PutRecords requests with the AWS SDK. It is the innermost service of a stack.
///
/// `PutRecords` derives its own client from the given client and makes one call of that client per request. The derived
/// client has the same region, endpoint, interceptors and credentials. It also has the same HTTP client if one is
/// configured. It differs in two ways:
///
/// - It loads new credentials if the service rejects the cached ones.
/// - It does not retry, because the sink retries failed entries and requests. Layers would not see retries by the SDK,
///   and the SDK would not retry single entries that failed.
///
/// The service is always ready, because the sink limits the number of concurrent calls.
///
/// # One client for many streams
///
/// The stream is part of the request, so the clones of one service can serve several sinks, each with its own stream.
/// These sinks share one client and one connection pool. They also share any state that layers share between clones,
/// such as the permits of tower's `ConcurrencyLimit`:
///
/// ```
/// use std::time::Duration;
///
/// use kinesis_sink::service::{PutRecords, ServiceBuilderExt};
/// use kinesis_sink::KinesisSink;
/// use tower::ServiceBuilder;
///
/// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
/// let service = ServiceBuilder::new()
///     .trace_put_records()
///     // At most eight concurrent requests to all streams together.
///     .concurrency_limit(8)
///     .timeout_put_records(Duration::from_secs(10))
///     .service(PutRecords::new(&client).without_stalled_stream_protection());
/// let orders = KinesisSink::builder("orders").build_with(service.clone())?;
/// let clicks = KinesisSink::builder("clicks").build_with(service.clone())?;
/// let audit = KinesisSink::builder("audit").build_with(service)?;
/// # Ok(())
/// # }
/// ```
///
/// Permits are granted in the order in which the sinks request them, so a busy stream does not starve the others. To
/// share a limit between different stacks, use tower's `GlobalConcurrencyLimitLayer`.
///
/// Only clones share a connection pool, because the SDK creates a pool for each client. Each call of [`new`](Self::new)
/// derives a client, and so does each sink that is built with [`build`](crate::SinkBuilder::build). If the given client
/// is configured with an HTTP client (`aws_config::ConfigLoader::http_client`), all derived clients use that HTTP
/// client and share its pool.
///
/// The example `tenants` sends to 50 streams over a few connections. A stream in another region or account needs a
/// separate client and service.
///
/// # Serialization
///
/// By default, `PutRecords` writes the request body directly from the entries. This takes a fraction of the time of the
/// SDK's generic serializer and produces the same bytes, but interceptors see an input without records. `PutRecords`
/// uses the SDK serializer if the client has interceptors, so that they see the records, or if the protocol of the
/// client is unknown to this crate. See [`with_direct_serialization`](Self::with_direct_serialization) and
/// [`with_sdk_serialization`](Self::with_sdk_serialization).
///
/// # Cancel safety
///
/// Dropping the future abandons the call, but the records may have been written. The connection of the call is not used
/// for further requests, because it might be dead. Other requests in flight on that connection continue.
#[derive(Clone)]
pub struct PutRecords {
    client: Client,
    direct: bool,
}

impl PutRecords {
    /// Creates a new `PutRecords` with a client derived from `client`.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let direct = client.config().interceptors().next().is_none();
        Self { client: derive(client), direct }
    }

    /// Uses the SDK serializer. This is the default for a client with interceptors.
    ///
    /// Interceptors then see all records in the input. The request has the same bytes as with direct serialization, but
    /// takes longer to serialize.
    #[must_use]
    pub fn with_sdk_serialization(mut self) -> Self {
        self.direct = false;
        self
    }

    /// Writes the body directly from the entries of a request. This is the default for a client without interceptors.
    ///
    /// Interceptors then see an input without records and an output without results. The serialized request and the
    /// HTTP response contain them as usual.
    #[must_use]
    pub fn with_direct_serialization(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Sends requests in Kinesis CBOR instead of the protocol of the client. See [`KinesisCbor`](super::KinesisCbor).
    ///
    /// A request in CBOR is smaller and faster to serialize than in JSON. The AWS SDKs for Java use CBOR by default,
    /// but AWS does not document it.
    ///
    /// Requires the feature `cbor`.
    #[cfg(feature = "cbor")]
    #[must_use]
    pub fn with_cbor(mut self) -> Self {
        let config = self.client.config().to_builder().protocol(super::KinesisCbor::new());
        self.client = Client::from_conf(config.build());
        self
    }

    /// Turns off the SDK's stalled-stream protection, which fails a request that makes no progress for a few seconds.
    ///
    /// Call this method in stacks with a [`TimeoutLayer`](crate::timeout::TimeoutLayer), so that only the layer decides
    /// when a request times out.
    #[must_use]
    pub fn without_stalled_stream_protection(mut self) -> Self {
        self.client = without_stalled_stream_protection(&self.client);
        self
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for PutRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutRecords").finish_non_exhaustive()
    }
}

impl Service<PutRecordsRequest> for PutRecords {
    type Response = PutRecordsResponse;
    type Error = PutRecordsError;
    type Future = Pin<Box<dyn Future<Output = Result<PutRecordsResponse, PutRecordsError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PutRecordsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PutRecordsRequest) -> Self::Future {
        Box::pin(put_records(self.client.clone(), self.direct, request))
    }
}

async fn put_records(
    client: Client,
    direct: bool,
    request: PutRecordsRequest,
) -> Result<PutRecordsResponse, PutRecordsError> {
    let stream = request.stream();
    check_region(&client, stream)?;
    let call = client.put_records();
    let call = match stream.arn() {
        Some(arn) => call.stream_arn(arn),
        None => call.stream_name(stream.name()),
    };
    let attempt = Attempt::default();
    let slot = ResponseSlot::default();
    let call = if direct {
        call.customize().interceptor(Entries::new(request.clone(), slot.clone()))
    } else {
        call.set_records(Some(sdk_entries(&request))).customize()
    };
    let call = call.interceptor(attempt.observed());
    let output = attempt.end(call.send().await)?;
    // If the SDK has parsed the response, the slot is empty and the results are in the output.
    let results = slot.take();
    let results = results.unwrap_or_else(|| output.records.into_iter().map(result).collect());
    response(request.entries().len(), results)
}

pub(super) fn sdk_entries(request: &PutRecordsRequest) -> Vec<PutRecordsRequestEntry> {
    request.entries().iter().map(sdk_entry).collect()
}

/// Converts an entry without copying its data.
fn sdk_entry(entry: &Entry) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .data(Blob::from_maybe_shared(entry.data().clone()))
        .set_partition_key(entry.partition_key().map(|key| key.to_string()))
        .set_explicit_hash_key(entry.explicit_hash_key().map(|key| key.to_string()))
        .build()
        .expect("data, the only required member, is set")
}

fn response(
    entries: usize,
    results: Vec<Result<Placement, EntryError>>,
) -> Result<PutRecordsResponse, PutRecordsError> {
    if results.len() != entries {
        return Err(PutRecordsError::wrong_length(entries, results.len()));
    }
    Ok(PutRecordsResponse::new(results))
}

fn result(result: PutRecordsResultEntry) -> Result<Placement, EntryError> {
    let PutRecordsResultEntry { shard_id, sequence_number, error_code, error_message, .. } = result;
    let (shard_id, sequence_number) = (shard_id.map(SmolStr::from), sequence_number.map(Str::from));
    ResultMembers { shard_id, sequence_number, error_code, error_message }.into_result()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{HashKey, Key};
    use crate::service::classify::codes::INCOMPLETE_RESULT;

    #[test]
    fn sdk_entry_shares_payload() {
        let data = Bytes::from(vec![7; 1000]);
        let entry = Entry::new(data.clone(), Some(Key::from("k")), Some(HashKey::new(9)));
        let sent = sdk_entry(&entry);
        assert_eq!(sent.data.as_ref().as_ptr(), data.as_ptr());
        assert_eq!(sent.partition_key.as_deref(), Some("k"));
        assert_eq!(sent.explicit_hash_key.as_deref(), Some("9"));
    }

    #[test]
    fn result_without_sequence_number_is_error() {
        let incomplete = PutRecordsResultEntry::builder().shard_id("shardId-0").build();
        assert_eq!(result(incomplete).unwrap_err().code(), INCOMPLETE_RESULT);
        let complete =
            PutRecordsResultEntry::builder().shard_id("shardId-0").sequence_number("1").build();
        assert_eq!(result(complete), Ok(Placement::new("shardId-0", "1")));
        let failed = PutRecordsResultEntry::builder().error_code("InternalFailure").build();
        assert_eq!(result(failed), Err(EntryError::new("InternalFailure", "")));
    }
}
