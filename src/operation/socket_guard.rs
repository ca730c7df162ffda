//! Sockets as the operations see them that have something left to do on them
//! when they complete.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::Handle;

/// Whether a handle value still stands for the socket that an accept or a
/// connect was started on. The value of a closed socket is given out again, so
/// nothing may be done with it that is not about this very socket.
///
/// The lock is held for one call that does not wait, and neither operations in
/// flight nor packets in the queue keep the socket from being closed.
#[derive(Debug)]
pub(crate) struct SocketGuard(Mutex<Result<Handle, Gone>>);

/// What has become of a socket that is not the port's any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gone {
    /// It is closed, or about to be.
    Closed,
    /// It is somebody else's, who may close it at any time.
    Released,
}

impl SocketGuard {
    pub fn new(socket: Handle) -> Self {
        Self(Mutex::new(Ok(socket)))
    }

    /// To be called before the socket is closed or given away.
    pub fn end(&self, gone: Gone) {
        *self.lock() = Err(gone);
    }

    /// Makes a call on the socket, which stays open meanwhile.
    pub fn while_open<T>(&self, call: impl FnOnce(Handle) -> T) -> Result<T, Gone> {
        let socket = self.lock();
        (*socket).map(call)
    }

    fn lock(&self) -> MutexGuard<'_, Result<Handle, Gone>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
