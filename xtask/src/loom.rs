//! `cargo xtask loom`: the library's lock-free protocols in all orders.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::cargo;

#[derive(clap::Args)]
pub struct Args {
    /// Passed to the test program, such as a part of the tests' names
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    tests: Vec<OsString>,
}

/// Needs neither Windows nor Wine. Optimised, because it is millions of runs.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut cargo = cargo::cargo();
    cargo.args(["test", "--release", "--package", "loom-tests", "--lib", "--"]).args(&args.tests);
    let code = cargo.status()?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
