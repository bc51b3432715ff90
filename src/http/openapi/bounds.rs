//! The constraints of values, added to the finished description, because most of them depend on the
//! settings.

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::super::members;
use crate::settings::Settings;

/// Letters, digits, `_` and `-`.
const ROOM_ID: &str = "^[A-Za-z0-9_-]{1,64}$";
/// `ms-seq`, or `ms` alone. At most 19 digits each, though some numbers of 20 digits would fit as
/// well.
const MESSAGE_ID: &str = "^[0-9]{1,19}(-[0-9]{1,19})?$";

/// A name of at most this many code points between spaces, which are trimmed.
fn name(max: usize) -> String {
    line(max, "(?!lr_)")
}

const BLANK: &str = r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000";
/// Characters that are invisible in every position. Rules that depend on the neighbours, or on more
/// of Unicode than a portable pattern can express, are not included: see `visible`.
const UNSEEN: &str = concat!(
    r"\u0000-\u001F\u007F-\u009F\u00AD\u061C\u17B4\u17B5\u200B\u200E\u200F\u2028-\u202E",
    r"\u2060-\u206F\u3164\uFEFF\uFFA0\uFFF0-\uFFFB",
);
const JOINER: &str = r"\u200C\u200D";

/// A name or a topic, which must not begin with `start`; see `names` for the forbidden characters.
fn line(max: usize, start: &str) -> String {
    let first = format!("[^{BLANK}{UNSEEN}{JOINER}]");
    let inside = format!("[{JOINER}]?[^{UNSEEN}{JOINER}]");
    let length = format!(r"(?=[\s\S]{{1,{max}}}[{BLANK}]*$)");
    format!("^[{BLANK}]*{start}{length}{first}({inside})*[{JOINER}]?[{BLANK}]*$")
}

/// A text with at least one visible character.
fn text(max: usize) -> Value {
    let shown = format!("[^{BLANK}{UNSEEN}{JOINER}]");
    json!({ "minLength": 1, "maxLength": max, "pattern": shown })
}

/// A topic: plain text, or encrypted in an encrypted room.
fn topic(settings: &Settings) -> Value {
    let plain = json!({ "pattern": line(settings.topic_max, "") });
    let sealed = json!({ "minLength": 1, "maxLength": settings.sealed_topic_max });
    json!({
        "if": { "properties": { "e2e": { "const": true } }, "required": ["e2e"] },
        "then": { "properties": { "topic": sealed } },
        "else": { "properties": { "topic": plain } },
    })
}

/// The description with the constraints of requests.
pub fn apply(description: &OpenApi, settings: &Settings) -> Value {
    // Serialising plain structs into memory cannot fail.
    let mut description = serde_json::to_value(description).unwrap_or_default();
    let name = json!({ "pattern": name(settings.name_max) });
    let text = text(settings.text_max);
    let key = json!({ "minLength": 1, "maxLength": settings.key_max });
    let endpoint = json!({ "format": "uri", "pattern": "^https://", "maxLength": 1024 });
    let point = json!({ "pattern": "^B[A-P][A-Za-z0-9_-]{85}=?$" });
    let secret = json!({ "pattern": "^[A-Za-z0-9_-]{21}[AQgw](==)?$" });
    let range =
        |range: RangeInclusive<usize>| json!({ "minimum": range.start(), "maximum": range.end() });
    let (ttl, max_members) = (range(settings.room_ttls()), range(settings.room_sizes()));
    // The room decides whether it is plain or encrypted.
    let longest = settings.topic_max.max(settings.sealed_topic_max);
    let any_topic = json!({ "minLength": 1, "maxLength": longest });
    let fields = [
        ("NewRoom", "creatorName", &name),
        ("NewRoom", "ttl", &ttl),
        ("NewRoom", "maxMembers", &max_members),
        ("RoomPatch", "topic", &any_topic),
        ("RoomPatch", "ttl", &ttl),
        ("RoomPatch", "maxMembers", &max_members),
        ("NewSession", "name", &name),
        ("NewMessage", "text", &text),
        ("NewMessage", "key", &key),
        ("PushSubscription", "endpoint", &endpoint),
        ("PushKeys", "p256dh", &point),
        ("PushKeys", "auth", &secret),
    ];
    for (schema, field, bounds) in fields {
        merge(&mut description["components"]["schemas"][schema]["properties"][field], bounds);
    }
    merge(&mut description["components"]["schemas"]["NewRoom"], &topic(settings));
    let page_size = settings.page_size.min(settings.page_max);
    let limit = |max, usual| json!({ "maximum": max, "default": usual });
    let parameters = [
        ("", "id", json!({ "pattern": ROOM_ID })),
        ("/messages", "before", json!({ "pattern": MESSAGE_ID })),
        ("/messages", "after", json!({ "pattern": MESSAGE_ID })),
        ("/messages", "limit", limit(settings.page_max, page_size)),
        ("/members", "limit", limit(members::PAGE_MAX, settings.roster_max)),
    ];
    for (path, parameter) in parameters_of(&mut description) {
        let is_meant = |end: &str, name: &str| path.ends_with(end) && parameter["name"] == name;
        let known = parameters.iter().find(|(end, name, _)| is_meant(end, name));
        if let Some((.., bounds)) = known {
            merge(&mut parameter["schema"], bounds);
        }
    }
    description
}

/// Every parameter of every call of the API, with the path of the call.
fn parameters_of(description: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    let paths = description["paths"].as_object_mut().into_iter().flatten();
    let api = paths.filter(|(path, _)| path.starts_with("/api/"));
    let operations = api.filter_map(|(path, calls)| Some((path.as_str(), calls.as_object_mut()?)));
    let operations =
        operations.flat_map(|(path, calls)| calls.values_mut().map(move |c| (path, c)));
    operations
        .filter_map(|(path, call)| Some((path, call.get_mut("parameters")?.as_array_mut()?)))
        .flat_map(|(path, parameters)| parameters.iter_mut().map(move |p| (path, p)))
}

fn merge(schema: &mut Value, bounds: &Value) {
    if let (Some(schema), Some(bounds)) = (schema.as_object_mut(), bounds.as_object()) {
        schema.extend(bounds.clone());
    }
}
