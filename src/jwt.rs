//! Users of an embedding application: verifies their JWTs. The key determines the algorithm of a
//! valid JWT, never the JWT itself.
//!
//! Knows no state of rooms: whether the user of a JWT is in a room is up to the room service.

mod claims;
mod published;
mod signatures;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use tracing::{info, warn};

use crate::{
    background::Background,
    error::{Code, Error},
    metrics::Metrics,
    names::{RoomId, Token, UserId},
    problem::Problem,
    settings::{JwtKey, Settings},
};
use published::Published;

/// Minimum bytes of a secret. A shorter one can be guessed from one JWT (RFC 7518, section 3.2).
const SECRET_BYTES: usize = 32;

/// Verifies JWTs; cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Keys,
    name_max: usize,
    metrics: Arc<Metrics>,
}

/// The source of the keys.
#[derive(Clone)]
enum Keys {
    /// A setting.
    Set(JwtKey),
    /// Published by the application's login.
    Published(Arc<Published>),
}

/// The user of a valid JWT.
pub struct Visitor {
    /// The name that the JWT requests in the room.
    pub name: UserId,
    /// Its identity, its rights and their expiry.
    pub token: Token,
}

impl Verifier {
    /// A verifier with the keys of the settings; `None` if they have none. Published keys are read
    /// in the `background`.
    pub fn new(
        settings: &Settings,
        metrics: Arc<Metrics>,
        background: &Background,
    ) -> Option<Self> {
        let identity = &settings.identity;
        let keys = match (identity.key(), &identity.jwt_jwks_url) {
            (Some(key), _) => Keys::Set(key.clone()),
            (None, Some(url)) => {
                let allow_private = settings.webhooks.allow_private();
                let published = Published::new(url.clone(), allow_private, metrics.clone());
                let published = Arc::new(published);
                let reading = published.clone().keep_reading(background.stop.clone());
                background.spawn_vital("the reading of keys for JWTs", reading);
                Keys::Published(published)
            }
            (None, None) => return None,
        };
        signatures::install();
        let is_short =
            |key: &JwtKey| key.key.try_get_as_bytes().is_ok_and(|key| key.len() < SECRET_BYTES);
        if identity.jwt_secret.is_some() && identity.key().is_some_and(is_short) {
            warn!("JWT_SECRET is short: it can be guessed from any JWT");
        }
        Some(Self { keys, name_max: settings.name_max, metrics })
    }

    /// Whether this is a JWT, valid or not.
    pub fn is_jwt(&self, raw: &str) -> bool {
        header(raw).is_some()
    }

    /// The user of a JWT, who may enter this room, or create one if `room` is `None`. `None` if
    /// `raw` is not a JWT.
    ///
    /// # Errors
    /// `INVALID_TOKEN` with the reason, or the published keys have not been read yet.
    pub async fn visitor(
        &self,
        raw: &str,
        room: Option<&RoomId>,
    ) -> Result<Option<Visitor>, Error> {
        let Some(header) = header(raw) else { return Ok(None) };
        let keys = match &self.keys {
            Keys::Set(key) => Ok(vec![key.clone()]),
            Keys::Published(keys) => keys.find(header.get("kid").and_then(Value::as_str)).await?,
        };
        let visitor = keys.and_then(|keys| self.verify(raw, &header, &keys, room));
        visitor.map(Some).map_err(|problem| {
            self.metrics.jwt.refused(problem);
            info!(error = problem.name(), "a JWT was refused");
            Error { problems: [("token".into(), problem)].into(), ..Code::InvalidToken.into() }
        })
    }

    fn verify(
        &self,
        raw: &str,
        header: &Map<String, Value>,
        keys: &[JwtKey],
        room: Option<&RoomId>,
    ) -> Result<Visitor, Problem> {
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|alg| alg.parse().ok());
        let mut refusal = Problem::JwtAlgorithm;
        for key in keys.iter().filter(|key| algorithm == Some(key.algorithm)) {
            match claims::read(raw, key) {
                Ok(claims) => return claims.visitor(room, self.name_max),
                Err(problem) => refusal = problem,
            }
            // One that names no key may be signed with any.
            if refusal != Problem::JwtSignature {
                break;
            }
        }
        Err(refusal)
    }
}

