//! Settings as somebody may write them: accepted, or refused in one line.

use std::ffi::OsString;

use linkroom::settings::{Refusal, Settings};

/// The first line is the setting's name, the rest its value.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (name, value) = text.split_once('\n').unwrap_or((text, ""));
    let option = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
    let arguments = ["linkroom".to_owned(), option].map(OsString::from);
    match Settings::read(arguments) {
        Ok(settings) => {
            assert!(!settings.heartbeat().is_zero() && settings.frames_per_second() > 0);
            assert!(settings.heartbeat() < settings.presence_ttl);
        }
        Err(Refusal::Bad(line)) => {
            assert!(line.starts_with("error: ") && !line.contains(['\n', '\r']), "{line:?}");
        }
        Err(Refusal::Wanted(text)) => assert!(text.contains("linkroom")),
    }
}
