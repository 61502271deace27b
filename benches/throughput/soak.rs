//! Sends twenty million records through one sink, and checks that memory use does not grow.

use std::time::Duration;

use super::case::Case;
use super::child::{self, Server};
use super::measure::Job;
use super::plan::{BASELINE_IN_FLIGHT, Setting};
use super::rounds::Row;
use super::variants::DEFAULT_BUFFER_BYTES;

const RECORDS: usize = 20_000_000;
const RECORD_BYTES: usize = 100;
/// Number of samples during which the buffers can still grow.
const WARM_UP_SAMPLES: usize = 4;
/// Maximum difference between the largest sample after the warm-up and the largest sample of the warm-up.
const MAX_GROWTH_BYTES: u64 = 4 * MIB;
/// Maximum memory use of the process, in addition to the buffer of the sink.
const PROCESS_BYTES: u64 = 64 * MIB;
const MAX_BYTES: u64 = DEFAULT_BUFFER_BYTES as u64 + PROCESS_BYTES;
const MIB: u64 = 1024 * 1024;

/// Runs the soak. Returns its row, and `true` if memory use is within its bounds.
pub fn run(rows: &[Row]) -> anyhow::Result<(Row, bool)> {
    let server = Server::start(Duration::ZERO)?;
    let setting =
        Setting { record_bytes: RECORD_BYTES, round_trip_ms: 0, in_flight: BASELINE_IN_FLIGHT };
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
    let max = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0);
    let (warm_up, later) = run.resident.split_at(WARM_UP_SAMPLES);
    let [warm_up, later] = [max(warm_up), max(later)];
    let is_flat = later <= warm_up + MAX_GROWTH_BYTES;
    let is_bounded = run.peak_rss_bytes <= MAX_BYTES;
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    println!(
        "soak: resident in the first {WARM_UP_SAMPLES} million records {:.1} MiB, later {:.1} MiB ({}); \
         peak {:.1} MiB, limit {} MiB ({})",
        mib(warm_up),
        mib(later),
        if is_flat { "flat" } else { "MISS: grows" },
        mib(run.peak_rss_bytes),
        MAX_BYTES / MIB,
        if is_bounded { "within bounds" } else { "MISS: above the limit" },
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
