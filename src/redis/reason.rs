//! Why Redis cannot be reached: the error of the library or of Redis, and a hint what to check.

/// How Redis is reached; selects the hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// Over TLS.
    pub tls: bool,
    /// Whether Redis has answered before, so its address is correct.
    pub is_known: bool,
}

/// Words in an error, whether they apply with TLS (`None`: always), and the hint.
const HINTS: [(&str, Option<bool>, &str); 7] = [
    ("UnknownIssuer", None, "name your CA's file in SSL_CERT_FILE"),
    ("NotValidForName", None, "the certificate is for another name than that in REDIS_URL"),
    ("timed out", Some(true), "does it speak TLS there? if not, write redis://"),
    ("InvalidMessage", Some(true), "does it speak TLS there? if not, write redis://"),
    ("Connection reset", Some(false), "does it want TLS there? if so, write rediss://"),
    // The client library does not report which of them failed.
    (
        "all sentinel nodes",
        None,
        "are their addresses, sentinelUsername and sentinelPassword in REDIS_URL right?",
    ),
    ("Missing primary address", None, "is sentinelServiceName in REDIS_URL right?"),
];

/// The error with a hint, in one line for the operator.
pub(super) fn explain(details: &str, way: Reach) -> String {
    let words = plain(details);
    let fits = |(word, tls, _): &&(&str, Option<bool>, &str)| {
        words.contains(word) && tls.is_none_or(|tls| tls == way.tls)
    };
    match HINTS.iter().find(fits).filter(|_| !way.is_known) {
        Some((_, _, hint)) => format!("{words}; {hint}"),
        None => words,
    }
}

/// Rewrites errors of the system and of TLS, which the client library prints in debug format.
fn plain(details: &str) -> String {
    let inner = |open: &str, close: &str| {
        let (_, rest) = details.split_once(open)?;
        rest.strip_suffix(close)
    };
    let words = inner("message: \"", "\" }")
        .or_else(|| inner("error: \"", "\" }"))
        .or_else(|| inner("error: ", " }"))
        .unwrap_or(details);
    words.replace("\\\"", "\"").replace(['\\', '\r', '\n'], " ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Reach = Reach { tls: false, is_known: false };
    const TLS: Reach = Reach { tls: true, is_known: false };

    #[test]
    fn each_reason_is_one_plain_line() {
        let cases = [
            (PLAIN, "NOAUTH Authentication required.", "NOAUTH Authentication required"),
            (PLAIN, "ERR DB index is out of range", "ERR DB index is out of range"),
            (
                PLAIN,
                r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#,
                "Connection refused",
            ),
            (
                PLAIN,
                r#"Os { code: 104, kind: ConnectionReset, message: "Connection reset by peer" }"#,
                "Connection reset by peer; does it want TLS there? if so, write rediss://",
            ),
            (
                PLAIN,
                r#"Custom { kind: Uncategorized, error: "failed to lookup address information: Name or service not known" }"#,
                "failed to lookup address information: Name or service not known",
            ),
            (
                TLS,
                "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }",
                "InvalidCertificate(UnknownIssuer); name your CA's file in SSL_CERT_FILE",
            ),
            (
                TLS,
                r#"Custom { kind: InvalidData, error: InvalidCertificate(NotValidForNameContext { expected: DnsName("a"), presented: ["DnsName(\"b\")"] }) }"#,
                "InvalidCertificate(NotValidForNameContext { expected: DnsName(\"a\"), presented: \
                 [\"DnsName(\"b\")\"] }); the certificate is for another name than that in REDIS_URL",
            ),
            (
                TLS,
                "Request timed out.",
                "Request timed out; does it speak TLS there? if not, write redis://",
            ),
            (PLAIN, "Request timed out.", "Request timed out"),
            (
                PLAIN,
                "Failed to connect to all sentinel nodes.",
                "Failed to connect to all sentinel nodes; are their addresses, sentinelUsername and \
                 sentinelPassword in REDIS_URL right?",
            ),
            (
                PLAIN,
                "Missing primary address in response from sentinel node.",
                "Missing primary address in response from sentinel node; is sentinelServiceName in \
                 REDIS_URL right?",
            ),
        ];
        for (way, details, line) in cases {
            assert_eq!(explain(details, way), line);
        }
    }

    #[test]
    fn who_was_reached_before_is_given_no_hint() {
        let known = Reach { is_known: true, ..PLAIN };
        let details =
            r#"Os { code: 104, kind: ConnectionReset, message: "Connection reset by peer" }"#;
        assert_eq!(explain(details, known), "Connection reset by peer");
    }
}
