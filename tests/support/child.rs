//! Tests that need a process of their own, because they end it, or do to it
//! what other tests in the same process would suffer from.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::PATIENCE;

const VARIABLE: &str = "COMPLETION_PORT_TEST_CHILD";

/// Whether this process was started to run the test `name` alone.
pub fn is_child(name: &str) -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == name)
}

/// This test program again, to run the test `name` alone.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(VARIABLE, name);
    command
}

/// Runs the test `name` again in a process of its own, and asserts that it
/// ends well and in time.
#[track_caller]
pub fn run(name: &str) {
    let mut child = command(name).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the child process does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(0), "the child process failed");
}
