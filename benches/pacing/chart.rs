//! Draws runs over time as SVG charts. The first chart compares all policies in two scenarios. The second shows the
//! rate of the sink in three scenarios.

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
use super::scenario::{Event, Scenario, Window};

/// Scenarios in the first chart, and the titles of their columns.
const COMPARED: [(&str, &str); 2] = [("overload", "One producer"), ("shared", "Ten producers")];
const COMPARED_TITLE: &str = "Overload: the producers offer three times the quota of the stream";
const COMPARED_SIZE: (u32, u32) = (1_000, 820);
/// Upper end of the axis. The first second exceeds it, because the token buckets are full at first.
const MAX_WRITTEN: f64 = 1.4;
/// Upper end of the axis, above 100 % to leave space for the label of the phase.
const MAX_REJECTED: f64 = 1.15;

/// Panels of the second chart, each with its scenario, noise, and title.
const RATES: [(&str, f64, &str); 3] = [
    ("noise", 0.1, "One entry in ten is rejected at random"),
    ("scaling", 0.0, "The quota doubles for 20 s"),
    ("recovery", 1.0, "All entries are rejected for 10 s"),
];
const RATES_TITLE: &str = "Rate of one producer that offers more than the quota";
const RATES_SIZE: (u32, u32) = (1_000, 440);
const MAX_RATE: f64 = 2.6;

const FONT: &str = "sans-serif";
const TITLE_HEIGHT: u32 = 44;
const LEGEND_LINE_HEIGHT: u32 = 30;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Points = Vec<(f64, f64)>;

/// Returns `true` if the scenario is in the first chart, which shows the whole run of each policy.
pub fn is_compared(scenario: &Scenario) -> bool {
    let is_named = COMPARED.iter().any(|(name, _)| *name == scenario.name);
    is_named && scenario.limit == BUCKET_1S && scenario.noise == 0.0
}

#[derive(Clone)]
struct Phase {
    from: f64,
    to: f64,
    label: String,
}

/// Figures of one policy in one scenario, for each second.
pub struct Series {
    scenario: &'static str,
    policy: Policy,
    written: Points,
    rejected: Points,
    warm_up: f64,
}

impl Series {
    /// Returns the series of a run, or `None` if the run is not in the chart.
    pub fn of(scenario: &Scenario, policy: Policy, run: &Run) -> Option<Self> {
        if !is_compared(scenario) || policy == Policy::Omniscient {
            return None;
        }
        let written = |second| {
            let window = Window::new(second, second + 1, scenario.shards);
            let written = measure::written(scenario, 1, run, &window);
            let quota = f64::from(scenario.quota) * scenario.shards as f64;
            ((second + 1) as f64, (written / quota).min(MAX_WRITTEN))
        };
        let rejected = |second| {
            let share = measure::rejected(run, second, second + 1).unwrap_or(0.0);
            ((second + 1) as f64, share)
        };
        Some(Self {
            scenario: scenario.name,
            policy,
            written: (0..scenario.seconds).map(written).collect(),
            rejected: (0..scenario.seconds).map(rejected).collect(),
            warm_up: scenario.window().0 as f64,
        })
    }
}

/// Entries that the sink sends and entries that the stream writes, for each second.
pub struct Rates {
    panel: usize,
    sent: Points,
    written: Points,
    quota: Points,
    phases: Vec<Phase>,
}

impl Rates {
    /// Returns the rates of a run, or `None` if the run is not in the chart.
    pub fn of(scenario: &Scenario, policy: Policy, run: &Run) -> Option<Self> {
        let noise = scenario.temporary_noise.unwrap_or(scenario.noise);
        let panel = RATES.iter().position(|(name, of, _)| {
            (*name, *of) == (scenario.name, noise) && scenario.limit == BUCKET_1S
        })?;
        if policy != Policy::KinesisSink || scenario.offered_share() <= 1.0 {
            return None;
        }
        let quota = f64::from(scenario.quota) * scenario.shards as f64;
        let share = |second: u64, entries: f64| ((second + 1) as f64, entries / quota);
        let sent = |second| share(second, measure::sent(run, second, second + 1));
        let written = |second| {
            let window = Window::new(second, second + 1, scenario.shards);
            share(second, measure::written(scenario, 1, run, &window))
        };
        Some(Self {
            panel,
            sent: (0..scenario.seconds).map(sent).collect(),
            written: (0..scenario.seconds).map(written).collect(),
            quota: quota_over_time(scenario),
            phases: phases(scenario),
        })
    }
}

