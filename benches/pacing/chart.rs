//! The figures over time, as SVGs: goodput and rejected entries of all policies, for two scenarios side by side, and
//! the rate that the sink finds, for three.

use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::limit::BUCKET_1S;
use super::measure;
use super::policy::Policy;
use super::run::Run;
use super::scenario::{Scenario, Window};

/// The scenarios that are drawn, and what to call them.
pub const DRAWN: [(&str, &str); 2] = [
    ("overload", "One producer offers three times what the stream takes"),
    ("shared", "Ten producers together offer three times what it takes"),
];

const SIZE: (u32, u32) = (1_000, 640);
/// For two lines.
const LEGEND_HEIGHT: u32 = 60;
const FONT: &str = "sans-serif";
/// What the shards' full buckets hold comes on top in the first seconds.
const HIGHEST: f64 = 1.4;

/// Whether a scenario is drawn: under the default limiter and without noise.
pub fn is_drawn(scenario: &Scenario) -> bool {
    let is_named = DRAWN.iter().any(|(name, _)| *name == scenario.name);
    is_named && scenario.limit == BUCKET_1S && scenario.noise == 0.0
}

/// One policy in one scenario, second by second.
pub struct Series {
    scenario: &'static str,
    policy: Policy,
    goodput: Vec<(f64, f64)>,
    rejected: Vec<(f64, f64)>,
}

impl Series {
    /// None of a scenario that is not drawn.
    pub fn of(scenario: &Scenario, policy: Policy, run: &Run) -> Option<Self> {
        if !is_drawn(scenario) || policy == Policy::Omniscient {
            return None;
        }
        let seconds = 0..scenario.seconds;
        let goodput = |second| {
            let window = Window::new(second, second + 1, scenario.shards);
            let written = measure::written(scenario, 1, run, &window);
            let quota = f64::from(scenario.quota) * scenario.shards as f64;
            ((second + 1) as f64, (written / quota).min(HIGHEST))
        };
        let rejected = |second| {
            let share = measure::rejected(run, second, second + 1).unwrap_or(0.0);
            ((second + 1) as f64, share)
        };
        Some(Self {
            scenario: scenario.name,
            policy,
            goodput: seconds.clone().map(goodput).collect(),
            rejected: seconds.map(rejected).collect(),
        })
    }
}

/// The panels of the second picture: scenario, noise and title. All under the default limiter.
const RATES: [(&str, f64, &str); 3] = [
    ("noise", 0.1, "One entry in ten is refused at random"),
    ("scaling", 0.0, "The quota doubles at 20 s, and halves at 40 s"),
    ("recovery", 1.0, "Everything is refused from 10 s to 20 s"),
];

const RATES_SIZE: (u32, u32) = (1_000, 360);

/// What the sink sends and what is written, second by second.
pub struct Rates {
    panel: usize,
    sent: Vec<(f64, f64)>,
    written: Vec<(f64, f64)>,
}

impl Rates {
    /// None of a run that is not drawn.
    pub fn of(scenario: &Scenario, policy: Policy, run: &Run) -> Option<Self> {
        let noise = scenario.passing_noise.unwrap_or(scenario.noise);
        let is_overloaded = scenario.offered_share() > 1.0;
        let panel = RATES.iter().position(|(name, of, _)| {
            (*name, *of) == (scenario.name, noise) && scenario.limit == BUCKET_1S
        })?;
        if policy != Policy::KinesisSink || !is_overloaded {
            return None;
        }
        let quota = f64::from(scenario.quota) * scenario.shards as f64;
        let share = |second: u64, entries: f64| ((second + 1) as f64, entries / quota);
        let written = |second| {
            let window = Window::new(second, second + 1, scenario.shards);
            share(second, measure::written(scenario, 1, run, &window))
        };
        Some(Self {
            panel,
            sent: (0..scenario.seconds)
                .map(|second| share(second, measure::sent(run, second, second + 1)))
                .collect(),
            written: (0..scenario.seconds).map(written).collect(),
        })
    }
}

