use crate::record::Record;

/// Record in the buffer of a sink in the mode [`Overflow`](crate::spool::SpoolMode::Overflow), which is written to the
/// spool although it stays in the buffer.
#[derive(Debug, Clone)]
pub(crate) struct Spilled {
    /// Sequence number in the pipeline.
    pub(crate) pipeline_seq: u64,
    pub(crate) record: Record,
    /// Milliseconds since the Unix epoch.
    pub(crate) accepted_at_ms: u64,
}

/// Sequence numbers of a spilled record in the pipeline and in the spool.
pub(crate) type SpilledSeqs = (u64, u64);

/// Whether new records are diverted to the spool.
///
/// In the mode [`Overflow`](crate::spool::SpoolMode::Overflow), the buffer contains records that are not in the spool.
/// They precede the records that are diverted, so they are written first. Otherwise they would follow them after a
/// restart.
#[derive(Debug)]
pub(super) enum Diversion {
    /// New records go to the buffer.
    Off,
    /// New records are staged. The driver must provide the records in the buffer.
    Wanted,
    /// The thread must write the records in the buffer.
    Spilling(Spill),
    /// The thread is writing the records in the buffer.
    Writing,
    /// New records are staged and written.
    On,
}

/// Records in the buffer to write, oldest first.
#[derive(Debug)]
pub(super) struct Spill {
    pub(super) records: Vec<Spilled>,
    /// Set to `true` if the records are written only once, because the producer is closing.
    pub(super) is_final: bool,
}

impl Diversion {
    /// Returns `true` if new records are staged.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Returns `true` if records in the buffer are to be written.
    pub(super) fn has_spill(&self) -> bool {
        matches!(self, Self::Spilling(_))
    }

    /// Returns `true` if records in the buffer are to be written, or are being written.
    pub(super) fn is_spilling(&self) -> bool {
        matches!(self, Self::Spilling(_) | Self::Writing)
    }

    /// Returns `true` if staged records can be written now.
    pub(super) fn writes_staged(&self) -> bool {
        matches!(self, Self::On)
    }

    /// Takes the records to write.
    pub(super) fn take_spill(&mut self) -> Option<Spill> {
        match std::mem::replace(self, Self::Writing) {
            Self::Spilling(spill) => Some(spill),
            other => {
                *self = other;
                None
            }
        }
    }
}
