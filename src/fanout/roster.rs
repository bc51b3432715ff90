//! The list of members as one of them gets it. In a large room it has only the first names, and
//! each member's own name is added to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{protocol::codec, redis::scripts::Snapshot};

/// The part of a frame before the names.
const NAMES_BEGIN: &str = r#""members":["#;

/// A list of members.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Roster {
    t: String,
    room_id: String,
    members: Vec<String>,
    away: Vec<String>,
    member_count: u64,
}

/// Frames, the first of which is a list of members, as `me` gets them: if the list neither is
/// complete nor has `me`, it replaces the last name.
pub(super) fn with_own_name(frames: &Bytes, me: &str, is_away: bool) -> Bytes {
    let own = || {
        let text = std::str::from_utf8(codec::payloads(frames).next()?).ok()?;
        let list = roster_with(text, me, is_away)?;
        let rest = &frames[codec::first_frame(frames).len()..];
        Some([&codec::text(&list), rest].concat().into())
    };
    own().unwrap_or_else(|| frames.clone())
}

/// The members and those of them who are away as `me` is told them in the answer to its join; `None` where the
/// snapshot's may stay as they are.
pub fn own_lists(
    snapshot: &Snapshot,
    me: &str,
    is_away: bool,
) -> Option<(Box<RawValue>, Box<RawValue>)> {
    if is_named(snapshot.members.get(), me) {
        return None;
    }
    let list = |json: &RawValue| serde_json::from_str::<Vec<String>>(json.get()).ok();
    let (mut members, mut away) = (list(&snapshot.members)?, list(&snapshot.away)?);
    name(me, is_away, &mut members, &mut away, snapshot.member_count)?;
    Some((to_raw_value(&members).ok()?, to_raw_value(&away).ok()?))
}

/// The list with `me` in it; `None` where it may stay as it is.
fn roster_with(text: &str, me: &str, is_away: bool) -> Option<String> {
    if is_named(&text[text.find(NAMES_BEGIN)?..], me) {
        return None;
    }
    let mut roster: Roster = serde_json::from_str(text).ok()?;
    let Roster { members, away, member_count, .. } = &mut roster;
    name(me, is_away, members, away, *member_count)?;
    serde_json::to_string(&roster).ok()
}

/// Whether `me` is a name in this JSON. Most are named, and that is seen without taking the list apart.
fn is_named(json: &str, me: &str) -> bool {
    let name = serde_json::to_string(me).unwrap_or_default();
    let ends = |at: usize| json[at + name.len()..].starts_with([',', ']']);
    json.match_indices(&name).any(|(at, _)| ends(at))
}

/// Names `me` in place of the last one; `None` where all members are named, or `me` is.
fn name(
    me: &str,
    is_away: bool,
    members: &mut [String],
    away: &mut Vec<String>,
    count: u64,
) -> Option<()> {
    if members.len() as u64 >= count || members.iter().any(|member| member == me) {
        return None;
    }
    let last = std::mem::replace(members.last_mut()?, me.to_owned());
    away.retain(|away| *away != last);
    if is_away {
        away.push(me.to_owned());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list(members: &[&str], away: &[&str], count: u64) -> Value {
        let (members, away) = (json!(members), json!(away));
        json!({ "t": "members", "roomId": "r1", "members": members, "away": away, "memberCount": count })
    }

    /// As scripts write it, with a fixed order of the fields.
    fn written(list: &Value) -> Bytes {
        codec::text(
            &serde_json::to_string(&serde_json::from_value::<Roster>(list.clone()).unwrap())
                .unwrap(),
        )
    }

    #[test]
    fn everybody_finds_themselves_in_a_list_that_does_not_name_all() {
        let part = list(&["a", "b"], &["a", "b"], 3);
        let cases = [
            (list(&["a", "b"], &[], 2), "c", false, list(&["a", "b"], &[], 2)),
            (part.clone(), "b", false, part.clone()),
            (part.clone(), "c", false, list(&["a", "c"], &["a"], 3)),
            (part.clone(), "c", true, list(&["a", "c"], &["a", "c"], 3)),
            // Words that occur in every list, and the room's own id.
            (part.clone(), "away", false, list(&["a", "away"], &["a"], 3)),
            (part.clone(), "memberCount", false, list(&["a", "memberCount"], &["a"], 3)),
            (part.clone(), "r1", false, list(&["a", "r1"], &["a"], 3)),
            (part, "\"홍\\", false, list(&["a", "\"홍\\"], &["a"], 3)),
        ];
        for (list, me, is_away, told) in cases {
            let room = codec::text(r#"{"t":"room"}"#);
            let frames = [written(&list), room].concat().into();
            let frames = with_own_name(&frames, me, is_away);
            let payloads: Vec<Value> = codec::payloads(&frames)
                .map(|json| serde_json::from_slice(json).unwrap())
                .collect();
            assert_eq!(payloads, [told, json!({ "t": "room" })], "{me}");
        }
    }

    #[test]
    fn what_is_no_list_of_ours_stays_as_it_is() {
        for text in ["{}", r#"{"t":"members","members":[]}"#, r#"{"t":"members","members":["a"]}"#]
        {
            let frame = codec::text(text);
            assert_eq!(with_own_name(&frame, "me", false), frame, "{text}");
        }
    }
}
