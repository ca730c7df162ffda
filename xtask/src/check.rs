//! `cargo xtask check`: all that can be checked without running a program.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, WINDOWS_GNU, add_target};
use crate::{behaviours, sabotage, unsafe_report};

/// What all is built for, whether or not it runs here.
const TARGETS: [&str; 5] = [
    WINDOWS_GNU,
    "x86_64-pc-windows-msvc",
    "aarch64-pc-windows-msvc",
    "i686-pc-windows-gnu",
    "i686-pc-windows-msvc",
];

/// What is run as a Windows program: all packages but the [tools](TOOLS).
pub const LIBRARY: [&str; 8] = [
    "--workspace",
    "--all-features",
    "--exclude",
    "xtask",
    "--exclude",
    "loom-tests",
    "--exclude",
    "program-tests",
];

/// What runs where it is built.
const TOOLS: [&str; 6] =
    ["--package", "xtask", "--package", "loom-tests", "--package", "program-tests"];

const NO_WARNINGS: [&str; 3] = ["--", "--deny", "warnings"];

pub fn run() -> Result<ExitCode> {
    check("format", || cargo(&["fmt", "--all", "--", "--check"]))?;
    add_target(WINDOWS_GNU)?;
    check("lints of the simulated kernel and the tests on it", || {
        let mut clippy = cargo::on_simulated_kernel(cargo::cargo());
        clippy.args(["clippy", "--tests", "--all-features", "--target", WINDOWS_GNU]);
        clippy.args(["--package", "completion-port", "--package", "simulated-kernel"]);
        finish(clippy.args(NO_WARNINGS))
    })?;
    for target in TARGETS {
        check(&format!("lints for {target}"), || {
            add_target(target)?;
            let all = ["--workspace", "--all-targets", "--all-features"];
            let args = [&["clippy", "--target", target][..], &all].concat();
            cargo(&[&args[..], &NO_WARNINGS].concat())
        })?;
    }
    check("lints of the tools on this machine", || {
        cargo(&[&["clippy", "--all-targets"][..], &TOOLS, &NO_WARNINGS].concat())
    })?;
    check("tests of xtask", || cargo(&["test", "--package", "xtask"]))?;
    check("documentation", || {
        let args = ["doc", "--no-deps", "--target", WINDOWS_GNU];
        let mut doc = cargo::cargo();
        finish(doc.args([&args[..], &LIBRARY].concat()).env("RUSTDOCFLAGS", "--deny warnings"))
    })?;
    check("uses of unsafe", || match unsafe_report::run()? {
        ExitCode::SUCCESS => Ok(()),
        _ => bail!("see above"),
    })?;
    check("list of what is not tested everywhere", || {
        behaviours::run(&behaviours::Args::default()).map(drop)
    })?;
    check("table of mutations", sabotage::check_table)?;
    check_oldest_rust()?;
    println!("\nAll checks passed.");
    Ok(ExitCode::SUCCESS)
}

fn check(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n== {name}");
    let start = Instant::now();
    work().with_context(|| format!("the check of this failed: {name}"))?;
    println!("== {name}: good ({:.1} s)", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(args: &[&str]) -> Result<()> {
    println!("> cargo {}", args.join(" "));
    finish(cargo::cargo().args(args))
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    Ok(())
}

/// Builds the libraries with the oldest Rust that it is for, where rustup can install that.
fn check_oldest_rust() -> Result<()> {
    let version = oldest_rust()?;
    if !install_rust(&version) {
        println!(
            "\n== Rust {version}: NOT BUILT WITH: rustup cannot install it here. That no newer \
             API is used was checked by clippy's lint incompatible_msrv only."
        );
        return Ok(());
    }
    for features in ["--all-features", "--no-default-features"] {
        check(&format!("Rust {version}, {features}"), || {
            let mut command = Command::new("rustup");
            command.args(["run", &version, "cargo", "check", "--lib", "--target", WINDOWS_GNU]);
            command.args(["--package", "completion-port", "--package", "completion-port-io"]);
            finish(command.arg(features))
        })?;
    }
    Ok(())
}

/// The `rust-version` that the workspace gives its library.
fn oldest_rust() -> Result<String> {
    let manifest = fs::read_to_string(cargo::workspace().join("Cargo.toml"))?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.context("the workspace's Cargo.toml has no line `rust-version = …`")?;
    Ok(version.trim_matches('"').to_owned())
}

/// Sees to it that another Rust is there, with its windows-gnu standard library.
fn install_rust(version: &str) -> bool {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", version, "rustc"]);
    if cargo::has_target(&mut rustc, WINDOWS_GNU).unwrap_or(false) {
        return true;
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", version, "--profile", "minimal"]);
    rustup.args(["--no-self-update", "--target", WINDOWS_GNU]);
    rustup.status().is_ok_and(|status| status.success())
}
