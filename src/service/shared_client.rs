use std::fmt;
use std::sync::OnceLock;

use aws_sdk_kinesis::Client;

use super::{PutRecords, SdkStreamInfo};
use crate::build_error::BuildError;
use crate::stream::StreamId;

/// Services that several sinks share. Their clients have separate configurations and credentials caches, so that a client
/// per sink would cost several kilobytes each.
pub(crate) struct SharedClient {
    client: Client,
    put_records: PutRecords,
    /// Source of stream information, created for the first sink that needs it.
    stream_info: OnceLock<SdkStreamInfo>,
}

impl SharedClient {
    /// Creates the services. Returns [`BuildError::NoRegion`] if the client has no region.
    pub(crate) fn new(client: &Client) -> Result<Self, BuildError> {
        let put_records = PutRecords::new(client).without_stalled_stream_protection();
        let shared = Self { client: client.clone(), put_records, stream_info: OnceLock::new() };
        // If AWS_REGION is empty, the SDK's region is an empty string.
        if shared.region().is_empty() {
            return Err(BuildError::NoRegion);
        }
        Ok(shared)
    }

    /// Returns [`BuildError::Region`] if the stream is in another region.
    pub(crate) fn check_region(&self, stream: &StreamId) -> Result<(), BuildError> {
        stream.check_region(Some(self.region()))
    }

    pub(crate) fn put_records(&self) -> &PutRecords {
        &self.put_records
    }

    pub(crate) fn stream_info(&self) -> &SdkStreamInfo {
        let create = || SdkStreamInfo::new(&self.client).without_stalled_stream_protection();
        self.stream_info.get_or_init(create)
    }

    fn region(&self) -> &str {
        self.client.config().region().map_or("", |region| region.as_ref())
    }
}

impl fmt::Debug for SharedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedClient").finish_non_exhaustive()
    }
}
