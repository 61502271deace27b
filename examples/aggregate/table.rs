//! A Markdown table with one column per run.

use std::cmp::Ordering;
use std::time::Duration;

use kinesis_sink::Aggregation;
use kinesis_sink::status::Totals;

use crate::check::Found;

pub struct Run {
    pub aggregation: Aggregation,
    pub totals: Totals,
    pub found: Found,
    pub elapsed: Duration,
}

/// Prints the figures of all runs, and how they compare with the first run.
pub fn print(runs: &[Run]) {
    let heads: String = runs.iter().map(|run| format!(" `{:?}` |", run.aggregation)).collect();
    println!("| |{heads}");
    println!("|---|{}", "---|".repeat(runs.len()));
    row("requests", runs, |run| run.totals.requests);
    row("Kinesis records", runs, |run| run.found.entries);
    row("bytes, with partition keys", runs, |run| run.found.entry_bytes);
    row("billed, provisioned: units of 25 KiB", runs, |run| run.found.payload_units);
    row("billed, on-demand: KiB", runs, |run| run.found.kib);
    cells("events per Kinesis record", runs, |run| {
        format!("{:.1}", run.found.events as f64 / run.found.entries as f64)
    });
    cells("time to send", runs, |run| format!("{:.1} s", run.elapsed.as_secs_f64()));
}

fn row(name: &str, runs: &[Run], figure: impl Fn(&Run) -> u64) {
    let first = figure(&runs[0]);
    cells(name, runs, |run| {
        let value = figure(run);
        let ratio = |a: u64, b: u64| match a as f64 / b as f64 {
            large if large >= 2.0 => format!("{large:.1}"),
            small => format!("{small:.2}"),
        };
        match value.cmp(&first) {
            Ordering::Equal => grouped(value),
            Ordering::Less => format!("{} (÷ {})", grouped(value), ratio(first, value)),
            Ordering::Greater => format!("{} (× {})", grouped(value), ratio(value, first)),
        }
    });
}

fn cells(name: &str, runs: &[Run], cell: impl Fn(&Run) -> String) {
    let cells: String = runs.iter().map(|run| format!(" {} |", cell(run))).collect();
    println!("| {name} |{cells}");
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
