//! Encoding of segments and acknowledgements, as described in `docs/spool.md`.

use crate::record::Record;

/// A record as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct SpooledRecord {
    /// Record without a receipt.
    pub(crate) record: Record,
    /// Time at which the record was accepted, in milliseconds since the Unix epoch.
    pub(crate) accepted_at_ms: u64,
}
