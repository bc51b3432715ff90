//! Voluntary identification of the sender of pushes: RFC 8292. A browser accepts only pushes signed
//! with the key that it subscribed with.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use p256::{SecretKey, elliptic_curve::sec1::ToSec1Point};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde::Serialize;

use super::random;

/// Bytes of a private key.
const PRIVATE: usize = 32;
/// Characters of the public key that identify it.
const TAG: std::ops::Range<usize> = 1..17;
/// How long (s) a signature is valid: at most a day, by the RFC.
const COUNTS_FOR: u64 = 12 * 60 * 60;
/// The header of a signature's JWT.
const HEADER: &str = r#"{"typ":"JWT","alg":"ES256"}"#;

/// The claims of a signature.
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

/// A key pair. `Debug` does not show the private part.
pub struct VapidKey {
    pair: EcdsaKeyPair,
    private: [u8; PRIVATE],
    public: String,
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl VapidKey {
    /// A new key pair.
    pub fn generate() -> Self {
        // Nearly every number is a valid key.
        std::iter::repeat_with(random).find_map(Self::of_private).expect("there is one")
    }

    /// Reads a private key: 32 bytes as base64url, as other tools write it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.trim_end_matches('=')).ok()?;
        Self::of_private(bytes.try_into().ok()?)
    }

    fn of_private(private: [u8; PRIVATE]) -> Option<Self> {
        let public = SecretKey::from_slice(&private).ok()?.public_key().to_sec1_point(false);
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            algorithm,
            &private,
            public.as_bytes(),
            &random,
        );
        let pair = pair.ok()?;
        let public = BASE64.encode(pair.public_key());
        Some(Self { pair, private, public })
    }

    /// The private key, as [`parse`](Self::parse) reads it.
    pub fn private(&self) -> String {
        BASE64.encode(self.private)
    }

    /// The `applicationServerKey` with which a browser subscribes.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// An identifier of this key.
    pub fn tag(&self) -> &str {
        &self.public[TAG]
    }

    /// The header `authorization` of a push to this push service. `now` is in seconds since 1970,
    /// `subject` the contact for the service.
    pub fn authorization(&self, service: &str, subject: Option<&str>, now: u64) -> String {
        let claims = Claims { aud: service, exp: now + COUNTS_FOR, sub: subject };
        let claims = serde_json::to_vec(&claims).expect("claims can be written");
        let signed = [&BASE64.encode(HEADER), ".", &BASE64.encode(claims)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = BASE64.encode(signature.expect("the system has random bytes"));
        format!("vapid t={signed}.{signature}, k={}", self.public)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_private_key_says_what_its_public_key_is() {
        // RFC 8291, appendix A: the keys of the application server.
        let key = VapidKey::parse("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").unwrap();
        let public = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
        assert_eq!(key.public(), public);
        assert_eq!(VapidKey::parse(&key.private()).unwrap().public(), public);
        assert_ne!(VapidKey::generate().tag(), VapidKey::generate().tag());
        let zero = BASE64.encode([0; PRIVATE]);
        for text in ["", "pa55", &zero, &BASE64.encode([0xff; PRIVATE]), &BASE64.encode([1; 31])] {
            assert!(VapidKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_push_service_can_tell_who_sends() {
        let key = VapidKey::generate();
        let header = key.authorization("https://push.example", Some("mailto:a@b.example"), 1_000);
        let (token, public) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(public, key.public());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let public =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, BASE64.decode(public).unwrap());
        public.verify(signed.as_bytes(), &BASE64.decode(signature).unwrap()).unwrap();
        let claims = BASE64.decode(signed.split_once('.').unwrap().1).unwrap();
        let expected = r#"{"aud":"https://push.example","exp":44200,"sub":"mailto:a@b.example"}"#;
        assert_eq!(String::from_utf8(claims).unwrap(), expected);
        let without = key.authorization("https://push.example", None, 1_000);
        assert!(without.len() < header.len());
    }
}
