//! The keys that an application's login publishes, as JWKS (RFC 7517). They are read once a minute,
//! and for a JWT with an unknown key. While they cannot be read, the last ones stay valid.

use std::{sync::Arc, time::Duration};

use axum::http::{Request, StatusCode, header};
use http_body_util::Full;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    error::Error,
    metrics::Metrics,
    outbound::HttpClient,
    problem::Problem,
    settings::{HttpUrl, JwtKey},
};

/// Interval of reads.
const EVERY: Duration = Duration::from_secs(60);
/// The interval until they have been read once.
const AGAIN: Duration = Duration::from_secs(5);
/// Minimum interval of reads for unknown keys: anybody can invent a JWT with one.
const FOR_UNKNOWN: Duration = Duration::from_secs(10);
/// Timeout of a read.
const PATIENCE: Duration = Duration::from_secs(5);

/// The published keys: their URL, and the result of the last read.
pub(super) struct Published {
    url: HttpUrl,
    client: HttpClient,
    /// `None` until they have been read.
    keys: RwLock<Option<Arc<[PublishedKey]>>>,
    /// When they were last read for an unknown key. Locked during that read, so that other callers
    /// wait for it.
    asked: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

struct PublishedKey {
    id: Option<String>,
    key: JwtKey,
}

impl Published {
    pub fn new(url: HttpUrl, allow_private: bool, metrics: Arc<Metrics>) -> Self {
        let client = HttpClient::new(allow_private);
        Self { url, client, keys: RwLock::default(), asked: Mutex::default(), metrics }
    }

    /// The keys that may have signed a JWT that names this key, or none.
    ///
    /// # Errors
    /// No key has this name, or the keys have not been read yet.
    pub async fn find(&self, id: Option<&str>) -> Result<Result<Vec<JwtKey>, Problem>, Error> {
        if let Some(found) = self.known(id).filter(|keys| !keys.is_empty()) {
            return Ok(Ok(found));
        }
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= FOR_UNKNOWN) && !self.is_known(id) {
            *asked = Some(Instant::now());
            self.read().await;
        }
        drop(asked);
        match self.known(id) {
            Some(keys) if keys.is_empty() => Ok(Err(Problem::JwtKey)),
            Some(keys) => Ok(Ok(keys)),
            None => Err(Error::unavailable("the keys of JWTs have not been read yet")),
        }
    }

    fn is_known(&self, id: Option<&str>) -> bool {
        self.known(id).is_some_and(|keys| !keys.is_empty())
    }

    fn known(&self, id: Option<&str>) -> Option<Vec<JwtKey>> {
        let keys = self.keys.read().clone()?;
        let is_meant = |key: &&PublishedKey| id.is_none() || key.id.as_deref() == id;
        Some(keys.iter().filter(is_meant).map(|key| key.key.clone()).collect())
    }

    /// Reads the keys repeatedly, until `stop`.
    pub async fn keep_reading(self: Arc<Self>, stop: CancellationToken) {
        loop {
            self.read().await;
            let pause = if self.keys.read().is_some() { EVERY } else { AGAIN };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn read(&self) {
        match self.fetch().await {
            Ok(keys) => {
                self.metrics.jwt.key_reads.inc();
                self.metrics.jwt.keys.set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
                let before = self.keys.write().replace(keys);
                if before.is_none() {
                    info!("the keys of JWTs are read");
                }
            }
            Err(why) => {
                self.metrics.jwt.key_failures.inc();
                warn!(why, "the keys of JWTs cannot be read");
            }
        }
    }

    async fn fetch(&self) -> Result<Arc<[PublishedKey]>, String> {
        let request = Request::get(self.url.expose()).header(header::ACCEPT, "application/json");
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let answer = self.client.send(request, PATIENCE).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("status {}", answer.status.as_u16()));
        }
        if answer.is_cut {
            return Err("the answer is too long, or broke off".to_owned());
        }
        parse(&answer.body).ok_or_else(|| "the answer is no JSON with keys".to_owned())
    }
}

/// The usable keys of a set. Others in it are for other purposes.
fn parse(json: &[u8]) -> Option<Arc<[PublishedKey]>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let Set { keys } = serde_json::from_slice(json).ok()?;
    let usable = |key: Value| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        Some(PublishedKey { key: usable(&jwk)?, id: jwk.common.key_id })
    };
    Some(keys.into_iter().filter_map(usable).collect())
}

/// A public key that verifies signatures by one of our algorithms, which the kind of the key
/// determines.
fn usable(jwk: &Jwk) -> Option<JwtKey> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let common = &jwk.common;
    let is_its = common.key_algorithm.is_none_or(|other| other.try_into() == Ok(algorithm));
    let signs =
        common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (is_its && signs && verifies).then_some(JwtKey { algorithm, key })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_for_signatures_are_taken_by_their_kind_and_no_others() {
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r"});
        let point = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let ec = json!({"kty": "EC", "crv": "P-256", "x": point, "y": point, "use": "sig", "alg": "ES256"});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": point, "alg": "EdDSA", "kid": "e"});
        let with = |key: &Value, name: &str, value: Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        let keys = json!({"keys": [
            rsa,
            with(&rsa, "use", json!("enc")),
            with(&rsa, "alg", json!("RS512")),
            with(&rsa, "alg", json!("HS256")),
            with(&rsa, "alg", json!("RSA-OAEP")),
            with(&rsa, "key_ops", json!(["encrypt"])),
            ec,
            with(&ec, "crv", json!("P-384")),
            ed,
            with(&ed, "crv", json!("Ed448")),
            {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
            {"kty": "new"},
            "no key",
        ]});
        let keys = parse(keys.to_string().as_bytes()).unwrap();
        let taken: Vec<_> = keys.iter().map(|key| (key.id.as_deref(), key.key.algorithm)).collect();
        let expected = [
            (Some("r"), Algorithm::RS256),
            (None, Algorithm::ES256),
            (Some("e"), Algorithm::EdDSA),
        ];
        assert_eq!(taken, expected);
        for text in ["", "[]", "{}", r#"{"keys":{}}"#] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parse(br#"{"keys":[]}"#).unwrap().is_empty());
    }
}
