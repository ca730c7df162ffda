//! `cargo xtask miri`: the test suite under Miri, over the simulated kernel.
//!
//! Miri interprets the tests and finds what is undefined behaviour. It has no
//! completion ports, so the crate `simulated-kernel` stands in for the system.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::WINDOWS_GNU;

/// The kernel's handles are real files', so the tests may open some.
const ALWAYS: &str = "-Zmiri-disable-isolation";

/// The two sets of rules that are proposed for what references may do.
const MODELS: [(&str, &str); 2] =
    [("Tree Borrows", "-Zmiri-tree-borrows"), ("Stacked Borrows", "")];

/// Tests that leak on purpose, by parts of their names.
pub const LEAKING: [&str; 3] = ["forgotten", "leak", "fixed_buffers"];

/// What the random programs are told by; see tests/random_programs.
const RANDOM_PROGRAMS: [&str; 2] =
    ["COMPLETION_PORT_RANDOM_PROGRAMS", "COMPLETION_PORT_RANDOM_PROGRAM"];

/// Short tests in which threads race, by parts of their names.
const RACING: [&str; 3] = ["races_of", "amid", "over_before"];

#[derive(clap::Args)]
pub struct Args {
    /// Schedules that the races are tried in; more is slower
    #[arg(long, default_value_t = 8)]
    seeds: u32,
    /// Passed to `cargo miri test`, such as `--test NAME`
    #[arg(allow_hyphen_values = true)]
    cargo: Vec<OsString>,
    /// Passed to the test programs, such as a part of the tests' names
    #[arg(last = true)]
    tests: Vec<OsString>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    install()?;
    let mut failed = both_models(args)?;
    if args.cargo.is_empty() && args.tests.is_empty() {
        for (model, flag) in MODELS {
            let seeds = format!("{flag} -Zmiri-many-seeds=0..{}", args.seeds);
            let races = races(&seeds);
            failed |= !pass(&format!("races, {model}, {} schedules", args.seeds), races)?;
        }
        failed |= !pass("leaks on purpose", leaks())?;
    }
    println!("\n{}", if failed { "Miri found something." } else { "Miri found nothing." });
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs what was asked for by the rules of both models, at the same time;
/// whether anything failed.
fn both_models(args: &Args) -> Result<bool> {
    let [first, second] = MODELS.map(|(model, flag)| {
        let mut command = miri(flag);
        if args.cargo.is_empty() {
            command.arg("--tests");
        }
        command
            .args(&args.cargo)
            .args(["--no-fail-fast", "--", "--color", "never"])
            .args(&args.tests);
        (model, command)
    });
    thread::scope(|scope| {
        // Its output waits for the other's end.
        let second = scope.spawn(move || {
            let (model, mut command) = second;
            let start = Instant::now();
            let output = command.stdin(Stdio::null()).output().context("cannot run cargo miri")?;
            anyhow::Ok((model, output, start.elapsed()))
        });
        let good = pass(first.0, first.1)?;
        let (model, Output { status, stdout, stderr }, time) =
            second.join().expect("the thread does not panic")?;
        println!("\n== {model}");
        io::stderr().write_all(&stderr)?;
        io::stdout().write_all(&stdout)?;
        println!("== {model}: {} ({:.0} s)", verdict(status.success()), time.as_secs_f64());
        Ok(!good || !status.success())
    })
}

fn races(flags: &str) -> Command {
    let mut command = miri(flags);
    command.args(["--test", "simulated", "--", "--color", "never"]).args(RACING);
    command
}

fn leaks() -> Command {
    let mut command = miri("-Zmiri-tree-borrows -Zmiri-ignore-leaks");
    command.args(["--tests", "--no-fail-fast", "--", "--color", "never", "--ignored"]);
    command.args(LEAKING);
    command
}

/// Runs one command; whether all was well.
fn pass(name: &str, mut command: Command) -> Result<bool> {
    println!("\n== {name}");
    let start = Instant::now();
    let status = command.status().context("cannot run cargo miri")?;
    println!("== {name}: {} ({:.0} s)", verdict(status.success()), start.elapsed().as_secs_f64());
    Ok(status.success())
}

fn verdict(good: bool) -> &'static str {
    if good { "good" } else { "FAILED" }
}

fn miri(flags: &str) -> Command {
    let mut command = nightly("cargo");
    command.args(["miri", "test", "--package", "completion-port", "--target", WINDOWS_GNU]);
    let mut own = env::var("MIRIFLAGS").unwrap_or_default();
    // Programs have the environment that they were built in, but for this.
    for variable in RANDOM_PROGRAMS {
        if let Ok(value) = env::var(variable) {
            own.push_str(&format!(" -Zmiri-env-set={variable}={value}"));
        }
    }
    command.env("MIRIFLAGS", format!("{ALWAYS} {flags} {own}"));
    command
}

/// A program of the nightly toolchain. What cargo has told this program of its
/// own toolchain would mislead it.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTDOC"] {
        command.env_remove(variable);
    }
    command
}

/// Sees to it that Miri is there.
fn install() -> Result<()> {
    let mut version = nightly("cargo");
    version.args(["miri", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    eprintln!("rustup: installing a nightly Rust with Miri");
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    install.args(["--component", "miri", "--component", "rust-src", "--no-self-update"]);
    if !install.status().is_ok_and(|status| status.success()) {
        bail!("Miri is missing: install it with `rustup +nightly component add miri rust-src`");
    }
    Ok(())
}
