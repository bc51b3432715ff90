//! The rights of the user of `REDIS_URL`, and those that are missing.

use std::collections::BTreeSet;

/// A command that Redis denied.
#[derive(Debug, PartialEq, Eq)]
pub struct Denied {
    /// The command, with `|` before its subcommand.
    pub command: String,
    /// The key or channel of the command.
    pub about: String,
    /// Redis's error.
    pub words: String,
}

impl Denied {
    /// The missing right, as `ACL SETUSER` takes it. Redis checks the command first, so the right
    /// to the key is missing only if the error says so.
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

/// All missing rights in one line; empty if there are none.
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
