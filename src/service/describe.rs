use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{
    RecordDistributionStrategy, StreamDescriptionSummary, StreamMode as SdkStreamMode,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tower::BoxError;

use super::call::{Attempt, check_region, derive, without_stalled_stream_protection};
use super::{LookupError, PutRecordsError, PutRecordsErrorKind};
use crate::limits::DEFAULT_RECORD_BYTES;
use crate::stream::{DescribeStream, Distribution, StreamDescription, StreamId, StreamMode};

/// Describes streams with the service's DescribeStreamSummary, and asks about each only once.
///
/// An account has 20 such requests a second for all its producers together. So clones share what one
/// of them has learned, and while one asks about a stream the others wait for its answer. An answer is
/// kept as long as a clone lives, or until a call [past the cache](DescribeStream::describe_stream_anew), which a
/// sink makes when answers contradict the description. Not kept are
/// errors, after which those who waited for that answer ask in turn, one after the other; and that a
/// stream is distributed [by the service](Distribution::ByService), which its owner may change when a
/// sink refuses it.
///
/// It derives a client of its own from the given one, with the SDK's retries off, as
/// [`PutRecords`](super::PutRecords) does: whoever asks tries again, and says how long an answer may take. A
/// failure is a [`LookupError`].
///
/// Source: DescribeStreamSummary API reference, "a limit of 20 transactions per second per account".
///
/// ```no_run
/// use kinesis_sink::service::StreamDescriber;
/// use kinesis_sink::{DescribeStream, Distribution};
///
/// # async fn demo(client: aws_sdk_kinesis::Client) -> Result<(), tower::BoxError> {
/// let stream = StreamDescriber::new(&client).describe_stream(&"clicks".parse()?).await?;
/// if stream.distribution() == Distribution::ByService {
///     println!("partition keys place nothing on this stream");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping a future that asks abandons its request, and the next that waits asks instead. Dropping one
/// that waits changes nothing.
#[derive(Clone)]
pub struct StreamDescriber {
    client: Client,
    known: Arc<Mutex<HashMap<StreamId, Answer>>>,
}

/// Filled by the first that gets an answer.
type Answer = Arc<OnceCell<StreamDescription>>;

impl StreamDescriber {
    /// Describes over a client derived from `client`, and knows nothing yet.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { client: derive(client), known: Arc::default() }
    }

    /// Turns off the SDK's stalled-stream protection, which fails a call that makes no progress for a few
    /// seconds. Use it if you limit the time of a call yourself, as a sink does with 10 s.
    #[must_use]
    pub fn without_stalled_stream_protection(mut self) -> Self {
        self.client = without_stalled_stream_protection(&self.client);
        self
    }

    fn answer(&self, stream: &StreamId) -> Answer {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(stream.clone()).or_default())
    }

    /// Returns the cell for a new answer, or the current one while its call is under way.
    fn new_answer(&self, stream: &StreamId) -> Answer {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = known.entry(stream.clone()).or_default();
        if answer.initialized() {
            *answer = Answer::default();
        }
        Arc::clone(answer)
    }

    fn forget(&self, stream: &StreamId, answer: &Answer) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(stream).is_some_and(|kept| Arc::ptr_eq(kept, answer)) {
            known.remove(stream);
        }
    }
}

impl StreamDescriber {
    async fn ask(self, answer: Answer, stream: StreamId) -> Result<StreamDescription, BoxError> {
        let ask = || describe(&self.client, &stream);
        let described = answer.get_or_try_init(ask).await.copied();
        if described.as_ref().is_ok_and(|one| one.distribution() == Distribution::ByService) {
            self.forget(&stream, &answer);
        }
        described.map_err(|reason| LookupError::new("DescribeStreamSummary", stream, reason).into())
    }
}

impl fmt::Debug for StreamDescriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDescriber").finish_non_exhaustive()
    }
}

impl DescribeStream for StreamDescriber {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<StreamDescription, BoxError>> {
        self.clone().ask(self.answer(stream), stream.clone()).boxed()
    }

    /// Describes `stream` past the cache. Calls that are made at the same time share one request.
    fn describe_stream_anew(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<StreamDescription, BoxError>> {
        self.clone().ask(self.new_answer(stream), stream.clone()).boxed()
    }
}

async fn describe(
    client: &Client,
    stream: &StreamId,
) -> Result<StreamDescription, PutRecordsError> {
    check_region(client, stream)?;
    let call = client.describe_stream_summary();
    let call = match stream.arn() {
        Some(arn) => call.stream_arn(arn),
        None => call.stream_name(stream.name()),
    };
    let attempt = Attempt::default();
    let call = call.customize().interceptor(attempt.observed());
    let output = attempt.end(call.send().await)?;
    // What the answer leaves out, the SDK fills in: without a name there was no description.
    match output.stream_description_summary.filter(|summary| !summary.stream_name().is_empty()) {
        Some(summary) => Ok(read(&summary)),
        None => Err(PutRecordsError::new(
            PutRecordsErrorKind::Response,
            Some("the answer holds no description of the stream".into()),
        )),
    }
}

fn read(summary: &StreamDescriptionSummary) -> StreamDescription {
    let kib = summary.max_record_size_in_kib().and_then(|kib| usize::try_from(kib).ok());
    let bytes = kib.filter(|&kib| kib > 0).map(|kib| kib.saturating_mul(1024));
    let distribution = match summary.record_distribution_strategy() {
        None | Some(RecordDistributionStrategy::UserPartitionKey) => Distribution::ByPartitionKey,
        // A strategy that nobody knows yet need not keep equal keys together.
        Some(_) => Distribution::ByService,
    };
    let mode = summary.stream_mode_details().map(|details| details.stream_mode());
    StreamDescription::default()
        .with_mode(match mode {
            Some(SdkStreamMode::Provisioned) => StreamMode::Provisioned,
            _ => StreamMode::OnDemand,
        })
        .with_max_record_bytes(bytes.unwrap_or(DEFAULT_RECORD_BYTES))
        .with_distribution(distribution)
}
