//! The tables of docs/performance.md.

use std::fmt;

use anyhow::Result;

use super::plan::{BY_HAND, PEERS, Peer, ROWS, Row};
use super::sample::Sample;
use crate::linux::build;

pub struct Tables {
    /// By row, then by peer.
    lines: Vec<Vec<Line>>,
    rounds: usize,
    seconds: f64,
    compiler: String,
}

/// What has been measured of a peer in a row.
#[derive(Default)]
struct Line {
    samples: Vec<Sample>,
    /// Why a measurement has failed.
    failure: Option<String>,
}

impl Tables {
    pub fn new(rounds: usize, seconds: f64) -> Result<Self> {
        let lines = ROWS.iter().map(|_| PEERS.iter().map(|_| Line::default()).collect()).collect();
        Ok(Self { lines, rounds, seconds, compiler: build::compiler()? })
    }

    pub fn add(&mut self, row: &Row, peer: &Peer, measured: Result<Sample>) {
        let row = ROWS.iter().position(|other| other.name == row.name).expect("a row");
        let peer = PEERS.iter().position(|other| other.name == peer.name).expect("a peer");
        let line = &mut self.lines[row][peer];
        match measured {
            Ok(sample) => line.samples.push(sample),
            Err(error) => line.failure = Some(format!("{error:#}")),
        }
    }
}

/// The median of what was measured, and how far it spread.
struct Spread {
    least: f64,
    median: f64,
    greatest: f64,
}

impl Spread {
    fn of(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> Self {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = f64::midpoint(values[last / 2], values[last.div_ceil(2)]);
        Self { least: values[0], median, greatest: values[last] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ({:.0}..{:.0})", self.median, self.least, self.greatest)
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Latencies (p50, p99, p99.9) and processor times (of the peer's process and of the \
             wineserver, for each message) are in microseconds. *Fairness* is what the slowest \
             connection got of its fair share. *Memory* is the most that was resident.\n"
        )?;
        for peer in &PEERS {
            writeln!(f, "- **{}**: {}.", peer.name, peer.how)?;
        }
        for (row, lines) in ROWS.iter().zip(&self.lines) {
            if lines.iter().any(|line| !line.samples.is_empty()) {
                write_row(f, row, lines)?;
            }
        }
        let (rounds, seconds, compiler) = (self.rounds, self.seconds, &self.compiler);
        writeln!(f, "\n{rounds} rounds of {seconds} s. Built by {compiler}.")
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row, lines: &[Line]) -> fmt::Result {
    writeln!(f, "\n### {}\n", uppercase(row.name))?;
    writeln!(
        f,
        "| peer | {}/s | of {BY_HAND} | p50 | p99 | p99.9 | fairness | process | wineserver | \
         memory |",
        row.unit
    )?;
    writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    let rate = |samples: &[Sample]| {
        Spread::of(samples, |sample| sample.report.messages as f64 / sample.report.seconds)
    };
    let by_hand = PEERS
        .iter()
        .zip(lines)
        .find(|(peer, line)| peer.name == BY_HAND && !line.samples.is_empty())
        .map(|(_, line)| rate(&line.samples).median);
    for (peer, Line { samples, failure }) in PEERS.iter().zip(lines) {
        if let (true, Some(reason)) = (samples.is_empty(), failure) {
            writeln!(f, "| {} | not measured: {reason} |", peer.name)?;
        }
        if samples.is_empty() {
            continue;
        }
        let of = |value: fn(&Sample) -> f64| Spread::of(samples, value);
        let rate = rate(samples);
        let ratio = by_hand
            .map_or_else(|| "–".to_owned(), |by_hand| format!("{:.2}", rate.median / by_hand));
        writeln!(
            f,
            "| {} | {rate} | {ratio} | {:.0} | {} | {:.0} | {:.2} | {:.1} | {:.1} | {:.1} MB |",
            peer.name,
            of(|sample| sample.report.p50).median,
            of(|sample| sample.report.p99),
            of(|sample| sample.report.p999).median,
            of(|sample| sample.report.fairness).median,
            of(|sample| sample.process).median,
            of(|sample| sample.server).median,
            of(|sample| sample.memory as f64).median / 1e6,
        )?;
    }
    Ok(())
}

fn uppercase(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}
