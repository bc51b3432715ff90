//! The web client's files, embedded in the binary: with an ETag that contains their common version,
//! compressed once, code without its comments and indents, and with a policy that forbids content of other
//! origins.

mod gzip;

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use axum::{
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use rust_embed::{Embed, EmbeddedFile};
use sha2::{Digest, Sha256};

use crate::{
    error::{Code, Error},
    origin::Allowed,
};
use gzip::Part;

/// Scripts, styles, images and connections only from this origin, and no embedding in frames, but of the page where
/// the settings allow it. Modules are not pages: the policy of the page that imports them applies, so they are sent
/// without one.
const POLICY: &str = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      form-action 'self'; object-src 'none'";
/// The part of it about frames.
const NO_FRAMES: &str = "frame-ancestors 'none'";
const MODULES: &str = "js/";
const PAGE: &str = "index.html";
const HEAD_END: &str = "</head>";
/// The prefix of every ETag, which no other server uses.
const MARK: &str = "linkroom-";
/// Bytes of the hash in an ETag.
const ETAG_BYTES: usize = 16;

#[derive(Embed)]
#[folder = "static/"]
struct Files;

/// Every file, ready to be sent.
static ASSETS: LazyLock<HashMap<Cow<'static, str>, Asset>> = LazyLock::new(|| {
    let files = Files::iter().filter_map(|path| Some((Files::get(&path)?, path)));
    files.map(|(file, path)| (path.clone(), Asset::new(&path, file))).collect()
});

/// The page before and after the text that is added to its head.
static PAGE_PARTS: LazyLock<Option<[Part; 2]>> = LazyLock::new(|| {
    let page = Files::get(PAGE)?.data;
    let at = page.windows(HEAD_END.len()).position(|bytes| bytes == HEAD_END.as_bytes())?;
    let part = |range: &[u8]| Bytes::copy_from_slice(range);
    Some([Part::new(part(&page[..at])), Part::last(part(&page[at..]))])
});

/// A hash of all files, because they are one program: a cache can tell whether files belong
/// together, and whether an answer is one of them.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut files: Vec<_> = Files::iter().collect();
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        hash.update(path.as_bytes());
        hash.update(Files::get(&path).map_or([0; 32], |file| file.metadata.sha256_hash()));
    }
    [MARK, &HEXLOWER.encode(&hash.finalize()[..ETAG_BYTES])].concat()
});

/// One file, plain and compressed. Each form has its own ETag.
struct Asset {
    content_type: String,
    /// The value of `Vary`.
    varies_with: &'static str,
    policy: Option<Cow<'static, str>>,
    plain: Form,
    packed: Option<Form>,
}

struct Form {
    body: Bytes,
    etag: String,
}

impl Asset {
    fn new(path: &str, file: EmbeddedFile) -> Self {
        let body = match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        let kind = file.metadata.mimetype();
        let is_code = is_script(kind) || kind == "text/css";
        let text = std::str::from_utf8(&body).ok().filter(|_| is_code);
        let body = text.map(code_alone).map_or_else(|| body.clone(), Bytes::from);
        let policy = (!path.starts_with(MODULES)).then_some(POLICY.into());
        let packed = gzip::pack(&body);
        Self { policy, ..Self::of(body, packed, &VERSION, kind) }
    }

    fn of(body: Bytes, packed: Bytes, tag: &str, kind: &str) -> Self {
        let packed = Some(packed).filter(|packed| packed.len() < body.len());
        Self {
            content_type: content_type(kind),
            varies_with: "accept-encoding",
            policy: Some(POLICY.into()),
            packed: packed.map(|body| Form { body, etag: format!("\"{tag}-gzip\"") }),
            plain: Form { body, etag: format!("\"{tag}\"") },
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let takes_packed = header(header::ACCEPT_ENCODING).is_some_and(accepts_gzip);
        let packed = self.packed.as_ref().filter(|_| takes_packed);
        let form = packed.unwrap_or(&self.plain);
        let known = header(header::IF_NONE_MATCH).is_some_and(|tags| matches(tags, &form.etag));
        let common = [
            (header::ETAG, form.etag.as_str()),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, self.varies_with),
        ];
        let policy = self.policy.as_deref();
        let policy = policy.map(|policy| [(header::CONTENT_SECURITY_POLICY, policy)]);
        if known {
            return (StatusCode::NOT_MODIFIED, policy, common).into_response();
        }
        let kind = [(header::CONTENT_TYPE, self.content_type.as_str())];
        let encoding = packed.map(|_| [(header::CONTENT_ENCODING, "gzip")]);
        let encoding = encoding.map(AppendHeaders);
        (common, policy, kind, encoding, form.body.clone()).into_response()
    }
}

