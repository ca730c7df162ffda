//! The table of docs/performance.md.

use std::collections::HashMap;
use std::fmt;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::tracer::{Region, Trace};
use crate::page::Page;

/// How much a row may grow before somebody has to look.
const TOLERANCE: f64 = 1.05;

pub struct Table {
    rows: Vec<Row>,
    compiler: String,
}

struct Row {
    name: String,
    operations: f64,
    by_hand: u64,
    library: u64,
}

impl Table {
    /// The program prints a line for each row: its name, and its operations.
    pub fn new(trace: &Trace, compiler: String) -> Result<Self> {
        let rows = trace
            .output
            .lines()
            .zip((0..).step_by(2))
            .map(|(line, region)| {
                let (name, operations) = line.split_once(',').context("not a row")?;
                let count = |region| {
                    trace.instructions(region).with_context(|| format!("{name} was not counted"))
                };
                let (by_hand, library) = (count(region)?, count(region + 1)?);
                let (name, operations) = (name.to_owned(), operations.trim().parse()?);
                Ok(Row { name, operations, by_hand, library })
            })
            .collect::<Result<_>>()?;
        Ok(Self { rows, compiler })
    }

    /// All regions with names.
    pub fn regions<'a>(
        &'a self,
        regions: &'a HashMap<u64, Region>,
    ) -> impl Iterator<Item = (String, &'a Region)> {
        self.rows.iter().zip((0..).step_by(2)).flat_map(|(row, region)| {
            [("by hand", region), ("library", region + 1)]
                .map(|(side, region)| (format!("{}, {side}", row.name), &regions[&region]))
        })
    }

    pub fn write(&self) -> Result<ExitCode> {
        page().write(&self.to_string())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Fails if a row has grown.
    pub fn compare(&self) -> Result<ExitCode> {
        let committed = page().read()?;
        if !committed.contains(&self.compiler) {
            println!("the committed table is of another compiler: not compared");
            return Ok(ExitCode::SUCCESS);
        }
        let mut grown = false;
        for row in &self.rows {
            let start = format!("| {} |", row.name);
            let Some(line) = committed.lines().find(|line| line.starts_with(&start)) else {
                bail!("the committed table has no row for {}: write it anew", row.name)
            };
            let cell = line.split('|').nth(4).context("the committed table is damaged")?;
            let before: u64 = cell.trim().parse()?;
            if row.library as f64 > before as f64 * TOLERANCE {
                println!("{}: {} instructions, {before} before", row.name, row.library);
                grown = true;
            }
        }
        Ok(if grown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | operations | by hand | library | more, an operation | ratio |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        for Row { name, operations, by_hand, library } in &self.rows {
            let more = (*library as f64 - *by_hand as f64) / operations;
            let ratio = *library as f64 / *by_hand as f64;
            writeln!(
                f,
                "| {name} | {operations} | {by_hand} | {library} | {more:.0} | {ratio:.2} |"
            )?;
        }
        writeln!(f, "\nBuilt by {}.", self.compiler)
    }
}

fn page() -> Page {
    Page::new("performance.md", "cargo xtask cost --write")
}
