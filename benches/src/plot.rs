//! Charts of the measurements: for each load, the server's CPU of the floors and linkroom; and how
//! it grows. The scales are logarithmic, because loads differ by far more than servers.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::{
    curves::{Curve, Point},
    scenarios::Measured,
    server::Kind,
};

/// Pixels; the height is for each load.
const WIDTH: u32 = 880;
const LOAD_HEIGHT: u32 = 84;
const MARGIN: u32 = 120;
/// Pixels of a curve's picture.
const CURVE_WIDTH: u32 = 360;
const CURVE_HEIGHT: u32 = 280;
/// Pixels left of the bars, for the names of the loads.
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

/// Draws the curves side by side, with one line for each server.
///
/// # Errors
/// The file cannot be written.
pub fn curves(curves: &[(&Curve, &[Point])], file: &Path) -> anyhow::Result<()> {
    let width = CURVE_WIDTH * u32::try_from(curves.len().max(1))?;
    let area = SVGBackend::new(file, (width, CURVE_HEIGHT)).into_drawing_area();
    for ((curve, points), panel) in curves.iter().zip(area.split_evenly((1, curves.len().max(1)))) {
        draw_curve(curve, points, &panel)?;
    }
    area.present().map_err(failed)
}

fn draw_curve<B: DrawingBackend>(
    curve: &Curve,
    points: &[Point],
    panel: &DrawingArea<B, plotters::coord::Shift>,
) -> anyhow::Result<()> {
    let values = || points.iter().filter_map(|point| point.value(curve)).filter(|v| *v > 0.0);
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    let sizes = || points.iter().map(|point| point.size as f64);
    let (first, last) = (sizes().fold(f64::MAX, f64::min), sizes().fold(1.0, f64::max));
    // Space for the servers' names after the last point.
    let mut chart = ChartBuilder::on(panel)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(48)
        .build_cartesian_2d(
            (first..last * (last / first).powf(0.3)).log_scale(),
            (least / 2.0..most * 2.0).log_scale(),
        )
        .map_err(failed)?;
    let ink = |size| ("sans-serif", size).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(INK)
        .x_desc(curve.of)
        .y_desc(curve.figure)
        .axis_desc_style(ink(12))
        .label_style(ink(11))
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|size| format!("{size:.0}"))
        .y_label_formatter(&|value| format!("{value}"))
        .draw()
        .map_err(failed)?;
    let mut names = Vec::new();
    for &kind in Kind::ALL {
        let of_kind = points.iter().filter(|point| point.measured.kind == kind);
        let line: Vec<(f64, f64)> =
            of_kind.filter_map(|p| Some((p.size as f64, p.value(curve)?))).collect();
        let Some(&end) = line.last() else { continue };
        let (x, y) = chart.backend_coord(&end);
        names.push((y, x, format!("{} {:.2}", kind.name(), end.1)));
        let style = color(kind).stroke_width(2);
        chart.draw_series(LineSeries::new(line, style).point_size(3)).map_err(failed)?;
    }
    name_lines(panel, names)
}

/// Writes the servers' names after the ends of their lines, without overlaps.
fn name_lines<B: DrawingBackend>(
    panel: &DrawingArea<B, plotters::coord::Shift>,
    mut names: Vec<(i32, i32, String)>,
) -> anyhow::Result<()> {
    const LINE: i32 = 13;
    names.sort();
    let (left, top) = panel.get_base_pixel();
    let mut free = i32::MIN;
    for (y, x, name) in names {
        let y = free.max(y - 6);
        free = y + LINE;
        text(panel, &name, (x - left + 8, y - top), 11)?;
    }
    Ok(())
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
