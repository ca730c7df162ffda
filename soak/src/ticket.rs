//! What each operation carries, to see that it comes back once and right.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use completion_port::CompletionStatus;

use crate::random::Random;

/// What has happened so far, in the whole process.
pub mod counts {
    use super::{AtomicU64, Ordering};

    pub static STARTED: AtomicU64 = AtomicU64::new(0);
    pub static RETURNED: AtomicU64 = AtomicU64::new(0);
    pub static LINKS: AtomicU64 = AtomicU64::new(0);
    /// Bytes that were as they should be.
    pub static VERIFIED: AtomicU64 = AtomicU64::new(0);
    /// Buffers that were not.
    pub static WRONG: AtomicU64 = AtomicU64::new(0);

    /// Contexts that have not come back. A context that came back twice would
    /// make this a very large number.
    pub fn in_flight() -> u64 {
        STARTED.load(Ordering::SeqCst).wrapping_sub(RETURNED.load(Ordering::SeqCst))
    }
}

/// One direction of a connection: an endless sequence of bytes.
pub struct Stream {
    seed: u64,
    /// Where the next write and the next read begin.
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// There is one write and one read at a time, so that it is known where
    /// they begin.
    pub writing: AtomicBool,
    pub reading: AtomicBool,
    /// It is not known any more where the next ones begin.
    pub broken: AtomicBool,
}

impl Stream {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            seed,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            reading: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        })
    }

    pub fn byte(&self, offset: u64) -> u8 {
        ((self.seed ^ offset).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
    }

    pub fn bytes(&self, offset: u64, length: u64) -> Vec<u8> {
        (offset..offset + length).map(|offset| self.byte(offset)).collect()
    }

    /// Checks what was read from `offset` on, or came back from a write.
    pub fn verify(&self, offset: u64, bytes: &[u8]) {
        if bytes.iter().zip(offset..).all(|(&byte, offset)| byte == self.byte(offset)) {
            counts::VERIFIED.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        } else {
            println!("wrong bytes: {} from {offset} of stream {:x}", bytes.len(), self.seed);
            counts::WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Clone)]
pub enum Work {
    Post,
    Read { stream: Arc<Stream>, offset: u64 },
    Write { stream: Arc<Stream>, offset: u64, length: u64 },
}

/// An operation's context, which counts itself.
pub struct Ticket(pub Work);

impl Ticket {
    pub fn new(work: Work) -> Self {
        counts::STARTED.fetch_add(1, Ordering::SeqCst);
        Self(work)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        counts::RETURNED.fetch_add(1, Ordering::SeqCst);
    }
}

/// Takes note of a completion; the buffer stays with the `Pending` sometimes.
pub fn settle(mut completion: CompletionStatus<Ticket>, random: &mut Random) {
    let bytes = u64::from(completion.bytes_transferred);
    let failed = completion.error_status.is_err();
    let mut buffer = None;
    if random.one_in(2) {
        buffer = completion.operation.take_buffer::<Vec<u8>>();
    }
    match &completion.context.0 {
        Work::Post => {}
        Work::Read { stream, offset } => {
            if let Some(buffer) = buffer {
                stream.verify(*offset, &buffer);
            }
            // The end of the stream is the end.
            stream.broken.fetch_or(failed || bytes == 0, Ordering::Relaxed);
            stream.received.store(offset + bytes, Ordering::Relaxed);
            stream.reading.store(false, Ordering::Release);
        }
        Work::Write { stream, offset, length } => {
            if let Some(buffer) = buffer {
                stream.verify(*offset, &buffer);
            }
            stream.broken.fetch_or(failed || bytes < *length, Ordering::Relaxed);
            stream.sent.store(offset + bytes, Ordering::Relaxed);
            stream.writing.store(false, Ordering::Release);
        }
    }
}
