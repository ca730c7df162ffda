//! What may come out of a program, and nothing else.
//!
//! Threads and the kernel decide much, so the model does not foretell results;
//! it knows which are legal, from what was asked and when.

mod connection;
mod file;
mod transfer;

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use completion_port::ErrorKind;

use crate::ends::FILE_LENGTH;
use crate::log::{Log, Time, peer};
use crate::operation::{Completed, Facts, Operation, Outcome, Ticket, What};
use crate::program::Object;
use crate::support::{TempFile, is_windows};

pub use transfer::has_read_all;

/// How an operation ended, as far as anybody knows.
enum Fate {
    InFlight,
    Rejected,
    Completed(Outcome),
    /// Its completion was dropped with a batch, a scope or the port.
    Unseen,
}

/// Says what was wrong, once everything has been dropped.
pub fn judge(log: &Log, files: &[Option<TempFile>]) {
    let operations = log.operations();
    let mut shortages = log.shortages.load(Ordering::Relaxed);
    for operation in &operations {
        let facts = operation.facts();
        let verdict = judge_result(log, operation, &facts, &mut shortages)
            .and_then(|()| judge_drops(operation, &facts))
            .and_then(|()| judge_wakes(&facts));
        drop(facts);
        if let Err(complaint) = verdict {
            log.wrong(format!("{operation:?}: {complaint}"));
        }
    }
    if shortages > log.kernel.shortages {
        log.wrong(format!("{shortages} operations were short of resources"));
    }
    for (index, end) in log.ends.iter().enumerate() {
        match end.address.get() {
            Some(address) => connection::judge(log, index, *address),
            None if end.object == Object::File => {}
            None => transfer::judge(log, index),
        }
    }
    for (index, file) in files.iter().enumerate() {
        if let Some(file) = file {
            file::judge(log, 2 * index, &file.contents());
        }
    }
}

impl Fate {
    fn of(operation: &Operation, facts: &Facts) -> Self {
        if facts.rejected.is_some() {
            return Self::Rejected;
        }
        if let Some(Completed { outcome, .. }) = facts.completed {
            return Self::Completed(outcome);
        }
        match facts.told {
            // At least its `Pending` was asked.
            Some(Ok(bytes)) => {
                let bytes = (bytes as usize).min(operation.length);
                Self::Completed(Outcome { bytes, error: None })
            }
            Some(Err(error)) => {
                let bytes = if is_cut(error) { operation.length } else { 0 };
                Self::Completed(Outcome { bytes, error: Some(error) })
            }
            None if facts.contexts_dropped > 0 => Self::Unseen,
            None => Self::InFlight,
        }
    }
}

/// Whether an operation was refused, or is over.
pub fn is_over(operation: &Operation) -> bool {
    operation.facts().rejected.is_some() || operation.is_over()
}

/// Whether all of a kind were refused, or are over.
pub fn are_over(log: &Log, what: What) -> bool {
    log.operations().iter().all(|operation| operation.what != what || is_over(operation))
}

/// How many of a kind were refused, or are over.
pub fn count_over(log: &Log, what: What) -> usize {
    let is_over = |operation: &&Arc<Operation>| operation.what == what && is_over(operation);
    log.operations().iter().filter(is_over).count()
}

/// Whether an operation is known to have succeeded.
pub fn has_succeeded(operation: &Operation) -> bool {
    let fate = Fate::of(operation, &operation.facts());
    matches!(fate, Fate::Completed(Outcome { error: None, .. }))
}

/// Whether its place in the port was lost with what was forgotten.
pub fn is_lost(operation: &Operation) -> bool {
    let forgotten = &operation.facts().forgotten;
    forgotten.completion || forgotten.pending
}

/// Whether a read is in flight on an end.
pub fn is_reading(log: &Log, end: usize) -> bool {
    let reads = |operation: &Arc<Operation>| operation.what == What::Read { end };
    log.operations().iter().any(|operation| reads(operation) && !is_over(operation))
}

