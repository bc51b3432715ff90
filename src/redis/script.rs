//! A script as it is sent to Redis, and the encoding of its arguments.

use fred::{prelude::Value, types::scripts::Script};
use serde::Serialize;

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
}

/// A script with the fragments that it needs, as the build assembles them. The first line makes
/// Redis check before the script starts whether it may write, so that no script fails half way
/// because of memory; a script that only `reads` declares that there, and runs while Redis refuses
/// to write. On a cluster, the second line of a script that writes refuses a call whose time is over: a primary that
/// was frozen would otherwise run it after another one took its place. The last line unpacks the arguments.
macro_rules! script {
    (reads $name:literal) => {
        script!(@ $crate::redis::condition::Access::Reads, "#!lua flags=no-writes\n\n", $name)
    };
    ($name:literal) => {
        script!(
            @ $crate::redis::condition::Access::Writes,
            concat!(
                "#!lua\n",
                "if ARGV[2] then local t = redis.call('TIME') if t[1] * 1000 + t[2] / 1000 > tonumber(ARGV[2]) ",
                "then return redis.error_reply('LATE the caller does not wait any more') end end\n"
            ),
            $name
        )
    };
    (@ $access:expr, $first:expr, $name:literal) => {
        $crate::redis::script::Named {
            name: $name,
            access: $access,
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
