//! An embedding application that issues JWTs for its users.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use axum::{Json, Router, http::StatusCode};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

/// The secret shared by the application and the nodes.
pub const JWT_SECRET: &str = "a secret of more than thirty-two bytes";

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Claims of a user for a room, valid for a minute, with these changes; null removes one.
pub fn claims(sub: &str, room: &str, changes: Value) -> Value {
    let mut claims = json!({ "sub": sub, "room": room, "exp": now() + 60 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// A JWT with these claims, signed with the secret.
pub fn jwt(claims: &Value) -> String {
    Key::Secret(JWT_SECRET.to_owned()).sign(json!({ "alg": "HS256", "typ": "JWT" }), claims)
}

/// A key that signs JWTs.
pub enum Key {
    Secret(String),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    /// A JWT with this header and these claims.
    pub fn sign(&self, header: Value, claims: &Value) -> String {
        let part = |json: &Value| BASE64URL.encode(json.to_string());
        let said = format!("{}.{}", part(&header), part(claims));
        let signature = self.signature(said.as_bytes());
        format!("{said}.{}", BASE64URL.encode(signature))
    }

    /// Its public part in the published form.
    pub fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        let mut jwk = match self {
            Self::Secret(secret) => json!({ "kty": "oct", "k": text(secret.as_bytes()) }),
            Self::Rsa(key) => {
                let key = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": text(&key.n), "e": text(&key.e) })
            }
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Self::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
        };
        jwk["kid"] = id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn signature(&self, said: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                hmac::sign(&key, said).as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, said, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, said).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(said).as_ref().to_vec(),
        }
    }
}

/// A new key pair for this algorithm: the signing key, and the file with the public key.
pub fn key_pair(folder: &Path, algorithm: &str) -> (Key, PathBuf) {
    let file = |end| folder.join(format!("{algorithm}.{end}")).to_str().unwrap().to_owned();
    let [private, der, public] = ["key", "der", "pem"].map(file);
    let kind: &[&str] = match algorithm {
        "RS256" => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "ES256" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        _ => &["ED25519"],
    };
    openssl(&[&["genpkey", "-out", &private, "-algorithm"], kind].concat());
    openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
    let pkcs8 = ["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"];
    openssl(&[&pkcs8[..], &["-in", &private, "-out", &der]].concat());
    let der = std::fs::read(der).unwrap();
    let key = match algorithm {
        "RS256" => Key::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap()),
        "ES256" => {
            let random = SystemRandom::new();
            let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
            Key::Ec(EcdsaKeyPair::from_pkcs8(kind, &der, &random).unwrap())
        }
        _ => Key::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap()),
    };
    (key, public.into())
}

fn openssl(words: &[&str]) {
    let done = Command::new("openssl").args(words).output().expect("openssl is installed");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A server that publishes the keys of an application's login.
pub struct KeyServer {
    addr: SocketAddr,
    answer: Arc<Mutex<(u16, Value)>>,
    asked: Arc<AtomicUsize>,
    server: AbortHandle,
}

impl KeyServer {
    /// A server that answers with this status and these keys.
    pub async fn start(status: u16, keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((status, json!({ "keys": keys }))));
        let asked = Arc::new(AtomicUsize::new(0));
        let (given, count) = (answer.clone(), asked.clone());
        let router = Router::new().fallback(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            let (status, keys) = given.lock().unwrap().clone();
            (StatusCode::from_u16(status).unwrap(), Json(keys))
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, answer, asked, server: server.abort_handle() }
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.addr)
    }

    /// Answers with this from now on.
    pub fn answer(&self, status: u16, keys: Vec<Value>) {
        *self.answer.lock().unwrap() = (status, json!({ "keys": keys }));
    }

    /// Number of requests so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}
