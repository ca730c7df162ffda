//! `cargo xtask deny`: what the library and its tools depend on. `cargo xtask semver`: what
//! depends on the library. Both need tools that take minutes to install, so they are
//! commands of their own.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cargo::{self, WINDOWS_GNU, add_target};

#[derive(clap::Args)]
pub struct Deny {
    /// Passed to `cargo deny check`, such as `licenses`, in place of all that it checks
    #[arg(allow_hyphen_values = true)]
    checks: Vec<OsString>,
}

/// cargo-deny, as `deny.toml` tells it.
pub fn deny(args: &Deny) -> Result<ExitCode> {
    cargo::install("cargo-deny", "^0.20")?;
    let mut deny = cargo::cargo();
    deny.args(["deny", "--workspace", "--all-features", "check"]).args(&args.checks);
    let status = deny.current_dir(cargo::workspace()).status()?;
    if !status.success() {
        bail!("cargo deny has found what deny.toml does not allow");
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub struct Semver {
    /// The revision to compare with
    #[arg(default_value = "main")]
    revision: String,
}

/// cargo-semver-checks on the public interface.
pub fn semver(args: &Semver) -> Result<ExitCode> {
    cargo::install("cargo-semver-checks", "^0.51")?;
    add_target(WINDOWS_GNU)?;
    let mut semver = cargo::cargo();
    semver.args(["semver-checks", "--package", "completion-port", "--all-features"]);
    semver.args(["--target", WINDOWS_GNU, "--baseline-rev", &args.revision]);
    let status = semver.current_dir(cargo::workspace()).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
