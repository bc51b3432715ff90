//! How many files may be open. Each connection is one.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for everything that is no client: the connections to Redis, which come and go, looking up
/// its name, the answers to whom there is no room for.
const RESERVE: usize = 32;
/// Where many may be open, one in so many is kept as well, up to `RESERVE_MAX`: a Redis Cluster is
/// many connections.
const RESERVE_SHARE: usize = 32;
const RESERVE_MAX: usize = 256;
/// What a node has open by itself, where the system does not say.
const OWN: usize = 16;

/// Takes as many as may be taken: shells begin with 1,024, and allow far more.
///
/// # Errors
/// The system does not say how many, or does not let go of them.
pub fn raise_limit() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// Sockets that clients may have open together, so that files are left for everything else.
///
/// # Errors
/// So few files may be open that none would be left for clients.
pub fn for_clients() -> anyhow::Result<usize> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files")?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(OWN, Iterator::count);
    let least = open + reserve(limit) + 1;
    ensure!(
        limit >= least,
        "only {limit} files may be open, and linkroom needs {least}: raise `ulimit -n`, or \
         LimitNOFILE of the service"
    );
    Ok(limit - open - reserve(limit))
}

fn reserve(limit: usize) -> usize {
    (limit / RESERVE_SHARE).clamp(RESERVE, RESERVE_MAX)
}
