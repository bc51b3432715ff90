//! How many files may be open. Each connection is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many as may be taken: shells begin with 1,024, and allow far more.
///
/// # Errors
/// The system does not say how many, or does not let go of them.
pub fn allow_many() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}