/// The context of an operation that nobody looks at.
pub fn extra() -> Ticket {
    let what = What::Post { bytes: 0, handle_context: 0 };
    Ticket(Arc::new(Operation::new(what, 0, 0, 0)))
}

/// The message was longer than the buffer.
fn is_cut(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::MoreData | ErrorKind::MessageTruncated)
}

/// Context and buffer are dropped once, but for what was forgotten.
fn judge_drops(operation: &Operation, facts: &Facts) -> Result<(), String> {
    let expect = |name: &str, count: u32, dropped: bool| {
        if count == u32::from(dropped) {
            return Ok(());
        }
        Err(format!("its {name} was dropped {count} times"))
    };
    expect("context", facts.contexts_dropped, !facts.forgotten.context)?;
    let kept = facts.forgotten.completion || facts.forgotten.pending;
    let has_buffer = operation.kind.is_some();
    expect("buffer", facts.buffers_dropped, has_buffer && (facts.taken.is_some() || !kept))
}

/// Who waits is woken by whoever dequeues.
fn judge_wakes(facts: &Facts) -> Result<(), String> {
    let has_slept = facts.bell.as_ref().is_some_and(|bell| !bell.has_rung());
    if facts.completed.is_some() && has_slept {
        return Err("it has completed, and not woken who awaits it".into());
    }
    Ok(())
}

fn judge_result(
    log: &Log,
    operation: &Operation,
    facts: &Facts,
    shortages: &mut usize,
) -> Result<(), String> {
    let lacks_room = matches!(operation.what, What::Read { .. }) && operation.length == 0;
    if let Some((when, error)) = facts.rejected {
        return match error {
            _ if facts.completed.is_some() => Err("refused, and completed".into()),
            ErrorKind::Closed if log.is_closing(when) => Ok(()),
            ErrorKind::InvalidInput if lacks_room => Ok(()),
            ErrorKind::ResourceExhausted => {
                *shortages += 1;
                Ok(())
            }
            error if is_loss(error) && has_lost_peer(log, operation, when) => Ok(()),
            error => Err(format!("refused as {error:?}")),
        };
    }
    if lacks_room {
        return Err("a read without room was not refused".into());
    }
    if log.closed.get().is_some_and(|closed| *closed < operation.started) {
        return Err("started on a closed port".into());
    }
    if facts.launched.is_none() {
        return Err("neither started nor refused".into());
    }
    let Some(completed) = facts.completed else { return Ok(()) };
    let Completed { began, seen, seen_at, outcome } = completed;
    if facts.over.is_some_and(|over| over < began) {
        return Err("was over before it was dequeued".into());
    }
    match facts.told {
        Some(Ok(_)) if outcome.error.is_none() => {}
        Some(Err(error)) if outcome.error == Some(error) => {}
        None => {}
        Some(told) => return Err(format!("its Pending says {told:?}, its completion {outcome:?}")),
    }
    let is_legal = match outcome.error {
        None => is_legal_success(log, operation, completed),
        Some(ErrorKind::TimedOut) => outcome.bytes == 0 && may_have_expired(facts, seen_at),
        Some(ErrorKind::ResourceExhausted) => {
            *shortages += 1;
            outcome.bytes == 0
        }
        Some(ErrorKind::Cancelled) if was_cancelled(log, operation, facts, seen) => {
            outcome.bytes == 0
        }
        Some(error) if is_cut(error) => {
            let cuts = match operation.what {
                What::Read { end } => log.ends[end].object,
                _ => Object::Stream,
            };
            outcome.bytes == operation.length
                && match error {
                    ErrorKind::MoreData => cuts == Object::MessagePipe,
                    _ => cuts == Object::Datagrams,
                }
        }
        Some(error) if is_loss(error) => {
            // As it may be when it was itself what gave the connection up.
            let gave_up = is_windows() && may_be_cut_short(log, operation, facts, seen);
            outcome.bytes == 0 && (gave_up || has_lost_peer(log, operation, seen))
        }
        // Wine may find out that the handle is closed when there is something
        // to receive.
        Some(ErrorKind::InvalidHandle) => {
            outcome.bytes == 0 && operation.end().is_some_and(|end| log.ends[end].is_closing(seen))
        }
        Some(_) => false,
    };
    if is_legal { Ok(()) } else { Err(format!("came out as {outcome:?}")) }
}

