//! `cargo xtask mutants`: cargo-mutants on the rooms that have no `unsafe` code,
//! with mutations of its own; `.cargo/mutants.toml` says which.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::results::{self, split};
use crate::runtime::Runtime;

#[derive(clap::Args)]
pub struct Args {
    /// Test on the simulated kernel, which does what others seldom do
    #[arg(long)]
    simulated: bool,
    /// Passed to cargo-mutants, such as `--list` or `--re src/port/batch`
    #[arg(allow_hyphen_values = true)]
    mutants: Vec<OsString>,
    /// Passed to `cargo test`, to have but a part of the tests, such as `--test batch`;
    /// after another `--`, to the test programs
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

/// All tests but those of the example programs, which these builds leave out.
const TESTS: [&str; 3] = ["--lib", "--test=[!e]*", "--test=error*"];

pub fn run(args: &Args) -> Result<ExitCode> {
    cargo::install("cargo-mutants", "^27")?;
    let (options, rest) = split(&args.mutants, &args.cargo);
    let (chosen, tests) = split(rest, &[]);
    check_that_there_are_some(options)?;
    let mut runtime = Runtime::start()?;
    let on_kernel = |mut command: Command| {
        if args.simulated {
            // There is one in a program, so its tests take turns.
            command = cargo::on_simulated_kernel(command);
            command.env("RUST_TEST_THREADS", "1");
        }
        command
    };
    if !rest.is_empty() {
        // Where no test is run, every mutant survives.
        let mut test = on_kernel(runtime.cargo("test"));
        test.args(["--package", "completion-port"]).args(chosen).arg("--").args(tests);
        let code = results::count([test], tests, |test| runtime.run(test))?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    let mut mutants = on_kernel(cargo::cargo());
    mutants.args(["mutants", "--package", "completion-port"]);
    let all = TESTS.map(OsString::from);
    for test in if chosen.is_empty() { &all } else { chosen } {
        // For building and for running.
        let mut argument = OsString::from("--cargo-arg=");
        argument.push(test);
        mutants.arg(argument);
    }
    mutants.args(options).current_dir(cargo::workspace());
    if !tests.is_empty() {
        mutants.args(["--", "--"]).args(tests);
    }
    runtime.describe_to(&mut mutants);
    // Half of a build's time is spent on them.
    mutants.env("CARGO_PROFILE_DEV_DEBUG", "none");
    runtime.run(&mut mutants)
}

/// cargo-mutants is content with options that leave no mutant.
fn check_that_there_are_some(options: &[OsString]) -> Result<()> {
    let mut list = cargo::cargo();
    list.args(["mutants", "--list", "--package", "completion-port"]);
    list.args(options.iter().filter(|option| *option != "--list"));
    let output = list.current_dir(cargo::workspace()).output().context("cannot run cargo")?;
    if output.status.success() && output.stdout.is_empty() {
        bail!("there is no mutant that fits these options");
    }
    Ok(())
}
