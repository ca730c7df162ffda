//! Packets of other code: each comes out as it went in, and once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use completion_port::ForeignPacket;

use crate::ends::Port;
use crate::support::try_post_raw;

/// What other code may have in place of an `OVERLAPPED`.
const ADDRESSES: [usize; 4] = [0, 1, 0x7FFF_0000, usize::MAX];

/// The first key, which is no end's.
const FIRST: usize = 1 << 20;

#[derive(Default)]
pub struct Strangers {
    /// In the order of their keys; those that have come out are `None`.
    inside: Mutex<Vec<Option<ForeignPacket>>>,
    /// Batches were dropped, with what was in them.
    some_are_lost: AtomicBool,
}

impl Strangers {
    /// Posts a packet that no other is like.
    pub fn post(&self, port: &Port, which: usize) {
        let mut inside = self.inside.lock().expect("nobody panics with it");
        let packet = ForeignPacket {
            completion_key: FIRST + inside.len(),
            bytes_transferred: which as u32,
            overlapped: ADDRESSES[which % ADDRESSES.len()],
        };
        let ForeignPacket { completion_key: key, bytes_transferred: bytes, overlapped } = packet;
        if try_post_raw(port, bytes, key, overlapped).is_ok() {
            inside.push(Some(packet));
        }
    }

    /// One has come out; what is wrong with it, if anything is.
    pub fn meet(&self, packet: ForeignPacket) -> Result<(), String> {
        let index = packet.completion_key.wrapping_sub(FIRST);
        let mut inside = self.inside.lock().expect("nobody panics with it");
        match inside.get_mut(index).and_then(Option::take) {
            Some(posted) if posted == packet => Ok(()),
            posted => Err(format!("{packet:?} has come out for {posted:?}")),
        }
    }

    /// Something that may have had some in it was dropped.
    pub fn lose_some(&self) {
        self.some_are_lost.store(true, Ordering::Relaxed);
    }

    /// Nothing is queued any more; what should have come out and did not.
    pub fn missing(&self) -> Option<ForeignPacket> {
        let inside = self.inside.lock().expect("nobody panics with it");
        let missing = inside.iter().copied().flatten().next();
        missing.filter(|_| !self.some_are_lost.load(Ordering::Relaxed))
    }
}
