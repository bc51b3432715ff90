//! A script as it is sent to Redis, and how its arguments are.

use fred::{prelude::Value, types::scripts::Script};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::condition::Access;

/// Calls of one script under way at once. More would only wait in Redis, in front of everybody's messages:
/// where thousands leave together, they wait here.
pub const CALLS_AT_ONCE: usize = 32;
/// What most calls pack, in bytes.
const PACKED: usize = 1024;

/// A script with the name of its file, under which it is measured.
pub struct Named {
    /// The file's name.
    pub name: &'static str,
    /// Its text, and that of the fragments that it calls.
    pub script: Script,
    /// Whether it changes anything.
    pub access: Access,
    /// Of its calls that are under way at once.
    pub turns: Semaphore,
}

/// Joins an entry script to the fragments that it calls, in the order in which they need each
/// other. The first line makes Redis check before it starts that it may write at all, so that no
/// script stops half way for want of memory; one that `reads` says so there, and runs where nothing
/// may be written. The second line takes the arguments apart.
macro_rules! script {
    (reads $name:literal $(, $fragment:literal)*) => {
        script!(@ $crate::redis::condition::Access::Reads, "#!lua flags=no-writes\n", $name $(, $fragment)*)
    };
    ($name:literal $(, $fragment:literal)*) => {
        script!(@ $crate::redis::condition::Access::Writes, "#!lua\n", $name $(, $fragment)*)
    };
    (@ $access:expr, $first:literal, $name:literal $(, $fragment:literal)*) => {
        $crate::redis::script::Named {
            name: $name,
            access: $access,
            turns: tokio::sync::Semaphore::new($crate::redis::script::CALLS_AT_ONCE),
            script: fred::types::scripts::Script::from_lua(concat!(
                $first,
                "local ARGV = {cmsgpack.unpack(ARGV[1])}\n",
                $(include_str!(concat!("../../lua/lib/", $fragment, ".lua")),)*
                include_str!(concat!("../../lua/", $name, ".lua")),
            )),
        }
    };
}
pub(super) use script;

/// All arguments as one: Redis's client writes one long string sooner than many short ones. The
/// second line of every script takes them apart. Each stands for itself: Lua makes a table of them
/// sooner than of an array.
pub(super) fn pack<A: Serialize>(args: &[A]) -> Value {
    let mut packed = Vec::with_capacity(PACKED);
    for arg in args {
        rmp_serde::encode::write(&mut packed, arg).expect("strings can be written");
    }
    Value::Bytes(packed.into())
}
