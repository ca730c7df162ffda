//! Counting, live progress, and the summary.
#![allow(clippy::cast_precision_loss, reason = "rates are read by people")]

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use completion_port::Error;

/// What the threads count together.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicUsize,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    completions: AtomicUsize,
    dequeues: AtomicUsize,
    started: AtomicUsize,
    cancelled: AtomicUsize,
    errors: AtomicUsize,
    pub stopping: Flag,
}

/// A condition that becomes true once.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn add(counter: &AtomicUsize, count: usize) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

impl Counters {
    pub fn connected(&self) {
        add(&self.connections, 1);
    }

    pub fn echoed(&self, bytes: usize) {
        add(&self.messages, 1);
        add(&self.bytes, bytes);
    }

    pub fn dequeued(&self, completions: usize) {
        add(&self.dequeues, 1);
        add(&self.completions, completions);
    }

    pub fn started(&self) {
        add(&self.started, 1);
    }

    pub fn failed(&self, error: &Error) {
        if error.is_cancelled() || self.stopping.is_set() {
            add(&self.cancelled, 1);
        } else {
            add(&self.errors, 1);
            eprintln!("\n{error}");
        }
    }

    /// Operations that have been started and not been completed.
    pub fn in_flight(&self) -> usize {
        // A completion can be counted before the start that it belongs to.
        get(&self.started).saturating_sub(get(&self.completions))
    }
}

/// Rewrites one line while the demo runs.
pub fn show_progress(start: Instant, counters: &Counters) {
    let elapsed = start.elapsed().as_secs_f64();
    print!(
        "\r{elapsed:6.1} s  {:6} connections  {:10} echoes  {:8.2} MB/s ",
        get(&counters.connections),
        get(&counters.messages),
        get(&counters.bytes) as f64 / elapsed / 1e6,
    );
    // Nobody is looking if this fails.
    let _ = io::stdout().flush();
}

/// What the clients found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Clients that ended as they should.
    pub connections: usize,
    /// Messages that came back whole.
    pub messages: usize,
    /// Those of the client that got the fewest.
    pub fewest: usize,
    /// Bytes that came back as they were sent.
    pub bytes: usize,
    /// Bytes that did not, or messages that did not come back.
    pub wrong: usize,
    /// Operations that nobody completed.
    pub in_flight: usize,
}

pub struct Report {
    pub elapsed: Duration,
    pub server: Counters,
    /// `None` if the clients were not ours.
    pub verified: Option<Verified>,
}

impl Report {
    /// Whether every byte came back and nothing was left in flight.
    pub fn is_clean(&self) -> bool {
        // Clients that are not ours may end as they like.
        let nothing_wrong = self.verified.as_ref().is_none_or(|verified| {
            let all_came_back = verified.wrong == 0 && verified.messages > 0;
            all_came_back && verified.in_flight == 0 && get(&self.server.errors) == 0
        });
        nothing_wrong && self.server.in_flight() == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        let seconds = self.elapsed.as_secs_f64();
        let rate = |count: usize| count as f64 / seconds;
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<26}{value:>16}");
        row("time", format!("{seconds:.2} s"))?;
        row("connections", get(&server.connections).to_string())?;
        if let Some(verified) = &self.verified {
            row("messages verified", verified.messages.to_string())?;
            row("messages per second", format!("{:.0}", rate(verified.messages)))?;
            let fair = verified.messages as f64 / verified.connections.max(1) as f64;
            let share = verified.fewest as f64 / fair.max(1.0) * 100.0;
            row("slowest client's share", format!("{share:.0} % of fair"))?;
            row("bytes verified", verified.bytes.to_string())?;
            row("bytes wrong or missing", verified.wrong.to_string())?;
            row("client operations left", verified.in_flight.to_string())?;
        }
        row("echoes", get(&server.messages).to_string())?;
        row("throughput", format!("{:.2} MB/s", rate(get(&server.bytes)) / 1e6))?;
        row("completions", get(&server.completions).to_string())?;
        let per_dequeue = get(&server.completions) as f64 / get(&server.dequeues).max(1) as f64;
        row("completions per dequeue", format!("{per_dequeue:.2}"))?;
        row("cancelled", get(&server.cancelled).to_string())?;
        row("errors", get(&server.errors).to_string())?;
        row("operations left in flight", server.in_flight().to_string())?;
        f.write_str(match (self.is_clean(), &self.verified) {
            (true, Some(_)) => "every byte came back",
            (true, None) => "nothing was left in flight",
            (false, _) => "NOT CLEAN",
        })
    }
}
