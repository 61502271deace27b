use super::rounds::Row;

const HEADING: [&str; 10] = [
    "case",
    "CPU ratio",
    "(range)",
    "CPU ns/record",
    "records/s",
    "MB/s",
    "entries/request",
    "wire B/record",
    "allocations/record",
    "peak MiB",
];

pub fn print(rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    let round_trip = match first.round_trip_ms {
        0 => "no round-trip time".to_owned(),
        time => format!("round trips of {time} ms"),
    };
    println!("\nrecords of {} B, {round_trip}, {} in flight", first.record_bytes, first.in_flight);
    let lines: Vec<_> =
        std::iter::once(HEADING.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|cells| cells[column].chars().count());
        cells.max().expect("a table has a heading")
    };
    let widths: [usize; HEADING.len()] = std::array::from_fn(width);
    for cells in &lines {
        let cells = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}

fn cells(row: &Row) -> [String; HEADING.len()] {
    let records = row.records as f64;
    let per_second = records / row.wall_s;
    let unknown = || "-".to_owned();
    [
        row.case.label().to_owned(),
        row.cpu_ratio.map_or_else(unknown, |ratio| format!("{ratio:.2}")),
        row.cpu_ratios.map_or_else(unknown, |(least, most)| format!("({least:.2}-{most:.2})")),
        format!("{:.0}", 1e9 * row.cpu_per_record()),
        format!("{per_second:.0}"),
        format!("{:.1}", per_second * row.record_bytes as f64 / 1e6),
        format!("{:.0}", row.entries as f64 / row.requests as f64),
        format!("{:.0}", row.wire_bytes as f64 / records),
        format!("{:.2}", row.allocations_per_record),
        format!("{:.1}", row.peak_rss_bytes as f64 / 1_048_576.0),
    ]
}
