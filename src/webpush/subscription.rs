//! The subscription of a browser: a URL of its push service, and the keys to encrypt with.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use p256::PublicKey;
use url::{Host, Url};

use crate::outbound::is_public;

/// Bytes of a public key: a point of the curve P-256, uncompressed.
pub(super) const POINT: usize = 65;
/// Bytes of the shared secret.
const AUTH: usize = 16;
/// Maximum bytes of a URL. Those of push services have a few hundred.
const ENDPOINT_MAX: usize = 1024;

/// The invalid part of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The URL is invalid, too long, not https, or of a private network.
    Endpoint,
    /// The key is not a point of the curve.
    P256dh,
    /// The secret has another length.
    Auth,
}

/// A subscription of one browser.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscription {
    endpoint: String,
    origin: String,
    p256dh: [u8; POINT],
    auth: [u8; AUTH],
}

/// Hidden, because anybody who knows the URL can disturb the browser.
impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.origin)
    }
}

impl Subscription {
    /// Checks a browser's subscription: the keys are base64url, with or without padding.
    ///
    /// # Errors
    /// The invalid part.
    pub fn parse(
        endpoint: &str,
        p256dh: &str,
        auth: &str,
        allow_private: bool,
    ) -> Result<Self, Flaw> {
        let url = Url::parse(endpoint).map_err(|_| Flaw::Endpoint)?;
        if url.as_str().len() > ENDPOINT_MAX
            || !is_plain(&url)
            || !may_be_reached(&url, allow_private)
        {
            return Err(Flaw::Endpoint);
        }
        let p256dh: [u8; POINT] = decoded(p256dh).ok_or(Flaw::P256dh)?;
        PublicKey::from_sec1_bytes(&p256dh).map_err(|_| Flaw::P256dh)?;
        let auth = decoded(auth).ok_or(Flaw::Auth)?;
        let origin = url.origin().ascii_serialization();
        Ok(Self { endpoint: url.into(), origin, p256dh, auth })
    }

    /// Reads what [`words`](Self::words) wrote.
    pub fn of_words(words: &str) -> Option<Self> {
        let mut words = words.split(' ');
        let (p256dh, auth, endpoint) = (words.next()?, words.next()?, words.next()?);
        Self::parse(endpoint, p256dh, auth, true).ok()
    }

    /// The key, the secret and the URL, separated by spaces.
    pub fn words(&self) -> String {
        let (p256dh, auth) = (BASE64.encode(self.p256dh), BASE64.encode(self.auth));
        [&p256dh, " ", &auth, " ", &self.endpoint].concat()
    }

    /// The URL to which pushes are posted.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The push service.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The browser's public key.
    pub(super) fn p256dh(&self) -> &[u8; POINT] {
        &self.p256dh
    }

    /// The secret that the browser created with it.
    pub(super) fn auth(&self) -> &[u8; AUTH] {
        &self.auth
    }
}

fn is_plain(url: &Url) -> bool {
    let is_named = !url.username().is_empty() || url.password().is_some();
    url.scheme() == "https" && !is_named && url.fragment().is_none()
}

/// The checks that are possible before a name is resolved. The connector checks the resolved
/// address.
fn may_be_reached(url: &Url, allow_private: bool) -> bool {
    match url.host() {
        None => false,
        Some(_) if allow_private => true,
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.contains('.') && !name.ends_with(".localhost")
        }
    }
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64.decode(text.trim_end_matches('=')).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const SECRET: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    fn of(endpoint: &str) -> Result<Subscription, Flaw> {
        Subscription::parse(endpoint, KEY, SECRET, false)
    }

    #[test]
    fn a_subscription_is_read_back_as_it_was_written() {
        let given = of("https://push.example/a?b=c d").unwrap();
        assert_eq!(Subscription::of_words(&given.words()), Some(given.clone()));
        assert_eq!(
            (given.endpoint(), given.origin()),
            ("https://push.example/a?b=c%20d", "https://push.example")
        );
        assert_eq!(format!("{given:?}"), "https://push.example");
        let padded = Subscription::parse(
            given.endpoint(),
            &format!("{KEY}="),
            &format!("{SECRET}=="),
            false,
        );
        assert_eq!(padded.unwrap(), given);
    }

    #[test]
    fn an_address_is_one_of_the_public_internet() {
        for host in ["push.example", "8.8.8.8", "[2606:4700::1]", "push.example:8443"] {
            assert!(of(&format!("https://{host}/x")).is_ok(), "{host}");
        }
        let private = [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "intranet",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "017700000001",
            "10.0.0.1",
            "169.254.169.254",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[fd00::1]",
            "0",
        ];
        for host in private {
            assert_eq!(of(&format!("https://{host}/x")), Err(Flaw::Endpoint), "{host}");
            let allowed = Subscription::parse(&format!("https://{host}/x"), KEY, SECRET, true);
            assert!(allowed.is_ok(), "{host}");
        }
        let long = format!("https://push.example/{}", "x".repeat(ENDPOINT_MAX));
        for text in [
            "http://push.example/x",
            "https://u@push.example/",
            "https://push.example/#x",
            "x",
            "",
            &long,
        ] {
            assert_eq!(of(text), Err(Flaw::Endpoint), "{text}");
        }
    }

    #[test]
    fn keys_are_those_of_the_rfc() {
        let with = |key: &str, secret: &str| {
            Subscription::parse("https://push.example/", key, secret, false)
        };
        let off_the_curve = BASE64.encode([4; POINT]);
        for key in ["", "x y", &KEY[1..], SECRET, &off_the_curve] {
            assert_eq!(with(key, SECRET), Err(Flaw::P256dh), "{key}");
        }
        for secret in ["", "x y", &SECRET[1..], KEY] {
            assert_eq!(with(KEY, secret), Err(Flaw::Auth), "{secret}");
        }
    }
}