/// Draws the rates of the sink.
pub fn draw_rates(rates: &[Rates], path: &Path) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, RATES_SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (legend, panels) = root.split_vertically(LEGEND_HEIGHT / 2);
        let lines = [("sent", Policy::AimdWholeStream), ("written", Policy::KinesisSink)];
        draw_legend(&legend, &lines.map(|(name, policy)| (name, style(policy))))?;
        for (place, area) in panels.split_evenly((1, RATES.len())).iter().enumerate() {
            let of_this = rates.iter().find(|rates| rates.panel == place);
            let lines = of_this.into_iter().flat_map(|rates| {
                [(Policy::KinesisSink, &*rates.written), (Policy::AimdWholeStream, &*rates.sent)]
            });
            draw_panel(area, RATES[place].2, "entries, share of quota", 2.2, lines)?;
        }
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

/// Draws what there is.
pub fn draw(series: &[Series], path: &Path) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        // A background of its own: it must be readable on a dark page, too.
        root.fill(&WHITE)?;
        let (legend, panels) = root.split_vertically(LEGEND_HEIGHT);
        draw_legend(&legend, &Policy::ALL.map(|policy| (policy.name(), style(policy))))?;
        for ((scenario, title), column) in DRAWN.into_iter().zip(panels.split_evenly((1, 2))) {
            let rows = column.split_evenly((2, 1));
            let of_this = || series.iter().filter(|series| series.scenario == scenario);
            let goodput = of_this().map(|series| (series.policy, &*series.goodput));
            draw_panel(&rows[0], title, "written, share of quota", HIGHEST, goodput)?;
            let rejected = of_this().map(|series| (series.policy, &*series.rejected));
            draw_panel(&rows[1], "", "rejected, share of entries sent", 1.0, rejected)?;
        }
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

/// Colours that people tell apart who see few of them.
///
/// Source: Okabe and Ito, "Color Universal Design", 2008.
fn style(policy: Policy) -> ShapeStyle {
    let (colour, width) = match policy {
        Policy::KinesisSink => (RGBColor(0, 114, 178), 3),
        Policy::RequeueAtOnce => (RGBColor(213, 94, 0), 2),
        Policy::FixedBucket => (RGBColor(230, 159, 0), 2),
        Policy::AimdWholeStream => (RGBColor(0, 158, 115), 2),
        Policy::RequeueWithBackoff => (RGBColor(204, 121, 167), 2),
        Policy::FixedRate => (RGBColor(86, 180, 233), 2),
        Policy::Omniscient => (BLACK, 1),
    };
    colour.stroke_width(width)
}

/// At most three names in a line.
fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    names: &[(&str, ShapeStyle)],
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let text = (FONT, 15).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    for (place, (name, style)) in names.iter().enumerate() {
        let (column, line) = (place as i32 % 3, place as i32 / 3);
        let left = 70 + 300 * column;
        let middle = LEGEND_HEIGHT as i32 * (1 + 2 * line) / 4;
        let line = vec![(left, middle), (left + 36, middle)];
        area.draw(&PathElement::new(line, *style))?;
        area.draw(&Text::new(*name, (left + 44, middle), text.clone()))?;
    }
    Ok(())
}

fn draw_panel<'a, B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    description: &str,
    highest: f64,
    lines: impl Iterator<Item = (Policy, &'a [(f64, f64)])>,
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let mut lines: Vec<_> = lines.collect();
    // The first policy comes to lie on top.
    lines.reverse();
    let ends = lines.iter().filter_map(|(_, line)| line.last());
    let seconds = ends.map(|(second, _)| *second).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(20)
        .caption(title, (FONT, 16))
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..seconds, 0.0..highest)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .x_desc("seconds")
        .y_desc(description)
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&|share| format!("{:.0}%", 100.0 * share))
        .draw()?;
    for (policy, line) in lines {
        chart.draw_series(LineSeries::new(line.iter().copied(), style(policy)))?;
    }
    Ok(())
}
