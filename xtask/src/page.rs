//! The page with the measured tables, docs/performance.md.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo;

const END: &str = "<!-- end -->";

/// The place in the page that one command writes.
pub struct Place(&'static str);

impl Place {
    /// That of `cargo xtask COMMAND --write`.
    pub const fn of(command: &'static str) -> Self {
        Self(command)
    }

    /// What stands there.
    pub fn read(&self) -> Result<String> {
        let text = fs::read_to_string(path())?;
        self.split(&text).map(|(_, table, _)| table.to_owned())
    }

    pub fn write(&self, table: &impl Display) -> Result<ExitCode> {
        let text = fs::read_to_string(path())?;
        let (before, _, after) = self.split(&text)?;
        fs::write(path(), format!("{before}{table}{after}"))?;
        println!("written to {}", path().display());
        Ok(ExitCode::SUCCESS)
    }

    /// The page before the table, the table, and the page after it.
    fn split<'a>(&self, page: &'a str) -> Result<(&'a str, &'a str, &'a str)> {
        let begin = format!("<!-- cargo xtask {} --write -->\n", self.0);
        let parts = page.find(&begin).and_then(|start| {
            let (before, rest) = page.split_at(start + begin.len());
            rest.find(END).map(|end| (before, &rest[..end], &rest[end..]))
        });
        parts.with_context(|| format!("docs/performance.md has no place for xtask {}", self.0))
    }
}

fn path() -> PathBuf {
    cargo::workspace().join("docs/performance.md")
}
