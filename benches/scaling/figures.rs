use std::path::PathBuf;
use std::{env, fs, io};

use serde::Serialize;

use super::cost::Cost;
use super::row::Row;

pub struct Figure {
    pub size: usize,
    pub nanoseconds: f64,
    pub entries_per_request: f64,
}

impl Figure {
    pub fn median(size: usize, mut costs: Vec<Cost>) -> Self {
        costs.sort_by(|one, other| one.nanoseconds().total_cmp(&other.nanoseconds()));
        let cost = costs[costs.len() / 2];
        let entries_per_request = cost.entries_per_request;
        Self { size, nanoseconds: cost.nanoseconds(), entries_per_request }
    }
}

/// A row with its figures, ordered by size.
pub struct Line<'a> {
    pub row: &'a Row,
    pub figures: Vec<Figure>,
}

impl Line<'_> {
    fn growth(&self) -> f64 {
        let [first, last] = [self.figures.first(), self.figures.last()];
        let [first, last] =
            [first, last].map(|figure| figure.expect("a row has at least one size"));
        last.nanoseconds / first.nanoseconds
    }

    fn cells(&self) -> Vec<String> {
        let cost = |figure: &Figure| {
            format!("{:.0} ({:.0})", figure.nanoseconds, figure.entries_per_request)
        };
        let name = [self.row.mode.to_owned()].into_iter();
        let costs = self.figures.iter().map(cost);
        name.chain(costs).chain([format!("{:.2}", self.growth())]).collect()
    }

    fn heading(&self) -> Vec<String> {
        let sizes = self.figures.iter().map(|figure| figure.size.to_string());
        [self.row.dimension.to_owned()]
            .into_iter()
            .chain(sizes)
            .chain(["growth".to_owned()])
            .collect()
    }
}

pub fn print(lines: &[Line<'_>]) {
    println!("\nCPU ns per record, for requeueing per attempt (entries per request)");
    for group in lines.chunk_by(|one, other| one.row.dimension == other.row.dimension) {
        let cells = group.iter().map(Line::cells);
        let cells: Vec<_> = [group[0].heading()].into_iter().chain(cells).collect();
        let width = |column: usize| {
            let widths = cells.iter().map(|line| line[column].len());
            widths.max().expect("a table has a heading")
        };
        println!();
        for line in &cells {
            print!("{:<w$}", line[0], w = width(0));
            for (column, cell) in line.iter().enumerate().skip(1) {
                print!("  {cell:>w$}", w = width(column));
            }
            println!();
        }
    }
}

#[derive(Serialize)]
struct Entry {
    what: &'static str,
    mode: &'static str,
    size: usize,
    ns_per_record: f64,
}

pub fn write(lines: &[Line<'_>]) -> io::Result<PathBuf> {
    let entries = lines.iter().flat_map(|Line { row, figures }| {
        figures.iter().map(|figure| Entry {
            what: row.dimension,
            mode: row.mode,
            size: figure.size,
            ns_per_record: (figure.nanoseconds * 10.0).round() / 10.0,
        })
    });
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    fs::create_dir_all(&target)?;
    let path = target.join("scaling.json");
    fs::write(&path, serde_json::to_string_pretty(&entries.collect::<Vec<_>>())? + "\n")?;
    Ok(path)
}
