//! Child processes that cannot outlive the tests.

use std::{path::Path, process::Command};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How to get the programs that the tests run.
const INSTALL: &str = "sudo apt-get install -y redis-server chromium util-linux  (or: make setup)";

/// A command for `program` whose process gets SIGKILL when the thread that spawned it ends, even if
/// the test run itself is killed. The pid is that of the program.
pub fn guarded(program: &str) -> Command {
    require("setpriv");
    require(program);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// Fails the test with the command that installs what is missing.
pub fn require(program: &str) {
    assert!(is_installed(program), "{program} is missing; install it with: {INSTALL}");
}

/// Whether a program exists: a path, or a name on PATH.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Path::new(program).is_absolute() && Path::new(program).exists()
        || std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Sends a signal to one process; no error if it has already ended.
pub fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.try_into().unwrap()), signal);
}
