//! The condition of Redis, as it was when it was last asked.

/// What Redis said when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It does not answer, or answers nothing but errors; why, as far as it is known.
    Away(String),
    /// It answers, and refuses to write; why, in its own words. What only reads may run.
    Refuses(String),
    /// We may not do all that we need. What only reads may run; a script that writes could end half
    /// way. What is missing, as `ACL SETUSER` takes it.
    Lacks(String),
    /// It writes.
    Serves,
}

/// What a script does, which decides when it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It changes a room.
    Writes,
    /// It changes nothing, so it runs while Redis refuses to write.
    Reads,
}

/// How a Redis begins to refuse that became a replica: the connections have to find the new primary.
const DEMOTED: &str = "READONLY";
/// How a Redis begins to refuse that keeps all data from being changed, and lets it be read.
const REFUSALS: [&str; 5] = ["OOM", "MISCONF", "NOREPLICAS", "NOPERM", DEMOTED];

impl Condition {
    /// Of a Redis that answered with this error.
    pub fn of_error(words: &str) -> Self {
        let refuses = REFUSALS.iter().any(|word| words.starts_with(word));
        let words = words.trim_end_matches('.').to_owned();
        if refuses { Self::Refuses(words) } else { Self::Away(words) }
    }

    /// Whether Redis answers.
    pub fn is_up(&self) -> bool {
        !matches!(self, Self::Away(_))
    }

    /// Whether a script is worth sending. A Redis that refuses says so itself, and may have changed
    /// its mind since it was asked.
    pub fn allows(&self, access: Access) -> bool {
        match self {
            Self::Serves | Self::Refuses(_) => true,
            Self::Lacks(_) => access == Access::Reads,
            Self::Away(_) => false,
        }
    }
}

/// Whether a Redis that says this became a replica.
pub fn is_demoted(words: &str) -> bool {
    words.starts_with(DEMOTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_refuses_to_write_is_not_away() {
        for words in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to.",
            "READONLY You can't write against a read only replica.",
            "NOPERM this user has no permissions to run the 'evalsha' command",
        ] {
            let Condition::Refuses(said) = Condition::of_error(words) else { panic!("{words}") };
            assert!(words.starts_with(&said));
        }
        for words in ["LOADING Redis is loading", "BUSY a script", "MASTERDOWN", "NOAUTH", ""] {
            assert!(!Condition::of_error(words).is_up(), "{words}");
        }
    }

    #[test]
    fn what_reads_runs_as_long_as_redis_answers() {
        let why = String::new;
        let all = [Condition::Refuses(why()), Condition::Lacks(why()), Condition::Away(why())];
        assert_eq!(all.each_ref().map(|it| it.allows(Access::Reads)), [true, true, false]);
        assert_eq!(all.each_ref().map(|it| it.allows(Access::Writes)), [true, false, false]);
    }
}
