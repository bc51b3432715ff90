//! The settings of an embedding application's users, and of guests.

use std::{fmt, fs, path::Path, str::FromStr};

use clap::Args;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{
    HttpUrl, Switch,
    parse::{self, Word, list},
};
use crate::origin::Allowed;

/// Maximum bytes of a file with a public key.
const KEY_FILE_MAX: u64 = 65_536;
/// Bytes of an uncompressed point of P-256, the curve of ES256.
const P256_POINT: usize = 65;

/// A key that verifies JWTs, with its only algorithm. `Debug` does not show it.
#[derive(Clone)]
pub struct JwtKey {
    /// The algorithm of valid JWTs.
    pub algorithm: Algorithm,
    /// The key.
    pub key: DecodingKey,
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:?} key)", self.algorithm)
    }
}

/// A key that the issuer of JWTs has as well: HS256.
#[derive(Clone, Debug)]
pub struct JwtSecret(pub JwtKey);

impl FromStr for JwtSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = DecodingKey::from_secret(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self(JwtKey { algorithm: Algorithm::HS256, key }))
    }
}

/// A public key from a PEM file. Its kind determines the algorithm: RS256, ES256 or EdDSA.
#[derive(Clone, Debug)]
pub struct JwtPublicKey(pub JwtKey);

impl JwtPublicKey {
    /// Reads the text of a PEM file.
    fn from_pem(pem: &[u8]) -> Option<Self> {
        let of = |algorithm, key| Self(JwtKey { algorithm, key });
        let is_p256 =
            |key: &DecodingKey| key.try_get_as_bytes().is_ok_and(|point| point.len() == P256_POINT);
        // A private key belongs only to the issuer of JWTs.
        if pem.windows(7).any(|word| word == b"PRIVATE") {
            return None;
        }
        let rsa = DecodingKey::from_rsa_pem(pem).map(|key| of(Algorithm::RS256, key));
        let ec = || DecodingKey::from_ec_pem(pem).ok().filter(is_p256);
        let ed = || DecodingKey::from_ed_pem(pem).map(|key| of(Algorithm::EdDSA, key)).ok();
        rsa.ok().or_else(|| ec().map(|key| of(Algorithm::ES256, key))).or_else(ed)
    }
}

impl FromStr for JwtPublicKey {
    type Err = String;

    /// The text is a path.
    fn from_str(path: &str) -> Result<Self, String> {
        let path = Path::new(path.trim());
        let found = fs::metadata(path).map_err(|error| format!("the file: {error}"))?;
        let pem = match found.is_file() && found.len() <= KEY_FILE_MAX {
            true => fs::read(path).map_err(|error| format!("the file: {error}"))?,
            false => Vec::new(),
        };
        Self::from_pem(&pem).ok_or_else(|| {
            "name a PEM file with a public key (BEGIN PUBLIC KEY): RSA, P-256 or Ed25519".to_owned()
        })
    }
}

/// Origins whose pages may frame ours.
fn frames(raw: &str) -> Result<Vec<Allowed>, String> {
    list(raw, |one| {
        let parent = parse::allowed_origin(one).ok().filter(|parent| parent.source().is_some());
        parent.ok_or_else(|| {
            "write each as https://app.example, with nothing but a comma behind it, or * for all"
                .to_owned()
        })
    })
}

/// Who may be here, and in whose pages.
#[derive(Args, Clone, Debug)]
pub struct IdentitySettings {
    /// The secret that verifies the JWTs of an embedding application (HS256)
    #[arg(long, env, hide_env_values = true, value_parser = str::parse::<JwtSecret>)]
    pub jwt_secret: Option<JwtSecret>,

    /// Instead of a secret: the path of a PEM file with the public key, RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)
    #[arg(long, env, value_parser = str::parse::<JwtPublicKey>)]
    pub jwt_public_key: Option<JwtPublicKey>,

    /// Instead of a secret: the URL of the public keys (JWKS), such as `https://login.example/jwks.json`
    #[arg(
        long,
        env,
        hide_env_values = true,
        value_parser = str::parse::<HttpUrl>,
        help = "Instead of a secret: the URL of the public keys (JWKS), such as https://login.example/jwks.json"
    )]
    pub jwt_jwks_url: Option<HttpUrl>,

    /// Whether users without a JWT may create rooms and join them
    #[arg(long, env, value_parser = Word::<Switch>::new(), default_value = "on")]
    pub guests: Switch,

    /// Comma-separated origins whose pages may show the web client in a frame; * for all; without it, none
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = frames)]
    pub allowed_frames: std::vec::Vec<Allowed>,
}

