//! An SVG bar chart of the CPU ratios without a round-trip time.

use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::case::Case;
use super::plan::SIZES;
use super::rounds::Row;

const FONT: &str = "sans-serif";
const WIDTH: i32 = 1_000;
const HEAD: i32 = 96;
const FOOT: i32 = 70;
const BAR: i32 = 14;
const GAP: i32 = 14;
const LEFT: i32 = 290;
const RIGHT: i32 = 60;
const TICK: f64 = 0.5;

/// Colors that readers with color vision deficiencies can distinguish.
/// The palette is from Okabe and Ito, "Color Universal Design", 2008.
const COLORS: [RGBColor; SIZES.len()] =
    [RGBColor(0, 114, 178), RGBColor(86, 180, 233), RGBColor(0, 158, 115), RGBColor(230, 159, 0)];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Draws one group of bars per case. The vertical line at 1 is the raw loop.
pub fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let is_drawn =
        |row: &&Row| row.round_trip_ms == 0 && !matches!(row.case, Case::Raw | Case::SinkSoak);
    let rows: Vec<_> = rows.iter().filter(is_drawn).collect();
    let mut cases: Vec<_> = rows.iter().map(|row| row.case).collect();
    cases.sort_by_key(|case| Case::COMPARED.iter().position(|other| other == case));
    cases.dedup();
    let max = rows.iter().filter_map(|row| row.cpu_ratio).fold(1.0, f64::max);
    let scale = f64::from(WIDTH - LEFT - RIGHT) / max;
    let group = BAR * SIZES.len() as i32 + GAP;
    let bottom = HEAD + group * cases.len() as i32;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH as u32, (bottom + FOOT) as u32));
        let root = root.into_drawing_area();
        // Otherwise, the background is transparent, and the chart is unreadable on a page in dark mode.
        root.fill(&WHITE)?;
        draw_head(&root)?;
        draw_axes(&root, bottom, max, scale)?;
        let mut values = Vec::new();
        for (index, case) in cases.into_iter().enumerate() {
            let top = HEAD + group * index as i32;
            let rows = rows.iter().filter(|row| row.case == case).copied();
            values.extend(draw_case(&root, case, top, scale, rows)?);
        }
        let one = LEFT + scale as i32;
        root.draw(&PathElement::new(vec![(one, HEAD - 8), (one, bottom)], BLACK.mix(0.6)))?;
        for (ratio, (x, y)) in values {
            // Prevents the lines of the axis from crossing the text.
            let corners = [(x - 3, y - BAR / 2), (x + 30, y + BAR / 2 - 1)];
            root.draw(&Rectangle::new(corners, WHITE.filled()))?;
            root.draw(&Text::new(format!("{ratio:.2}"), (x, y), label(14, HPos::Left)))?;
        }
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

fn draw_head<B: DrawingBackend>(root: &DrawingArea<B, Shift>) -> Result<()>
where
    B::ErrorType: 'static,
{
    let title = "CPU time per record, relative to a loop over put_records of the AWS SDK";
    root.draw(&Text::new(title, (20, 28), label(22, HPos::Left)))?;
    root.draw(&Text::new("record size:", (LEFT - 14, 62), label(17, HPos::Right)))?;
    for (index, (bytes, color)) in SIZES.into_iter().zip(COLORS).enumerate() {
        let left = LEFT + 150 * index as i32;
        root.draw(&Rectangle::new([(left, 56), (left + 22, 68)], color.filled()))?;
        let name = match bytes {
            1_000.. => format!("{},{:03} bytes", bytes / 1_000, bytes % 1_000),
            _ => format!("{bytes} bytes"),
        };
        root.draw(&Text::new(name, (left + 30, 62), label(17, HPos::Left)))?;
    }
    Ok(())
}

fn draw_axes<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    bottom: i32,
    max: f64,
    scale: f64,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    for tick in 0..=(max / TICK) as u32 {
        let ratio = f64::from(tick) * TICK;
        let x = LEFT + (ratio * scale) as i32;
        root.draw(&PathElement::new(vec![(x, HEAD - 8), (x, bottom + 5)], BLACK.mix(0.15)))?;
        root.draw(&Text::new(format!("{ratio:.1}"), (x, bottom + 18), label(16, HPos::Center)))?;
    }
    root.draw(&PathElement::new(vec![(LEFT, bottom), (WIDTH - RIGHT, bottom)], BLACK))?;
    root.draw(&Text::new("client:", (LEFT - 14, HEAD - 8), label(17, HPos::Right)))?;
    let title = "CPU time per record (multiple of the raw loop, which is 1.0; lower is better)";
    let center = (LEFT + WIDTH - RIGHT) / 2;
    root.draw(&Text::new(title, (center, bottom + 46), label(17, HPos::Center)))?;
    Ok(())
}

/// Draws the bars of a case. Returns the values with their positions.
fn draw_case<'a, B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    case: Case,
    top: i32,
    scale: f64,
    rows: impl Iterator<Item = &'a Row>,
) -> Result<Vec<(f64, (i32, i32))>>
where
    B::ErrorType: 'static,
{
    let middle = top + BAR * SIZES.len() as i32 / 2;
    root.draw(&Text::new(case.label(), (LEFT - 14, middle), label(17, HPos::Right)))?;
    let mut values = Vec::new();
    for row in rows {
        let size = SIZES.iter().position(|bytes| *bytes == row.record_bytes);
        let (Some(size), Some(ratio)) = (size, row.cpu_ratio) else { continue };
        let top = top + BAR * size as i32;
        let end = LEFT + (ratio * scale) as i32;
        root.draw(&Rectangle::new([(LEFT, top), (end, top + BAR - 1)], COLORS[size].filled()))?;
        values.push((ratio, (end + 6, top + BAR / 2)));
    }
    Ok(values)
}

fn label(size: u32, side: HPos) -> TextStyle<'static> {
    (FONT, size).into_font().color(&BLACK).pos(Pos::new(side, VPos::Center))
}
