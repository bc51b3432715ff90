//! A script as it is sent to Redis, and the encoding of its arguments.

use fred::{prelude::Value, types::scripts::Script};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::condition::Access;

/// Maximum number of calls of one script in progress. More would only wait in Redis, ahead of the
/// messages of all rooms; when thousands of users leave together, their calls wait here.
pub const CALLS_AT_ONCE: usize = 32;
/// Bytes of the packed arguments of most calls.
const PACKED: usize = 1024;

/// A script and its name, which is a label of the metrics.
pub struct Named {
    /// The file's name.
    pub name: &'static str,
    /// Its source, including the fragments that it calls.
    pub script: Script,
    /// Whether it writes.
    pub access: Access,
    /// Limits its calls in progress.
    pub turns: Semaphore,
}

/// A script with the fragments that it needs, as the build assembles them. The first line makes
/// Redis check before the script starts whether it may write, so that no script fails half way
/// because of memory; a script that only `reads` declares that there, and runs while Redis refuses
/// to write. The second line unpacks the arguments.
macro_rules! script {
    (reads $name:literal) => {
        script!(@ $crate::redis::condition::Access::Reads, "#!lua flags=no-writes\n", $name)
    };
    ($name:literal) => {
        script!(@ $crate::redis::condition::Access::Writes, "#!lua\n", $name)
    };
    (@ $access:expr, $first:literal, $name:literal) => {
        $crate::redis::script::Named {
            name: $name,
            access: $access,
            turns: tokio::sync::Semaphore::new($crate::redis::script::CALLS_AT_ONCE),
            script: fred::types::scripts::Script::from_lua(concat!(
                $first,
                "local ARGV = {cmsgpack.unpack(ARGV[1])}\n",
                include_str!(concat!(env!("OUT_DIR"), "/", $name, ".lua")),
            )),
        }
    };
}
pub(super) use script;

/// Packs all arguments into one string: the Redis client writes one long string faster than many
/// short ones. The second line of every script unpacks them. They are packed as separate values,
/// which Lua unpacks faster than an array.
pub(super) fn pack<A: Serialize>(args: &[A]) -> Value {
    let mut packed = Vec::with_capacity(PACKED);
    for arg in args {
        rmp_serde::encode::write(&mut packed, arg).expect("strings can be written");
    }
    Value::Bytes(packed.into())
}
