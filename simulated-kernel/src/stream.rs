//! Connected stream sockets.

use std::collections::VecDeque;

use crate::kernel::{Id, Kernel};
use crate::socket::Role;
use crate::status::{STATUS_CONNECTION_RESET, STATUS_PIPE_DISCONNECTED};

/// One end of a connection.
#[allow(clippy::struct_excessive_bools, reason = "the two directions end independently")]
pub struct Stream {
    pub incoming: VecDeque<u8>,
    /// The other end, while it is open.
    pub peer: Option<Id>,
    /// The other end sends no more.
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

    /// Up to so many bytes, of which there are none at the end; `None` while
    /// there is nothing to receive.
    pub fn receive(&mut self, length: usize, peeks: bool) -> Option<Result<Vec<u8>, u32>> {
        if self.receives_no_more {
            return Some(Err(STATUS_PIPE_DISCONNECTED));
        }
        if self.is_reset {
            return Some(Err(STATUS_CONNECTION_RESET));
        }
        if self.incoming.is_empty() {
            return self.is_ended.then(|| Ok(Vec::new()));
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

    /// How many bytes can be sent now, of so many; `None` while there is no
    /// room.
    pub fn room_to_send(&mut self, id: Id, length: usize) -> Option<Result<usize, u32>> {
        let stream = self.stream(id)?;
        if stream.sends_no_more {
            return Some(Err(STATUS_PIPE_DISCONNECTED));
        }
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
