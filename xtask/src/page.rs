//! The part of a page that a command writes, between two marks.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cargo;

const END: &str = "<!-- end -->";

pub struct Page {
    path: PathBuf,
    /// The mark that the part begins after.
    begin: String,
}

impl Page {
    /// The part of the page `name` in docs that `command` writes.
    pub fn new(name: &str, command: &str) -> Self {
        let path = cargo::workspace().join("docs").join(name);
        Self { path, begin: format!("<!-- {command} -->\n") }
    }

    /// What is written there.
    pub fn read(&self) -> Result<String> {
        let text = fs::read_to_string(&self.path)?;
        Ok(self.split(&text)?.1.to_owned())
    }

    pub fn write(&self, part: &str) -> Result<()> {
        let text = fs::read_to_string(&self.path)?;
        let (before, _, after) = self.split(&text)?;
        fs::write(&self.path, format!("{before}{}{part}{END}{after}", self.begin))?;
        println!("written to {}", self.path.display());
        Ok(())
    }

    /// The page before the part, the part, and the page after it.
    fn split<'a>(&self, text: &'a str) -> Result<(&'a str, &'a str, &'a str)> {
        let parts = text.split_once(&self.begin).and_then(|(before, rest)| {
            rest.split_once(END).map(|(part, after)| (before, part, after))
        });
        parts.with_context(|| format!("{} has no place for this", self.path.display()))
    }
}
