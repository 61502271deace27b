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
/// Each request is one call of a client that is derived from the given client. The derived client has the same region,
/// endpoint, interceptors and credentials, and the same HTTP client if one is configured. It differs in two respects:
///
/// - It loads the credentials again if the service rejects them.
/// - It does not retry. The sink itself retries failed entries and requests. Retries by the SDK would be invisible to
///   the layers of the stack and would not handle partial failures.
///
/// The service is always ready. The sink limits the number of concurrent calls.
///
/// # One client for many streams
///
/// The stream is part of the request, so the clones of one service can serve several sinks, each with its own stream.
/// These sinks share one client and one connection pool. They also share the state that layers share between clones,
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
/// Only clones share a connection pool. Each call of [`new`](Self::new), and therefore each sink built with
/// [`build`](crate::SinkBuilder::build), derives a client, and the SDK creates a pool per client. If the client is
/// configured with an HTTP client (`aws_config::ConfigLoader::http_client`), all derived clients use that one and share
/// its pool.
///
/// The example `three_streams` sends to three streams over two connections. A stream in another region or account
/// needs a separate client and service.
///
/// # Serialization
///
/// By default, `PutRecords` writes the request body directly from the entries. This takes a fraction of the time of the
/// SDK's generic serializer and produces the same bytes, but interceptors see an input without records. If the client
/// has interceptors, or a protocol that this crate does not know, `PutRecords` therefore uses the SDK serializer. See
/// [`with_direct_serialization`](Self::with_direct_serialization) and
/// [`with_sdk_serialization`](Self::with_sdk_serialization).
///
/// # Cancel safety
///
/// Dropping the future abandons the call. It is then unknown whether the records were written. The connection of the
/// call is not used for further requests, since it might be dead. Other requests in flight on that connection continue.
#[derive(Clone)]
pub struct PutRecords {
    client: Client,
    direct: bool,
}

impl PutRecords {
    /// Creates a service with a client derived from `client`.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let direct = client.config().interceptors().next().is_none();
        Self { client: derive(client), direct }
    }

    /// Uses the SDK serializer. This is the default for a client with interceptors.
    ///
    /// Interceptors then see all records in the input. The request has the same bytes, but serialization takes longer.
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
    /// CBOR is smaller and cheaper to write than JSON. The AWS SDKs for Java use it by default, but AWS does not
    /// document it.
    ///
    /// Needs the feature `cbor`.
    #[cfg(feature = "cbor")]
    #[must_use]
    pub fn with_cbor(mut self) -> Self {
        let config = self.client.config().to_builder().protocol(super::KinesisCbor::new());
        self.client = Client::from_conf(config.build());
        self
    }

    /// Turns off the SDK's stalled-stream protection, which fails a request that makes no progress for a few seconds.
    ///
    /// Call this method in stacks with a [`TimeoutLayer`](crate::timeout::TimeoutLayer), so that only the layer times
    /// requests out.
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
    // If the SDK has parsed the response, the results are in its output.
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
