//! Measures the work of the pipeline in units of a task's cooperative budget.

/// Number of encoded bytes per unit of the cooperative budget. tokio grants a task 128 units per poll, which
/// corresponds to 512 KiB. Encoding this amount takes about a millisecond, mostly because of the digest.
const BYTES_PER_UNIT: usize = 4 * 1024;
/// Number of bytes whose encoding takes as long as sending or settling one record.
const BYTES_PER_RECORD: usize = 64;
/// Number of encoded bytes after which a call closes no further aggregates.
const MAX_STEP_BYTES: usize = 128 * 1024;

/// Amount of work done by the pipeline. The caller uses it to decide when to yield to other tasks.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: usize,
    step: usize,
    is_unfinished: bool,
}

impl Work {
    pub(super) fn begin_step(&mut self) {
        self.step = 0;
        self.is_unfinished = false;
    }

    /// Returns `true` if the current step may close another aggregate. Otherwise, marks the step as unfinished.
    pub(super) fn try_continue(&mut self) -> bool {
        self.is_unfinished |= self.step >= MAX_STEP_BYTES;
        !self.is_unfinished
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.done += bytes;
        self.step += bytes;
    }

    pub(super) fn add_records(&mut self, records: usize) {
        self.done += records * BYTES_PER_RECORD;
    }

    pub(super) fn take(&mut self) -> usize {
        let units = self.done / BYTES_PER_UNIT;
        self.done %= BYTES_PER_UNIT;
        units
    }
}
