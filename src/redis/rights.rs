//! What the user of `REDIS_URL` may do, and what is missing to what a node needs.

use std::collections::BTreeSet;

/// Something that Redis would not let us do.
#[derive(Debug, PartialEq, Eq)]
pub struct Denied {
    /// The command, with `|` before its subcommand.
    pub command: String,
    /// The key or channel that it was about.
    pub about: String,
    /// Redis's words.
    pub words: String,
}

impl Denied {
    /// What would allow it, as `ACL SETUSER` takes it. Redis looks at the command first, so the key
    /// is what is missing only where it says so.
    fn remedy(&self) -> String {
        let pattern = || self.about.split(':').next().unwrap_or_default().to_owned() + ":*";
        let is_about = |what| self.words.contains(what) && !self.words.contains(" to run ");
        if is_about("channel") {
            format!("&{}", pattern())
        } else if is_about(" key") || is_about(" keys") {
            format!("~{}", pattern())
        } else {
            format!("+{}", self.command.to_lowercase())
        }
    }
}

/// Everything that is missing, in one line; empty where nothing is.
pub fn missing(denied: &[Denied]) -> String {
    let remedies: BTreeSet<String> = denied.iter().map(Denied::remedy).collect();
    remedies.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(command: &str, about: &str, words: &str) -> Denied {
        Denied { command: command.into(), about: about.into(), words: words.into() }
    }

    #[test]
    fn what_is_missing_is_named_as_acl_setuser_takes_it() {
        let old = "ERR The user executing the script can't ";
        let new = "ERR ACL failure in script: ";
        for (command, about, words, remedy) in [
            ("ZADD", "room:x:deadlines", format!("{old}run this command or subcommand"), "+zadd"),
            (
                "ZADD",
                "room:x:deadlines",
                format!("{old}access at least one of the keys mentioned in the command arguments"),
                "~room:*",
            ),
            (
                "PUBLISH",
                "chan:x",
                format!("{old}publish to the channel mentioned in the command"),
                "&chan:*",
            ),
            (
                "HKEYS",
                "user:x:y",
                format!("{new}User app has no permissions to run the 'hkeys' command"),
                "+hkeys",
            ),
            ("HSET", "user:x:y", format!("{new}No permissions to access a key"), "~user:*"),
            ("PUBLISH", "node:x", format!("{new}No permissions to access a channel"), "&node:*"),
            ("SCRIPT|LOAD", "", String::new(), "+script|load"),
        ] {
            assert_eq!(denied(command, about, &words).remedy(), remedy, "{words}");
        }
    }

    #[test]
    fn each_is_named_once() {
        let key = |about| denied("GET", about, "No permissions to access a key");
        assert_eq!(missing(&[key("user:a:b"), key("room:a"), key("user:a:c")]), "~room:* ~user:*");
        assert_eq!(missing(&[]), "");
    }
}
