//! Runs the cases in interleaved rounds, so that other load on the machine affects all cases equally.

use std::time::Duration;

use kinesis_sink::limits::MAX_REQUEST_ENTRIES;
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::child::{self, Server};
use super::measure::{Job, Measured};
use super::plan::{Effort, Setting};

/// The medians of all rounds, for one case in one setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub case: Case,
    pub record_bytes: usize,
    pub round_trip_ms: u64,
    pub in_flight: usize,
    pub records: usize,
    /// User and system CPU time of the client.
    pub cpu_s: f64,
    pub wall_s: f64,
    pub requests: u64,
    /// Total size in bytes of the request bodies received by the server.
    pub wire_bytes: u64,
    pub allocations_per_record: f64,
    /// Peak resident memory. It is the maximum of all rounds.
    pub peak_rss_bytes: u64,
    /// Median ratio of the CPU time per record to that of the raw loop, or `None` if the raw loop was not run.
    pub cpu_ratio: Option<f64>,
    /// Smallest and largest CPU ratio of all rounds.
    #[serde(skip)]
    pub cpu_ratios: Option<(f64, f64)>,
    /// Number of Kinesis records.
    #[serde(skip)]
    pub entries: u64,
}

impl Row {
    pub fn setting(&self) -> Setting {
        let Self { record_bytes, round_trip_ms, in_flight, .. } = *self;
        Setting { record_bytes, round_trip_ms, in_flight }
    }

    pub fn cpu_per_record(&self) -> f64 {
        self.cpu_s / self.records as f64
    }
}

pub fn run(setting: &Setting, cases: &[Case], effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let server = Server::start(Duration::from_millis(setting.round_trip_ms))?;
    let job = |case| Job {
        port: server.port(),
        case,
        record_bytes: setting.record_bytes,
        in_flight: setting.in_flight,
        records: setting.records(case, effort),
        counts_allocations: false,
    };
    let mut runs = vec![Vec::new(); cases.len()];
    for _ in 0..effort.rounds {
        for (case, runs) in cases.iter().zip(&mut runs) {
            runs.push(child::measure(&job(*case))?);
        }
    }
    let raw = cases.iter().position(|case| *case == Case::Raw).map(|index| {
        let records = setting.records(Case::Raw, effort) as f64;
        runs[index].iter().map(|run| run.cpu.as_secs_f64() / records).collect::<Vec<_>>()
    });
    let rows = cases.iter().zip(&runs).map(|(case, runs)| {
        let job = job(*case);
        Ok(row(&job, setting, runs, allocations_per_record(&job)?, raw.as_deref()))
    });
    rows.collect()
}

/// Counts allocations in a separate run, because counting takes time.
fn allocations_per_record(job: &Job) -> anyhow::Result<f64> {
    let records = (job.records / 4).next_multiple_of(MAX_REQUEST_ENTRIES);
    let counted = child::measure(&Job { records, counts_allocations: true, ..*job })?;
    Ok(counted.allocations as f64 / records as f64)
}

fn row(
    job: &Job,
    setting: &Setting,
    runs: &[Measured],
    allocations_per_record: f64,
    raw: Option<&[f64]>,
) -> Row {
    let records = job.records;
    let cpu = runs.iter().map(|run| run.cpu.as_secs_f64());
    let wall = runs.iter().map(|run| run.wall.as_secs_f64());
    let ratios: Option<Vec<_>> =
        raw.map(|raw| cpu.clone().zip(raw).map(|(cpu, raw)| cpu / records as f64 / raw).collect());
    let counts = |count: fn(&Measured) -> u64| median(runs.iter().map(|run| count(run) as f64));
    Row {
        case: job.case,
        record_bytes: setting.record_bytes,
        round_trip_ms: setting.round_trip_ms,
        in_flight: setting.in_flight,
        records,
        cpu_s: median(cpu),
        wall_s: median(wall),
        requests: counts(|run| run.server.requests) as u64,
        wire_bytes: counts(|run| run.server.bytes) as u64,
        allocations_per_record,
        peak_rss_bytes: runs.iter().map(|run| run.peak_rss_bytes).max().unwrap_or(0),
        cpu_ratio: ratios.as_ref().map(|ratios| median(ratios.iter().copied())),
        cpu_ratios: ratios.map(|ratios| {
            let empty = (f64::INFINITY, f64::NEG_INFINITY);
            let extend = |(min, max): (f64, f64), ratio| (min.min(ratio), max.max(ratio));
            ratios.into_iter().fold(empty, extend)
        }),
        entries: counts(|run| run.server.entries) as u64,
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
