//! The table of log lines in docs/operations.md has every line from INFO on, and no others.

use std::{collections::BTreeSet, fs, path::Path};

const PAGE: &str = include_str!("../../docs/operations.md");
const LEVELS: [&str; 3] = ["info", "warn", "error"];

/// A level, and the constant part of the line.
type Line = (String, String);

/// The lines that one source file can write. A call's last string is the message.
fn lines_of(source: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for level in LEVELS {
        for (start, call) in source.match_indices(&format!("{level}!(")) {
            let is_whole_word = !source[..start].ends_with(|c: char| c.is_alphanumeric());
            if is_whole_word {
                let rest = &source[start + call.len()..];
                let said = rest[..rest.find("\")").unwrap()].rsplit('"').next().unwrap();
                let (fixed, _) = said.split_once('{').unwrap_or((said, ""));
                lines.push((level.to_uppercase(), fixed.to_owned()));
            }
        }
    }
    lines
}

fn lines_below(folder: &Path) -> BTreeSet<Line> {
    let mut lines = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lines.extend(lines_below(&path));
        } else {
            lines.extend(lines_of(&fs::read_to_string(path).unwrap()));
        }
    }
    lines
}

/// The table's rows: `one` / `other` | LEVEL / LEVEL | meaning.
fn documented() -> BTreeSet<Line> {
    let (_, table) = PAGE.split_once("| Line | Level | It means |\n|---|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    cells
        .flat_map(|cells| {
            let said = cells[0].split('`').skip(1).step_by(2);
            let fixed = said.map(|said| said.trim_end_matches('…').to_owned());
            cells[1].split(" / ").map(str::to_owned).zip(fixed).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_table_of_log_lines_has_those_that_there_are() {
    let written = lines_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(written.len() > 15, "{written:?}");
    assert_eq!(written, documented());
}
