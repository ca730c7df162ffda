//! What the commands that measure have in common: the programs of
//! `benches/cost`, and the tables of docs/performance.md.

use std::fs;
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

/// The place in docs/performance.md for what `cargo xtask COMMAND --write` writes.
pub struct Place {
    page: PathBuf,
    begin: String,
}

const END: &str = "<!-- end -->";

impl Place {
    pub fn of(command: &str) -> Self {
        Self {
            page: cargo::workspace().join("docs/performance.md"),
            begin: format!("<!-- cargo xtask {command} --write -->\n"),
        }
    }

    /// What stands there.
    pub fn read(&self) -> Result<String> {
        let page = fs::read_to_string(&self.page)?;
        Ok(self.split(&page)?.1.to_owned())
    }

    pub fn write(&self, text: &str) -> Result<()> {
        let page = fs::read_to_string(&self.page)?;
        let (before, _, after) = self.split(&page)?;
        fs::write(&self.page, format!("{before}{}{text}{END}{after}", self.begin))?;
        println!("written to {}", self.page.display());
        Ok(())
    }

    /// The page before the place, what stands there, and the page after it.
    fn split<'a>(&self, page: &'a str) -> Result<(&'a str, &'a str, &'a str)> {
        let parts = page.split_once(&self.begin).and_then(|(before, rest)| {
            rest.split_once(END).map(|(text, after)| (before, text, after))
        });
        parts.with_context(|| format!("docs/performance.md has no line {}", self.begin.trim()))
    }
}
