//! `cargo xtask programs`: the programs in `programs/`, and the examples of
//! `completion-port-io`, driven by tools that others wrote.
//!
//! The tools are this machine's, so the tests run where they are built, and start the
//! programs on Windows as they are and on Linux under Wine.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cargo;
use crate::results::{self, PassOn};
use crate::runtime::Runtime;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pass_on: PassOn,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (options, tests) = args.pass_on.split();
    let mut runtime = Runtime::start()?;
    let mut cargo = test(&runtime)?;
    cargo.args(options).arg("--").args(tests);
    results::count([cargo], tests, |cargo| runtime.run(cargo))
}

/// Builds the programs; the call of cargo that runs their tests.
pub fn test(runtime: &Runtime) -> Result<Command> {
    let mut build = runtime.cargo("build");
    build.args(["--package", "programs", "--bins"]);
    build.args(["--package", "completion-port-io", "--examples", "--all-features"]);
    let mut programs = cargo::executables(&mut build)?;
    let program = programs.remove("http").context("cargo has not built the programs")?;
    let mut cargo = runtime.native_cargo("test");
    cargo
        .args(["--package", "program-tests"])
        .env("COMPLETION_PORT_PROGRAMS", program.with_file_name(""));
    Ok(cargo)
}
