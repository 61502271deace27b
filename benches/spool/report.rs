use std::path::PathBuf;
use std::{env, fs};

use serde::Serialize;

/// Largest allowed difference between the memory for the large and for the small backlog.
const MAX_DIFFERENCE_BYTES: u64 = 10_000_000;

#[derive(Serialize)]
pub struct Report {
    pub replays: Vec<Replay>,
    pub starts: Vec<Start>,
}

#[derive(Serialize)]
pub struct Replay {
    pub record_bytes: usize,
    pub records: usize,
    /// Records per second of a sink without a spool.
    pub sent_per_s: f64,
    /// Records per second of a producer that drains a backlog to the same server.
    pub replayed_per_s: f64,
    /// Records per second of a producer that drains a backlog to a service that responds at once.
    pub read_per_s: f64,
}

#[derive(Serialize)]
pub struct Start {
    pub backlog_mb: usize,
    pub records: usize,
    pub open_s: f64,
    /// Peak resident memory when the spool was open.
    pub opened_bytes: u64,
    /// Peak resident memory while the producer waits for responses.
    pub running_bytes: u64,
}

impl Report {
    pub fn print(&self) {
        println!("\nreplay of a backlog, records/s");
        println!(
            "{:>8}  {:>9}  {:>12}  {:>12}  {:>12}",
            "record", "records", "sink sends", "replayed", "read"
        );
        for replay in &self.replays {
            println!(
                "{:>6} B  {:>9}  {:>12.0}  {:>12.0}  {:>12.0}",
                replay.record_bytes,
                replay.records,
                replay.sent_per_s,
                replay.replayed_per_s,
                replay.read_per_s
            );
        }
        println!("\nstart with a backlog of records of 1024 B");
        println!(
            "{:>9}  {:>9}  {:>9}  {:>12}  {:>12}",
            "backlog", "records", "open ms", "opened MiB", "running MiB"
        );
        for start in &self.starts {
            println!(
                "{:>6} MB  {:>9}  {:>9.1}  {:>12.1}  {:>12.1}",
                start.backlog_mb,
                start.records,
                1e3 * start.open_s,
                mib(start.opened_bytes),
                mib(start.running_bytes)
            );
        }
    }

    pub fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for replay in &self.replays {
            if replay.read_per_s < replay.sent_per_s {
                violations.push(format!(
                    "records of {} B are read at {:.0}/s and sent at {:.0}/s",
                    replay.record_bytes, replay.read_per_s, replay.sent_per_s
                ));
            }
        }
        let (Some(small), Some(large)) = (self.starts.first(), self.starts.last()) else {
            return violations;
        };
        for (what, small, large) in [
            ("opened", small.opened_bytes, large.opened_bytes),
            ("running", small.running_bytes, large.running_bytes),
        ] {
            if large > small + MAX_DIFFERENCE_BYTES {
                let (small, large) = (mib(small), mib(large));
                violations.push(format!("{what}: {large:.1} MiB, {small:.1} MiB with 1 MB"));
            }
        }
        violations
    }

    pub fn write(&self) -> anyhow::Result<PathBuf> {
        let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
        fs::create_dir_all(&target)?;
        let path = target.join("spool.json");
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
