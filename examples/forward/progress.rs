//! Progress output: a bar on a terminal, and lines of text elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const LINE_INTERVAL: Duration = Duration::from_secs(2);

pub struct Progress {
    lines: u64,
    bytes: u64,
    total_bytes: Option<u64>,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    pub fn new(total_bytes: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(total_bytes));
        Self { lines: 0, bytes: 0, total_bytes, bar, last_line: Instant::now() }
    }

    /// Counts a line of `bytes` bytes.
    pub fn advance(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64 + 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes);
            bar.set_message(format!("{} records", self.lines));
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let total = self.total_bytes.map_or(String::new(), |total| format!(" of {total}"));
            eprintln!("{} records, {}{total} bytes", self.lines, self.bytes);
        }
    }

    /// Ends the progress bar and returns the number of lines.
    pub fn finish(self) -> u64 {
        if let Some(bar) = self.bar {
            bar.finish();
            // The cursor is still in the line of the bar.
            eprintln!();
        }
        self.lines
    }
}

fn bar(total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => {
            let template = "{elapsed_precise} {wide_bar} {bytes}/{total_bytes} {msg}";
            (ProgressBar::new(total), template)
        }
        None => (ProgressBar::new_spinner(), "{elapsed_precise} {spinner} {bytes} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("template is valid"))
}
