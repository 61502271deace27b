//! The figures as text, with the bounds beside them.

use super::figures::{Bound, Figure, Figures};

/// One line of the table.
pub struct Row {
    pub figures: Figures,
    /// Those that the policy must keep to.
    pub bounds: Vec<Bound>,
    /// Bytes of entries, in MiB a second, where records travel in aggregates.
    pub entry_mib: Option<f64>,
    /// The mean of the requests. Small requests cost as many calls as full ones, and no other figure
    /// shows them.
    pub entries_per_request: Option<f64>,
}

impl Row {
    pub fn misses(&self) -> usize {
        self.bounds.iter().filter(|bound| !bound.holds(&self.figures)).count()
    }

    fn cells(&self) -> Vec<String> {
        let names = [self.figures.scenario, self.figures.policy].map(str::to_owned);
        let cell = |figure: Figure| {
            let value = figure.of(&self.figures);
            let value = value.map_or("-".to_owned(), |value| figure.text(value));
            let bound = self.bounds.iter().find(|bound| bound.figure == figure);
            match bound {
                Some(bound) if bound.holds(&self.figures) => format!("{value} ({})", bound.text()),
                Some(bound) => format!("{value} MISS ({})", bound.text()),
                None => value,
            }
        };
        let entries = self.entries_per_request;
        let entries = entries.map_or("-".to_owned(), |entries| format!("{entries:.0}"));
        names.into_iter().chain(Figure::ALL.map(cell)).chain([entries]).collect()
    }
}

/// A table in which no column is wider than it must be.
pub fn print(rows: &[Row]) {
    let heading = ["scenario", "policy"].into_iter().chain(Figure::ALL.map(Figure::heading));
    let heading: Vec<_> = heading.chain(["entries/request"]).map(str::to_owned).collect();
    let lines: Vec<_> = std::iter::once(heading).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|cells| cells[column].chars().count());
        cells.max().expect("the heading is there")
    };
    let widths: Vec<_> = (0..lines[0].len()).map(width).collect();
    for cells in &lines {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    for row in rows {
        if let Some(mib) = row.entry_mib {
            let Figures { scenario, policy, .. } = row.figures;
            println!("{scenario}, {policy}: entries of {mib:.3} MiB a second");
        }
    }
}
