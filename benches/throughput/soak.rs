//! Twenty million records through one sink: what it holds must not grow.

use std::time::Duration;

use super::case::Case;
use super::child::{self, Server};
use super::measure::Job;
use super::plan::{Setting, YARDSTICK_IN_FLIGHT};
use super::rounds::Row;
use super::way::DEFAULT_BUFFER_BYTES;

const RECORDS: usize = 20_000_000;
const RECORD_BYTES: usize = 100;
/// Samples in which it may still grow into its buffers.
const FIRST: usize = 4;
/// By how much the most of the later samples may be over the most of the first ones.
const FLAT_BYTES: u64 = 4 * MIB;
/// Beside the sink's bound for the bytes that it holds.
const ALLOWANCE: u64 = 64 * MIB;
const MOST_BYTES: u64 = DEFAULT_BUFFER_BYTES as u64 + ALLOWANCE;
const MIB: u64 = 1024 * 1024;

/// The row, and whether memory was as it should be.
pub fn run(rows: &[Row]) -> anyhow::Result<(Row, bool)> {
    let server = Server::start(Duration::ZERO)?;
    let setting =
        Setting { record_bytes: RECORD_BYTES, round_trip_ms: 0, in_flight: YARDSTICK_IN_FLIGHT };
    let job = Job {
        port: server.port(),
        case: Case::SinkSoak,
        record_bytes: setting.record_bytes,
        in_flight: setting.in_flight,
        records: RECORDS,
        counts_allocations: false,
    };
    println!("soak: {RECORDS} records of {RECORD_BYTES} B through one sink");
    let run = child::measure(&job)?;
    let counted = child::measure(&Job { records: RECORDS / 100, counts_allocations: true, ..job })?;
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0);
    let (first, later) = run.resident.split_at(FIRST);
    let (first, later) = (most(first), most(later));
    let is_flat = later <= first + FLAT_BYTES;
    let is_bounded = run.peak_rss_bytes <= MOST_BYTES;
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    println!(
        "soak: most resident in the first {FIRST} million records {:.1} MiB, later {:.1} MiB ({}); \
         peak {:.1} MiB of {} ({})",
        mib(first),
        mib(later),
        if is_flat { "flat" } else { "MISS: it grows" },
        mib(run.peak_rss_bytes),
        MOST_BYTES / MIB,
        if is_bounded { "in bounds" } else { "MISS: out of bounds" },
    );
    let raw = rows.iter().find(|row| row.case == Case::Raw && row.setting() == setting);
    let cpu_s = run.cpu.as_secs_f64();
    let row = Row {
        case: job.case,
        record_bytes: setting.record_bytes,
        round_trip_ms: setting.round_trip_ms,
        in_flight: setting.in_flight,
        records: RECORDS,
        cpu_s,
        wall_s: run.wall.as_secs_f64(),
        requests: run.server.requests,
        wire_bytes: run.server.bytes,
        allocations_per_record: counted.allocations as f64 / (RECORDS / 100) as f64,
        peak_rss_bytes: run.peak_rss_bytes,
        cpu_ratio: raw.map(|raw| cpu_s / RECORDS as f64 / raw.cpu_per_record()),
        cpu_ratios: None,
        entries: run.server.entries,
    };
    Ok((row, is_flat && is_bounded))
}
