//! The links of docs/TOUR.md lead to existing files and functions, and src/lib.rs has the same
//! steps.

use std::{fs, path::Path};

const TOUR: &str = include_str!("../../docs/TOUR.md");
const CRATE: &str = include_str!("../../src/lib.rs");

/// The links whose text is code, as text and target.
fn links(page: &str) -> Vec<(&str, &str)> {
    let link = |rest| {
        let (text, rest) = str::split_once(rest, "`](")?;
        Some((text, rest.split_once(')')?.0))
    };
    page.split("[`").skip(1).filter_map(link).collect()
}

/// Whether a source file defines the function or type, written as `name` or `Type::name`.
fn defines(source: &str, path: &str) -> bool {
    let (owner, name) = path.rsplit_once("::").unwrap_or(("", path));
    let has_owner = source
        .lines()
        .any(|line| owner.is_empty() || line.starts_with("impl") && line.contains(owner));
    let is_defined = |keyword: &str| {
        source
            .split(&format!("{keyword} {name}"))
            .skip(1)
            .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    has_owner && ["fn", "enum", "struct", "function"].into_iter().any(is_defined)
}

/// The numbered steps of a page, without their numbers, which count from 1.
fn steps(page: &str) -> Vec<&str> {
    let lines = page.lines().map(|line| line.trim_start_matches("//! "));
    let numbered = lines.filter_map(|line| {
        let (number, step) = line.split_once(". ")?;
        Some((number.parse::<usize>().ok()?, step))
    });
    let numbered: Vec<_> = numbered.collect();
    assert!(numbered.iter().map(|(number, _)| *number).eq(1..=numbered.len()), "{numbered:?}");
    numbered.into_iter().map(|(_, step)| step).collect()
}

/// The first name in a step.
fn name(step: &str) -> &str {
    step.split('`').nth(1).unwrap()
}

#[test]
fn the_tour_leads_to_what_exists() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (text, target) in links(TOUR) {
        let source = fs::read_to_string(docs.join(target));
        let source = source.unwrap_or_else(|error| panic!("{target}: {error}"));
        let is_file = Path::new(text).file_name() == Path::new(target).file_name();
        assert!(is_file || defines(&source, text), "{text} in {target}");
    }
}

#[test]
fn the_crates_page_takes_the_steps_of_the_tour() {
    let tour: Vec<_> = steps(TOUR).into_iter().map(name).collect();
    assert_eq!(tour.len(), 10);
    assert_eq!(tour, steps(CRATE).into_iter().map(name).collect::<Vec<_>>());
}
