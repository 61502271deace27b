use std::path::PathBuf;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::benchmark::Benchmark;
use super::callgrind::target;

#[derive(Serialize, Deserialize)]
pub struct Count {
    benchmark: String,
    operation: String,
    instructions: f64,
    /// Difference between the largest and the smallest count, relative to the median.
    spread: f64,
}

impl Count {
    pub fn new(benchmark: &Benchmark, mut counts: Vec<f64>) -> Self {
        counts.sort_by(f64::total_cmp);
        let instructions = counts[counts.len() / 2];
        let spread = (counts[counts.len() - 1] - counts[0]) / instructions;
        let Benchmark { name, operation, .. } = benchmark;
        Self { benchmark: name.clone(), operation: (*operation).to_owned(), instructions, spread }
    }
}

pub fn previous() -> Vec<Count> {
    let written = fs::read_to_string(path()).unwrap_or_default();
    serde_json::from_str(&written).unwrap_or_default()
}

pub fn print(counts: &[Count], previous: &[Count]) {
    let row = |cells: [&str; 6]| {
        let [benchmark, operation, cells @ ..] = cells;
        print!("{benchmark:<26}  {operation:<6}");
        for cell in cells {
            print!("  {cell:>12}");
        }
        println!();
    };
    row(["benchmark", "per", "instructions", "spread", "previous", "change"]);
    for count in counts {
        let earlier = previous.iter().find(|earlier| earlier.benchmark == count.benchmark);
        let (earlier, change) = match earlier.map(|earlier| earlier.instructions) {
            Some(earlier) => {
                let change = (count.instructions / earlier - 1.0) * 100.0;
                (format!("{earlier:.1}"), format!("{change:+.2} %"))
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        let instructions = format!("{:.1}", count.instructions);
        let spread = format!("{:.3} %", count.spread * 100.0);
        row([&count.benchmark, &count.operation, &instructions, &spread, &earlier, &change]);
    }
}

pub fn write(counts: &[Count]) -> io::Result<PathBuf> {
    fs::write(path(), serde_json::to_string_pretty(counts)? + "\n")?;
    Ok(path())
}

fn path() -> PathBuf {
    target().join("instructions.json")
}
