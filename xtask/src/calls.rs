//! `cargo xtask calls`: how many system calls an operation takes, on the
//! library and by hand.
//!
//! Under Wine a system call on a handle is a request to the wineserver, which
//! can say of each what it is. The program in `benches/cost/src/bin/calls` runs
//! a few rounds and then more of them: what the second run asks more is the
//! rounds', and start and end fall out.
#![allow(clippy::cast_precision_loss, reason = "the counts are small")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tempfile::NamedTempFile;

use crate::cost;
use crate::page::Page;
use crate::runtime::Runtime;

#[derive(Parser)]
pub struct Args {
    /// Write the table into docs/performance.md
    #[arg(long)]
    write: bool,
    /// Also show which requests they are
    #[arg(long)]
    requests: bool,
}

/// The rounds of the two runs.
const FEW: usize = 40;
const MANY: usize = 304;

/// What differs by less came from outside the rounds.
const TOLERANCE: f64 = 0.05;

pub fn run(args: &Args) -> Result<ExitCode> {
    let trace = NamedTempFile::new()?;
    let runtime = Runtime::start_traced(Stdio::from(trace.as_file().try_clone()?))?;
    let program = cost::build(&runtime, "calls")?;
    let mut tracer = Tracer { runtime, program, trace: trace.reopen()? };
    let (names, _) = tracer.run(&[])?;

    let mut table = Table::default();
    for (number, name) in names.lines().enumerate() {
        let by_hand = tracer.requests_per_round(number, "by-hand")?;
        let library = tracer.requests_per_round(number, "library")?;
        if args.requests {
            println!("{name}\n  by hand: {}\n  library: {}", list(&by_hand), list(&library));
        }
        table.rows.push(Row { name: name.to_owned(), by_hand, library });
    }
    println!("{table}");
    if args.write {
        Page::new("performance.md", "cargo xtask calls --write").write(&table.to_string())?;
    }
    Ok(if table.is_equal() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Requests by their names.
type Requests = BTreeMap<String, f64>;

struct Tracer {
    runtime: Runtime,
    program: PathBuf,
    trace: File,
}

impl Tracer {
    fn requests_per_round(&mut self, row: usize, side: &str) -> Result<Requests> {
        let (_, few) = self.run(&[&row.to_string(), side, &FEW.to_string()])?;
        let (_, mut requests) = self.run(&[&row.to_string(), side, &MANY.to_string()])?;
        for (name, count) in few {
            *requests.entry(name).or_default() -= count;
        }
        requests.retain(|_, count| *count != 0.0);
        for count in requests.values_mut() {
            *count /= (MANY - FEW) as f64;
        }
        Ok(requests)
    }

    /// What the program printed, and its requests.
    fn run(&mut self, args: &[&str]) -> Result<(String, Requests)> {
        let mut command = self.runtime.wine(&self.program);
        command.args(args).env("WINEDEBUG", "-all,+server").stderr(Stdio::inherit());
        let output = command.output().context("cannot start the program")?;
        ensure!(output.status.success(), "calls {} ended with {}", args.join(" "), output.status);
        // The file is read on from where the last run ended.
        let mut lines = Vec::new();
        self.trace.read_to_end(&mut lines)?;
        let mut requests = Requests::new();
        for name in String::from_utf8_lossy(&lines).lines().filter_map(request) {
            *requests.entry(name.to_owned()).or_default() += 1.0;
        }
        ensure!(!requests.is_empty(), "Wine has written no trace");
        Ok((String::from_utf8(output.stdout)?, requests))
    }
}

/// The name of the request that a line of the trace tells of, such as
/// `0024: close( handle=0010 )`. Answers are `0024: close() = 0`.
fn request(line: &str) -> Option<&str> {
    let (thread, rest) = line.split_once(": ")?;
    let (name, arguments) = rest.split_once('(')?;
    let is_request = thread.bytes().all(|byte| byte.is_ascii_hexdigit())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && !arguments.starts_with(") = ");
    is_request.then_some(name)
}

fn total(requests: &Requests) -> f64 {
    requests.values().sum()
}

fn list(requests: &Requests) -> String {
    let requests = requests.iter().map(|(name, count)| format!("{count:.2} {name}"));
    requests.collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    by_hand: Requests,
    library: Requests,
}

impl Table {
    /// Whether the library asks the system for no more than the other side.
    fn is_equal(&self) -> bool {
        self.rows.iter().all(|row| total(&row.library) < total(&row.by_hand) + TOLERANCE)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("| round | by hand | library |\n|---|---:|---:|\n")?;
        for Row { name, by_hand, library } in &self.rows {
            writeln!(f, "| {name} | {:.2} | {:.2} |", total(by_hand), total(library))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::request;

    #[test]
    fn requests_are_told_from_answers_and_events() {
        assert_eq!(request("0024: close( handle=0010 )"), Some("close"));
        assert_eq!(request("0024: get_startup_info( )"), Some("get_startup_info"));
        assert_eq!(request("0024: close() = 0"), None);
        assert_eq!(request("0024: *signal* signal=10"), None);
        assert_eq!(request("0024: *killed* exit_code=0"), None);
    }
}
