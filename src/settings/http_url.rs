//! The URL of a server that a node sends requests to, as a setting.

use std::{fmt, str::FromStr};

use url::Url;

/// A URL for requests. Only the host is shown, because the rest may contain a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// The whole URL.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    /// The error never quotes the input.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as https://app.example/path, without a user and a #".to_owned();
        let url = Url::parse(text.trim()).map_err(|_| wrong())?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        if is_web && is_plain && url.fragment().is_none() { Ok(Self(url)) } else { Err(wrong()) }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_whole_and_shown_without_what_may_be_secret() {
        let url: HttpUrl = " HTTPS://App.example/hooks?key=pa55 ".parse().unwrap();
        assert_eq!(url.expose(), "https://app.example/hooks?key=pa55");
        assert_eq!(format!("{url} {url:?}"), "https://app.example https://app.example");
        let numbers: HttpUrl = "http://0x7f.1:8080/".parse().unwrap();
        assert_eq!(numbers.expose(), "http://127.0.0.1:8080/");
        for text in ["app.example", "ftp://a", "https://u:pa55@a", "https://a/#b", "https://", ""] {
            let refusal = text.parse::<HttpUrl>().expect_err(text);
            assert!(!refusal.contains("pa55"), "{refusal}");
        }
    }
}
