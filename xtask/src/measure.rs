//! What the commands that measure have in common: the programs of
//! `benches/cost`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;
use crate::runtime::Runtime;

/// Builds a program of `benches/cost`; where it is.
pub fn build(runtime: &Runtime, program: &str) -> Result<PathBuf> {
    let mut build = runtime.cargo("build");
    build.args(["--release", "--package", "cost", "--bin", program]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo ended with {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    let Some(path) = messages.lines().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| path.to_owned())
    }) else {
        bail!("cargo does not say where it has put the program")
    };
    Ok(path.into())
}

/// The compiler that builds them.
pub fn compiler() -> Result<String> {
    let output = cargo::rustc().arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
