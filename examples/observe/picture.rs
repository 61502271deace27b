//! The key panels of the dashboard, drawn from what was seen each second.

use std::fs;
use std::path::Path;

use kinesis_sink::metrics::names;
use plotters::chart::SeriesLabelPosition::{self, LowerRight, UpperLeft, UpperRight};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::scrape::Scrape;

const SIZE: (u32, u32) = (1_200, 640);
const FONT: &str = "sans-serif";

/// Colours that people tell apart who see few of them.
///
/// Source: Okabe and Ito, "Color Universal Design", 2008.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

struct Panel {
    title: &'static str,
    legend: SeriesLabelPosition,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws what was seen, a look a second.
pub fn draw(scrapes: &[Scrape], path: &Path) -> anyhow::Result<()> {
    let panels = [
        records(scrapes),
        pending(scrapes),
        delivery_time(scrapes),
        throttle_rate(scrapes),
        pace(scrapes),
        cuts(scrapes),
    ];
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        // A background of its own: it must be readable on a dark page, too.
        root.fill(&WHITE)?;
        for (panel, area) in panels.iter().zip(root.split_evenly((2, 3))) {
            draw_panel(&area, panel, scrapes.len()).map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

/// A value for each second but the first, of that and the one before.
fn seconds(
    name: impl Into<String>,
    scrapes: &[Scrape],
    value: impl Fn(&Scrape, &Scrape) -> Option<f64>,
) -> Line {
    let pairs = scrapes.windows(2).enumerate();
    let points =
        pairs.filter_map(|(second, pair)| Some(((second + 1) as f64, value(&pair[0], &pair[1])?)));
    Line { name: name.into(), points: points.collect() }
}

fn rate(name: &str, metric: &str, scrapes: &[Scrape]) -> Line {
    seconds(name, scrapes, |before, now| Some(now.sum(metric) - before.sum(metric)))
}

fn records(scrapes: &[Scrape]) -> Panel {
    let lines = vec![
        rate("received", names::USER_RECORDS_RECEIVED, scrapes),
        rate("delivered", names::USER_RECORDS_PUT, scrapes),
    ];
    Panel { title: "Records a second", legend: UpperLeft, lines }
}

fn pending(scrapes: &[Scrape]) -> Panel {
    let pending = |_: &_, now: &Scrape| Some(now.sum(names::USER_RECORDS_PENDING));
    Panel {
        title: "Records pending",
        legend: UpperLeft,
        lines: vec![seconds("pending", scrapes, pending)],
    }
}

fn delivery_time(scrapes: &[Scrape]) -> Panel {
    let lines = [("median", 0.5), ("99 %", 0.99)].map(|(name, share)| {
        seconds(name, scrapes, |before, now| now.quantile(before, names::DELIVERY_TIME, share))
    });
    Panel { title: "Delivery time, seconds", legend: UpperLeft, lines: lines.into() }
}

/// The last look knows all shards.
fn shards(scrapes: &[Scrape]) -> Vec<String> {
    let shards = scrapes.last().map(|last| last.labels(names::SHARD_RATE_LIMIT, names::SHARD));
    shards.unwrap_or_default().into_iter().collect()
}

fn throttle_rate(scrapes: &[Scrape]) -> Panel {
    let line = |shard: String| {
        seconds(shard.clone(), scrapes, move |before, now| {
            let of = |metric| {
                let sum = |scrape: &Scrape| scrape.sum_of(metric, names::SHARD, &shard);
                sum(now) - sum(before)
            };
            let throttled = of(names::SHARD_KINESIS_RECORDS_THROTTLED);
            let sent = throttled + of(names::SHARD_KINESIS_RECORDS_PUT);
            (sent > 0.0).then(|| 100.0 * throttled / sent)
        })
    };
    let lines = shards(scrapes).into_iter().map(line).collect();
    Panel { title: "Throttled, % of what a shard was sent", legend: UpperRight, lines }
}

fn pace(scrapes: &[Scrape]) -> Panel {
    let line = |shard: String| {
        seconds(shard.clone(), scrapes, move |_, now| {
            let known = now.labels(names::SHARD_RATE_LIMIT, names::SHARD).contains(&shard);
            known.then(|| now.sum_of(names::SHARD_RATE_LIMIT, names::SHARD, &shard))
        })
    };
    let lines = shards(scrapes).into_iter().map(line).collect();
    Panel { title: "Pace of each shard, Kinesis records a second", legend: LowerRight, lines }
}

fn cuts(scrapes: &[Scrape]) -> Panel {
    let metric = names::PUT_RECORDS_REQUESTS_FLUSHED;
    let reasons = scrapes.last().map(|last| last.labels(metric, names::REASON));
    let line = |reason: String| {
        seconds(reason.clone(), scrapes, move |before, now| {
            let sum = |scrape: &Scrape| scrape.sum_of(metric, names::REASON, &reason);
            Some(sum(now) - sum(before))
        })
    };
    let lines = reasons.unwrap_or_default().into_iter().map(line);
    let seen = lines.filter(|line| line.points.iter().any(|(_, value)| *value > 0.0));
    Panel {
        title: "Requests a second, by what they were cut for",
        legend: UpperLeft,
        lines: seen.collect(),
    }
}

fn draw_panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    looks: usize,
) -> Result<(), Box<dyn std::error::Error>>
where
    B::ErrorType: 'static,
{
    let values = panel.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let highest = values.fold(0.0, f64::max);
    // An empty panel still has an axis.
    let top = if highest > 0.0 { highest * 1.15 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, (FONT, 15))
        .margin(12)
        .x_label_area_size(24)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..looks as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .label_style((FONT, 12))
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|second| format!("{second:.0} s"))
        .y_label_formatter(&move |value| {
            if top < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
        })
        .draw()?;
    for (line, colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
    }
    chart
        .configure_series_labels()
        .position(panel.legend.clone())
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 12))
        .draw()?;
    Ok(())
}
