//! Handles as the operations see them that have something left to do on them
//! when they complete.

use std::fmt;
use std::os::windows::io::RawHandle;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::sys::Handle;

/// Whether a handle value still stands for the socket that an accept or a
/// connect was started on. The value of a closed socket is given out again, so
/// nothing may be done with it that is not about this very socket.
///
/// The lock is held for one call that does not wait, and neither operations in
/// flight nor packets in the queue keep the socket from being closed.
#[derive(Debug)]
pub(crate) struct GuardedHandle {
    socket: Mutex<Result<Handle, Gone>>,
    /// It was disconnected for reuse, and has not been used since.
    awaits_reuse: AtomicBool,
}

/// Why a handle that an operation was started on cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It is closed, or about to be.
    Closed,
    /// It is somebody else's, who may close it at any time.
    Released,
}

/// The guard of a handle, once there has been one, and where it goes afterwards.
pub(crate) type HandleGuards = OnceLock<(Arc<GuardedHandle>, Arc<IdleGuards>)>;

/// A handle that an operation was started on, for what is left to be done on it when
/// the operation has succeeded; see [`Object::guard`](crate::op::Object::guard).
#[derive(Clone)]
pub struct HandleGuard(pub(super) Arc<GuardedHandle>);

impl fmt::Debug for HandleGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleGuard").finish_non_exhaustive()
    }
}

impl HandleGuard {
    /// Makes a call on the handle, which stays open meanwhile. The call must not
    /// wait: whoever closes the handle waits for it.
    ///
    /// # Errors
    ///
    /// If the handle is not the port's any more.
    pub fn while_open<T>(&self, call: impl FnOnce(RawHandle) -> T) -> Result<T, Gone> {
        self.0.while_open(|handle| call(handle.raw()))
    }

    pub(crate) fn socket(&self) -> &GuardedHandle {
        &self.0
    }

    /// Whether the socket was disconnected for reuse, and has not been used since.
    pub(crate) fn awaits_reuse(&self) -> bool {
        self.0.awaits_reuse.load(Ordering::Relaxed)
    }

    pub(crate) fn set_awaits_reuse(&self, awaits: bool) {
        self.0.awaits_reuse.store(awaits, Ordering::Relaxed);
    }
}

/// The guards of a port that are not in use, so that a connection needs no
/// allocation.
#[derive(Debug, Default)]
pub(crate) struct IdleGuards(Mutex<Vec<Arc<GuardedHandle>>>);

/// More are not kept.
const KEPT: usize = 64;

impl GuardedHandle {
    /// To be called before the socket is closed or given away.
    pub fn end(&self, gone: Gone) {
        *lock(&self.socket) = Err(gone);
    }

    /// Makes a call on the socket, which stays open meanwhile.
    pub fn while_open<T>(&self, call: impl FnOnce(Handle) -> T) -> Result<T, Gone> {
        let socket = lock(&self.socket);
        (*socket).map(call)
    }
}

impl IdleGuards {
    /// A guard for a socket that is open.
    pub fn take(&self, socket: Handle) -> Arc<GuardedHandle> {
        let Some(guard) = lock(&self.0).pop() else {
            let (socket, awaits_reuse) = (Mutex::new(Ok(socket)), AtomicBool::new(false));
            return Arc::new(GuardedHandle { socket, awaits_reuse });
        };
        *lock(&guard.socket) = Ok(socket);
        guard.awaits_reuse.store(false, Ordering::Relaxed);
        guard
    }

    /// Keeps a guard whose socket is gone, unless an operation still has it.
    pub fn restore(&self, mut guard: Arc<GuardedHandle>) {
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
        idle.restore(first);
        let second = idle.take(Handle(8));
        assert!(!Arc::ptr_eq(&operation, &second));
        assert!(operation.while_open(|_| ()).is_err());
        let address = Arc::as_ptr(&second);
        second.end(Gone::Released);
        idle.restore(second);
        let third = idle.take(Handle(12));
        assert_eq!(Arc::as_ptr(&third), address);
        assert!(third.while_open(|socket| socket == Handle(12)).is_ok_and(|same| same));
    }
}
