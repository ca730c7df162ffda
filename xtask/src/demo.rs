//! `cargo xtask demo` and `cargo xtask run-example`: one example, optimised.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::runtime::Runtime;

/// Builds before it runs, so that the one shows its progress and the other
/// only its own output.
pub fn run(example: &str, args: &[OsString]) -> Result<ExitCode> {
    let mut runtime = Runtime::start()?.without_time_limit();
    let program = ["--release", "--package", "completion-port", "--example", example];

    let mut build = runtime.cargo("build");
    let outcome = runtime.run(build.args(program))?;
    if outcome != ExitCode::SUCCESS {
        return Ok(outcome);
    }
    let mut run = runtime.cargo("run");
    runtime.run(run.args(program).args(["--quiet", "--"]).args(args))
}
