//! What becomes known of one operation while a program runs.

use std::fmt;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Wake;
use std::time::Instant;

use completion_port::{Error, ErrorKind};

use crate::buffer::Taken;
use crate::log::{Log, Time};
use crate::program::Kind;

pub struct Operation {
    pub what: What,
    /// How many of its kind were started on its end before.
    pub turn: usize,
    /// The type of its buffer, if it has one of its own.
    pub kind: Option<Kind>,
    /// How many bytes there are to write, or there is room for.
    pub length: usize,
    /// How many bytes stand in its buffer before those.
    pub held: usize,
    pub offset: u64,
    /// The bytes that it writes.
    pub content: Vec<u8>,
    pub started: Time,
    facts: Mutex<Facts>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Read {
        end: usize,
    },
    Write {
        end: usize,
    },
    Accept {
        end: usize,
    },
    /// Of a socket of its own, to this end.
    Connect {
        end: usize,
    },
    Post {
        bytes: u32,
        handle_context: usize,
    },
    /// Not to go off before this.
    Timer {
        due: Instant,
    },
}

#[derive(Default)]
pub struct Facts {
    /// When its start was refused, and why.
    pub rejected: Option<(Time, ErrorKind)>,
    pub launched: Option<Time>,
    pub completed: Option<Completed>,
    /// What its `Pending` said.
    pub told: Option<Result<u32, ErrorKind>>,
    /// When its `Pending` first said that it is over.
    pub over: Option<Time>,
    /// When its cancel was first asked for.
    pub cancelled: Option<Time>,
    /// In the order in which they were set.
    pub deadlines: Vec<Deadline>,
    /// Rung by the waker that was left with it last.
    pub bell: Option<Arc<Bell>>,
    /// Where its buffer is.
    pub address: Option<usize>,
    /// What the buffer contained when it came back.
    pub taken: Option<Vec<u8>>,
    /// The connection that it has accepted.
    pub accepted: Option<TcpStream>,
    /// The port at the connecting side, by which connections are told apart.
    pub client: Option<u16>,
    /// How many threads ask for what it has now.
    asking: u32,
    pub forgotten: Forgotten,
    pub contexts_dropped: u32,
    pub buffers_dropped: u32,
}

/// Rung by a waker.
#[derive(Default)]
pub struct Bell(AtomicBool);

impl Bell {
    pub fn has_rung(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub struct Deadline {
    /// `None`: there is none.
    pub at: Option<Instant>,
    /// When another had taken its place.
    pub until: Option<Instant>,
}

/// What was given to `mem::forget`.
#[derive(Default)]
pub struct Forgotten {
    pub context: bool,
    pub completion: bool,
    pub pending: bool,
}

#[derive(Clone, Copy)]
pub struct Completed {
    /// When the call began that dequeued it.
    pub began: Time,
    pub seen: Time,
    pub seen_at: Instant,
    pub outcome: Outcome,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub bytes: usize,
    pub error: Option<ErrorKind>,
}

/// The context of an operation.
#[derive(Debug)]
pub struct Ticket(pub Arc<Operation>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.facts().contexts_dropped += 1;
    }
}

/// The part of an operation's buffer that says whose it is.
#[derive(Debug)]
pub struct Token(pub Arc<Operation>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.facts().buffers_dropped += 1;
    }
}

