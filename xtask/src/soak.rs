//! `cargo xtask soak`: random work for a long time.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::runtime::Runtime;

/// Builds before it runs, so that its output is its own.
pub fn run(args: &[OsString]) -> Result<ExitCode> {
    let mut runtime = Runtime::start()?.without_time_limit();
    let mut build = runtime.cargo("build");
    let outcome = runtime.run(build.args(["--release", "--package", "soak"]))?;
    if outcome != ExitCode::SUCCESS {
        return Ok(outcome);
    }
    let mut run = runtime.cargo("run");
    runtime.run(run.args(["--release", "--package", "soak", "--quiet", "--"]).args(args))
}
