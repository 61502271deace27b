use std::path::Path;
use std::time::Duration;

use kinesis_sink::Undelivered;
use kinesis_sink::status::Totals;

use crate::input::InputError;
use crate::interrupts::Interrupt;
use crate::spool::Remainder;

#[derive(Debug, Clone, Copy, Default)]
pub struct ReadCounts {
    /// Number of length-prefixed frames or of lines. Blank lines are included.
    pub frames: u64,
    pub records: u64,
    /// Size of the records in bytes, without separators.
    pub bytes: u64,
    pub rejected: u64,
    /// Number of records that an earlier run may have written.
    pub resent: u64,
}

#[derive(Debug)]
pub enum StopReason {
    EndOfInput,
    Interrupted(Interrupt),
    /// A frame was rejected and could not be written to a dead-letter file.
    BadInput(String),
    /// A record failed and could not be written to a dead-letter file.
    Undelivered,
    Error(anyhow::Error),
}

impl StopReason {
    /// Creates a reason for an error that ended the input before `frame` was complete.
    pub fn from_input_error(frame: &str, error: InputError) -> Self {
        match error {
            InputError::Read(_) => Self::Error(error.into()),
            InputError::Length | InputError::Truncated | InputError::DeadLetterTooLong => {
                Self::BadInput(format!("{frame}: {error}"))
            }
        }
    }
}

/// Counts of records that were neither delivered nor written to the dead-letter file.
#[derive(Debug, Default)]
pub struct UndeliveredCounts {
    records: u64,
    may_have_been_written: u64,
    first_reason: Option<String>,
}

impl UndeliveredCounts {
    pub fn add(&mut self, undelivered: &Undelivered) {
        self.records += 1;
        self.may_have_been_written += u64::from(undelivered.may_have_been_written());
        self.first_reason.get_or_insert_with(|| undelivered.reason().to_string());
    }
}

#[derive(Debug)]
pub struct Report {
    pub stop: StopReason,
    pub read: ReadCounts,
    pub totals: Totals,
    pub elapsed: Duration,
    pub undelivered: UndeliveredCounts,
    /// Number of frames and records that were written to the dead-letter file.
    pub dead_letters: u64,
    /// Records in the spool, if there is one.
    pub left: Option<Remainder>,
    /// Number of damaged places that were found in the spool.
    pub damaged: u64,
}

impl Report {
    pub fn is_complete(&self) -> bool {
        self.undelivered.records == 0
            && self.dead_letters == 0
            && self.read.rejected == 0
            && self.left.as_ref().is_none_or(|left| left.records == 0)
            && self.damaged == 0
    }

    pub fn exit_status(&self) -> u8 {
        match &self.stop {
            StopReason::Error(_) => 1,
            StopReason::Interrupted(interrupt) => interrupt.exit_status(),
            StopReason::EndOfInput if self.is_complete() => 0,
            StopReason::EndOfInput | StopReason::BadInput(_) | StopReason::Undelivered => 3,
        }
    }

    pub fn summary(&self) -> String {
        let Self { read, totals, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        let per_second = |amount: u64| amount as f64 / seconds.max(0.001);
        let mut text = format!(
            "{} records, {} bytes read; {} records delivered in {} requests, {} entries throttled; \
             {seconds:.1} s, {:.0} records/s, {:.1} MB/s",
            read.records,
            read.bytes,
            totals.delivered,
            totals.requests,
            totals.throttled,
            per_second(totals.delivered),
            per_second(totals.delivered_bytes) / 1e6,
        );
        if read.resent > 0 {
            text += &format!("; {} of the records may have been in the stream before", read.resent);
        }
        text
    }

    /// Returns the errors and warnings. They are printed even with `--quiet`.
    pub fn problems(&self, frame_name: &str, file: &Path) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.stop {
            StopReason::Error(error) => problems.push(format!("error: {error:#}")),
            StopReason::BadInput(reason) => problems.push(format!("error: {reason}")),
            StopReason::EndOfInput | StopReason::Interrupted(_) | StopReason::Undelivered => {}
        }
        if !matches!(self.stop, StopReason::EndOfInput) {
            problems.push(format!("reading stopped after {} {frame_name}s", self.read.frames));
        }
        if self.dead_letters > 0 {
            problems.push(format!(
                "{} records were written to {}",
                self.dead_letters,
                file.display()
            ));
        }
        let UndeliveredCounts { records, may_have_been_written, first_reason } = &self.undelivered;
        if let Some(reason) = first_reason {
            problems.push(format!(
                "{records} records were read and not delivered, {may_have_been_written} of them may be in the \
                 stream; first reason: {reason}"
            ));
        }
        if let (Some(Remainder { directory, .. }), damaged @ 1..) = (&self.left, self.damaged) {
            let directory = directory.display();
            problems.push(format!(
                "the spool was damaged in {damaged} places; their bytes are in {directory}/damaged"
            ));
        }
        if let Some(Remainder { records: left @ 1.., directory }) = &self.left {
            let directory = directory.display();
            problems.push(format!(
                "{left} records are left in {directory}: send them with --spool-drain {directory}, or with more input"
            ));
        }
        problems
    }
}
