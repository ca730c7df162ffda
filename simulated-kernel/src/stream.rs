//! Connected stream sockets.

use std::collections::VecDeque;

use crate::kernel::{Id, Kernel};
use crate::object::Object;
use crate::operation::{Direction, Outcome};
use crate::socket::Role;
use crate::status::{STATUS_CONNECTION_INVALID, STATUS_CONNECTION_RESET};

/// One end of a connection.
#[allow(clippy::struct_excessive_bools, reason = "the two directions end independently")]
pub struct Stream {
    pub incoming: VecDeque<u8>,
    /// The other end, while it is open.
    pub peer: Option<Id>,
    /// The other end was closed.
    pub is_ended: bool,
    pub is_reset: bool,
    pub sends_no_more: bool,
    pub receives_no_more: bool,
}

impl Stream {
    pub fn new(peer: Id) -> Self {
        Self {
            incoming: VecDeque::new(),
            peer: Some(peer),
            is_ended: false,
            is_reset: false,
            sends_no_more: false,
            receives_no_more: false,
        }
    }

    /// Up to so many bytes; `None` while there are none.
    pub fn receive(&mut self, length: usize, peeks: bool) -> Option<Result<Vec<u8>, u32>> {
        if self.is_reset {
            return Some(Err(STATUS_CONNECTION_RESET));
        }
        if self.incoming.is_empty() {
            return None;
        }
        let count = length.min(self.incoming.len());
        if peeks {
            return Some(Ok(self.incoming.iter().copied().take(count).collect()));
        }
        Some(Ok(self.incoming.drain(..count).collect()))
    }
}

impl Kernel {
    pub fn stream(&mut self, id: Id) -> Option<&mut Stream> {
        match &mut self.socket(id)?.role {
            Role::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// Whether nothing more can come from the other end: it is closed, or was
    /// shut down and has sent what it had to send by then.
    pub fn has_ended(&mut self, id: Id) -> bool {
        let Some(stream) = self.stream(id) else { return false };
        let (is_ended, peer) = (stream.is_ended, stream.peer);
        is_ended
            || peer.is_some_and(|peer| {
                let is_sending = |object: &Object| object.waits_for(Direction::Out);
                self.stream(peer).is_some_and(|stream| stream.sends_no_more)
                    && !self.objects.get(peer).is_some_and(is_sending)
            })
    }

    /// Whether there are so many bytes to be received, or no more to wait for.
    pub fn can_fill(&mut self, id: Id, length: usize) -> bool {
        let has_ended = self.has_ended(id);
        let fills = |stream: &mut Stream| stream.is_reset || stream.incoming.len() >= length;
        has_ended || self.stream(id).is_none_or(fills)
    }

    /// How many bytes can be sent now, of so many; `None` while there is no
    /// room.
    pub fn room_to_send(&mut self, id: Id, length: usize) -> Option<Result<usize, u32>> {
        let stream = self.stream(id)?;
        if stream.is_reset {
            return Some(Err(STATUS_CONNECTION_RESET));
        }
        let Some(peer) = stream.peer else { return Some(Ok(length)) };
        let capacity = self.socket(peer)?.receive_buffer() + self.socket(id)?.send_buffer();
        let room = capacity.saturating_sub(self.stream(peer)?.incoming.len());
        if room == 0 && length > 0 { None } else { Some(Ok(room.min(length))) }
    }

    /// Sends bytes for which there is room.
    pub fn send(&mut self, id: Id, bytes: &[u8]) {
        let Some(stream) = self.stream(id) else { return };
        let Some(peer) = stream.peer else {
            // The other end answers bytes to a closed socket with a reset.
            stream.is_reset = true;
            self.look(id);
            return;
        };
        if let Some(stream) = self.stream(peer) {
            stream.incoming.extend(bytes);
        }
        self.look(peer);
    }

    /// Ends a connection in both directions.
    pub fn disconnect(&mut self, id: Id, reuses: bool) -> Outcome {
        let Some(stream) = self.stream(id) else {
            return Outcome::status(STATUS_CONNECTION_INVALID);
        };
        (stream.sends_no_more, stream.receives_no_more) = (true, true);
        if let Some(peer) = stream.peer {
            self.look(peer);
        }
        let socket = self.socket(id).expect("a socket");
        if reuses && let Role::Stream(stream) = std::mem::replace(&mut socket.role, Role::Fresh) {
            (socket.peer, socket.is_reusable) = (None, true);
            self.close_stream(&stream, false);
        }
        Outcome::wrote(0)
    }

    pub fn close_stream(&mut self, stream: &Stream, resets: bool) {
        let Some(peer) = stream.peer else { return };
        // What was not read is answered with a reset too.
        let resets = resets || !stream.incoming.is_empty();
        if let Some(other) = self.stream(peer) {
            other.peer = None;
            other.is_ended = true;
            other.is_reset |= resets;
        }
        self.look(peer);
    }
}
