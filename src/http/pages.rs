//! The page behind links, with the preview that other programs show for them: a title, a sentence,
//! a picture. The preview of a room contains only the topic, and nothing if the room is encrypted.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};
use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use super::{assets, base_url::base_url, envelope, openapi::Nowhere};
use crate::{
    address::ClientIp,
    app::App,
    error::{Code, Error},
    i18n::{self, Invitation},
    limits::Limit,
    names::RoomId,
};

/// How long the page waits for Redis; the user waits for the page.
const PATIENCE: Duration = Duration::from_millis(300);
/// Apps that a link passes through, each escaping it once more.
const APPS: usize = 3;
const PICTURE: &str = "/static/preview.png";
/// Size of the picture in pixels.
const PICTURE_SIZE: (&str, &str) = ("1200", "630");

/// The web client, to make a room
#[utoipa::path(
    get,
    path = "/",
    operation_id = "getStartPage",
    tag = "client",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub async fn start(State(app): State<App>, headers: HeaderMap) -> Result<Response, Error> {
    page(&app, &headers, None)
}

/// The web client, in a room
#[utoipa::path(
    get,
    path = "/r/{id}",
    operation_id = "getRoomPage",
    tag = "client",
    params(("id" = String, Path, description = "The room")),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        Nowhere
    )
)]
pub async fn room(
    State(app): State<App>,
    ClientIp(ip): ClientIp,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    // Not the router's parameter: apps append all kinds of text to a link.
    let below = below_rooms(uri.path()).ok_or_else(|| Error::new(Code::NotFound))?;
    let room = match RoomId::in_link(&below) {
        Some(id) => invited(&app, ip, &id).await.map(|topic| (id, topic)),
        // For a program this is a path like any other that is not there; to people the page says what is wrong.
        None if names_nothing(&below) && !wants_page(&headers) => {
            return Err(Error::new(Code::NotFound));
        }
        None => None,
    };
    page(&app, &headers, room)
}

/// The page at a path that no route has: where that is a link's, whose fixed part an app changed, the page corrects it.
pub async fn elsewhere(
    app: State<App>,
    ip: ClientIp,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    match method {
        Method::GET | Method::HEAD => room(app, ip, uri, headers).await,
        _ => Err(Error::new(Code::NotFound)),
    }
}

/// What stands behind `/r/`, however apps escaped, spelled and surrounded that. `None` if this is the path of something
/// else.
fn below_rooms(path: &str) -> Option<String> {
    let mut plain = path.to_owned();
    for _ in 0..APPS {
        plain = percent_decode_str(&plain).decode_utf8_lossy().into_owned();
    }
    let plain: String = plain.nfkc().collect();
    let start = plain.find(|c: char| c.is_ascii_alphanumeric())?;
    let behind = plain[start..].strip_prefix(['r', 'R'])?;
    let is_between = |c: char| !c.is_ascii_alphanumeric() && !['_', '-', '#'].contains(&c);
    let below = behind.trim_start_matches(is_between);
    let between = &behind[..behind.len() - below.len()];
    (below.is_empty() || between.contains(['/', '\\'])).then(|| below.to_owned())
}

/// Whether no id is left of a link, not even behind what an app put in front of it.
fn names_nothing(below: &str) -> bool {
    let mut parts = below.split('%');
    let plain = parts.next().unwrap_or_default();
    let mut escaped = parts.map(|part| part.get(2..).unwrap_or_default());
    let is_id = |part: &str| part.contains(|c: char| c.is_ascii_alphanumeric());
    !is_id(plain) && !escaped.any(is_id)
}

/// Whether the client accepts a page, as a browser does.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|range| {
        let kind = range.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/html")
    })
}

