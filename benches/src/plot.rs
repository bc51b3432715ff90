//! What was measured, as a picture: for each load, what the floors and linkroom use of the server's
//! CPU, on a logarithmic scale, since loads differ by far more than servers.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::{scenarios::Measured, server::Kind};

/// Pixels; the height is for each load.
const WIDTH: u32 = 880;
const LOAD_HEIGHT: u32 = 84;
const MARGIN: u32 = 120;
/// Pixels left of the bars, for the loads' names.
const NAMES: i32 = 300;
/// Readable on white and on black.
const INK: RGBColor = RGBColor(110, 118, 129);

/// Draws the first figure of each load that is about the server's CPU.
///
/// # Errors
/// The file cannot be written.
pub fn draw(measured: &[Measured], file: &Path) -> anyhow::Result<()> {
    let loads = loads(measured);
    let most = loads.iter().flat_map(|load| load.bars.iter().map(|bar| bar.1)).fold(1.0, f64::max);
    let least = loads.iter().flat_map(|load| load.bars.iter().map(|bar| bar.1)).fold(1.0, f64::min);
    let height = LOAD_HEIGHT * u32::try_from(loads.len())? + MARGIN;
    let area = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    let scale = |value: f64| {
        let room = f64::from(WIDTH) - f64::from(NAMES) - f64::from(MARGIN);
        (value / least).ln() / (most / least).ln() * room * 0.9 + room * 0.1
    };
    for (number, load) in loads.iter().enumerate() {
        let top = i32::try_from(LOAD_HEIGHT)? * i32::try_from(number)? + 16;
        text(&area, &load.name, (8, top), 15)?;
        text(&area, load.figure, (8, top + 20), 12)?;
        for (at, (kind, value)) in load.bars.iter().enumerate() {
            let y = top + 20 * i32::try_from(at)?;
            let end = NAMES + scale(*value) as i32;
            let bar = Rectangle::new([(NAMES, y), (end, y + 15)], color(*kind).filled());
            area.draw(&bar).map_err(failed)?;
            text(&area, &format!("{}  {value:.2}", kind.name()), (end + 6, y + 1), 12)?;
        }
    }
    text(&area, "µs of CPU, logarithmic: less is better", (NAMES, height as i32 - 96), 12)?;
    area.present().map_err(failed)
}

struct Load {
    name: String,
    figure: &'static str,
    bars: Vec<(Kind, f64)>,
}

fn loads(measured: &[Measured]) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    for one in measured {
        let figure =
            one.figures.iter().find(|(name, value)| name.starts_with("server") && *value > 0.0);
        let Some(&(figure, value)) = figure else { continue };
        match loads.iter_mut().find(|load| load.name == one.scenario) {
            Some(load) => load.bars.push((one.kind, value)),
            None => {
                let bars = vec![(one.kind, value)];
                loads.push(Load { name: one.scenario.clone(), figure, bars });
            }
        }
    }
    loads
}

fn color(kind: Kind) -> RGBColor {
    if kind.keeps_rooms() { RGBColor(9, 105, 218) } else { RGBColor(139, 148, 158) }
}

fn text<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    words: &str,
    at: (i32, i32),
    size: u32,
) -> anyhow::Result<()> {
    let style = ("sans-serif", size).into_font().color(&INK);
    area.draw(&Text::new(words.to_owned(), at, style)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the picture cannot be drawn: {error}")
}
