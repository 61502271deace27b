use std::io::IsTerminal;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use kinesis_sink::status::Status;

use crate::frame_error::FrameError;
use crate::interrupts::Interrupt;
use crate::report::ReadCounts;
use crate::stderr::print_line;

const TEMPLATE: &str =
    "{elapsed_precise} {spinner} {binary_bytes} read, {binary_bytes_per_sec}; {msg}";

/// Number of rejected lines that are printed, so that a file of another format does not fill the terminal.
const MAX_PRINTED: u32 = 10;

/// A progress line, shown if standard error is a terminal.
pub struct Progress {
    bar: ProgressBar,
    quiet: bool,
    rejected: u32,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template(TEMPLATE).expect("template is valid");
        Self { bar: bar.with_style(style), quiet, rejected: 0 }
    }

    pub fn update(&self, read: &ReadCounts, status: &Status) {
        if self.bar.is_hidden() {
            return;
        }
        let totals = status.totals;
        let rate = totals.delivered as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_position(read.bytes);
        let spooled = match &status.spool {
            Some(spool) => format!(", {} in the spool", HumanCount(spool.records)),
            None => String::new(),
        };
        self.bar.set_message(format!(
            "{} delivered, {}/s, {} queued, {} in flight, {} throttled{spooled}",
            HumanCount(totals.delivered),
            HumanCount(rate as u64),
            HumanCount(status.queued.records as u64),
            HumanCount(status.in_flight.records as u64),
            HumanCount(totals.throttled),
        ));
    }

    pub fn print_draining(&self, interrupt: Interrupt) {
        if !self.quiet {
            let text = format_args!(
                "{interrupt}: sending the records read so far; a second signal aborts"
            );
            self.bar.suspend(|| print_line(text));
        }
    }

    /// Prints why a line is rejected, also with `--quiet`. Prints only the first lines.
    pub fn print_rejected(&mut self, frame: &str, error: &FrameError) {
        self.rejected = self.rejected.saturating_add(1);
        let text = if self.rejected <= MAX_PRINTED {
            format!("{frame}: {error}")
        } else if self.rejected == MAX_PRINTED + 1 {
            "further lines are rejected without a message".to_owned()
        } else {
            return;
        };
        self.bar.suspend(|| print_line(text));
    }

    /// Clears the progress line on the terminal.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
