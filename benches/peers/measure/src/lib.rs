//! Counts and times what a benchmark does, and reports it in one line.
//!
//! The program that measures prints [`START`] when its warm-up is over, and a
//! [`Report`] at the end; who started it reads the clocks of all processes at
//! these two lines.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub const START: &str = "start";

const WARM_UP: Duration = Duration::from_millis(300);

/// The longest latency that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// What was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub messages: u64,
    pub seconds: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// What the slowest lane got of its fair share: 1 is the best.
    pub fairness: f64,
}

/// Records messages of several lanes (connections, slots), by any thread.
pub struct Recorder {
    duration: Duration,
    recorded: Mutex<Recorded>,
}

struct Recorded {
    since: Instant,
    phase: Phase,
    latencies: Histogram<u64>,
    lanes: Vec<u64>,
}

enum Phase {
    WarmUp,
    Measuring,
    Over(Duration),
}

impl Recorder {
    /// Starts the warm-up.
    ///
    /// # Panics
    ///
    /// Never: the histogram's precision is a valid one.
    #[must_use]
    pub fn new(lanes: usize, duration: Duration) -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST, 3).expect("3 digits are possible");
        let lanes = vec![0; lanes];
        let recorded = Recorded { since: Instant::now(), phase: Phase::WarmUp, latencies, lanes };
        Self { duration, recorded: Mutex::new(recorded) }
    }

    /// Records a message that took from `started` until now; whether the lane
    /// shall go on.
    #[must_use]
    pub fn record(&self, lane: usize, started: Instant) -> bool {
        let now = Instant::now();
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.duration_since(recorded.since);
        match recorded.phase {
            Phase::WarmUp if elapsed < WARM_UP => true,
            Phase::WarmUp => {
                recorded.phase = Phase::Measuring;
                recorded.since = now;
                say(START);
                true
            }
            Phase::Measuring if elapsed < self.duration => {
                let latency = now.duration_since(started).as_nanos();
                recorded.latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
                recorded.lanes[lane] += 1;
                true
            }
            Phase::Measuring => {
                recorded.phase = Phase::Over(elapsed);
                false
            }
            Phase::Over(_) => false,
        }
    }

    /// Prints the [`Report`].
    ///
    /// # Panics
    ///
    /// If a lane has not been told to stop yet.
    pub fn report(&self) {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let Phase::Over(elapsed) = recorded.phase else { panic!("the measurement is not over") };
        let micros = |quantile| recorded.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let messages: u64 = recorded.lanes.iter().sum();
        let slowest = recorded.lanes.iter().min().copied().unwrap_or_default();
        let share = messages as f64 / recorded.lanes.len() as f64;
        let report = Report {
            messages,
            seconds: elapsed.as_secs_f64(),
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            fairness: if messages == 0 { 0.0 } else { slowest as f64 / share },
        };
        say(&serde_json::to_string(&report).expect("numbers can be written"));
    }
}

/// Prints a line for who started this program, at once.
pub fn say(line: &str) {
    let mut output = io::stdout().lock();
    // Nobody reads only when the benchmark was given up.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}
