//! The rules of names exist twice, here and in the web client, and must agree.

use std::{ops::RangeInclusive, process::Command};

use icu_properties::{CodePointMapData, props::GeneralCategory};
use linkroom::visible::{has_visible_character, is_fully_visible};
use serde_json::json;

/// Each code point of Unicode replaces `*`: alone, after a letter, and before characters that only
/// some characters may have after them.
const CASES: [&str; 5] = ["*", "a*", "*\u{FE0F}", "*\u{180B}", "*\u{200D}"];

/// One character of each kind, separated by bars. All names of three of them are tried.
const LETTERS: &str = "a|1| |\t|\u{2028}|\u{301}|\u{20E3}|\u{34F}|\u{200C}|\u{200D}|\u{200B}|\u{FE0F}|\u{E0100}|\u{E0067}|\
    \u{E007F}|🏴\u{E0067}\u{E0062}\u{E0065}|❤|🏽|葛|〇|ക|\u{D4D}|ه|\u{64E}|٣|ᠠ|\u{180B}|\
    \u{180E}|\u{1100}|\u{115F}|\u{1160}|\u{1161}|\u{11A8}|⠓|\u{2800}|\u{3164}|𓀀|\u{13430}|\u{FFF9}|홍";

fn is_known(&(c, theirs): &(char, u8)) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    theirs != b'-' && category != GeneralCategory::Unassigned
}

/// Tens of thousands of letters differ in nothing that matters to a name: in combination with
/// others, every 64th of them is tried.
fn is_tried(case: &str, c: char) -> bool {
    const ALIKE: [RangeInclusive<char>; 4] = [
        '\u{3400}'..='\u{9FFF}',
        '\u{AC00}'..='\u{D7A3}',
        '\u{17000}'..='\u{18CFF}',
        '\u{20000}'..='\u{3FFFF}',
    ];
    case == "*" || u32::from(c).is_multiple_of(64) || !ALIKE.iter().any(|range| range.contains(&c))
}

fn verdict(name: &str) -> u8 {
    b'0' + u8::from(is_fully_visible(name)) + 2 * u8::from(has_visible_character(name))
}

/// The two sides may know different versions of Unicode: a character that one of them does not know
/// is skipped.
#[test]
fn the_client_and_the_node_agree_on_every_name() {
    let letters: Vec<_> = LETTERS.split('|').collect();
    let told = json!({ "cases": CASES, "letters": letters }).to_string();
    let node = Command::new("node").args(["tests/web/verdicts.js", &told]).output().unwrap();
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));
    let told = String::from_utf8(node.stdout).unwrap();
    let mut lines = told.lines();
    for case in CASES {
        let verdicts = lines.next().unwrap().bytes();
        for (c, theirs) in ('\0'..=char::MAX).zip(verdicts).filter(is_known) {
            if !is_tried(case, c) {
                continue;
            }
            let name = case.replace('*', c.encode_utf8(&mut [0; 4]));
            assert_eq!(verdict(&name), theirs, "{}", name.escape_unicode());
        }
    }
    let mut verdicts = lines.next().unwrap().bytes();
    for name in threes(&letters) {
        assert_eq!(Some(verdict(&name)), verdicts.next(), "{}", name.escape_unicode());
    }
    assert_eq!((verdicts.next(), lines.next()), (None, None));
}

/// All names of three of these characters.
fn threes(letters: &[&str]) -> impl Iterator<Item = String> {
    let pairs = letters.iter().flat_map(|a| letters.iter().map(move |b| [*a, *b].concat()));
    pairs.flat_map(|pair| letters.iter().map(move |c| pair.clone() + c))
}