fn content_type(kind: &str) -> String {
    let is_text = kind.starts_with("text/") || is_script(kind);
    if is_text { format!("{kind}; charset=utf-8") } else { kind.to_owned() }
}

fn is_script(kind: &str) -> bool {
    matches!(kind, "text/javascript" | "application/javascript")
}

/// A script or a style sheet without indents, empty lines, and lines that have only a comment. The comments are a
/// fourth of its compressed size, the indents 2 %. Works line by line; `tests/web/files.test.js` checks that this
/// changes nothing in any file.
fn code_alone(script: &str) -> String {
    let mut is_open = false;
    let is_code = |line: &&str| {
        let line = line.trim();
        let (begins, ends) = (line.starts_with("/*"), line.ends_with("*/"));
        let explains =
            is_open || line.starts_with("//") || begins && (ends || !line.contains("*/"));
        is_open = (is_open || begins && explains) && !ends;
        !explains
    };
    script.split_inclusive('\n').filter(is_code).map(str::trim_start).collect()
}

/// Whether an `Accept-Encoding` header accepts gzip.
fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}

/// Whether an `If-None-Match` header has this ETag; a proxy may have made it weak.
fn matches(tags: &str, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/") == etag;
    tags.trim() == "*" || tags.split(',').any(bare)
}

fn file(path: &str, headers: &HeaderMap) -> Result<Response, Error> {
    let asset = ASSETS.get(path).ok_or(Code::NotFound)?;
    Ok(asset.answer(headers))
}

/// The page, with `more` at the end of its head. Its ETag is the version, a full stop, and a hash
/// of the added text. Pages of the origins in `frames` may show it in a frame.
pub fn page(more: String, headers: &HeaderMap, frames: &[Allowed]) -> Result<Response, Error> {
    let [before, behind] = PAGE_PARTS.as_ref().ok_or(Code::NotFound)?;
    let added = HEXLOWER.encode(&Sha256::digest(&more)[..ETAG_BYTES]);
    let tag = [VERSION.as_str(), &added].join(".");
    let more = Part::new(more.into());
    let body = [&before.plain[..], &more.plain, &behind.plain].concat();
    let packed = gzip::join(&[before, &more, behind]);
    let mut page = Asset::of(body.into(), packed, &tag, "text/html");
    page.varies_with = "accept-encoding, accept-language";
    page.policy = Some(policy(frames));
    Ok(page.answer(headers))
}

/// A file of the web client.
pub async fn nested(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    file(&path, &headers)
}

/// A file that browsers look for at the root.
pub async fn at_root(uri: Uri, headers: HeaderMap) -> Result<Response, Error> {
    file(uri.path().trim_start_matches('/'), &headers)
}

