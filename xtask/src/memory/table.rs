//! What was counted, as docs/performance.md has it.

use std::fmt;

use anyhow::{Context, Result, bail};

use crate::cost::Trace;

/// How much dearer an operation may be for being one of many.
const TOLERANCE: f64 = 1.05;

pub struct Table {
    /// The bytes of an idle handle.
    handle: Pair,
    pub depths: Vec<Depth>,
}

#[derive(Clone, Copy)]
pub struct Pair {
    pub by_hand: u64,
    pub library: u64,
}

/// With so many operations in flight, what each takes.
pub struct Depth {
    pub in_flight: u64,
    pub instructions: Pair,
    bytes: Pair,
}

impl Table {
    pub fn new(trace: &Trace) -> Result<Self> {
        let mut lines = trace.output.lines().map(parse);
        let (_, handle) = lines.next().context("the program has printed nothing")??;
        let depths = lines
            .zip((0..).step_by(2))
            .map(|(line, region)| {
                let (in_flight, bytes) = line?;
                let instructions = Pair {
                    by_hand: trace.instructions(region)?,
                    library: trace.instructions(region + 1)?,
                };
                Ok(Depth { in_flight: in_flight.parse()?, instructions, bytes })
            })
            .collect::<Result<_>>()?;
        Ok(Self { handle, depths })
    }

    /// Whether an operation costs the library the same however many there are.
    pub fn is_flat(&self) -> bool {
        let instructions = || self.depths.iter().map(|depth| depth.instructions.library as f64);
        let (least, most) = (instructions().reduce(f64::min), instructions().reduce(f64::max));
        most <= least.map(|least| least * TOLERANCE)
    }
}

/// A line of the program's output: what it is about, and the bytes on both sides.
fn parse(line: &str) -> Result<(&str, Pair)> {
    let fields: Vec<_> = line.trim_end().split(',').collect();
    let [about, by_hand, library] = fields[..] else { bail!("the program printed {line:?}") };
    Ok((about, Pair { by_hand: by_hand.parse()?, library: library.parse()? }))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | instructions by hand | library | bytes by hand | library |")?;
        writeln!(f, "|---|---:|---:|---:|---:|")?;
        let Pair { by_hand, library } = self.handle;
        writeln!(f, "| an idle handle | | | {by_hand} | {library} |")?;
        for Depth { in_flight, instructions, bytes } in &self.depths {
            let (instructions, more) = (instructions.by_hand, instructions.library);
            let Pair { by_hand, library } = bytes;
            writeln!(
                f,
                "| an operation, of {in_flight} in flight | {instructions} | {more} | {by_hand} | {library} |"
            )?;
        }
        Ok(())
    }
}
