//! Frames of clients: parsed, or refused for the right reason.

use std::collections::HashMap;

use linkroom::{
    error::Error,
    i18n::Language,
    protocol::{ClientFrame, Msg, ServerFrame},
};
use serde_json::{Value, json, value::RawValue};

const VERBS: [&str; 4] = ["join", "msg", "ping", "leave"];

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let fields = serde_json::from_str::<HashMap<String, &RawValue>>(text).unwrap_or_default();
    let field = |name| fields.get(name).and_then(|json| serde_json::from_str(json.get()).ok());
    let is_verb = field("t").is_some_and(|t: String| VERBS.contains(&&*t));
    match ClientFrame::parse(text) {
        Ok(frame) => {
            assert!(is_verb, "{text}");
            assert_eq!(ClientFrame::parse(&write(&frame).to_string()).unwrap(), frame, "{text}");
        }
        Err(bad) => {
            assert_eq!(bad.unreadable, !is_verb, "{text}");
            assert_eq!((&bad.room_id, &bad.key), (&field("roomId"), &field("key")), "{text}");
            let (room, key) = (bad.room_id.as_deref(), bad.key.as_deref());
            let error = Error::invalid(bad.field, bad.problem);
            for language in [Language::En, Language::Ko] {
                let answer = ServerFrame::error(&error, language, room, key);
                let answer = serde_json::to_value(answer).unwrap();
                assert_eq!(answer["code"], "VALIDATION_FAILED", "{text}");
            }
        }
    }
}

/// The frame as a client would have written it.
fn write(frame: &ClientFrame) -> Value {
    let id = |id: &Option<_>| id.as_ref().map(ToString::to_string);
    match frame {
        ClientFrame::Join { room_id, token, since, secret } => {
            let since = id(since);
            json!({ "t": "join", "roomId": room_id, "token": token, "since": since, "secret": secret })
        }
        ClientFrame::Msg(Msg { room_id, text, key }) => {
            json!({ "t": "msg", "roomId": room_id, "text": text, "key": key })
        }
        ClientFrame::Ping { room_id, status, read } => {
            json!({ "t": "ping", "roomId": room_id, "status": status, "read": id(read) })
        }
        ClientFrame::Leave { room_id } => json!({ "t": "leave", "roomId": room_id }),
    }
}