/// The topic of an existing room. `None` also if Redis is unavailable, or the address guesses ids:
/// the page is then the same, and the client reports the error.
async fn invited(app: &App, ip: IpAddr, room: &RoomId) -> Option<Option<String>> {
    if app.limits.check_misses(ip).is_err() {
        app.metrics.turned_away(Limit::Misses);
        return None;
    }
    match tokio::time::timeout(PATIENCE, app.rooms.preview(room)).await {
        Ok(Ok(topic)) => Some(topic),
        Ok(Err(Error { code: Code::RoomNotFound, .. })) => {
            app.limits.note_miss(ip);
            None
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

fn page(
    app: &App,
    headers: &HeaderMap,
    room: Option<(RoomId, Option<String>)>,
) -> Result<Response, Error> {
    let base = base_url(&app.settings, headers);
    let language = envelope::language(headers);
    let (path, topic, to) = match room {
        Some((id, topic)) => (format!("/r/{}", id.as_str()), topic, Invitation::Room),
        None => ("/".to_owned(), None, Invitation::Service),
    };
    let (title, text) = i18n::invitation(to, language);
    let title = topic.as_deref().unwrap_or(title);
    let frames = &app.settings.identity.allowed_frames;
    assets::page(tags(&base, &path, title, text), headers, frames)
}

/// The parts of a preview.
fn tags(base: &str, path: &str, title: &str, text: &str) -> String {
    let (url, picture) = ([base, path].concat(), [base, PICTURE].concat());
    let property = |name, content| tag("property", name, content);
    [
        property("og:type", "website"),
        property("og:site_name", "linkroom"),
        property("og:title", title),
        property("og:description", text),
        property("og:url", &url),
        property("og:image", &picture),
        property("og:image:width", PICTURE_SIZE.0),
        property("og:image:height", PICTURE_SIZE.1),
        tag("name", "twitter:card", "summary_large_image"),
    ]
    .concat()
}

fn tag(attribute: &str, name: &str, content: &str) -> String {
    format!("<meta {attribute}=\"{name}\" content=\"{}\">\n", escape(content))
}

/// Escapes a text for an attribute.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.into();
    }
    let escaped = text.chars().map(|c| match c {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '"' => "&quot;".into(),
        '\'' => "&#39;".into(),
        c => Cow::Owned(c.to_string()),
    });
    escaped.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_stays_a_text() {
        let cases = [
            ("Friday release", "Friday release"),
            ("\"><script>alert(1)</script>", "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("a & b 'c' &amp;", "a &amp; b &#39;c&#39; &amp;amp;"),
            ("점심 🍜", "점심 🍜"),
        ];
        for (topic, written) in cases {
            let tags = tags("https://r.example", "/r/a", topic, "text");
            let line = format!("<meta property=\"og:title\" content=\"{written}\">");
            assert!(tags.lines().any(|tag| tag == line), "{tags}");
        }
    }

    #[test]
    fn a_link_names_nothing_where_no_id_is_left_of_it() {
        for below in ["", "/", "//", "%20", "%20/", ".", "-_", "%EC%9D%84", "%", "%2", "!%20?"] {
            assert!(names_nothing(below), "{below}");
        }
        for below in ["a", "%20a", "%2520a", "/a/", "(a)", "%EC%9D%84a", "%20%"] {
            assert_eq!(names_nothing(below), !below.contains('a'), "{below}");
        }
    }

    #[test]
    fn a_link_is_known_however_its_fixed_part_was_written() {
        let before = [
            "/r/",
            "/R/",
            "//r/",
            "/r//",
            "/%72/",
            "/%2572/",
            "/r%2F",
            "/r%2f",
            "/%2Fr/",
            "/%20r/",
            "/r%20/",
            "/r/%20",
            "/r%5C",
            "/./R/",
            "/%E2%80%8Br/",
            "/%EF%BD%92/",
            "/r%EF%BC%8F",
            "/%3Cr/",
            "/r:/",
        ];
        for fixed in before {
            for id in ["abc", "_a-b", "r", "R2"] {
                let below = below_rooms(&format!("{fixed}{id}"));
                assert_eq!(below.as_deref(), Some(id), "{fixed}");
            }
            assert_eq!(below_rooms(fixed).as_deref(), Some(""), "{fixed}");
        }
        for path in [
            "/",
            "/x",
            "/x/r/abc",
            "/rabc",
            "/r-/abc",
            "/r_/a",
            "/robots.txt",
            "/r.txt",
            "/%20",
            "/0/r/a",
        ] {
            assert_eq!(below_rooms(path), None, "{path}");
        }
        assert_eq!(below_rooms("/r").as_deref(), Some(""));
        assert_eq!(below_rooms("/R/%23k=x").as_deref(), Some("#k=x"));
    }

    #[test]
    fn a_page_is_for_who_takes_one() {
        let asks = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            wants_page(&headers)
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in [&[browser][..], &["Text/HTML"], &["a/b", "application/json, text/html;q=.1"]]
        {
            assert!(asks(accept), "{accept:?}");
        }
        for accept in [&[][..], &["*/*"], &["application/json"], &["text/html+x"]] {
            assert!(!asks(accept), "{accept:?}");
        }
    }

    #[test]
    fn addresses_in_a_preview_are_whole() {
        let tags = tags("https://r.example", "/r/a", "t", "text");
        assert!(tags.contains("content=\"https://r.example/r/a\""), "{tags}");
        assert!(tags.contains("content=\"https://r.example/static/preview.png\""), "{tags}");
    }
}
