//! `cargo xtask test`: the library's whole test suite.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::check::LIBRARY;
use crate::runtime::Runtime;

#[derive(clap::Args)]
pub struct Args {
    /// Passed to `cargo test`, such as `--test NAME` or `--doc`
    #[arg(allow_hyphen_values = true)]
    cargo: Vec<OsString>,
    /// Passed to the test programs, such as a part of the tests' names
    #[arg(last = true)]
    tests: Vec<OsString>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut runtime = Runtime::start()?;
    let mut cargo = runtime.cargo("test");
    cargo.args(LIBRARY).args(&args.cargo).arg("--").args(&args.tests);
    runtime.run(&mut cargo)
}
