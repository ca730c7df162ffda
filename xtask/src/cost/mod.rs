//! `cargo xtask cost`: how many instructions an operation takes, on the library
//! and by hand.
//!
//! Counted, not timed: the program in `benches/cost` is stepped one instruction
//! at a time between its marks, and those in its own image are counted. So the
//! numbers are the same on every run and on every machine, for one compiler.
#![allow(clippy::cast_precision_loss, reason = "the counts are small")]

mod image;
mod table;
mod tracer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::cargo;
use crate::linux::build;
use crate::runtime::Runtime;
use image::Image;
use table::Table;
pub use tracer::Trace;

#[derive(Parser)]
pub struct Args {
    /// Write the table into docs/performance.md, rather than compare with it
    #[arg(long)]
    write: bool,
    /// Also show the functions that take the most instructions, so many a row
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    functions: usize,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (image, trace) = trace("cost")?;
    let table = Table::new(&trace, build::compiler()?)?;
    println!("{table}");
    if args.functions > 0 {
        for (name, region) in table.regions(&trace.regions) {
            println!("{name}: {} instructions", region.instructions());
            for (function, count) in image.functions(region).into_iter().take(args.functions) {
                println!("  {count:8.1}  {function}");
            }
        }
    }
    if args.write { table.write() } else { table.compare() }
}

/// Builds a program of `benches/cost`, and counts its instructions.
pub fn trace(program: &str) -> Result<(Image, Trace)> {
    // Stepping goes back and forth between two processes: many times faster
    // on one processor.
    let mut one = CpuSet::new();
    one.set(0)?;
    sched_setaffinity(Pid::this(), &one)?;

    let runtime = Runtime::start()?;
    let program = build(&runtime, program)?;
    let image = Image::read(&program)?;
    let trace = tracer::trace(&runtime.wine(&program), &image)?;
    Ok((image, trace))
}

/// Builds a program of `benches/cost`; where it is.
pub fn build(runtime: &Runtime, program: &str) -> Result<PathBuf> {
    let mut build = runtime.cargo("build");
    build.args(["--release", "--package", "cost", "--bin", program]);
    cargo::executables(&mut build)?.remove(program).context("cargo has built nothing")
}
