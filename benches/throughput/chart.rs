//! The yardstick as an SVG: a bar per case and size, as long as its CPU ratio.

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
const HEAD: i32 = 84;
const FOOT: i32 = 20;
const BAR: i32 = 13;
/// Between the bars of two cases.
const GAP: i32 = 14;
/// Where the bars begin, and the most that they may have.
const LEFT: i32 = 190;
const LONGEST: i32 = WIDTH - LEFT - 70;

/// Colours that people tell apart who see few of them.
///
/// Source: Okabe and Ito, "Color Universal Design", 2008.
const COLOURS: [RGBColor; SIZES.len()] =
    [RGBColor(0, 114, 178), RGBColor(86, 180, 233), RGBColor(0, 158, 115), RGBColor(230, 159, 0)];

/// Draws the rows without a round-trip time. The raw loop is the line at one.
pub fn draw(rows: &[Row], path: &Path) -> Result<(), Box<dyn Error>> {
    let is_drawn =
        |row: &&Row| row.round_trip_ms == 0 && !matches!(row.case, Case::Raw | Case::SinkSoak);
    let rows: Vec<_> = rows.iter().filter(is_drawn).collect();
    let mut cases: Vec<_> = rows.iter().map(|row| row.case).collect();
    cases.sort_by_key(|case| Case::COMPARED.iter().position(|other| other == case));
    cases.dedup();
    let ratios = rows.iter().filter_map(|row| row.cpu_ratio);
    let unit = f64::from(LONGEST) / ratios.fold(1.0, f64::max);
    let group = BAR * SIZES.len() as i32 + GAP;
    let height = HEAD + group * cases.len() as i32 + FOOT;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH as u32, height as u32));
        let root = root.into_drawing_area();
        // A background of its own: it must be readable on a dark page, too.
        root.fill(&WHITE)?;
        draw_head(&root)?;
        for (place, case) in cases.into_iter().enumerate() {
            let top = HEAD + group * place as i32;
            let of_case = rows.iter().filter(|row| row.case == case).copied();
            draw_case(&root, case, top, unit, of_case)?;
        }
        // Over the bars, so that it is seen in each.
        let one = LEFT + unit as i32;
        root.draw(&PathElement::new(vec![(one, HEAD - 8), (one, height - FOOT)], BLACK.mix(0.6)))?;
        root.present()?;
    }
    fs::write(path, text)?;
    Ok(())
}

fn draw_head<B: DrawingBackend>(root: &DrawingArea<B, Shift>) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let title = "CPU time per record, as a multiple of the SDK called by hand (the line at 1)";
    root.draw(&Text::new(title, (20, 24), label(17, HPos::Left)))?;
    for (place, (bytes, colour)) in SIZES.into_iter().zip(COLOURS).enumerate() {
        let left = LEFT + 150 * place as i32;
        root.draw(&Rectangle::new([(left, 44), (left + 22, 56)], colour.filled()))?;
        root.draw(&Text::new(format!("{bytes} bytes"), (left + 30, 50), label(14, HPos::Left)))?;
    }
    Ok(())
}

fn draw_case<'a, B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    case: Case,
    top: i32,
    unit: f64,
    rows: impl Iterator<Item = &'a Row>,
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let middle = top + BAR * SIZES.len() as i32 / 2;
    root.draw(&Text::new(case.name(), (LEFT - 12, middle), label(14, HPos::Right)))?;
    for row in rows {
        let place = SIZES.iter().position(|bytes| *bytes == row.record_bytes);
        let (Some(place), Some(ratio)) = (place, row.cpu_ratio) else { continue };
        let top = top + BAR * place as i32;
        let end = LEFT + (ratio * unit) as i32;
        root.draw(&Rectangle::new([(LEFT, top), (end, top + BAR - 1)], COLOURS[place].filled()))?;
        let value = format!("{ratio:.2}");
        root.draw(&Text::new(value, (end + 6, top + BAR / 2), label(12, HPos::Left)))?;
    }
    Ok(())
}

fn label(size: u32, side: HPos) -> TextStyle<'static> {
    (FONT, size).into_font().color(&BLACK).pos(Pos::new(side, VPos::Center))
}
