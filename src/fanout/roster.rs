//! A list of members as one of them is told. Of a large room it names the first ones only, and everybody is to find
//! their own name there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::codec;

/// What of a frame stands before the names.
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

/// Frames of which the first is a list of members, as `me` is told them: where the list does not name all members
/// nor `me`, it stands there in place of the last one.
pub(super) fn with_own_name(frames: &Bytes, me: &str, is_away: bool) -> Bytes {
    let own = || {
        let text = std::str::from_utf8(codec::payloads(frames).next()?).ok()?;
        let list = roster_with(text, me, is_away)?;
        let rest = &frames[codec::first_frame(frames).len()..];
        Some([&codec::text(&list), rest].concat().into())
    };
    own().unwrap_or_else(|| frames.clone())
}

/// The list with `me` in it; `None` where it may stay as it is.
fn roster_with(text: &str, me: &str, is_away: bool) -> Option<String> {
    // Most of them are: that is seen without taking the list apart.
    let name = serde_json::to_string(me).ok()?;
    let names = &text[text.find(NAMES_BEGIN)?..];
    let ends = |at: usize| names[at + name.len()..].starts_with([',', ']']);
    if names.match_indices(&name).any(|(at, _)| ends(at)) {
        return None;
    }
    let mut roster: Roster = serde_json::from_str(text).ok()?;
    let names_all = roster.members.len() as u64 >= roster.member_count;
    if names_all || roster.members.iter().any(|member| member == me) {
        return None;
    }
    let last = std::mem::replace(roster.members.last_mut()?, me.to_owned());
    roster.away.retain(|away| *away != last);
    if is_away {
        roster.away.push(me.to_owned());
    }
    serde_json::to_string(&roster).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list(members: &[&str], away: &[&str], count: u64) -> Value {
        let (members, away) = (json!(members), json!(away));
        json!({ "t": "members", "roomId": "r1", "members": members, "away": away, "memberCount": count })
    }

    /// As scripts write it, who have an order of the fields.
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
            // Words that stand in every list, and the room's own id.
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
