//! Counts the pipeline's work in units of a task's cooperative budget.

/// Bytes of aggregates that are encoded for a unit of a task's budget. tokio gives a task 128 units in a turn, which
/// are then half a MiB and take about a millisecond, most of it for the digest.
const UNIT_BYTES: usize = 4 * 1024;
/// Bytes that are about as much work to encode as a record is to send, or to settle.
const RECORD_BYTES: usize = 64;
/// The most that one call encodes of what it closes for a request.
const STEP_BYTES: usize = 128 * 1024;

/// How much the pipeline has done, so that its caller can let other tasks run.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// The work since it was last taken, in encoded bytes.
    done: usize,
    /// Bytes that this call has encoded for a request.
    step: usize,
    /// Whether this call has left something to the next one.
    is_unfinished: bool,
}

impl Work {
    pub(super) fn begin_step(&mut self) {
        self.step = 0;
        self.is_unfinished = false;
    }

    /// Whether this call may close another aggregate.
    pub(super) fn try_continue(&mut self) -> bool {
        self.is_unfinished |= self.step >= STEP_BYTES;
        !self.is_unfinished
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.done += bytes;
        self.step += bytes;
    }

    /// Counts records that were sent, or settled.
    pub(super) fn add_records(&mut self, records: usize) {
        self.done += records * RECORD_BYTES;
    }

    /// Takes the units of work done since the latest call.
    pub(super) fn take(&mut self) -> usize {
        let units = self.done / UNIT_BYTES;
        self.done %= UNIT_BYTES;
        units
    }
}
