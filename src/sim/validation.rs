//! Validation of requests. Error messages contain no values, because a value can be a partition key.

use super::builder::Config;
use super::state::State;
use crate::limits::{MAX_PARTITION_KEY_CHARS, MAX_REQUEST_BYTES, MAX_REQUEST_ENTRIES};
use crate::service::{Entry, PutRecordsError, PutRecordsRequest};
use crate::stream::StreamId;

pub(super) fn check_request(
    config: &Config,
    state: &State,
    request: &PutRecordsRequest,
) -> Result<(), PutRecordsError> {
    state.check_stream(config, request.stream())?;
    let entries = request.entries();
    if entries.is_empty() {
        return Err(violation("records", "length greater than or equal to 1"));
    }
    if entries.len() > MAX_REQUEST_ENTRIES {
        return Err(violation("records", "length less than or equal to 500"));
    }
    for (index, entry) in entries.iter().enumerate() {
        check_entry(config, state.ignores_keys(), index + 1, entry)?;
    }
    if request.bytes() > MAX_REQUEST_BYTES {
        return Err(invalid("Records size exceeds 10 MB limit"));
    }
    Ok(())
}

pub(super) fn no_such_stream(config: &Config, requested: &StreamId) -> PutRecordsError {
    let account = requested.arn().and_then(|arn| arn.split(':').nth(4)).unwrap_or(&config.account);
    let message = format!("Stream {} under account {account} not found.", requested.name());
    PutRecordsError::service(Some("ResourceNotFoundException"), Some(&message), Some(400))
}

pub(super) fn in_use(config: &Config) -> PutRecordsError {
    let (name, account) = (config.id.name(), &config.account);
    let message =
        format!("Stream {name} under account {account} not ACTIVE, instead in state DELETING");
    PutRecordsError::service(Some("ResourceInUseException"), Some(&message), Some(400))
}

fn check_entry(
    config: &Config,
    ignores_keys: bool,
    number: usize,
    entry: &Entry,
) -> Result<(), PutRecordsError> {
    let member = |name| format!("records.{number}.member.{name}");
    match entry.partition_key() {
        None if ignores_keys => {}
        None => return Err(violation(&member("partitionKey"), "a value: it must not be null")),
        Some(key) if key.is_empty() => {
            return Err(violation(&member("partitionKey"), "length greater than or equal to 1"));
        }
        // A key has at most as many characters as bytes, so the characters of short keys need not be counted.
        Some(key)
            if key.len() > MAX_PARTITION_KEY_CHARS
                && key.chars().count() > MAX_PARTITION_KEY_CHARS =>
        {
            return Err(violation(&member("partitionKey"), "length less than or equal to 256"));
        }
        Some(_) => {}
    }
    let max = config.description.max_record_bytes();
    if entry.size() > max {
        let length = format!("length less than or equal to {max}");
        return Err(violation(&member("data"), &length));
    }
    Ok(())
}

fn violation(member: &str, constraint: &str) -> PutRecordsError {
    invalid(&format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must \
         have {constraint}"
    ))
}

pub(super) fn invalid(message: &str) -> PutRecordsError {
    PutRecordsError::service(Some("ValidationException"), Some(message), Some(400))
}