/// Returns the corners of the step function of the quota, relative to the initial quota.
fn quota_over_time(scenario: &Scenario) -> Points {
    let mut points = vec![(0.0, 1.0)];
    for (second, event) in &scenario.events {
        if let Event::Quota(records) = event {
            let share = f64::from(*records) / f64::from(scenario.quota);
            let (_, previous) = points[points.len() - 1];
            points.extend([(*second as f64, previous), (*second as f64, share)]);
        }
    }
    let (_, last) = points[points.len() - 1];
    points.push((scenario.seconds as f64, last));
    points
}

/// Returns the phases during which the scenario differs from its start, or the whole run if nothing changes.
fn phases(scenario: &Scenario) -> Vec<Phase> {
    let phase = |from: u64, to: u64, label: &str| Phase {
        from: from as f64,
        to: to as f64,
        label: label.to_owned(),
    };
    if scenario.events.is_empty() {
        let label = format!("noise of {:.0} %", 100.0 * scenario.noise);
        return vec![phase(0, scenario.seconds, &label)];
    }
    let mut phases = Vec::new();
    for (index, (from, event)) in scenario.events.iter().enumerate() {
        let to = scenario.events.get(index + 1).map_or(scenario.seconds, |(second, _)| *second);
        match event {
            Event::Quota(records) if *records != scenario.quota => {
                phases.push(phase(*from, to, "doubled quota"));
            }
            Event::NoiseBegins(_) => phases.push(phase(*from, to, "outage")),
            _ => {}
        }
    }
    phases
}

pub fn draw(series: &[Series], path: &Path) -> Result<()> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, COMPARED_SIZE).into_drawing_area();
        let legend = Policy::ALL.map(|policy| (policy.label(), style(policy)));
        let panels = draw_head(&root, COMPARED_TITLE, &legend)?;
        for ((scenario, name), column) in COMPARED.into_iter().zip(panels.split_evenly((1, 2))) {
            let rows = column.split_evenly((2, 1));
            let series: Vec<_> =
                series.iter().filter(|series| series.scenario == scenario).collect();
            let warm_up = series.first().map_or(0.0, |series| series.warm_up);
            let seconds = series.iter().flat_map(|series| series.written.last());
            let seconds = seconds.map(|(second, _)| *second).fold(1.0, f64::max);
            let phase = Phase {
                from: warm_up,
                to: seconds,
                label: format!("overload, measured from {warm_up:.0} s"),
            };
            let line = |points: fn(&Series) -> &Points| {
                let lines = series.iter().map(move |series| (points(series), style(series.policy)));
                lines.map(|(points, style)| Line { points, style, is_dashed: false }).collect()
            };
            Panel {
                title: format!("{name}: written records"),
                y_title: "written (% of quota, up to 140 %)",
                max: MAX_WRITTEN,
                lines: line(|series| &series.written),
                phases: vec![phase.clone()],
            }
            .draw(&rows[0])?;
            Panel {
                title: format!("{name}: rejected entries"),
                y_title: "rejected (% of entries sent)",
                max: MAX_REJECTED,
                lines: line(|series| &series.rejected),
                phases: vec![phase],
            }
            .draw(&rows[1])?;
        }
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

pub fn draw_rates(rates: &[Rates], path: &Path) -> Result<()> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, RATES_SIZE).into_drawing_area();
        let sent = style(Policy::RequeueAtOnce);
        let written = style(Policy::KinesisSink);
        let quota = BLACK.stroke_width(1);
        let legend = [("sent", sent), ("written", written), ("quota (dashed)", quota)];
        let panels = draw_head(&root, RATES_TITLE, &legend)?;
        for (index, area) in panels.split_evenly((1, RATES.len())).iter().enumerate() {
            let Some(rates) = rates.iter().find(|rates| rates.panel == index) else { continue };
            let (_, _, title) = RATES[index];
            Panel {
                title: title.to_owned(),
                y_title: "entries per second (% of initial quota)",
                max: MAX_RATE,
                lines: vec![
                    Line { points: &rates.written, style: written, is_dashed: false },
                    Line { points: &rates.sent, style: sent, is_dashed: false },
                    Line { points: &rates.quota, style: quota, is_dashed: true },
                ],
                phases: rates.phases.clone(),
            }
            .draw(area)?;
        }
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

