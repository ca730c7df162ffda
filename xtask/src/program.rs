//! `cargo xtask demo`, `cargo xtask run-example`, `cargo xtask run-program` and `cargo xtask
//! soak`: one program, optimised.

use std::ffi::{OsStr, OsString};
use std::iter;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::runtime::Runtime;

#[path = "../../examples/echo_demo/arguments.rs"]
#[allow(dead_code, reason = "the program itself uses them")]
mod demo;
#[path = "../../soak/src/arguments.rs"]
#[allow(dead_code, reason = "the program itself uses them")]
mod soak;

pub fn run_demo(args: &[OsString]) -> Result<ExitCode> {
    check::<demo::Arguments>("cargo xtask demo", args);
    build_and_run(&["--package", "demo"], args)
}

pub fn run_example(name: &str, args: &[OsString]) -> Result<ExitCode> {
    build_and_run(&["--package", "completion-port", "--example", name], args)
}

pub fn run_program(name: &str, args: &[OsString]) -> Result<ExitCode> {
    build_and_run(&["--package", "programs", "--bin", name], args)
}

pub fn run_soak(args: &[OsString]) -> Result<ExitCode> {
    check::<soak::Arguments>("cargo xtask soak", args);
    build_and_run(&["--package", "soak"], args)
}

/// Ends this program if the arguments are wrong, or ask what there are.
fn check<Arguments: CommandFactory>(name: &'static str, args: &[OsString]) {
    let command = Arguments::command().name(name).bin_name(name);
    let args = iter::once(OsStr::new(name)).chain(args.iter().map(OsString::as_os_str));
    if let Err(error) = command.try_get_matches_from(args) {
        error.exit();
    }
}

/// Builds before it runs, so that the one shows its progress and the other
/// only its own output.
fn build_and_run(program: &[&str], args: &[OsString]) -> Result<ExitCode> {
    let mut runtime = Runtime::start()?.without_time_limit();
    let mut build = runtime.cargo("build");
    let outcome = runtime.run(build.arg("--release").args(program))?;
    if outcome != ExitCode::SUCCESS {
        return Ok(outcome);
    }
    let mut run = runtime.cargo("run");
    runtime.run(run.arg("--release").args(program).args(["--quiet", "--"]).args(args))
}
