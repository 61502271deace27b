//! Charts of the metrics, drawn to an SVG file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kinesis_sink::metrics::names;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::load::{self, Phase};
use crate::scrape::Scrape;

const SIZE: (u32, u32) = (1_080, 1_080);
const FONT: &str = "sans-serif";
const TITLE_SIZE: u32 = 21;
const LABEL_SIZE: u32 = 16;
const TEXT: RGBColor = RGBColor(50, 50, 50);
const GRID: RGBColor = RGBColor(225, 225, 225);

const PHASE_COLORS: [RGBColor; 3] =
    [RGBColor(255, 255, 255), RGBColor(233, 240, 247), RGBColor(252, 240, 222)];

/// Colors that color-blind readers can distinguish, from Okabe and Ito, "Color Universal Design", 2008.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

struct Panel {
    title: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
}

struct Line {
    label: String,
    /// Pairs of the time in seconds and the value.
    points: Vec<(f64, f64)>,
}

/// Draws the metrics of a run with this duration, scraped once per second.
pub fn draw(scrapes: &[Scrape], duration: Duration, path: &Path) -> anyhow::Result<()> {
    // The charts end with the load, although pending records are still delivered after that.
    let scrapes = &scrapes[..scrapes.len().min(duration.as_secs() as usize + 1)];
    let panels = [
        records(scrapes),
        pending(scrapes),
        delivery_time(scrapes),
        throttled(scrapes),
        rate_limit(scrapes),
        requests(scrapes),
    ];
    let phases = load::phases(duration);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        // Otherwise, the background is transparent, and the chart is unreadable on a page in dark mode.
        root.fill(&WHITE)?;
        for (panel, area) in panels.iter().zip(root.split_evenly((3, 2))) {
            draw_panel(&area, panel, &phases, duration.as_secs_f64())
                .map_err(|error| anyhow::anyhow!("cannot draw {}: {error}", panel.title))?;
        }
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

/// Returns a line with one value for each scrape except the first. Each value is computed from two consecutive scrapes.
fn line(
    label: impl Into<String>,
    scrapes: &[Scrape],
    value: impl Fn(&Scrape, &Scrape) -> Option<f64>,
) -> Line {
    let pairs = scrapes.windows(2).enumerate();
    let points =
        pairs.filter_map(|(index, pair)| Some(((index + 1) as f64, value(&pair[0], &pair[1])?)));
    Line { label: label.into(), points: points.collect() }
}

fn records(scrapes: &[Scrape]) -> Panel {
    let rate = |label, metric| {
        line(label, scrapes, |before, now| Some(now.sum(metric) - before.sum(metric)))
    };
    let lines = vec![
        rate("received", names::USER_RECORDS_RECEIVED),
        rate("delivered", names::USER_RECORDS_PUT),
    ];
    Panel { title: "Records received and delivered", unit: "records/s", lines }
}

fn pending(scrapes: &[Scrape]) -> Panel {
    let pending = |_: &_, now: &Scrape| Some(now.sum(names::USER_RECORDS_PENDING));
    let lines = vec![line("accepted, not yet delivered", scrapes, pending)];
    Panel { title: "Records pending", unit: "records", lines }
}

fn delivery_time(scrapes: &[Scrape]) -> Panel {
    let lines = [("median", 0.5), ("99th percentile", 0.99)].map(|(label, quantile)| {
        line(label, scrapes, |before, now| now.quantile(before, names::DELIVERY_TIME, quantile))
    });
    Panel { title: "Delivery time", unit: "seconds", lines: lines.into() }
}

fn throttled(scrapes: &[Scrape]) -> Panel {
    let line = |shard: String| {
        line(shard_label(&shard), scrapes, move |before, now| {
            let increase = |metric| {
                let sum = |scrape: &Scrape| scrape.sum_of(metric, names::SHARD, &shard);
                sum(now) - sum(before)
            };
            let throttled = increase(names::SHARD_KINESIS_RECORDS_THROTTLED);
            let sent = throttled + increase(names::SHARD_KINESIS_RECORDS_PUT);
            (sent > 0.0).then(|| 100.0 * throttled / sent)
        })
    };
    let lines = shards(scrapes).into_iter().map(line).collect();
    Panel { title: "Throttled entries by shard", unit: "% of entries sent", lines }
}

fn rate_limit(scrapes: &[Scrape]) -> Panel {
    let line = |shard: String| {
        line(shard_label(&shard), scrapes, move |_, now| {
            let is_known = now.labels(names::SHARD_RATE_LIMIT, names::SHARD).contains(&shard);
            is_known.then(|| now.sum_of(names::SHARD_RATE_LIMIT, names::SHARD, &shard))
        })
    };
    let lines = shards(scrapes).into_iter().map(line).collect();
    Panel { title: "Rate limit by shard", unit: "entries/s", lines }
}

fn requests(scrapes: &[Scrape]) -> Panel {
    let metric = names::PUT_RECORDS_REQUESTS_FLUSHED;
    let reasons = scrapes.last().map(|last| last.labels(metric, names::REASON));
    let line = |reason: String| {
        line(reason_label(&reason), scrapes, move |before, now| {
            let sum = |scrape: &Scrape| scrape.sum_of(metric, names::REASON, &reason);
            Some(sum(now) - sum(before))
        })
    };
    let lines = reasons.unwrap_or_default().into_iter().map(line);
    let lines = lines.filter(|line| line.points.iter().any(|(_, value)| *value > 0.0)).collect();
    Panel { title: "Requests by flush reason", unit: "requests/s", lines }
}

/// Returns all shards. The last scrape contains all of them.
fn shards(scrapes: &[Scrape]) -> Vec<String> {
    let shards = scrapes.last().map(|last| last.labels(names::SHARD_RATE_LIMIT, names::SHARD));
    shards.unwrap_or_default().into_iter().collect()
}

fn shard_label(shard: &str) -> String {
    let number = shard.strip_prefix("shardId-").and_then(|number| number.parse::<u64>().ok());
    number.map_or(shard.to_owned(), |number| format!("shard {number}"))
}

fn reason_label(reason: &str) -> String {
    match reason {
        "full" => "request full".to_owned(),
        "idle" => "no request in flight".to_owned(),
        "linger" => "linger expired".to_owned(),
        "close" => "close".to_owned(),
        other => other.replace('_', " "),
    }
}

type DrawResult = Result<(), Box<dyn std::error::Error>>;

fn draw_panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    phases: &[Phase],
    seconds: f64,
) -> DrawResult
where
    B::ErrorType: 'static,
{
    const PLOT_LEFT: i32 = 86;
    const PLOT_TOP: i32 = 100;
    const MARGIN: i32 = 14;

    let text = (FONT, LABEL_SIZE).into_font().color(&TEXT);
    area.draw_text(panel.title, &(FONT, TITLE_SIZE).into_font().color(&TEXT), (PLOT_LEFT, 12))?;
    draw_legend(area, panel, (PLOT_LEFT, 40))?;

    let values = panel.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let highest = values.fold(0.0, f64::max);
    // An axis needs a range even if all values are 0.
    let top = if highest > 0.0 { highest * 1.1 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin_top(PLOT_TOP)
        .margin_right(MARGIN)
        .margin_bottom(MARGIN)
        .margin_left(MARGIN)
        .x_label_area_size(44)
        .y_label_area_size(PLOT_LEFT - MARGIN)
        .build_cartesian_2d(0.0..seconds, 0.0..top)?;

    for (phase, color) in phases.iter().zip(PHASE_COLORS) {
        let start = phase.time.start.as_secs_f64();
        let end = phase.time.end.as_secs_f64();
        let background = Rectangle::new([(start, 0.0), (end, top)], color.filled());
        chart.draw_series([background])?;
        let above = text.pos(Pos::new(HPos::Center, VPos::Bottom));
        chart.draw_series([Text::new(phase.name, ((start + end) / 2.0, top), above)])?;
    }
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .max_light_lines(1)
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .x_desc("time (s)")
        .y_desc(panel.unit)
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&move |value| match top {
            ..1.0 => format!("{value:.2}"),
            ..10.0 => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        })
        .draw()?;
    for (line, color) in panel.lines.iter().zip(COLORS.iter().cycle()) {
        chart.draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?;
    }
    Ok(())
}

/// Draws the labels of the lines above the plot, in up to two rows, so that they hide no data.
fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    (left, top): (i32, i32),
) -> DrawResult
where
    B::ErrorType: 'static,
{
    const SWATCH: i32 = 16;
    const GAP: i32 = 6;
    const ROW: i32 = 20;

    let text = (FONT, LABEL_SIZE).into_font().color(&TEXT);
    let right = area.dim_in_pixel().0 as i32;
    let (mut x, mut y) = (left, top);
    for (line, color) in panel.lines.iter().zip(COLORS.iter().cycle()) {
        let (width, _) = area.estimate_text_size(&line.label, &text)?;
        let width = SWATCH + 3 * GAP + width as i32;
        if x > left && x + width > right {
            (x, y) = (left, y + ROW);
        }
        let swatch = [(x, y + 5), (x + SWATCH, y + 8)];
        area.draw(&Rectangle::new(swatch, color.filled()))?;
        area.draw_text(&line.label, &text, (x + SWATCH + GAP, y))?;
        x += width;
    }
    Ok(())
}
