//! What the reads at one end may get of what was written at the other.
//!
//! The writes of an end, in the order of their starts, make up what is sent. Of
//! one that failed nobody knows how much was. So the model follows all places
//! that the reader may have come to.

use std::collections::BTreeSet;
use std::sync::Arc;

use completion_port::ErrorKind;

use super::{Fate, are_over, has_lost_peer, is_cut, is_over};
use crate::buffer::FILL;
use crate::log::{Log, peer};
use crate::operation::{Operation, Outcome, What};
use crate::program::{Kind, Object};
use crate::support::is_windows;

/// What one write has sent.
struct Sent {
    content: Vec<u8>,
    /// All of it has, for certain.
    is_whole: bool,
}

/// The write that is read next, and how far it has been read.
type Place = (usize, usize);

struct Reader {
    object: Object,
    sent: Vec<Sent>,
    places: BTreeSet<Place>,
}

/// What one read has got.
enum Got {
    Nothing,
    /// Everything up to the end.
    End,
    /// This, if it is known; so many bytes at least. A message may be cut.
    Bytes {
        count: usize,
        content: Option<Vec<u8>>,
        is_cut: bool,
    },
    /// So many bytes at most, which stand at the start of this, if it is known.
    AtMost {
        count: usize,
        content: Option<Vec<u8>>,
    },
}

/// Complains if the reads at an end got anything but what was written.
pub fn judge(log: &Log, end: usize) {
    let mut reader = Reader::new(log, end);
    for operation in reads(log, end) {
        reader.read(log, end, &operation);
        if reader.places.is_empty() {
            let got = operation.facts().taken.clone();
            log.wrong(format!("{operation:?} got what was not sent next: {got:?}"));
            return;
        }
    }
}

/// Whether all that was written has been read at an end, for all that is known.
pub fn has_read_all(log: &Log, end: usize) -> bool {
    if !are_over(log, What::Write { end: peer(end) }) {
        return false;
    }
    let mut reader = Reader::new(log, end);
    for operation in reads(log, end) {
        if !is_over(&operation) {
            break;
        }
        reader.read(log, end, &operation);
    }
    reader.places.is_empty() || reader.is_at_end()
}

fn reads(log: &Log, end: usize) -> impl Iterator<Item = Arc<Operation>> {
    log.operations().into_iter().filter(move |operation| operation.what == What::Read { end })
}

impl Reader {
    fn new(log: &Log, end: usize) -> Self {
        let sent = |operation: &Arc<Operation>| {
            if operation.what != (What::Write { end: peer(end) }) {
                return None;
            }
            let is_whole = match Fate::of(operation, &operation.facts()) {
                Fate::Rejected => return None,
                // Any datagram may be lost; on loopback, other systems lose none.
                Fate::Completed(_) if log.ends[end].object == Object::Datagrams && is_windows() => {
                    false
                }
                Fate::Completed(outcome) => outcome.error.is_none(),
                Fate::InFlight | Fate::Unseen => false,
            };
            Some(Sent { content: operation.content.clone(), is_whole })
        };
        let sent = log.operations().iter().filter_map(sent).collect();
        Self { object: log.ends[end].object, sent, places: BTreeSet::from([(0, 0)]) }
    }

