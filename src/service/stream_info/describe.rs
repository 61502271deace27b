use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::describe_stream_summary::DescribeStreamSummaryOutput;
use aws_sdk_kinesis::operation::describe_stream_summary::builders::DescribeStreamSummaryFluentBuilder;
use aws_sdk_kinesis::types::{
    RecordDistributionStrategy, StreamDescriptionSummary, StreamMode as SdkStreamMode,
};
use tokio::sync::OnceCell;
use tower::BoxError;

use crate::limits::DEFAULT_RECORD_BYTES;
use crate::service::sdk::{Attempt, check_region};
use crate::service::{PutRecordsError, PutRecordsErrorKind};
use crate::stream::{Distribution, StreamDescription, StreamId, StreamMode};

#[derive(Clone, Default)]
pub(super) struct Descriptions(Arc<Mutex<HashMap<StreamId, Cached>>>);

pub(super) type Cached = Arc<OnceCell<StreamDescription>>;

impl Descriptions {
    pub(super) fn get(&self, stream: &StreamId) -> Cached {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cached.entry(stream.clone()).or_default())
    }

    /// Returns an empty cell. Replaces the current cell with a new one if it contains a description.
    pub(super) fn renew(&self, stream: &StreamId) -> Cached {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cached.entry(stream.clone()).or_default();
        if cell.initialized() {
            *cell = Cached::default();
        }
        Arc::clone(cell)
    }

    fn remove(&self, stream: &StreamId, cell: &Cached) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.get(stream).is_some_and(|current| Arc::ptr_eq(current, cell)) {
            cached.remove(stream);
        }
    }
}

/// Returns the description in `cell`. If the cell is empty, the first caller sends a request, and concurrent callers
/// wait for its response.
pub(super) async fn describe_stream(
    client: Client,
    descriptions: Descriptions,
    cell: Cached,
    stream: StreamId,
) -> Result<StreamDescription, BoxError> {
    let described = cell.get_or_try_init(|| request(&client, &stream)).await.copied();
    if described.as_ref().is_ok_and(|one| one.distribution() == Distribution::Auto) {
        descriptions.remove(&stream, &cell);
    }
    described.map_err(|error| error.for_lookup("DescribeStreamSummary", stream).into())
}

async fn request(client: &Client, stream: &StreamId) -> Result<StreamDescription, PutRecordsError> {
    check_region(client, stream)?;
    let attempt = Attempt::default();
    let call = call(client, stream).customize().interceptor(attempt.observed());
    let output = attempt.end(call.send().await)?;
    Ok(read(&summary(output)?))
}

pub(in crate::service) fn call(
    client: &Client,
    stream: &StreamId,
) -> DescribeStreamSummaryFluentBuilder {
    let call = client.describe_stream_summary();
    match stream.arn() {
        Some(arn) => call.stream_arn(arn),
        None => call.stream_name(stream.name()),
    }
}

pub(in crate::service) fn summary(
    output: DescribeStreamSummaryOutput,
) -> Result<StreamDescriptionSummary, PutRecordsError> {
    // The SDK fills in missing members, so an empty stream name means that the response has no description.
    let summary = output.stream_description_summary;
    summary.filter(|summary| !summary.stream_name().is_empty()).ok_or_else(|| {
        PutRecordsError::new(
            PutRecordsErrorKind::Response,
            Some("response has no description of the stream".into()),
        )
    })
}

fn read(summary: &StreamDescriptionSummary) -> StreamDescription {
    let kib = summary.max_record_size_in_kib().and_then(|kib| usize::try_from(kib).ok());
    let bytes = kib.filter(|&kib| kib > 0).map(|kib| kib.saturating_mul(1024));
    let distribution = match summary.record_distribution_strategy() {
        None | Some(RecordDistributionStrategy::UserPartitionKey) => Distribution::UserPartitionKey,
        // An unknown strategy might distribute records with the same key over several shards.
        Some(_) => Distribution::Auto,
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
