//! The frames of the contract: every frame of a client is checked against this table.

use serde_json::Value;

/// Panics unless the frame is one of the contract's, with all its fields and no others.
pub fn check_frame(frame: &Value) {
    let fields = frame.as_object().unwrap_or_else(|| panic!("not an object: {frame}"));
    let kind = frame["t"].as_str().unwrap_or_default();
    let (needed, optional) = fields_of(kind, fields.contains_key("deleted"));
    assert!(!needed.is_empty() || frame["t"] == "pong", "unknown frame: {frame}");
    for (name, is_right) in needed {
        assert!(fields.get(*name).is_some_and(is_right), "{name} is wrong: {frame}");
    }
    for (name, value) in fields {
        let field = needed.iter().chain(optional).find(|(known, _)| known == name);
        let right = field.is_some_and(|(_, is_right)| is_right(value)) || name == "t";
        assert!(right, "{name} does not belong here: {frame}");
    }
    if frame["t"] == "msg" {
        check_time(frame);
    }
    assert_eq!(frame.get("members").is_some(), frame.get("away").is_some(), "{frame}");
}

type Field = (&'static str, fn(&Value) -> bool);

/// The fields that a frame must have, and those that it may have.
fn fields_of(t: &str, is_deleted: bool) -> (&'static [Field], &'static [Field]) {
    match t {
        "joined" => (
            &[
                ("roomId", is_text),
                ("me", is_text),
                ("token", |value| value.is_null() || is_token(value)),
                ("members", is_names),
                ("away", is_names),
                ("memberCount", Value::is_u64),
                ("creator", is_text),
                ("locked", Value::is_boolean),
                ("topic", |value| value.is_string() || value.is_null()),
                ("messages", is_messages),
                ("more", Value::is_boolean),
                ("heartbeat", Value::is_number),
            ],
            &[("e2e", |value| *value == true), ("creatorNameTaken", |value| *value == true)],
        ),
        "msg" if is_deleted => (DELETED, &[("key", is_text)]),
        "msg" => (MESSAGE, &[("key", is_text)]),
        "deleted" => (&[("roomId", is_text), ("id", is_id)], &[]),
        "user_joined" | "user_left" => (&[("roomId", is_text), ("userId", is_text)], &[]),
        "presence" => (&[("roomId", is_text), ("userId", is_text), ("status", is_status)], &[]),
        "read" => (&[("roomId", is_text), ("userId", is_text), ("id", is_id)], &[]),
        // Both lists or none.
        "members" => (
            &[("roomId", is_text), ("memberCount", Value::is_u64)],
            &[("members", is_names), ("away", is_names)],
        ),
        "room" => (
            &[
                ("roomId", is_text),
                ("locked", Value::is_boolean),
                ("topic", |value| value.is_string() || value.is_null()),
            ],
            &[("creatorNameTaken", |value| *value == true)],
        ),
        "removed" => (
            &[
                ("roomId", is_text),
                ("reason", |value| {
                    ["removed", "left", "closed", "expired"]
                        .contains(&value.as_str().unwrap_or_default())
                }),
            ],
            &[],
        ),
        "error" => (
            &[("code", is_text), ("message", is_text)],
            &[
                ("roomId", is_text),
                ("key", is_text),
                ("details", Value::is_object),
                ("retryAfter", |value| value.as_f64().is_some_and(|seconds| seconds >= 0.0)),
            ],
        ),
        _ => (&[], &[]),
    }
}

const MESSAGE: &[Field] = &[
    ("roomId", is_text),
    ("id", is_id),
    ("from", is_text),
    ("text", is_text),
    ("timestamp", is_instant),
];

/// A message that was deleted.
const DELETED: &[Field] = &[
    ("roomId", is_text),
    ("id", is_id),
    ("from", is_text),
    ("timestamp", is_instant),
    ("deleted", |value| *value == true),
];

/// Panics unless this is a message as in `joined` and HTTP pages.
pub fn check_message(message: &Value) {
    let mut frame = message.clone();
    assert!(frame.get("t").is_none(), "a message in a list has no t: {message}");
    frame["t"] = "msg".into();
    check_frame(&frame);
}

fn check_time(message: &Value) {
    let (ms, _) = parse_id(message["id"].as_str().unwrap()).unwrap();
    assert_eq!(message["timestamp"], rfc3339(ms), "the time is that of the id: {message}");
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_token(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("lr_"))
}

fn is_status(value: &Value) -> bool {
    value == "online" || value == "away"
}

fn is_names(value: &Value) -> bool {
    value.as_array().is_some_and(|names| names.iter().all(is_text))
}

fn is_id(value: &Value) -> bool {
    value.as_str().and_then(parse_id).is_some()
}

fn is_messages(value: &Value) -> bool {
    value.as_array().is_some_and(|messages| {
        messages.iter().for_each(check_message);
        true
    })
}

/// A stream id as two numbers, which is how ids are ordered.
pub fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (ms, seq) = id.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

/// The ids of messages, in their order.
pub fn ids_of<'a>(messages: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    messages.into_iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

/// RFC 3339 in UTC and milliseconds: `2024-02-29T23:59:59.123Z`.
pub fn is_instant(value: &Value) -> bool {
    let pattern = "0000-00-00T00:00:00.000Z";
    value.as_str().is_some_and(|text| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                _ => byte == form,
            })
    })
}

/// Milliseconds since 1970 as RFC 3339, after Howard Hinnant's `civil_from_days`.
pub fn rfc3339(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let day_of_era = (days + 719_468) % 146_097;
    let era = (days + 719_468) / 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[test]
fn times_are_written_as_the_contract_says() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(rfc3339(1_709_251_199_123), "2024-02-29T23:59:59.123Z");
    assert!(is_instant(&rfc3339(1_709_251_199_123).into()));
}
