//! Whether an operation may be started on a port.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{UsageError, refusal};

/// What handles remember of their port: a number that no other port of the
/// process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64);

/// No port's number.
const NOBODY: u64 = 0;

/// Lets the handles of one port in, as long as the port is open.
#[derive(Debug)]
pub(crate) struct PortState {
    /// Whom to let in.
    open_to: AtomicU64,
    identity: Identity,
    /// Whether the threads that wait have been told that it is closed.
    is_told: AtomicBool,
}

impl PortState {
    pub fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(NOBODY);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let (open_to, is_told) = (AtomicU64::new(number), AtomicBool::new(false));
        Self { open_to, identity: Identity(number), is_told }
    }

    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Whether operations of a handle with this identity may not be started,
    /// and why.
    #[inline]
    pub fn check(&self, handle: &Identity) -> Result<(), &'static UsageError> {
        // One comparison asks for both.
        if handle.0 == self.open_to.load(Ordering::Relaxed) { Ok(()) } else { self.refuse(handle) }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, handle: &Identity) -> Result<(), &'static UsageError> {
        Err(if *handle == self.identity { &refusal::CLOSED } else { &refusal::WRONG_PORT })
    }

    /// Whether nothing may be started, and why.
    pub fn check_open(&self) -> Result<(), &'static UsageError> {
        if self.is_closed() { Err(&refusal::CLOSED) } else { Ok(()) }
    }

    #[inline]
    pub fn is_closed(&self) -> bool {
        self.open_to.load(Ordering::Relaxed) == NOBODY
    }

    /// Closes the port; `false` if it was closed already.
    pub fn close(&self) -> bool {
        self.open_to.swap(NOBODY, Ordering::SeqCst) != NOBODY
    }

    /// Whether the caller is the one who tells the threads that wait.
    pub fn tells(&self) -> bool {
        !self.is_told.swap(true, Ordering::SeqCst)
    }
}
