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

/// The `tower::Service` at the bottom of every stack: one call of the SDK's PutRecords per request.
///
/// It derives a client from the given one: same credentials (loaded again when the service refuses them),
/// endpoint, region and interceptors, and the HTTP client that its configuration names, if it names one. The
/// SDK's retries are off, since they would run below every layer, unseen by metrics and unaware of partial
/// failures. Always ready; how many calls run at once is decided above
/// it.
///
/// # One client, many streams
///
/// A service is bound to no stream: each request names its own. So one service, over one client with one
/// connection pool, serves as many sinks as there are streams: give each of them a clone. What stands in the
/// stack is theirs in common where clones share it, as they do the permits of tower's `ConcurrencyLimit`:
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
///     // Eight requests at the same time, to all streams together.
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
/// Permits are handed out in the order in which the sinks ask, so a busy stream leaves the others their turn.
/// Stacks that differ from stream to stream share a limit through tower's `GlobalConcurrencyLimitLayer`.
///
/// It is the clones that share the pool. Each call of [`new`](Self::new), and so each sink made by
/// [`build`](crate::SinkBuilder::build), derives a client, and the SDK gives each client a pool of its own,
/// unless the configuration names an HTTP client (`aws_config::ConfigLoader::http_client`), which then serves
/// them all.
///
/// The example `three_streams` sends to three streams over two connections. Streams of another region or
/// account need a client, and so a service, of their own.
///
/// # How a request becomes bytes
///
/// Normally the body is written straight from the request's entries, which costs a fraction of what the
/// SDK's generic serialiser does, and comes to the same bytes. An interceptor then sees an input without
/// records. So a client that has interceptors of its own, which may look at them, gets the SDK's
/// serialiser, as does one with a protocol that is not known here. See
/// [`with_direct_serialization`](Self::with_direct_serialization) and
/// [`with_sdk_serialization`](Self::with_sdk_serialization).
///
/// # Cancel safety
///
/// Dropping the future abandons the call. Whether its records were written is then unknown. Its connection takes no
/// further requests, since it may be dead. Requests in flight on that connection continue.
#[derive(Clone)]
pub struct PutRecords {
    client: Client,
    direct: bool,
}

impl PutRecords {
    /// A service over a client derived from `client`.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let direct = client.config().interceptors().next().is_none();
        Self { client: derive(client), direct }
    }

    /// Lets the SDK's own serialiser write every request: the input has all records, for interceptors
    /// that look at them. The same bytes, at a higher cost. The default for a client that has
    /// interceptors.
    #[must_use]
    pub fn with_sdk_serialization(mut self) -> Self {
        self.direct = false;
        self
    }

    /// Writes the body of every request straight from its entries, even if the client has interceptors:
    /// those find no records in the input and in the output, but all of them in the serialised request
    /// and no fewer results in the response. The default for a client without interceptors.
    #[must_use]
    pub fn with_direct_serialization(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Sends every request in Kinesis CBOR, whatever protocol the client speaks otherwise: see
    /// [`KinesisCbor`](super::KinesisCbor). It is smaller and cheaper than JSON; the AWS SDKs for Java
    /// use it by default, but it is not documented for others.
    ///
    /// Needs the feature `cbor`.
    #[cfg(feature = "cbor")]
    #[must_use]
    pub fn with_cbor(mut self) -> Self {
        let config = self.client.config().to_builder().protocol(super::KinesisCbor::new());
        self.client = Client::from_conf(config.build());
        self
    }

    /// Turns the SDK's stalled-stream protection off, which fails a request that makes no progress for
    /// a few seconds. For stacks with a [`TimeoutLayer`](crate::timeout::TimeoutLayer), which then is the one
    /// place that says how long a request may take.
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
    let (attempt, answer) = (Attempt::default(), ResponseSlot::default());
    let call = if direct {
        call.customize().interceptor(Entries::new(request.clone(), answer.clone()))
    } else {
        call.set_records(Some(sdk_entries(&request))).customize()
    };
    let call = call.interceptor(attempt.observed());
    let output = attempt.end(call.send().await)?;
    // Where the SDK has read the answer, the results are in its output.
    let results = answer.take();
    let results = results.unwrap_or_else(|| output.records.into_iter().map(result).collect());
    response(request.entries().len(), results)
}

pub(super) fn sdk_entries(request: &PutRecordsRequest) -> Vec<PutRecordsRequestEntry> {
    request.entries().iter().map(sdk_entry).collect()
}

/// Hands the payload over as it is: a `Blob` made this way shares the `Bytes`.
fn sdk_entry(entry: &Entry) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .data(Blob::from_maybe_shared(entry.data().clone()))
        .set_partition_key(entry.partition_key().map(|key| key.to_string()))
        .set_explicit_hash_key(entry.explicit_hash_key().map(|key| key.to_string()))
        .build()
        .expect("data is the only required member")
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
    fn payloads_reach_the_sdk_without_a_copy() {
        let data = Bytes::from(vec![7; 1000]);
        let entry = Entry::new(data.clone(), Some(Key::from("k")), Some(HashKey::new(9)));
        let sent = sdk_entry(&entry);
        assert_eq!(sent.data.as_ref().as_ptr(), data.as_ptr());
        assert_eq!(sent.partition_key.as_deref(), Some("k"));
        assert_eq!(sent.explicit_hash_key.as_deref(), Some("9"));
    }

    #[test]
    fn a_result_is_a_delivery_only_with_shard_and_sequence_number() {
        let incomplete = PutRecordsResultEntry::builder().shard_id("shardId-0").build();
        assert_eq!(result(incomplete).unwrap_err().code(), INCOMPLETE_RESULT);
        let complete =
            PutRecordsResultEntry::builder().shard_id("shardId-0").sequence_number("1").build();
        assert_eq!(result(complete), Ok(Placement::new("shardId-0", "1")));
        let failed = PutRecordsResultEntry::builder().error_code("InternalFailure").build();
        assert_eq!(result(failed), Err(EntryError::new("InternalFailure", "")));
    }
}
