use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check_named;
use super::codec::Timestamp;
use crate::service::PutRecordsError;
use crate::sim::builder::Config;
use crate::sim::state::State;
use crate::stream::{Distribution, StreamMode};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Output {
    stream_description_summary: Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: StreamModeDetails,
    retention_period_hours: u32,
    stream_creation_timestamp: Timestamp,
    enhanced_monitoring: [(); 0],
    open_shard_count: usize,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_distribution_strategy: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamModeDetails {
    stream_mode: &'static str,
}

pub(super) fn describe_stream_summary(
    config: &Config,
    state: &mut State,
    input: Input,
) -> Result<Output, PutRecordsError> {
    check_named(config, state, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let description = state.description(config);
    Ok(Output {
        stream_description_summary: Summary {
            stream_name: config.id.name().to_owned(),
            stream_arn: config.arn.to_string(),
            stream_status: if state.is_deleting() { "DELETING" } else { "ACTIVE" },
            stream_mode_details: StreamModeDetails {
                stream_mode: match description.mode() {
                    StreamMode::OnDemand => "ON_DEMAND",
                    StreamMode::Provisioned => "PROVISIONED",
                },
            },
            retention_period_hours: 24,
            stream_creation_timestamp: Timestamp(Duration::ZERO),
            enhanced_monitoring: [],
            open_shard_count: state.ring.open.len(),
            max_record_size_in_kib: description.max_record_bytes() / 1024,
            record_distribution_strategy: match description.distribution() {
                Distribution::Auto => Some("AUTO"),
                Distribution::UserPartitionKey => None,
            },
        },
    })
}