/// The header of a JWT: three parts in base64url, the first of them a JSON object with `alg`.
fn header(raw: &str) -> Option<Map<String, Value>> {
    let is_base64url = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let (first, rest) = raw.split_once('.')?;
    let (second, third) = rest.split_once('.')?;
    if ![first, second, third].into_iter().all(is_base64url) {
        return None;
    }
    let header: Map<_, _> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(first).ok()?).ok()?;
    header.contains_key("alg").then_some(header)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use ring::hmac;
    use serde_json::json;

    use super::*;

    const SECRET: &str = "a secret of more than thirty-two bytes";

    fn verifier() -> Verifier {
        let words = ["linkroom".to_owned(), format!("--jwt-secret={SECRET}")];
        let settings = Settings::read(words.map(Into::into)).unwrap();
        Verifier::new(&settings, Arc::new(Metrics::new()), &Background::new()).unwrap()
    }

    /// A key of the settings is there at once.
    fn visitor(raw: &str, room: Option<&RoomId>) -> Result<Option<Visitor>, Error> {
        verifier().visitor(raw, room).now_or_never().unwrap()
    }

    fn now() -> u64 {
        jsonwebtoken::get_current_timestamp()
    }

    fn part(json: &Value) -> String {
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    fn signed(header: &Value, claims: &Value) -> String {
        let said = format!("{}.{}", part(header), part(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, said.as_bytes())))
    }

    fn hs256(claims: &Value) -> String {
        signed(&json!({"alg": "HS256", "typ": "JWT"}), claims)
    }

    /// Valid claims with these changes; null removes a claim.
    fn claims(changes: &Value) -> Value {
        let mut claims = json!({"sub": "u-1", "name": "Ann", "exp": now() + 60, "room": "r"});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn refusal(raw: &str, room: Option<&str>) -> Option<Problem> {
        let room = room.map(|room| RoomId::parse(room).unwrap());
        let error = visitor(raw, room.as_ref()).err()?;
        assert_eq!(error.code, Code::InvalidToken);
        error.problems.into_values().next()
    }

    #[test]
    fn a_jwt_names_a_user_of_a_room() {
        let room = RoomId::parse("r");
        let visit = |changes: Value| {
            let raw = hs256(&claims(&changes));
            visitor(&raw, room.as_ref()).unwrap().unwrap()
        };
        let ann = visit(json!({}));
        assert_eq!(ann.name.as_str(), "Ann");
        assert!(ann.token == Token::subject("u-1", false, 0) && !ann.token.is_creator());
        assert!(ann.token.ends_at().unwrap() >= now() + 60);
        assert_eq!(visit(json!({"name": null})).name.as_str(), "u-1");
        assert_eq!(visit(json!({"name": " Zoe\u{308} "})).name.as_str(), "Zo\u{eb}");
        assert!(
            visit(json!({"creator": true, "room": "*", "aud": "x", "iss": 7})).token.is_creator()
        );
        assert!(visit(json!({"exp": now() - 50, "nbf": now() + 50})).token == ann.token);
        assert!(visit(json!({"exp": now() as f64 + 0.5})).token == ann.token);
    }

    #[test]
    fn what_is_wrong_with_a_jwt_is_named() {
        let cases = [
            (json!({"exp": now() - 65}), Problem::JwtExpired),
            (json!({"nbf": now() + 90}), Problem::JwtNotYetValid),
            (json!({"nbf": "soon"}), Problem::JwtClaims),
            (json!({"sub": null}), Problem::JwtClaims),
            (json!({"sub": 7}), Problem::JwtClaims),
            (json!({"sub": ""}), Problem::JwtClaims),
            (json!({"exp": null}), Problem::JwtClaims),
            (json!({"exp": "tomorrow"}), Problem::JwtClaims),
            (json!({"exp": -1}), Problem::JwtClaims),
            (json!({"room": null}), Problem::JwtClaims),
            (json!({"room": ["r"]}), Problem::JwtClaims),
            (json!({"creator": "yes"}), Problem::JwtClaims),
            (json!({"name": 7}), Problem::JwtClaims),
            (json!({"name": "x".repeat(33)}), Problem::JwtName),
            (json!({"name": null, "sub": "x".repeat(33)}), Problem::JwtName),
            (json!({"name": " "}), Problem::JwtName),
            (json!({"name": "lr_ann"}), Problem::JwtName),
            (json!({"name": "a\u{202e}b"}), Problem::JwtName),
            (json!({"room": "s"}), Problem::JwtRoom),
            (json!({"room": ""}), Problem::JwtRoom),
        ];
        for (changes, problem) in cases {
            assert_eq!(refusal(&hs256(&claims(&changes)), Some("r")), Some(problem), "{changes}");
        }
        assert_eq!(refusal(&hs256(&claims(&json!({}))), None), Some(Problem::JwtRoom));
        assert_eq!(refusal(&hs256(&claims(&json!({"room": "*"}))), None), None);
    }

    #[test]
    fn the_algorithm_is_that_of_the_setting() {
        for alg in [json!("none"), json!("None"), json!("HS512"), json!("RS256"), json!(null)] {
            let raw = signed(&json!({"alg": alg}), &claims(&json!({})));
            assert_eq!(refusal(&raw, Some("r")), Some(Problem::JwtAlgorithm), "{alg}");
            let (said, _) = raw.rsplit_once('.').unwrap();
            assert_eq!(refusal(&format!("{said}."), Some("r")), Some(Problem::JwtAlgorithm));
        }
    }

    #[test]
    fn another_signature_is_none_and_half_a_jwt_cannot_be_read() {
        let raw = hs256(&claims(&json!({})));
        let (said, signature) = raw.rsplit_once('.').unwrap();
        let (head, _) = said.split_once('.').unwrap();
        let other = hs256(&claims(&json!({"name": "Eve"})));
        let (others, _) = other.rsplit_once('.').unwrap();
        for wrong in [format!("{others}.{signature}"), format!("{said}."), format!("{said}.AAAA")] {
            assert_eq!(refusal(&wrong, Some("r")), Some(Problem::JwtSignature), "{wrong}");
        }
        let unreadable = format!("{head}.bm8");
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, unreadable.as_bytes()));
        let whole = format!("{unreadable}.{signature}");
        assert_eq!(refusal(&whole, Some("r")), Some(Problem::JwtMalformed));
        assert_eq!(refusal(&format!("{said}.A"), Some("r")), Some(Problem::JwtMalformed));
    }

    #[test]
    fn anything_else_is_no_jwt() {
        let object = part(&json!({"typ": "JWT"}));
        let list = part(&json!(["alg"]));
        let good = part(&json!({"alg": "HS256"}));
        for raw in [
            "",
            "Ann",
            "a.b.c",
            "..",
            &format!("{object}.e30.AA"),
            &format!("{list}.e30.AA"),
            &format!("{good}.e30"),
            &format!("{good}.e30.AA.AA"),
            &format!("{good}.e30.AA=="),
            &format!("{good}=.e30.AA"),
            &format!(" {good}.e30.AA"),
            "lr_QQ.aaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(matches!(visitor(raw, None), Ok(None)), "{raw}");
        }
    }
}
