//! Programs on Windows: they run as they are, within a time limit.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::limit::{TIME_LIMIT, TIMED_OUT, time_limit};

/// What cargo is told to run its programs by: this very program.
pub fn as_runner() -> Result<String> {
    let program = env::current_exe().context("this program does not know itself")?;
    Ok(format!("target.'cfg(windows)'.runner=['{}','runner']", program.display()))
}

/// Cargo's runner: runs a program within the time limit, and ends as it does.
pub fn run(program: &OsStr, args: &[OsString]) -> Result<std::convert::Infallible> {
    let limit = time_limit()?;
    let mut command = Command::new(program);
    // Rustdoc sets this only where it has no runner. With it, each example in
    // the documentation is run in a process of its own.
    command.args(args).env("RUSTDOC_DOCTEST_BIN_PATH", program);
    let status = match limit {
        Some(limit) => run_within(&mut command, limit)?,
        None => Some(command.status()?),
    };
    let Some(status) = status else {
        let (program, limit) = (program.display(), limit.unwrap_or_default().as_secs());
        eprintln!("{program} was killed after {limit} s, its time limit ({TIME_LIMIT})");
        std::process::exit(TIMED_OUT.into());
    };
    // All of the code, which says how a program crashed.
    std::process::exit(status.code().unwrap_or(1));
}

/// Runs a command for at most so long, and then ends it; `None` if it was ended.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let program = command.get_program().display().to_string();
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            // With all that it has started, which would hold its outputs open.
            let id = child.id().to_string();
            let _ = Command::new("taskkill").args(["/T", "/F", "/PID", &id]).output();
            // It may have ended by now.
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