/// The palette is from Okabe and Ito, "Color Universal Design", 2008.
fn style(policy: Policy) -> ShapeStyle {
    let (color, width) = match policy {
        Policy::KinesisSink => (RGBColor(0, 114, 178), 3),
        Policy::RequeueAtOnce => (RGBColor(213, 94, 0), 2),
        Policy::FixedBucket => (RGBColor(230, 159, 0), 2),
        Policy::AimdWholeStream => (RGBColor(0, 158, 115), 2),
        Policy::RequeueWithBackoff => (RGBColor(204, 121, 167), 2),
        Policy::FixedRate => (RGBColor(86, 180, 233), 2),
        Policy::Omniscient => (BLACK, 1),
    };
    color.stroke_width(width)
}

/// Draws the title and the legend with three names per line. Returns the area below them.
fn draw_head<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    title: &str,
    legend: &[(&str, ShapeStyle)],
) -> Result<DrawingArea<B, Shift>>
where
    B::ErrorType: 'static,
{
    // Otherwise, the background is transparent, and the chart is unreadable on a page in dark mode.
    root.fill(&WHITE)?;
    let text =
        |size: u32| (FONT, size).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    root.draw(&Text::new(title, (70, TITLE_HEIGHT as i32 / 2), text(22)))?;
    for (index, (name, style)) in legend.iter().enumerate() {
        let (column, line) = (index as i32 % 3, index as i32 / 3);
        let left = 70 + 310 * column;
        let middle = TITLE_HEIGHT as i32 + LEGEND_LINE_HEIGHT as i32 * (1 + 2 * line) / 2;
        let line = vec![(left, middle), (left + 36, middle)];
        root.draw(&PathElement::new(line, *style))?;
        root.draw(&Text::new(*name, (left + 44, middle), text(17)))?;
    }
    let lines = legend.len().div_ceil(3) as u32;
    let (_, panels) = root.split_vertically(TITLE_HEIGHT + LEGEND_LINE_HEIGHT * lines);
    Ok(panels)
}

struct Line<'a> {
    points: &'a [(f64, f64)],
    style: ShapeStyle,
    is_dashed: bool,
}

/// A line chart with seconds on the x axis and fractions from 0 to `max` on the y axis.
struct Panel<'a> {
    title: String,
    y_title: &'static str,
    max: f64,
    /// Lines of the chart. The first one is drawn on top.
    lines: Vec<Line<'a>>,
    phases: Vec<Phase>,
}

impl Panel<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let ends = self.lines.iter().filter_map(|line| line.points.last());
        let seconds = ends.map(|(second, _)| *second).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_right(20)
            .caption(&self.title, (FONT, 19))
            .x_label_area_size(48)
            .y_label_area_size(74)
            .build_cartesian_2d(0.0..seconds, 0.0..self.max)?;
        for Phase { from, to, .. } in &self.phases {
            let corners = [(*from, 0.0), (*to, self.max)];
            chart.draw_series([Rectangle::new(corners, BLACK.mix(0.07).filled())])?;
        }
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .label_style((FONT, 16))
            .axis_desc_style((FONT, 17))
            .x_desc("time (s)")
            .y_desc(self.y_title)
            .x_labels(7)
            .y_labels(6)
            .x_label_formatter(&|second| format!("{second:.0}"))
            .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
            .draw()?;
        for Line { points, style, is_dashed } in self.lines.iter().rev() {
            let points = points.iter().copied();
            if *is_dashed {
                chart.draw_series(DashedLineSeries::new(points, 5, 4, *style))?;
            } else {
                chart.draw_series(LineSeries::new(points, *style))?;
            }
        }
        let text = (FONT, 16).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
        for Phase { from, to, label } in &self.phases {
            let position = ((from + to) / 2.0, 0.95 * self.max);
            chart.draw_series([Text::new(label.clone(), position, text.clone())])?;
        }
        Ok(())
    }
}