fn is_legal_success(log: &Log, operation: &Operation, completed: Completed) -> bool {
    let Completed { seen, seen_at, outcome: Outcome { bytes, .. }, .. } = completed;
    let length = operation.length;
    match operation.what {
        What::Post { bytes: posted, .. } => bytes == posted as usize,
        What::Accept { .. } | What::Connect { .. } => bytes == 0,
        What::Timer { due } => bytes == 0 && due <= seen_at,
        What::Write { .. } => bytes == length,
        What::Read { end } => match log.ends[end].object {
            Object::File => {
                bytes == length.min(FILE_LENGTH.saturating_sub(operation.offset as usize))
            }
            // The end, which on a pipe also comes of closing the own handle.
            Object::Stream | Object::BytePipe if bytes == 0 => has_lost_peer(log, operation, seen),
            _ => bytes <= length,
        },
    }
}

/// Whether the error means that a connection has ended.
fn is_loss(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::NotConnected
            | ErrorKind::Other
    )
}

/// Whether one of the two ends was being closed then.
fn has_lost_peer(log: &Log, operation: &Operation, when: Time) -> bool {
    if let Some(listener) = operation.listener() {
        return log.ends[listener].may_be_lost(when);
    }
    operation.end().is_some_and(|end| {
        log.ends[end].object != Object::File
            && (log.ends[end].is_closing(when)
                || log.ends[peer(end)].is_closing(when)
                || may_be_aborted(log, end, when, Some(operation)))
    })
}

/// Whether the system may have given up the connection that an end is of, though
/// neither end was being closed: a write that is cancelled may have been sent in
/// part, and nothing promises that a stream survives that. Elsewhere than on
/// Windows it does.
pub fn may_be_aborted(log: &Log, end: usize, when: Time, except: Option<&Operation>) -> bool {
    let ends = [end, peer(end)];
    let is_of_it = |write: &Operation| ends.iter().any(|&end| write.what == What::Write { end });
    is_windows()
        && log.ends[end].object == Object::Stream
        && log.operations().iter().any(|write| {
            // The facts of the one in question are the caller's.
            !except.is_some_and(|except| ptr::eq(&raw const **write, except))
                && is_of_it(write)
                && may_be_cut_short(log, write, &write.facts(), when)
        })
}

/// Whether somebody, or a deadline, may have cancelled the operation by then.
fn may_be_cut_short(log: &Log, operation: &Operation, facts: &Facts, when: Time) -> bool {
    !facts.deadlines.is_empty() || was_cancelled(log, operation, facts, when)
}

/// Whether somebody has asked for the operation to be cancelled before its
/// completion was seen.
fn was_cancelled(log: &Log, operation: &Operation, facts: &Facts, seen: Time) -> bool {
    let during = |time: &Time| (operation.started..seen).contains(time);
    if facts.cancelled.as_ref().is_some_and(during) {
        return true;
    }
    let Some(end) = operation.end() else { return false };
    let end = &log.ends[end];
    end.closing.get().is_some_and(during)
        || end.cancels.lock().expect("nobody panics with it").iter().any(during)
}

/// Whether a deadline was reached before that moment, and before another took its place.
fn may_have_expired(facts: &Facts, seen_at: Instant) -> bool {
    facts.deadlines.iter().any(|deadline| {
        let until = deadline.until.map_or(seen_at, |until| until.min(seen_at));
        deadline.at.is_some_and(|at| at <= until)
    })
}
