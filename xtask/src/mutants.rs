//! `cargo xtask mutants`: cargo-mutants on the rooms that have no `unsafe` code,
//! with mutations of its own; `.cargo/mutants.toml` says which.

use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, bail};

use crate::cargo;
use crate::runtime::Runtime;

#[derive(clap::Args)]
pub struct Args {
    /// Test on the simulated kernel, which does what others seldom do
    #[arg(long)]
    simulated: bool,
    /// Passed to cargo-mutants, such as `--list` or `--re src/port/batch`; what
    /// stands after `--` to cargo, to have but a part of the tests: `--test batch`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// All tests but those of the example programs, which these builds leave out.
const TESTS: [&str; 3] = ["--lib", "--test=[!e]*", "--test=error*"];

pub fn run(args: &Args) -> Result<ExitCode> {
    install()?;
    let mut runtime = Runtime::start()?;
    let mut mutants = cargo::cargo();
    if args.simulated {
        // There is one in a program, so its tests take turns.
        mutants = cargo::on_simulated_kernel(mutants);
        mutants.env("RUST_TEST_THREADS", "1");
    }
    mutants.args(["mutants", "--package", "completion-port"]);
    let all = TESTS.map(OsString::from);
    let (options, tests) = match args.args.iter().position(|argument| argument == "--") {
        Some(end) => (&args.args[..end], &args.args[end + 1..]),
        None => (&args.args[..], &all[..]),
    };
    for test in tests {
        // For building and for running.
        let mut argument = OsString::from("--cargo-arg=");
        argument.push(test);
        mutants.arg(argument);
    }
    mutants.args(options).current_dir(cargo::workspace());
    runtime.describe_to(&mut mutants);
    // Half of a build's time is spent on them.
    mutants.env("CARGO_PROFILE_DEV_DEBUG", "none");
    runtime.run(&mut mutants)
}

/// Sees to it that cargo-mutants is there.
fn install() -> Result<()> {
    let mut version = cargo::cargo();
    version.args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    eprintln!("cargo: installing cargo-mutants");
    let mut install: Command = cargo::cargo();
    install.args(["install", "--locked", "--version", "^27", "cargo-mutants"]);
    if !install.status()?.success() {
        bail!("cargo-mutants is missing: install it with `cargo install cargo-mutants`");
    }
    Ok(())
}
