//! The counts as text, beside those of the run before, and as a file for that.

use std::path::PathBuf;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::callgrind::target;
use super::piece::Piece;

#[derive(Serialize, Deserialize)]
pub struct Count {
    piece: String,
    unit: String,
    /// For each unit: the median of the runs.
    instructions: f64,
    /// How far the runs are apart, as a part of the median.
    spread: f64,
}

impl Count {
    pub fn new(piece: &Piece, mut counts: Vec<f64>) -> Self {
        counts.sort_by(f64::total_cmp);
        let instructions = counts[counts.len() / 2];
        let spread = (counts[counts.len() - 1] - counts[0]) / instructions;
        Self { piece: piece.name.clone(), unit: piece.unit.to_owned(), instructions, spread }
    }
}

/// The counts of the run before; none if there was none that can be read.
pub fn before() -> Vec<Count> {
    let written = fs::read_to_string(path()).unwrap_or_default();
    serde_json::from_str(&written).unwrap_or_default()
}

pub fn print(counts: &[Count], before: &[Count]) {
    let row = |cells: [&str; 6]| {
        let [piece, unit, cells @ ..] = cells;
        print!("{piece:<26}  {unit:<6}");
        cells.iter().for_each(|cell| print!("  {cell:>12}"));
        println!();
    };
    row(["piece", "for a", "instructions", "spread", "before", "change"]);
    for count in counts {
        let earlier = before.iter().find(|earlier| earlier.piece == count.piece);
        let (earlier, change) = match earlier.map(|earlier| earlier.instructions) {
            Some(earlier) => {
                let change = (count.instructions / earlier - 1.0) * 100.0;
                (format!("{earlier:.1}"), format!("{change:+.2} %"))
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        let instructions = format!("{:.1}", count.instructions);
        let spread = format!("{:.3} %", count.spread * 100.0);
        row([&count.piece, &count.unit, &instructions, &spread, &earlier, &change]);
    }
}

/// Writes `instructions.json` into cargo's target directory, and tells where it is.
pub fn write(counts: &[Count]) -> io::Result<PathBuf> {
    fs::write(path(), serde_json::to_string_pretty(counts)? + "\n")?;
    Ok(path())
}

fn path() -> PathBuf {
    target().join("instructions.json")
}