impl IdentitySettings {
    /// Whether users without a JWT may create rooms and join them.
    pub fn has_guests(&self) -> bool {
        self.guests == Switch::On
    }

    /// Whether JWTs are accepted.
    pub fn has_jwts(&self) -> bool {
        self.key().is_some() || self.jwt_jwks_url.is_some()
    }

    /// The key for JWTs in the settings.
    pub fn key(&self) -> Option<&JwtKey> {
        let secret = self.jwt_secret.as_ref().map(|JwtSecret(key)| key);
        secret.or_else(|| self.jwt_public_key.as_ref().map(|JwtPublicKey(key)| key))
    }

    /// Allows one source of keys, and requires one if guests are not allowed.
    pub(super) fn check(&self) -> Result<(), String> {
        const NAMES: &str = "JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS_URL";
        let sources =
            [self.jwt_secret.is_some(), self.jwt_public_key.is_some(), self.jwt_jwks_url.is_some()];
        match sources.into_iter().filter(|is_set| *is_set).count() {
            0 if !self.has_guests() => {
                Err(format!("GUESTS=off needs {NAMES}, or nobody can enter a room"))
            }
            0 | 1 => Ok(()),
            _ => Err(format!("set one of {NAMES}: keys come from one place")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    fn pem(der: &[u8]) -> Vec<u8> {
        let base64 = BASE64_STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n").into_bytes()
    }

    /// A key in X.509 form: its algorithm and its bytes.
    fn ed25519() -> Vec<u8> {
        let head = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        [&head[..], &[7; 32]].concat()
    }

    fn ec(curve: &[u8], point: usize) -> Vec<u8> {
        let kind = [&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], curve].concat();
        let bits = [&[0, 4][..], &vec![7; point - 1]].concat();
        let sequence = |tag: u8, content: &[u8]| {
            [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat()
        };
        sequence(0x30, &[sequence(0x30, &kind), sequence(3, &bits)].concat())
    }

    #[test]
    fn the_kind_of_a_key_decides_on_the_algorithm() {
        let algorithm = |der: &[u8]| JwtPublicKey::from_pem(&pem(der)).map(|key| key.0.algorithm);
        assert_eq!(algorithm(&ed25519()), Some(Algorithm::EdDSA));
        let p256 = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        assert_eq!(algorithm(&ec(&p256, 65)), Some(Algorithm::ES256));
        let p384 = [6, 5, 0x2b, 0x81, 4, 0, 0x22];
        assert_eq!(algorithm(&ec(&p384, 97)), None);
        assert_eq!(algorithm(b"x"), None);
    }

    #[test]
    fn frames_are_of_origins() {
        let sources = |raw| frames(raw).map(|all| all.iter().filter_map(Allowed::source).collect());
        let expected = vec!["https://a.example".to_owned(), "http://b:81".to_owned()];
        assert_eq!(sources(" HTTPS://A.example:443/, http://b:81,"), Ok(expected));
        assert_eq!(sources("*"), Ok(vec!["*".to_owned()]));
        for raw in ["a.example", "https://*.a.example", "https://a/b", "http://[::1]", "'self'"] {
            assert!(frames(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_key_is_read_from_a_file_and_never_shown() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&pem(&ed25519())).unwrap();
        let key: JwtPublicKey = file.path().to_str().unwrap().parse().unwrap();
        assert_eq!(format!("{key:?}"), "JwtPublicKey((EdDSA key))");
        let secret: JwtSecret = "pa55".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "JwtSecret((HS256 key))");
        for path in ["", "/", "/nowhere", "/dev/zero", file!()] {
            assert!(path.parse::<JwtPublicKey>().is_err(), "{path}");
        }
        let private = String::from_utf8(pem(&ed25519())).unwrap().replace("PUBLIC", "PRIVATE");
        assert!(JwtPublicKey::from_pem(private.as_bytes()).is_none());
    }
}
