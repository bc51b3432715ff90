//! The limit of open files. Each connection uses one.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are reserved for other purposes than clients: reconnects to Redis, DNS lookups of
/// Redis, answers to rejected clients.
const RESERVE: usize = 32;
/// With a high limit, this share of it is reserved as well, up to `RESERVE_MAX`: a Redis Cluster
/// needs many connections.
const RESERVE_SHARE: usize = 32;
const RESERVE_MAX: usize = 256;
/// Files that a node uses itself, if the system does not report them.
const OWN: usize = 16;

/// Raises the limit as far as the system allows: shells start with 1,024, and allow far more.
///
/// # Errors
/// The system does not report the limit, or does not allow to raise it.
pub fn raise_limit() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// Number of sockets for clients, so that files remain for everything else.
///
/// # Errors
/// The limit is so low that no files would be left for clients.
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
