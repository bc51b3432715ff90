//! Keys in the format of the DevTools protocol.

use serde_json::{Value, json};

/// The bits of modifiers.
pub const SHIFT: u32 = 8;
pub const CONTROL: u32 = 2;
pub const META: u32 = 4;

/// Key, its code, its Windows key code, and the text that it produces.
const KEYS: [(&str, &str, u32, &str); 11] = [
    ("Enter", "Enter", 13, "\r"),
    ("Tab", "Tab", 9, ""),
    ("Escape", "Escape", 27, ""),
    ("Space", "Space", 32, " "),
    ("ArrowUp", "ArrowUp", 38, ""),
    ("ArrowDown", "ArrowDown", 40, ""),
    ("Home", "Home", 36, ""),
    ("End", "End", 35, ""),
    ("a", "KeyA", 65, "a"),
    ("b", "KeyB", 66, "b"),
    ("p", "KeyP", 80, "p"),
];

/// The two events of pressing and releasing a key.
pub fn events(key: &str, modifiers: u32) -> [Value; 2] {
    let found = KEYS.iter().find(|(name, ..)| *name == key);
    let (name, code, number, text) = found.unwrap_or_else(|| panic!("unknown key {key}"));
    let name = if *name == "Space" { " " } else { name };
    let text = if modifiers & (CONTROL | META) == 0 { *text } else { "" };
    let event = |kind: &str, text: &str| {
        json!({
            "type": kind, "key": name, "code": code, "windowsVirtualKeyCode": number,
            "modifiers": modifiers, "text": text,
        })
    };
    let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
    [event(down, text), event("keyUp", "")]
}
