//! `cargo xtask memory`: what memory operations in flight and idle handles
//! take, on the library and by hand, and whether an operation costs the same
//! however many are in flight.

#![allow(clippy::cast_precision_loss, reason = "the counts are small")]

mod picture;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cost;
use crate::page::Page;
use table::Table;

#[derive(Parser)]
pub struct Args {
    /// Write the table into docs/performance.md, and draw its picture
    #[arg(long)]
    write: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (_, trace) = cost::trace("memory")?;
    let table = Table::new(&trace)?;
    println!("{table}");
    if args.write {
        Page::new("performance.md", "cargo xtask memory --write").write(&table.to_string())?;
        picture::draw(&table.depths)?;
    }
    Ok(if table.is_flat() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
