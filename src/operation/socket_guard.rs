//! Sockets as the operations see them that have something left to do on them
//! when they complete.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The guards of a port that are not in use, so that a connection needs no
/// allocation.
#[derive(Debug, Default)]
pub(crate) struct IdleGuards(Mutex<Vec<Arc<SocketGuard>>>);

/// More are not kept.
const KEPT: usize = 64;

impl SocketGuard {
    /// To be called before the socket is closed or given away.
    pub fn end(&self, gone: Gone) {
        *lock(&self.0) = Err(gone);
    }

    /// Makes a call on the socket, which stays open meanwhile.
    pub fn while_open<T>(&self, call: impl FnOnce(Handle) -> T) -> Result<T, Gone> {
        let socket = lock(&self.0);
        (*socket).map(call)
    }
}

impl IdleGuards {
    /// A guard for a socket that is open.
    pub fn take(&self, socket: Handle) -> Arc<SocketGuard> {
        let Some(guard) = lock(&self.0).pop() else {
            return Arc::new(SocketGuard(Mutex::new(Ok(socket))));
        };
        *lock(&guard.0) = Ok(socket);
        guard
    }

    /// Keeps a guard whose socket is gone, unless an operation still has it.
    pub fn put_back(&self, mut guard: Arc<SocketGuard>) {
        let mut idle = lock(&self.0);
        if Arc::get_mut(&mut guard).is_some() && idle.len() < KEPT {
            idle.push(guard);
        }
    }
}

/// What is behind the locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_used_again_once_no_operation_has_it() {
        let idle = IdleGuards::default();
        let first = idle.take(Handle(4));
        let operation = Arc::clone(&first);
        first.end(Gone::Closed);
        idle.put_back(first);
        let second = idle.take(Handle(8));
        assert!(!Arc::ptr_eq(&operation, &second));
        assert!(operation.while_open(|_| ()).is_err());
        let address = Arc::as_ptr(&second);
        second.end(Gone::Released);
        idle.put_back(second);
        let third = idle.take(Handle(12));
        assert_eq!(Arc::as_ptr(&third), address);
        assert!(third.while_open(|socket| socket == Handle(12)).is_ok_and(|same| same));
    }
}
