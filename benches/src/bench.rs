//! Measures linkroom against a floor, side by side: CPU per delivery, Redis per
//! message, memory per connection, latency, and whether anything was lost, doubled or reordered.
//!
//! ```text
//! linkroom-bench [--linkroom PATH] [--out FOLDER] [--only WORDS] [--server NAME]
//! linkroom-bench scripts [--linkroom PATH]
//! linkroom-bench scaling [--linkroom PATH] [--out FOLDER] [--only WORDS] [--server NAME]
//! ```

#[cfg(feature = "bare")]
mod bare;
mod curves;
mod floor;
mod latency;
mod listen;
mod load;
mod plot;
mod report;
mod scaling;
mod scenarios;
mod scripts;
mod server;
mod wire;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};

use curves::CURVES;
use scenarios::{Measured, SCENARIOS};
use server::Kind;

/// linkroom's own, so that `bare` has the same.
#[cfg(feature = "bare")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to measure.
struct Options {
    linkroom: PathBuf,
    out: PathBuf,
    only: String,
    kinds: Vec<Kind>,
}

fn main() -> anyhow::Result<ExitCode> {
    let first = std::env::args().nth(1).unwrap_or_default();
    match first.as_str() {
        "floor" => floor::serve(false)?,
        "floor+" => floor::serve(true)?,
        #[cfg(feature = "bare")]
        "bare" => bare::serve(&std::env::var("REDIS_URL")?)?,
        "scripts" => println!("{}", scripts::profile(&Options::read(2)?.linkroom)?),
        "scaling" => scaling::measure(&Options::read(2)?)?,
        _ => return compare(&Options::read(1)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(options: &Options) -> anyhow::Result<ExitCode> {
    let mut all: Vec<Measured> = Vec::new();
    let mut tables = String::new();
    for scenario in SCENARIOS.iter().filter(|s| s.name.contains(&options.only)) {
        let mut side_by_side = Vec::new();
        for &kind in &options.kinds {
            let what = || format!("{} against {}", scenario.name, kind.name());
            side_by_side.push(scenario.measure(kind, &options.linkroom).with_context(what)?);
        }
        let table = report::table(&side_by_side.iter().collect::<Vec<_>>());
        println!("{table}");
        tables += &(table + "\n");
        all.append(&mut side_by_side);
    }
    fs::create_dir_all(&options.out)?;
    let mut curves = Vec::new();
    for curve in CURVES.iter().filter(|curve| curve.of.contains(&options.only)) {
        let points = curve.measure(&options.kinds, &options.linkroom)?;
        let table = report::growth(curve, &points);
        println!("{table}");
        tables += &(table + "\n");
        curves.push((curve, points));
    }
    fs::write(options.out.join("results.md"), tables)?;
    plot::draw(&all, &options.out.join("results.svg"))?;
    let drawn: Vec<_> = curves.iter().map(|(curve, points)| (*curve, points.as_slice())).collect();
    plot::curves(&drawn, &options.out.join("curves.svg"))?;
    all.extend(curves.into_iter().flat_map(|(_, points)| points).map(|point| point.measured));
    fs::write(options.out.join("results.json"), report::json(&all).to_string())?;
    if report::is_broken(&all) {
        eprintln!("linkroom lost, doubled or reordered messages");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn read(skipped: usize) -> anyhow::Result<Self> {
        let mut options = Self {
            linkroom: "target/release/linkroom".into(),
            out: "target/bench".into(),
            only: String::new(),
            kinds: Kind::ALL.to_vec(),
        };
        let mut args = std::env::args().skip(skipped);
        while let Some(option) = args.next() {
            let value = args.next().with_context(|| format!("{option} wants a value"))?;
            match option.as_str() {
                "--linkroom" => options.linkroom = value.into(),
                "--out" => options.out = value.into(),
                "--only" => options.only = value,
                "--server" => options.kinds.retain(|kind| kind.name() == value),
                _ => bail!("no such option: {option}"),
            }
        }
        Ok(options)
    }
}
