//! The library and the program by hand, closer: one after the other, pair by
//! pair.

use std::fmt;

use super::plan::{BY_HAND, PEERS, Peer, ROWS, Row};
use super::sample::Sample;
use crate::linux::build;

/// The two that are compared: the library, and by hand.
pub fn both() -> [&'static Peer; 2] {
    let of = |name| PEERS.iter().find(|peer| peer.name == name).expect("a peer");
    [of("completion-port"), of(BY_HAND)]
}

/// A comparison of each row.
pub struct Pairs {
    /// By row: the library and by hand.
    samples: Vec<Vec<[Sample; 2]>>,
    seconds: f64,
    compiler: String,
}

impl Pairs {
    pub fn new(seconds: f64) -> anyhow::Result<Self> {
        let samples = ROWS.iter().map(|_| Vec::new()).collect();
        Ok(Self { samples, seconds, compiler: build::compiler()? })
    }

    pub fn add(&mut self, row: &Row, pair: [Sample; 2]) {
        let row = ROWS.iter().position(|other| other.name == row.name).expect("a row");
        self.samples[row].push(pair);
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| row | pairs | throughput | p99 | processor time |")?;
        writeln!(f, "|---|---:|---:|---:|---:|")?;
        for (row, pairs) in ROWS.iter().zip(&self.samples).filter(|(_, pairs)| !pairs.is_empty()) {
            let ratio = |value: fn(&Sample) -> f64| {
                Ratio::of(pairs.iter().map(|[library, by_hand]| value(library) / value(by_hand)))
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} |",
                row.name,
                pairs.len(),
                ratio(|sample| sample.report.messages as f64 / sample.report.seconds),
                ratio(|sample| sample.report.p99),
                ratio(|sample| sample.process + sample.server),
            )?;
        }
        let (seconds, compiler) = (self.seconds, &self.compiler);
        writeln!(f, "\n{seconds} s each. Built by {compiler}.")
    }
}

/// The median of some ratios, and where it is with a probability of 95 % (94 if
/// they are five).
struct Ratio {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Ratio {
    fn of(ratios: impl Iterator<Item = f64>) -> Self {
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let last = ratios.len() - 1;
        // As many as heads among so many coins are below the true median.
        let (mut rank, mut heads) = (0, (-(ratios.len() as f64)).exp2());
        let mut outside = 2.0 * heads;
        while rank < last / 2 {
            heads *= (ratios.len() - rank) as f64 / (rank + 1) as f64;
            outside += 2.0 * heads;
            if outside > 0.05 {
                break;
            }
            rank += 1;
        }
        Self {
            median: f64::midpoint(ratios[last / 2], ratios[last.div_ceil(2)]),
            least: ratios[rank],
            greatest: ratios[last - rank],
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}..{:.2})", self.median, self.least, self.greatest)
    }
}

#[cfg(test)]
mod tests {
    use super::Ratio;

    #[test]
    fn the_median_of_few_ratios_may_be_anywhere_among_them() {
        let ratio = Ratio::of([1.2, 0.9, 1.0].into_iter());
        assert_eq!(ratio.to_string(), "1.00 (0.90..1.20)");
    }

    #[test]
    fn the_median_of_many_ratios_is_near_the_middle_one() {
        // Those of rank 6 and 16 of 21 have it between them in 97 of 100 cases,
        // those of rank 7 and 15 in 92.
        let ratio = Ratio::of((1..=21).map(|rank| 1.0 + f64::from(rank) / 100.0));
        assert_eq!(ratio.to_string(), "1.11 (1.06..1.16)");
    }
}
