//! The measurements as tables for people and as JSON for programs.

use serde_json::{Value, json};

use crate::{
    curves::{Curve, Point},
    scenarios::Measured,
    server::Kind,
};

/// Reads one count of a measurement.
type Count = fn(&Measured) -> u64;

/// One load's table: a line for each figure, with its ratio to the floor.
pub fn table(measured: &[&Measured]) -> String {
    let Some(first) = measured.first() else { return String::new() };
    let servers = join(|kind| kind.name().to_owned());
    let mut lines = vec![
        format!("### {}\n", first.scenario),
        format!("| | {servers} | × floor | × floor+ |"),
        format!("|---|{}", "---:|".repeat(Kind::ALL.len() + 2)),
    ];
    for (at, (name, _)) in first.figures.iter().enumerate() {
        let value = |kind| of(measured, kind).and_then(|m| m.figures.get(at)).map(|f| f.1);
        let cells = join(|kind| cell(value(kind)));
        let times = |kind| ratio(value(Kind::Linkroom), value(kind));
        let (floor, plus) = (times(Kind::Floor), times(Kind::FloorPlus));
        lines.push(format!("| {name} | {cells} | {floor} | {plus} |"));
    }
    let wrongs: [(&str, Count); 4] = [
        ("lost", |m| m.tally.lost),
        ("doubled", |m| m.tally.doubled),
        ("out of order", |m| m.tally.disordered),
        ("errors", |m| m.tally.errors),
    ];
    for (name, count) in wrongs {
        let value = |kind| of(measured, kind).map_or("–".to_owned(), |m| count(m).to_string());
        lines.push(format!("| {name} | {} | | |", join(value)));
    }
    lines.join("\n") + "\n"
}

/// One curve's table: a line for each size.
pub fn growth(curve: &Curve, points: &[Point]) -> String {
    let mut lines = vec![
        format!("### {} by {}\n", curve.figure, curve.of),
        format!("| | {} |", join(|kind| kind.name().to_owned())),
        format!("|---|{}", "---:|".repeat(Kind::ALL.len())),
    ];
    for same in points.chunk_by(|a, b| a.size == b.size) {
        let point = |kind| same.iter().find(|point| point.measured.kind == kind);
        let cells = join(|kind| cell(point(kind).and_then(|point| point.value(curve))));
        lines.push(format!("| {} | {cells} |", same[0].size));
    }
    lines.join("\n") + "\n"
}

/// All measurements.
pub fn json(measured: &[Measured]) -> Value {
    let one = |m: &Measured| {
        let figures: serde_json::Map<String, Value> =
            m.figures.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "scenario": m.scenario,
            "server": m.kind.name(),
            "figures": figures,
            "sent": m.tally.sent,
            "deliveries": m.tally.deliveries,
            "lost": m.tally.lost,
            "doubled": m.tally.doubled,
            "outOfOrder": m.tally.disordered,
            "errors": m.tally.errors,
        })
    };
    json!(measured.iter().map(one).collect::<Vec<_>>())
}

/// Whether linkroom lost, doubled or reordered anything.
pub fn is_broken(measured: &[Measured]) -> bool {
    let wrong = |m: &Measured| m.tally.lost + m.tally.doubled + m.tally.disordered > 0;
    measured.iter().any(|m| m.kind.keeps_rooms() && wrong(m))
}

/// A line's cells, one for each server.
fn join(cell: impl Fn(Kind) -> String) -> String {
    Kind::ALL.iter().map(|&kind| cell(kind)).collect::<Vec<_>>().join(" | ")
}

fn of<'a>(measured: &[&'a Measured], kind: Kind) -> Option<&'a Measured> {
    measured.iter().copied().find(|m| m.kind == kind)
}

fn cell(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
        None => "–".to_owned(),
    }
}

fn ratio(value: Option<f64>, to: Option<f64>) -> String {
    match (value, to) {
        (Some(value), Some(to)) if to > 0.0 => cell(Some(value / to)),
        _ => String::new(),
    }
}
