//! The fields of a client's frame or body, found in one pass and parsed only on request. A text is
//! copied only by whoever keeps it.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapDeserializer},
};
use serde_json::value::RawValue;

use crate::{
    names::{MessageId, Status},
    problem::Problem,
};

/// The field that is wrong, and what is wrong with it.
pub type Wrong = (&'static str, Problem);

/// The JSON of each field, in the order of the frame. Of a duplicate field the last value counts,
/// and `null` counts as left out.
pub struct Fields<'a>(Vec<(Name<'a>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(FieldsVisitor)
    }
}

impl<'a> Fields<'a> {
    /// All fields, as a struct with fields of these names. Other fields are not parsed.
    ///
    /// # Errors
    /// The field that is wrong, and what is wrong with it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, (String, Problem)> {
        let mut seen = HashSet::new();
        let last = self.0.iter().rev().filter(|(name, _)| seen.insert(&*name.0));
        let fields = MapDeserializer::new(last.map(|(name, json)| (&*name.0, *json)));
        serde_path_to_error::deserialize(fields).map_err(|error| {
            let error: serde_path_to_error::Error<serde_json::Error> = error;
            // The syntax of escapes was checked when the field was found.
            let is_type = error.inner().is_data();
            let problem = if is_type { Problem::WrongType } else { Problem::HalfCharacter };
            (error.path().to_string(), problem)
        })
    }

    /// A text, if the field is present.
    ///
    /// # Errors
    /// The field has another type or an invalid value.
    pub fn maybe(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Wrong> {
        let field = self.0.iter().rev().find(|field| field.0.0 == name);
        match field.map(|(_, json)| json.get()) {
            None | Some("null") => Ok(None),
            Some(json) => unquoted(json).map(Some).map_err(|problem| (name, problem)),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// The field has another type, or is missing.
    pub fn text(&self, name: &'static str) -> Result<Cow<'a, str>, Wrong> {
        self.maybe(name)?.ok_or((name, Problem::Required))
    }

    /// The id of a message, if the field is present.
    ///
    /// # Errors
    /// The field has another type or an invalid value.
    pub fn id(&self, name: &'static str) -> Result<Option<MessageId>, Wrong> {
        let id = self.maybe(name)?;
        id.map(|id| id.parse().map_err(|problem| (name, problem))).transpose()
    }

    /// The user's status, if the field is present.
    ///
    /// # Errors
    /// The field has another type or an invalid value.
    pub fn status(&self) -> Result<Option<Status>, Wrong> {
        match self.maybe("status")?.as_deref() {
            None => Ok(None),
            Some("online") => Ok(Some(Status::Online)),
            Some("away") => Ok(Some(Status::Away)),
            Some(_) => Err(("status", Problem::UnknownStatus)),
        }
    }
}

/// The text of a JSON string.
fn unquoted(json: &str) -> Result<Cow<'_, str>, Problem> {
    let text = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    match text.ok_or(Problem::WrongType)? {
        // The syntax of escapes was checked when the field was found.
        escaped if escaped.as_bytes().contains(&b'\\') => {
            serde_json::from_str(json).map(Cow::Owned).map_err(|_| Problem::HalfCharacter)
        }
        plain => Ok(Cow::Borrowed(plain)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: &str) -> Result<String, Problem> {
        let fields: Fields<'_> = serde_json::from_str(frame).map_err(|_| Problem::NotJson)?;
        fields.text("text").map(Cow::into_owned).map_err(|(_, problem)| problem)
    }

    #[test]
    fn texts() {
        let long = format!(r#"{{"text":"{}"}}"#, "ä".repeat(10_000));
        assert_eq!(text(&long), Ok("ä".repeat(10_000)));
        assert_eq!(text(r#"{"text":""}"#), Ok(String::new()));
        assert_eq!(text(r#" { "x" : [ {} ] , "text" : "a" } "#), Ok("a".into()));
        assert_eq!(text(r#"{"text":"\"\\\n\ud83d\ude00"}"#), Ok("\"\\\n😀".into()));
        assert_eq!(text(r#"{"te\u0078t":"a"}"#), Ok("a".into()));
        assert_eq!(text(r#"{"text":"a","text":"b"}"#), Ok("b".into()), "the last counts");
        let deep = format!(r#"{{"x":{}{},"text":"a"}}"#, "[".repeat(1000), "]".repeat(1000));
        assert_eq!(text(&deep), Ok("a".into()), "what is skipped is not looked into");
    }

    #[test]
    fn what_is_no_text() {
        for wrong in ["7", "-1e9", "true", "[\"a\"]", "{\"text\":\"a\"}"] {
            assert_eq!(text(&format!(r#"{{"text":{wrong}}}"#)), Err(Problem::WrongType), "{wrong}");
        }
        for half in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d \ude00""#] {
            assert_eq!(
                text(&format!(r#"{{"text":{half}}}"#)),
                Err(Problem::HalfCharacter),
                "{half}"
            );
        }
        for none in ["{}", r#"{"text":null}"#, r#"{"text":"a","text":null}"#, r#"{"Text":"a"}"#] {
            assert_eq!(text(none), Err(Problem::Required), "{none}");
        }
        let broken = ["", "[]", "7", "{", r#"{"text"}"#, r#"{"text":"a"#, r#"{"text":"a"} x"#];
        let in_quotes = ["{\"text\":\"a\nb\"}", r#"{"text":"\x"}"#, r#"{"text":"\u12"}"#];
        for frame in broken.into_iter().chain(in_quotes) {
            assert_eq!(text(frame), Err(Problem::NotJson), "{frame}");
        }
    }
}
