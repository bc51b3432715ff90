//! The opening handshake (RFC 6455, section 4.2): checks the request and computes the accept
//! header.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hyper::body::Body;
use sha1::{Digest, Sha1};

use crate::{
    error::{Code, Error},
    problem::Problem,
};

/// The GUID that is hashed with the client's key.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The only valid version.
const VERSION: &str = "13";
/// Number of random bytes in a key.
const KEY_BYTES: usize = 16;

/// The value of `Sec-WebSocket-Accept`.
///
/// # Errors
/// `UPGRADE_REQUIRED` for another protocol or version; `VALIDATION_FAILED` for an invalid key, and
/// for a body, because it would be read as frames.
pub fn accept(request: &Request) -> Result<HeaderValue, Error> {
    let headers = request.headers();
    let is_upgrade = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && lists(headers, header::CONNECTION, "upgrade")
        && lists(headers, header::UPGRADE, "websocket")
        && only(headers, header::SEC_WEBSOCKET_VERSION) == Some(VERSION);
    if !is_upgrade {
        return Err(Code::UpgradeRequired.into());
    }
    // This includes a body that is declared but has not arrived.
    if !request.body().is_end_stream() {
        return Err(Error::invalid("body", Problem::BodyOfUpgrade));
    }
    let key = only(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key = key
        .ok_or_else(|| Error::invalid(header::SEC_WEBSOCKET_KEY.as_str(), Problem::WebSocketKey))?;
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize();
    HeaderValue::try_from(BASE64.encode(digest)).map_err(|error| Error::internal(error.to_string()))
}

/// Whether a comma-separated header contains this word.
fn lists(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
}

/// The value of a header that occurs exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_key(key: &str) -> bool {
    BASE64.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const UPGRADE: (&str, &str) = ("upgrade", "h2c, WebSocket");
    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");

    fn request(headers: &[(&str, &str)], body: &'static str) -> Request {
        let request = Request::builder().uri("/ws");
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(body.into()).unwrap()
    }

    fn answer(headers: &[(&str, &str)], body: &'static str) -> Result<HeaderValue, Code> {
        accept(&request(headers, body)).map_err(|error| error.code)
    }

    #[test]
    fn the_key_of_the_standard_is_accepted_as_it_says() {
        let accepted = answer(&[KEY, UPGRADE, CONNECTION, VERSION], "");
        assert_eq!(accepted, Ok(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    }

    #[test]
    fn what_is_no_websocket_must_become_one() {
        for other in [("sec-websocket-version", "8"), ("sec-websocket-version", "13, 8"), ("x", "")]
        {
            assert_eq!(answer(&[KEY, UPGRADE, CONNECTION, other], ""), Err(Code::UpgradeRequired));
        }
        let twice = [KEY, UPGRADE, CONNECTION, VERSION, VERSION];
        assert_eq!(answer(&twice, ""), Err(Code::UpgradeRequired));
        for missing in [UPGRADE, CONNECTION] {
            assert_eq!(answer(&[KEY, missing, VERSION], ""), Err(Code::UpgradeRequired));
        }
        let mut old = request(&[KEY, UPGRADE, CONNECTION, VERSION], "");
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(accept(&old).unwrap_err().code, Code::UpgradeRequired);
    }

    #[test]
    fn a_request_that_is_wrong_says_why() {
        let with = |keys: &[(&str, &str)], body| {
            let headers = [&[UPGRADE, CONNECTION, VERSION], keys].concat();
            accept(&request(&headers, body)).map(drop).map_err(|error| error.problems)
        };
        let wrong = |field: &str, problem| Err([(field.to_owned().into(), problem)].into());
        assert_eq!(with(&[KEY], "frames?"), wrong("body", Problem::BodyOfUpgrade));
        let name = KEY.0;
        for keys in [
            &[][..],
            &[KEY, KEY],
            &[(name, "")],
            &[(name, "dGhlIHNhbXBsZSBub25jZQ")],
            &[(name, "dGhlIHNhbXBsZSBub25jZTE=")],
            &[(name, "dGhlIHNhbXBsZSBub25j")],
            &[(name, "dGhlIHNhbXBsZSBub25jZQ==, x")],
            &[(name, "!!!!!!!!!!!!!!!!!!!!!!==")],
        ] {
            assert_eq!(with(keys, ""), wrong(name, Problem::WebSocketKey), "{keys:?}");
        }
    }
}
