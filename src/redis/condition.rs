//! The condition of Redis, from its last answer.

/// The condition of Redis, from its last answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It does not answer, or only with errors; with the reason, if known.
    Away(String),
    /// It answers but refuses to write; with its own error. Scripts that only read may run.
    Refuses(String),
    /// Our user lacks rights; with the missing ones as `ACL SETUSER` takes them. Scripts that only
    /// read may run; a script that writes could fail half way.
    Lacks(String),
    /// It accepts writes.
    Serves,
}

/// Whether a script writes, which decides when it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It changes a room.
    Writes,
    /// It only reads, so it runs while Redis refuses to write.
    Reads,
}

/// Beginning of the error of a Redis that became a replica: then the connections have to find the
/// new primary.
const DEMOTED: &str = "READONLY";
/// Beginnings of the errors of a Redis that refuses writes but allows reads.
const REFUSALS: [&str; 6] = ["OOM", "MISCONF", "NOREPLICAS", "NOPERM", "CLUSTERDOWN", DEMOTED];

impl Condition {
    /// The condition of a Redis that answered with this error.
    pub fn of_error(words: &str) -> Self {
        let refuses = REFUSALS.iter().any(|word| words.starts_with(word));
        let words = words.trim_end_matches('.').to_owned();
        if refuses { Self::Refuses(words) } else { Self::Away(words) }
    }

    /// How far it is from serving, to compare islands.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Serves => 0,
            Self::Refuses(_) => 1,
            Self::Lacks(_) => 2,
            Self::Away(_) => 3,
        }
    }

    /// Whether Redis answers.
    pub fn is_up(&self) -> bool {
        !matches!(self, Self::Away(_))
    }

    /// Whether to send a script. A Redis that refuses writes gets it anyway: its condition may have
    /// changed, and if not it refuses by itself.
    pub fn allows(&self, access: Access) -> bool {
        match self {
            Self::Serves | Self::Refuses(_) => true,
            Self::Lacks(_) => access == Access::Reads,
            Self::Away(_) => false,
        }
    }
}

/// Whether this error means that Redis became a replica.
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
            "CLUSTERDOWN The cluster is down",
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