    fn read(&mut self, log: &Log, end: usize, operation: &Operation) {
        let got = got(log, end, operation);
        let is_message = matches!(self.object, Object::MessagePipe | Object::Datagrams);
        match got {
            Got::Nothing => {}
            Got::End => {
                self.skip();
                self.places.retain(|place| place.0 == self.sent.len());
            }
            got if is_message => self.places = self.read_message(log, operation, &got),
            Got::Bytes { count, content, .. } => self.read_bytes(count, content.as_deref()),
            Got::AtMost { count, content } => {
                let mut places = BTreeSet::new();
                for index in 0..=count {
                    let may_end = content
                        .as_ref()
                        .is_none_or(|content| content[index..].iter().all(|byte| *byte == FILL));
                    if may_end {
                        places.extend(&self.places);
                    }
                    if index < count {
                        self.read_bytes(1, content.as_ref().map(|content| &content[index..]));
                    }
                }
                self.places = places;
            }
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip();
        self.places.iter().any(|place| place.0 == self.sent.len())
    }

    /// Adds the places that are reached without reading: behind what may not
    /// have been sent, and behind all that a write without boundaries has sent.
    fn skip(&mut self) {
        let mut todo: Vec<Place> = self.places.iter().copied().collect();
        let is_message = matches!(self.object, Object::MessagePipe | Object::Datagrams);
        while let Some((write, offset)) = todo.pop() {
            let Some(sent) = self.sent.get(write) else { continue };
            let is_behind = if is_message {
                !sent.is_whole && offset == 0
            } else {
                !sent.is_whole || offset == sent.content.len()
            };
            if is_behind && self.places.insert((write + 1, 0)) {
                todo.push((write + 1, 0));
            }
            if !is_message && offset == sent.content.len() {
                // Behind it is the same.
                self.places.remove(&(write, offset));
            }
        }
    }

    /// Goes on by so many bytes, which are these, if they are known.
    fn read_bytes(&mut self, count: usize, content: Option<&[u8]>) {
        let mut todo: Vec<(Place, usize)> = self.places.iter().map(|place| (*place, 0)).collect();
        let mut done = BTreeSet::new();
        self.places.clear();
        while let Some((place, read)) = todo.pop() {
            if !done.insert((place, read)) {
                continue;
            }
            if read == count {
                self.places.insert(place);
                continue;
            }
            let (write, offset) = place;
            let Some(sent) = self.sent.get(write) else { continue };
            let rest = &sent.content[offset..];
            let run = rest.len().min(count - read);
            let fitting = content.map_or(run, |content| {
                rest[..run].iter().zip(&content[read..]).take_while(|(a, b)| a == b).count()
            });
            if fitting == run && (sent.is_whole || read + run == count) {
                let is_behind = run == rest.len();
                let next = if is_behind { (write + 1, 0) } else { (write, offset + run) };
                todo.push((next, read + run));
            }
            if !sent.is_whole {
                // It may have sent any part.
                todo.extend((0..=fitting).map(|part| ((write + 1, 0), read + part)));
            }
        }
    }

    fn read_message(&mut self, log: &Log, operation: &Operation, got: &Got) -> BTreeSet<Place> {
        self.skip();
        let mut places = BTreeSet::new();
        let keeps_rest = self.object == Object::MessagePipe;
        for &(write, offset) in &self.places {
            let rest = self.sent.get(write).map(|sent| &sent.content[offset..]);
            let behind = (write + 1, 0);
            match got {
                Got::Bytes { count, content, is_cut } => {
                    let Some(rest) = rest else { continue };
                    let fits = content.as_ref().is_none_or(|content| rest.starts_with(content));
                    if fits && *is_cut && rest.len() > *count {
                        places.insert(if keeps_rest { (write, offset + count) } else { behind });
                    } else if fits && !is_cut && rest.len() == *count {
                        places.insert(behind);
                    }
                }
                Got::AtMost { count, .. } => {
                    places.insert((write, offset));
                    let Some(rest) = rest else { continue };
                    let is_cut = rest.len() > *count && keeps_rest;
                    places.insert(if is_cut { (write, offset + count) } else { behind });
                }
                Got::Nothing | Got::End => unreachable!("not of a message"),
            }
        }
        if let Got::Bytes { count: 0, is_cut: false, .. } = got {
            // An empty message, or the end.
            let facts = operation.facts();
            let seen = facts.completed.map_or(log.now(), |completed| completed.seen);
            if has_lost_peer(log, operation, seen) {
                places.extend(&self.places);
            }
        }
        places
    }
}

fn got(log: &Log, end: usize, operation: &Operation) -> Got {
    let facts = operation.facts();
    let content = facts.taken.as_ref().map(|taken| taken[operation.held..].to_vec());
    let length = operation.length;
    match Fate::of(operation, &facts) {
        Fate::Completed(Outcome { bytes, error: None }) => {
            let has_bounds =
                matches!(log.ends[end].object, Object::MessagePipe | Object::Datagrams);
            if bytes == 0 && !has_bounds {
                return if ends_cleanly(log, end) { Got::End } else { Got::Nothing };
            }
            let content = content.map(|content| content[..bytes].to_vec());
            Got::Bytes { count: bytes, content, is_cut: false }
        }
        Fate::Completed(Outcome { bytes, error: Some(error) }) if is_cut(error) => {
            let content = content.map(|content| content[..bytes].to_vec());
            Got::Bytes { count: bytes, content, is_cut: true }
        }
        // What it had may be lost.
        Fate::Completed(Outcome { error: Some(ErrorKind::ResourceExhausted), .. }) => {
            Got::AtMost { count: length, content: None }
        }
        Fate::Rejected | Fate::InFlight | Fate::Completed(_) => Got::Nothing,
        Fate::Unseen => match content {
            // It may have failed, too.
            Some(content)
                if log.kernel.shortages > 0 && content.iter().all(|byte| *byte == FILL) =>
            {
                Got::AtMost { count: length, content: None }
            }
            // A vector tells how much was read.
            Some(content) if operation.kind == Some(Kind::Vector) => {
                Got::AtMost { count: content.len(), content: Some(content) }
            }
            content => Got::AtMost { count: length, content },
        },
    }
}

/// Whether what was sent arrives in any case before the end does. A socket that
/// is closed with something unread in it resets the connection.
fn ends_cleanly(log: &Log, end: usize) -> bool {
    if log.ends[end].closing.get().is_some() {
        return false;
    }
    match log.ends[end].object {
        Object::Stream => {
            let writes = |operation: &Arc<Operation>| operation.what == What::Write { end };
            log.ends[peer(end)].is_reset.get().is_none() && !log.operations().iter().any(writes)
        }
        _ => true,
    }
}
