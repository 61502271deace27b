//! A line on the terminal that tells how it goes.

use std::io::IsTerminal;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use kinesis_sink::KinesisSink;

use crate::interrupts::Interrupt;
use crate::report::Counts;
use crate::say::say;

const TEMPLATE: &str =
    "{elapsed_precise} {spinner} {binary_bytes} read, {binary_bytes_per_sec}; {msg}";

/// Nothing is shown where there is no terminal.
pub struct Progress {
    bar: ProgressBar,
    quiet: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is a constant");
        Self { bar: bar.with_style(style), quiet }
    }

    pub fn show(&self, read: &Counts, sink: &KinesisSink) {
        if self.bar.is_hidden() {
            return;
        }
        let totals = sink.totals();
        let rate = totals.delivered as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_position(read.bytes);
        self.bar.set_message(format!(
            "{} delivered, {}/s, {} waiting, {} in flight, {} throttled",
            HumanCount(totals.delivered),
            HumanCount(rate as u64),
            HumanCount(sink.status().queued.records as u64),
            HumanCount(sink.status().in_flight.records as u64),
            HumanCount(totals.throttled),
        ));
    }

    /// Says what happens now, and what the next signal does.
    pub fn say_draining(&self, interrupt: Interrupt) {
        if !self.quiet {
            let next = format_args!("{interrupt}: sending what was read; once more gives it up");
            self.bar.suspend(|| say(next));
        }
    }

    /// The terminal is free again.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
