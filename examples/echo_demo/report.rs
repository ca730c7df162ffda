//! Counting, live progress, and the summary.
#![allow(clippy::cast_precision_loss, reason = "rates are read by people")]

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::print::{Printer, Text};

/// How many errors of each kind are printed, too.
const PRINTED: usize = 3;

/// What the server's threads count together.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicUsize,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    completions: AtomicUsize,
    dequeues: AtomicUsize,
    started: AtomicUsize,
    cancelled: AtomicUsize,
}

fn add(counter: &AtomicUsize, count: usize) {
    counter.fetch_add(count, Ordering::SeqCst);
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

    /// Counts an operation that is about to be started.
    pub fn starting(&self) {
        add(&self.started, 1);
    }

    /// Counts accepts, which the listener has started, when they are over.
    pub fn accepting(&self, accepts: usize) {
        add(&self.started, accepts);
    }

    pub fn refused(&self) {
        self.started.fetch_sub(1, Ordering::SeqCst);
    }

    /// Counts completions whose next operations have been started.
    pub fn served(&self, completions: usize) {
        add(&self.dequeues, 1);
        add(&self.completions, completions);
    }

    pub fn cancelled(&self) {
        add(&self.cancelled, 1);
    }

    /// Operations that are in flight, or whose completion is being served.
    pub fn in_flight(&self) -> usize {
        let completions = get(&self.completions);
        get(&self.started).saturating_sub(completions)
    }

    /// What has been done so far, in a line.
    pub fn progress(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        format!(
            "{seconds:6.1} s  {:6} connections  {:10} echoes  {:8.2} MB/s",
            get(&self.connections),
            get(&self.messages),
            get(&self.bytes) as f64 / seconds / 1e6,
        )
    }
}

/// Errors by kind. The first few of each kind are also printed.
#[derive(Debug)]
pub struct Errors {
    counts: Mutex<BTreeMap<String, usize>>,
    printer: Printer,
}

impl Errors {
    pub fn new(printer: Printer) -> Self {
        Self { counts: Mutex::default(), printer }
    }

    pub fn count(&self, who: impl Display, kind: impl Debug, error: impl Display) {
        let mut counts = self.counts.lock().expect("nobody panics with the lock");
        let count = counts.entry(format!("{kind:?}")).or_default();
        *count += 1;
        if *count <= PRINTED {
            self.printer.print(Text::Err(format!("\n{who}: {error}\n")));
        }
    }
}

/// What the clients found.
#[derive(Debug, Default)]
pub struct Verified {
    /// How long it took them all to connect.
    pub connecting: Duration,
    /// How long they sent and received.
    pub elapsed: Duration,
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
    /// How long the server served.
    pub elapsed: Duration,
    /// Accepts that were in flight when the server was stopped.
    pub accepting: usize,
    pub counters: Counters,
    /// `None` if the clients were not ours.
    pub verified: Option<Verified>,
    pub errors: Arc<Errors>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.verdict().is_ok()
    }

    /// How it ended. Errors alone are no fault: clients that are not ours may
    /// end as they like.
    fn verdict(&self) -> Result<&'static str, &'static str> {
        if self.verified.as_ref().is_some_and(|verified| verified.wrong > 0) {
            return Err("bytes are wrong or missing");
        }
        let clients_left = self.verified.as_ref().map_or(0, |verified| verified.in_flight);
        if clients_left + self.counters.in_flight() > 0 {
            return Err("operations were left in flight");
        }
        if self.accepting == 0 {
            return Err("no accept was left in flight");
        }
        Ok(match self.verified {
            Some(_) => "every byte came back",
            None => "nothing was left in flight",
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = &self.counters;
        let elapsed = self.verified.as_ref().map_or(self.elapsed, |verified| verified.elapsed);
        let rate = |count: usize| count as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<26}{value:>16}");
        row("time", format!("{:.2} s", elapsed.as_secs_f64()))?;
        row("connections", get(&counters.connections).to_string())?;
        if let Some(verified) = &self.verified {
            row("time to connect", format!("{:.2} s", verified.connecting.as_secs_f64()))?;
            row("messages verified", verified.messages.to_string())?;
            row("messages per second", format!("{:.0}", rate(verified.messages)))?;
            let fair = verified.messages as f64 / verified.connections.max(1) as f64;
            let share = verified.fewest as f64 / fair.max(1.0) * 100.0;
            row("slowest client's share", format!("{share:.0} % of fair"))?;
            row("bytes verified", verified.bytes.to_string())?;
            row("bytes wrong or missing", verified.wrong.to_string())?;
            row("client operations left", verified.in_flight.to_string())?;
        }
        row("echoes", get(&counters.messages).to_string())?;
        row("throughput", format!("{:.2} MB/s", rate(get(&counters.bytes)) / 1e6))?;
        row("completions", get(&counters.completions).to_string())?;
        let per_dequeue = get(&counters.completions) as f64 / get(&counters.dequeues).max(1) as f64;
        row("completions per dequeue", format!("{per_dequeue:.2}"))?;
        row("cancelled", get(&counters.cancelled).to_string())?;
        let errors = self.errors.counts.lock().expect("nobody panics with the lock");
        row("errors", errors.values().sum::<usize>().to_string())?;
        for (kind, count) in errors.iter() {
            row(&format!("  {kind}"), count.to_string())?;
        }
        row("accepts at the end", self.accepting.to_string())?;
        row("operations left in flight", counters.in_flight().to_string())?;
        match self.verdict() {
            Ok(verdict) => f.write_str(verdict),
            Err(verdict) => write!(f, "NOT CLEAN: {verdict}"),
        }
    }
}