fn policy(frames: &[Allowed]) -> Cow<'static, str> {
    let sources: Vec<_> = frames.iter().filter_map(Allowed::source).collect();
    match sources.is_empty() {
        true => POLICY.into(),
        false => {
            POLICY.replace(NO_FRAMES, &format!("frame-ancestors {}", sources.join(" "))).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset() -> Asset {
        Asset {
            content_type: content_type("text/html"),
            varies_with: "accept-encoding",
            policy: Some(POLICY.into()),
            plain: Form { body: Bytes::from_static(b"plain"), etag: "\"a\"".into() },
            packed: Some(Form { body: Bytes::from_static(b"packed"), etag: "\"a-gzip\"".into() }),
        }
    }

    fn answer(name: header::HeaderName, value: &'static str) -> Response {
        asset().answer(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]))
    }

    #[test]
    fn a_file_comes_with_its_policy_and_its_tag() {
        let response = asset().answer(&HeaderMap::new());
        assert_eq!(response.headers()[header::ETAG], "\"a\"");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
        assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
    }

    #[test]
    fn a_script_is_sent_without_its_comments_and_indents() {
        let cases = [
            ("// a\nb();\n", "b();\n"),
            ("  /** a */\n  b(\n\tc);", "b(\nc);"),
            ("/**\n * a\n * b(); // c\n */\nd();\n", "d();\n"),
            ("a(); // b\n/* c */ d();\n", "a(); // b\n/* c */ d();\n"),
            ("const a = 'http://b/*';\n/ * c;\n", "const a = 'http://b/*';\n/ * c;\n"),
            ("/* a\nb */\nc();\n/* d */\ne();\n", "c();\ne();\n"),
            ("a();\n \n\nb();", "a();\nb();"),
        ];
        for (script, expected) in cases {
            assert_eq!(code_alone(script), expected, "{script:?}");
        }
        let sent = file("js/main.js", &HeaderMap::new()).unwrap();
        assert!(is_script(
            sent.headers()[header::CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap()
        ));
        assert!(
            ASSETS["js/main.js"].plain.body.len() < Files::get("js/main.js").unwrap().data.len()
        );
    }

    #[test]
    fn a_packed_file_has_a_tag_of_its_own() {
        let response = answer(header::ACCEPT_ENCODING, "br, gzip");
        assert_eq!(response.headers()[header::ETAG], "\"a-gzip\"");
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(!accepts_gzip("gzip;q=0") && !accepts_gzip("br") && !accepts_gzip(""));
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        for tags in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            let status = answer(header::IF_NONE_MATCH, tags).status();
            assert_eq!(status, StatusCode::NOT_MODIFIED, "{tags}");
        }
        assert_eq!(answer(header::IF_NONE_MATCH, "\"b\"").status(), StatusCode::OK);
    }

    #[test]
    fn a_page_is_known_by_its_version_and_by_what_was_added() {
        let page = |more: &str, headers: &HeaderMap| page(more.to_owned(), headers, &[]);
        let tag = |more| page(more, &HeaderMap::new()).unwrap().headers()[header::ETAG].clone();
        let parts = |tag: HeaderValue| {
            let (version, added) = tag.to_str().unwrap().split_once('.').unwrap();
            (version.to_owned(), added.to_owned())
        };
        let (a, b) = (parts(tag("a")), parts(tag("b")));
        assert_eq!(a.0, b.0);
        assert_ne!(a.1, b.1);
        let script = file("sw.js", &HeaderMap::new()).unwrap().headers()[header::ETAG].clone();
        assert_eq!(script, format!("{}\"", a.0), "the version of every file");
        let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag("a"))]);
        assert_eq!(page("a", &known).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert_eq!(page("b", &known).unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn a_page_is_framed_by_whom_the_settings_name() {
        let frames = |origins: &[&str]| {
            let one = |origin: &&str| Allowed::One(origin.parse().unwrap());
            let frames: Vec<_> = origins.iter().map(one).collect();
            let page = page(String::new(), &HeaderMap::new(), &frames).unwrap();
            let policy =
                page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            let part = policy.split("; ").find(|part| part.starts_with("frame")).unwrap();
            part.to_owned()
        };
        assert_eq!(frames(&[]), NO_FRAMES);
        let both = frames(&["https://a.example", "http://b.example:81"]);
        assert_eq!(both, "frame-ancestors https://a.example http://b.example:81");
        assert!(POLICY.contains(NO_FRAMES));
    }

    #[test]
    fn the_page_is_there() {
        assert!(page(String::new(), &HeaderMap::new(), &[]).is_ok());
        assert!(file("../Cargo.toml", &HeaderMap::new()).is_err());
    }
}
