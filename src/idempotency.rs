//! Idempotent requests: the values chosen for the first attempt are encrypted with the client's
//! idempotency key and stored, so that a retry gets the same values. Knows no Redis and no HTTP.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// Minimum and maximum length of an idempotency key, in characters.
const KEY_LENGTHS: (usize, usize) = (16, 64);
/// The purpose of the derived keys, so that they differ from those of other programs.
const PURPOSE: &[u8] = b"linkroom idempotency";

/// One idempotent request.
pub struct IdempotentRequest {
    name: String,
    digest: String,
    seal: LessSafeKey,
}

impl IdempotentRequest {
    /// The request to `path` with this `body` from this address, with this key.
    ///
    /// # Errors
    /// The key is too short or too long, or is not printable ASCII.
    pub fn new(key: &[u8], path: &str, address: IpAddr, body: &[u8]) -> Result<Self, Problem> {
        let (min, max) = KEY_LENGTHS;
        let is_printable = key.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if !(min..=max).contains(&key.len()) || !is_printable {
            return Err(Problem::RequestKeyShape { min, max });
        }
        // A path and an address cannot contain a line break.
        let scope = format!("{path}\n{address}\n");
        let name = Sha256::new_with_prefix(&scope).chain_update(key).finalize();
        Ok(Self {
            name: HEXLOWER.encode(&name),
            digest: HEXLOWER.encode(&Sha256::digest(body)),
            seal: seal(key, &name),
        })
    }

    /// The name of the stored promise: a digest, which does not reveal the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A digest of the body.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Encrypts a promise; only the key can decrypt it.
    pub fn seal(&self, promise: &str) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let (mut sealed, aad) = (promise.as_bytes().to_vec(), Aad::from(&self.name));
        let once = Nonce::assume_unique_for_key(nonce);
        self.seal.seal_in_place_append_tag(once, aad, &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// Decrypts a promise; `None` if it was not encrypted for this request.
    pub fn open(&self, sealed: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
        let opened = self.seal.open_in_place(nonce, Aad::from(&self.name), &mut sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

/// The encryption key for a request of this name.
fn seal(key: &[u8], name: &[u8]) -> LessSafeKey {
    let derived = Salt::new(HKDF_SHA256, PURPOSE).extract(key);
    let info = [name];
    let derived = derived.expand(&info, &AES_256_GCM).expect("a key is short enough to derive");
    LessSafeKey::new(UnboundKey::from(derived))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef";
    const ALICE: [u8; 4] = [127, 0, 0, 1];

    #[test]
    fn a_promise_is_for_the_same_request_alone() {
        let once = |key, path, address: [u8; 4]| {
            IdempotentRequest::new(key, path, address.into(), b"{}").unwrap()
        };
        let first = once(KEY, "/api/rooms", ALICE);
        let sealed = first.seal("room lr_token").unwrap();
        assert!(!sealed.contains("lr_") && sealed != first.seal("room lr_token").unwrap());
        let again = once(KEY, "/api/rooms", ALICE);
        assert_eq!(
            (again.name(), again.open(&sealed)),
            (first.name(), Some("room lr_token".into()))
        );
        for other in [
            once(b"0123456789abcdeF", "/api/rooms", ALICE),
            once(KEY, "/api/rooms/r/sessions", ALICE),
            once(KEY, "/api/rooms", [127, 0, 0, 2]),
        ] {
            assert_ne!(other.name(), first.name());
            assert_eq!(other.open(&sealed), None);
        }
        for rubbish in ["", "x", "가", &sealed[..20], &sealed[1..]] {
            assert_eq!(first.open(rubbish), None, "{rubbish}");
        }
        let other = IdempotentRequest::new(KEY, "/api/rooms", ALICE.into(), b"{ }").unwrap();
        assert_eq!((other.name(), other.digest() == first.digest()), (first.name(), false));
    }

    #[test]
    fn keys_that_cannot_be() {
        let problem = Some(Problem::RequestKeyShape { min: 16, max: 64 });
        let long = "x".repeat(65);
        for bad in
            ["", "fifteen letters", "with a\ttab in it", "열여섯 글자는 되는 한글 열쇠", &long]
        {
            let once = IdempotentRequest::new(bad.as_bytes(), "/", ALICE.into(), b"");
            assert_eq!(once.err(), problem, "{bad}");
        }
        assert!(IdempotentRequest::new("~".repeat(64).as_bytes(), "/", ALICE.into(), b"").is_ok());
    }
}
