//! What came of it: the summary, and the exit status.

use std::path::Path;
use std::time::Duration;

use kinesis_sink::Undelivered;
use kinesis_sink::status::Totals;

use crate::input::InputError;
use crate::interrupts::Interrupt;

/// What was read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Frames: lines, blank ones included, or what has a length in front.
    pub frames: u64,
    pub records: u64,
    /// Bytes of the records, without what separates them.
    pub bytes: u64,
    /// Frames that made no record.
    pub bad: u64,
}

/// Why no more was read.
#[derive(Debug)]
pub enum Stop {
    EndOfInput,
    Interrupted(Interrupt),
    /// A frame made no record, and nobody has taken it.
    BadInput(String),
    /// A record failed for good, and nobody has taken it.
    Undelivered,
    /// The stream takes nothing, the input cannot be read, or the like.
    Error(anyhow::Error),
}

impl Stop {
    /// Why the input gave no frame where this one should be.
    pub fn at_frame(frame: &str, error: InputError) -> Self {
        match error {
            InputError::Read(_) => Self::Error(error.into()),
            InputError::Length | InputError::BreaksOff => {
                Self::BadInput(format!("{frame} {error}"))
            }
        }
    }
}

/// Records that were read, not delivered, and not written to a file.
#[derive(Debug, Default)]
pub struct Left {
    records: u64,
    may_have_been_written: u64,
    /// Why the first of them was given up.
    why: Option<String>,
}

impl Left {
    pub fn add(&mut self, undelivered: &Undelivered) {
        self.records += 1;
        self.may_have_been_written += u64::from(undelivered.may_have_been_written());
        self.why.get_or_insert_with(|| undelivered.reason().to_string());
    }
}

/// All there is to say in the end.
#[derive(Debug)]
pub struct Report {
    pub stop: Stop,
    pub read: Counts,
    pub totals: Totals,
    pub took: Duration,
    pub left: Left,
    /// Frames and records that the dead-letter file took.
    pub dead_letters: u64,
}

impl Report {
    pub fn is_complete(&self) -> bool {
        self.left.records == 0 && self.dead_letters == 0 && self.read.bad == 0
    }

    pub fn exit_status(&self) -> u8 {
        match &self.stop {
            Stop::Error(_) => 1,
            Stop::Interrupted(interrupt) => interrupt.exit_status(),
            Stop::EndOfInput if self.is_complete() => 0,
            Stop::EndOfInput | Stop::BadInput(_) | Stop::Undelivered => 3,
        }
    }

    pub fn summary(&self) -> String {
        let (Self { read, totals, .. }, seconds) = (self, self.took.as_secs_f64());
        let per_second = |amount: u64| amount as f64 / seconds.max(0.001);
        format!(
            "{} records, {} bytes read; {} records delivered in {} requests, {} entries throttled; \
             {seconds:.1} s, {:.0} records/s, {:.1} MB/s",
            read.records,
            read.bytes,
            totals.delivered,
            totals.requests,
            totals.throttled,
            per_second(totals.delivered),
            per_second(totals.delivered_bytes) / 1e6,
        )
    }

    /// What must be said also to those who want it quiet.
    pub fn troubles(&self, unit: &str, file: &Path) -> Vec<String> {
        let mut troubles = Vec::new();
        match &self.stop {
            Stop::Error(error) => troubles.push(format!("error: {error:#}")),
            Stop::BadInput(why) => troubles.push(format!("error: {why}")),
            Stop::EndOfInput | Stop::Interrupted(_) | Stop::Undelivered => {}
        }
        if !matches!(self.stop, Stop::EndOfInput) {
            troubles.push(format!("reading stopped after {} {unit}s", self.read.frames));
        }
        if self.dead_letters > 0 {
            troubles.push(format!(
                "{} records were written to {}",
                self.dead_letters,
                file.display()
            ));
        }
        let Left { records, may_have_been_written, why } = &self.left;
        if let Some(why) = why {
            troubles.push(format!(
                "{records} records were read and not delivered, {may_have_been_written} of them may be in the \
                 stream all the same; the first one: {why}"
            ));
        }
        troubles
    }
}
