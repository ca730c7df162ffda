//! What is built to be looked at, rather than only run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// Builds, and says where the programs are that were made, by name.
pub fn executables(build: &mut Command) -> Result<HashMap<String, PathBuf>> {
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo ended with {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    let paths = messages.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        let path = PathBuf::from(rest.split_once('"')?.0);
        Some((path.file_stem()?.to_str()?.to_owned(), path))
    });
    Ok(paths.collect())
}

/// What the compiler says that it is.
pub fn compiler() -> Result<String> {
    let output = cargo::rustc().arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
