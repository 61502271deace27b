use super::figures::{Bound, Figure, Figures};

pub struct Row {
    pub figures: Figures,
    pub is_variant: bool,
    pub bounds: Vec<Bound>,
    /// MiB of entries per second, in scenarios with aggregation.
    pub entry_mib: Option<f64>,
    /// Mean number of entries per request. No other figure shows that requests are small.
    pub entries_per_request: Option<f64>,
}

impl Row {
    /// Returns the number of missed bounds, plus one if another policy dominates the row.
    pub fn misses(&self) -> usize {
        let missed = self.bounds.iter().filter(|bound| !bound.is_met(&self.figures)).count();
        missed + usize::from(self.is_dominated())
    }

    fn is_dominated(&self) -> bool {
        !self.bounds.is_empty() && self.figures.dominated == Some(true)
    }

    fn cells(&self) -> Vec<String> {
        let Figures { scenario, limiter, noise, offered, policy, .. } = &self.figures;
        let names = [scenario.to_string(), limiter.to_string(), noise.to_string()];
        let names = names.into_iter().chain([format!("{offered:.1}x"), policy.to_string()]);
        let cell = |figure: Figure| {
            let value = figure.of(&self.figures);
            let value = value.map_or("-".to_owned(), |value| figure.text(value));
            let bound = self.bounds.iter().find(|bound| bound.figure == figure);
            match bound {
                Some(bound) if bound.is_met(&self.figures) => format!("{value} ({})", bound.text()),
                Some(bound) => format!("{value} MISS ({})", bound.text()),
                None => value,
            }
        };
        let entries = self.entries_per_request;
        let entries = entries.map_or("-".to_owned(), |entries| format!("{entries:.0}"));
        let dominated = match self.figures.dominated {
            Some(true) if self.is_dominated() => "yes MISS",
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        names.chain(Figure::ALL.map(cell)).chain([dominated.to_owned(), entries]).collect()
    }
}

/// Sets `dominated` in each row for which other policies were run.
pub fn compare(rows: &mut [Row]) {
    let all: Vec<_> = rows.iter().map(|row| row.figures.clone()).collect();
    for Row { figures, .. } in rows {
        let mut rivals = all.iter().filter(|other| other.is_rival_of(figures)).peekable();
        figures.dominated =
            rivals.peek().is_some().then(|| rivals.any(|other| other.dominates(figures)));
    }
}

pub fn print(rows: &[Row]) {
    let heading = ["scenario", "limiter", "noise", "offered", "policy"].into_iter();
    let heading = heading.chain(Figure::ALL.map(Figure::heading));
    let heading = heading.chain(["dominated", "entries/request"]);
    let heading: Vec<_> = heading.map(str::to_owned).collect();
    let lines: Vec<_> = std::iter::once(heading).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|cells| cells[column].chars().count());
        cells.max().expect("a table has a heading")
    };
    let widths: Vec<_> = (0..lines[0].len()).map(width).collect();
    for cells in &lines {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    for row in rows {
        if let Some(mib) = row.entry_mib {
            let Figures { scenario, policy, .. } = &row.figures;
            println!("{scenario}, {policy}: entries of {mib:.3} MiB/s");
        }
    }
}
