//! `cargo xtask bench`: how fast, how evenly and at what cost the library and
//! its peers serve.
//!
//! Every measurement is a program of its own: a peer, and for echo rows the
//! clients as well, which run outside Wine. All rows and all peers are measured
//! in turn, and then again, so that what changes on the machine meanwhile is
//! spread over all of them.
#![allow(clippy::cast_precision_loss, reason = "the counts are small")]

mod cpu;
mod pairs;
mod plan;
mod sample;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, value_parser};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cargo;
use crate::page::Page;
use crate::runtime::{self, Runtime};
use pairs::Pairs;
use plan::{PEERS, Peer, ROWS, Row};
use sample::Sample;
use table::Tables;

#[derive(Parser)]
pub struct Args {
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How long each measurement takes
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Only the rows and peers with this in ROW/PEER, such as `echo 64 x` or `/tokio`
    #[arg(long, value_name = "ROW/PEER", default_value = "")]
    only: String,
    /// Only the library and by hand, closer: by turns, and compared pair by pair
    #[arg(long)]
    pairs: bool,
    /// Write the tables into docs/performance.md
    #[arg(long)]
    write: bool,
}

fn seconds(text: &str) -> Result<f64> {
    let seconds: f64 = text.parse()?;
    ensure!((0.01..=3600.0).contains(&seconds), "{seconds} is not in 0.01..=3600");
    Ok(seconds)
}

/// The programs, by name.
type Programs = HashMap<String, PathBuf>;

pub fn run(args: &Args) -> Result<ExitCode> {
    let wanted: Vec<_> = ROWS
        .iter()
        .flat_map(|row| PEERS.iter().map(move |peer| (row, peer)))
        .filter(|(row, peer)| peer.does(&row.job) && row.of(peer).contains(&args.only))
        .filter(|(_, peer)| !args.pairs || pairs::both().iter().any(|one| one.name == peer.name))
        .collect();
    if wanted.is_empty() {
        bail!("no row and peer is named like {:?}", args.only);
    }
    if args.pairs && wanted.len() % 2 != 0 {
        bail!("--pairs takes a row of both peers, and {:?} is of one", args.only);
    }
    runtime::prepare()?;
    let programs = build(&wanted)?;
    let processors = cpu::Processors::find()?;
    // Wine, and with it all peers, inherit this.
    cpu::run_all_on(processors.server()).context("cannot choose processors")?;
    let runtime = Runtime::start()?.without_time_limit();
    let _awake = cpu::keep_awake(&processors);

    let rounds = args.rounds as usize;
    let progress = ProgressBar::new((rounds * wanted.len()) as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}")?);
    let mut failures = Vec::new();
    let mut measure = |row: &Row, peer: &Peer| {
        let name = row.of(peer);
        progress.set_message(name.clone());
        let measured = Sample::take(&runtime, &programs, &processors, row, peer, args.seconds);
        if let Err(error) = &measured {
            failures.push(format!("{name}: {error:#}"));
        }
        progress.inc(1);
        measured
    };
    let (text, command) = if args.pairs {
        let mut pairs = Pairs::new(args.seconds)?;
        for round in 0..rounds {
            for pair in wanted.chunks_exact(2) {
                // What changes on the machine meanwhile is for and against both.
                let mut pair = [pair[0], pair[1]];
                pair.rotate_left(round % 2);
                let mut measured = pair.map(|(row, peer)| measure(row, peer));
                measured.rotate_right(round % 2);
                if let [Ok(library), Ok(by_hand)] = measured {
                    pairs.add(pair[0].0, [library, by_hand]);
                }
            }
        }
        (pairs.to_string(), "cargo xtask bench --pairs --write")
    } else {
        let mut tables = Tables::new(rounds, args.seconds)?;
        for _ in 0..rounds {
            for (row, peer) in &wanted {
                tables.add(row, peer, measure(row, peer));
            }
        }
        (tables.to_string(), "cargo xtask bench --write")
    };
    progress.finish_and_clear();
    for failure in &failures {
        eprintln!("not measured: {failure}");
    }
    println!("{text}");
    if args.write {
        Page::new("performance.md", command).write(&text)?;
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the peers for Windows and the clients for this machine.
fn build(wanted: &[(&Row, &Peer)]) -> Result<Programs> {
    let mut peers = vec!["peers", "--target", cargo::WINDOWS_GNU];
    peers.extend(wanted.iter().flat_map(|(_, peer)| ["--bin", peer.program]));
    let mut programs = Programs::new();
    for package in [peers.as_slice(), &["load"]] {
        let mut build = cargo::cargo();
        build.args(["build", "--release", "--manifest-path"]);
        build.arg(folder().join("Cargo.toml")).arg("--target-dir").arg(target_folder());
        // One peer asks for a newer Rust than it needs.
        build.args(["--ignore-rust-version", "--package"]).args(package);
        programs.extend(cargo::executables(&mut build)?);
    }
    Ok(programs)
}

/// The workspace of the peers.
fn folder() -> PathBuf {
    cargo::workspace().join("benches/peers")
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| cargo::workspace().join("target"), |folder| Path::new(&folder).into())
}
