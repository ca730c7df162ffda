//! The table of docs/performance.md.

use std::collections::HashMap;
use std::fmt;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::tracer::Region;
use crate::page::Place;

const PLACE: Place = Place::of("cost");

/// How much a row may grow before somebody has to look.
const TOLERANCE: f64 = 1.05;

pub struct Table {
    rows: Vec<Row>,
    compiler: String,
}

struct Row {
    name: String,
    by_hand: u64,
    library: u64,
}

impl Table {
    /// `output`: what the program printed, a row's name a line.
    pub fn new(output: &str, regions: &HashMap<u64, Region>, compiler: String) -> Result<Self> {
        let count = |region: u64, name: &str| -> Result<u64> {
            let region = regions.get(&region).with_context(|| format!("{name} was not counted"))?;
            Ok(region.instructions())
        };
        let rows = output
            .lines()
            .zip((0..).step_by(2))
            .map(|(name, region)| {
                let (by_hand, library) = (count(region, name)?, count(region + 1, name)?);
                Ok(Row { name: name.to_owned(), by_hand, library })
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
        PLACE.write(self)
    }

    /// Fails if a row has grown.
    pub fn compare(&self) -> Result<ExitCode> {
        let committed = PLACE.read()?;
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
            let cell = line.split('|').nth(3).context("the committed table is damaged")?;
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
        writeln!(f, "| operation | by hand | library | difference | ratio |")?;
        writeln!(f, "|---|---:|---:|---:|---:|")?;
        for Row { name, by_hand, library } in &self.rows {
            let difference = library.cast_signed() - by_hand.cast_signed();
            let ratio = *library as f64 / *by_hand as f64;
            writeln!(f, "| {name} | {by_hand} | {library} | {difference} | {ratio:.2} |")?;
        }
        writeln!(f, "\nBuilt by {}.", self.compiler)
    }
}
