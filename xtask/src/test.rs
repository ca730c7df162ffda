//! `cargo xtask test`: the library's whole test suite. `cargo xtask simulated`:
//! the same on the simulated kernel.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::cargo;
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

pub fn run_simulated(args: &Args) -> Result<ExitCode> {
    let mut runtime = Runtime::start()?;
    let mut cargo = cargo::on_simulated_kernel(runtime.cargo("test"));
    cargo.args(["--package", "completion-port"]).args(&args.cargo);
    if args.cargo.is_empty() {
        // Not the examples in the documentation, which know no other kernel.
        cargo.arg("--tests");
    }
    // There is one kernel in a program, and each test tells it what to do.
    cargo.args(["--", "--test-threads=1"]).args(&args.tests);
    runtime.run(&mut cargo)
}
