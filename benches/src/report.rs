//! What was measured, as tables for people and as JSON for programs.

use serde_json::{Value, json};

use crate::{scenarios::Measured, server::Kind};

/// Reads one count of a measurement.
type Count = fn(&Measured) -> u64;

/// One load's table: a line for each figure, with its ratio to the floor.
pub fn table(measured: &[Measured]) -> String {
    let Some(first) = measured.first() else { return String::new() };
    let mut lines = vec![
        format!("### {}\n", first.scenario),
        "| | floor | floor+ | linkroom | × floor | × floor+ |".to_owned(),
        "|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (at, (name, _)) in first.figures.iter().enumerate() {
        let value = |kind| of(measured, kind).and_then(|m| m.figures.get(at)).map(|f| f.1);
        let [floor, plus, linkroom] = Kind::ALL.map(value);
        let cells = [floor, plus, linkroom].map(cell).join(" | ");
        let ratios = [ratio(linkroom, floor), ratio(linkroom, plus)].join(" | ");
        lines.push(format!("| {name} | {cells} | {ratios} |"));
    }
    let wrongs: [(&str, Count); 4] = [
        ("lost", |m| m.tally.lost),
        ("doubled", |m| m.tally.doubled),
        ("out of order", |m| m.tally.disordered),
        ("errors", |m| m.tally.errors),
    ];
    for (name, count) in wrongs {
        let value = |kind| of(measured, kind).map_or("–".to_owned(), |m| count(m).to_string());
        lines.push(format!("| {name} | {} | | |", Kind::ALL.map(value).join(" | ")));
    }
    lines.join("\n") + "\n"
}

/// All of it.
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
    measured.iter().any(|m| !m.kind.is_floor() && wrong(m))
}

fn of(measured: &[Measured], kind: Kind) -> Option<&Measured> {
    measured.iter().find(|m| m.kind == kind)
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