impl Operation {
    pub fn new(what: What, turn: usize, length: usize, started: Time) -> Self {
        let content = match what {
            What::Write { end } => content(end as u64, turn as u64, length),
            _ => Vec::new(),
        };
        let facts = Mutex::default();
        Self { what, turn, kind: None, length, held: 0, offset: 0, content, started, facts }
    }

    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().expect("nobody panics with it")
    }

    /// The end that it was started on.
    pub fn end(&self) -> Option<usize> {
        match self.what {
            What::Read { end } | What::Write { end } | What::Accept { end } => Some(end),
            What::Connect { .. } | What::Post { .. } | What::Timer { .. } => None,
        }
    }

    /// The listener that it accepts from, or connects to.
    pub fn listener(&self) -> Option<usize> {
        match self.what {
            What::Accept { end } | What::Connect { end } => Some(end),
            _ => None,
        }
    }

    /// Its result has been seen.
    pub fn complete(&self, log: &Log, began: Time, outcome: Outcome) {
        let completed = Completed { began, seen: log.now(), seen_at: Instant::now(), outcome };
        if self.facts().completed.replace(completed).is_some() {
            log.wrong(format!("{self:?} has completed twice"));
        }
    }

    /// Until this is dropped, somebody may have what it has, and has not written that down.
    pub fn asking(&self) -> Asking<'_> {
        self.facts().asking += 1;
        Asking(self)
    }

    /// Asks for what it has. Once it is over, `has` says whether there is anything.
    fn ask<T>(
        &self,
        log: &Log,
        ask: impl FnOnce() -> Option<T>,
        has: impl FnOnce(&Facts, Outcome) -> bool,
    ) -> Option<(T, MutexGuard<'_, Facts>)> {
        let began = log.now();
        self.facts().asking += 1;
        let answer = ask();
        let mut facts = self.facts();
        facts.asking -= 1;
        if let Some(answer) = answer {
            facts.over.get_or_insert(log.now());
            return Some((answer, facts));
        }
        if let Some(Completed { seen, outcome, .. }) = facts.completed
            && seen < began
            && facts.asking == 0
            && has(&facts, outcome)
        {
            log.wrong(format!("{self:?} is over, but nobody gets what it has"));
        }
        None
    }

    /// Asks for the connection that it has accepted.
    pub fn take_accepted(&self, log: &Log, ask: impl FnOnce() -> Option<TcpStream>) {
        let has =
            |facts: &Facts, outcome: Outcome| outcome.error.is_none() && facts.accepted.is_none();
        let Some((stream, mut facts)) = self.ask(log, ask, has) else { return };
        match stream.peer_addr() {
            Ok(client) => facts.client = Some(client.port()),
            // Its client is gone, or there was no listener left to inherit from.
            Err(_) if self.listener().is_some_and(|end| log.ends[end].may_be_lost(log.now())) => {}
            Err(error) => log.wrong(format!("{self:?} has returned no connection: {error}")),
        }
        if facts.accepted.replace(stream).is_some() {
            log.wrong(format!("{self:?} has returned its connection twice"));
        }
    }

    /// Asks for its buffer.
    pub fn take(self: &Arc<Self>, log: &Log, ask: impl FnOnce() -> Option<Taken>) {
        let has = |facts: &Facts, _| self.kind.is_some() && facts.taken.is_none();
        let Some((taken, mut facts)) = self.ask(log, ask, has) else { return };
        let Taken { bytes, address, token } = taken;
        if !Arc::ptr_eq(self, &token.0) {
            log.wrong(format!("{self:?} has returned the buffer of {:?}", token.0));
        }
        if address != facts.address {
            log.wrong(format!("{self:?} has returned another buffer"));
        }
        if matches!(self.what, What::Write { .. }) && bytes != self.content {
            log.wrong(format!("the buffer of {self:?} has changed"));
        }
        if facts.taken.replace(bytes).is_some() {
            log.wrong(format!("{self:?} has returned its buffer twice"));
        }
        // It looks at the facts, too.
        drop(facts);
        drop(token);
    }

    /// Whether it is no longer in flight.
    pub fn is_over(&self) -> bool {
        let facts = self.facts();
        facts.completed.is_some() || facts.contexts_dropped > 0
    }
}

/// Somebody asks for what an operation has.
pub struct Asking<'a>(&'a Operation);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.facts().asking -= 1;
    }
}

/// Why an operation failed. Miri's own table of statuses lacks the one that the
/// kernel fails operations with.
pub fn kind_of(error: &Error) -> ErrorKind {
    const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;
    match error.kind() {
        ErrorKind::Other
            if cfg!(miri) && error.ntstatus() == Some(STATUS_INSUFFICIENT_RESOURCES) =>
        {
            ErrorKind::ResourceExhausted
        }
        kind => kind,
    }
}

/// Bytes that differ from those of every other write, and from each other.
fn content(end: u64, turn: u64, length: usize) -> Vec<u8> {
    let seed = end.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ turn;
    let byte = |index: u64| {
        let mixed = (seed ^ index << 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (mixed >> 29 ^ mixed >> 53) as u8
    };
    (0..length as u64).map(byte).collect()
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {:?} number {} ({} bytes)", self.what, self.turn, self.length)
    }
}
