//! Whether an operation may be started on a port.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::error::{Misuse, refusal};

/// What handles remember of their port: the address of its allocation, which
/// is nobody else's.
#[derive(Debug)]
pub(crate) struct Identity;

/// Lets the handles of one port in, as long as the port is open.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Whom to let in; null once the port is closed.
    open_to: AtomicPtr<Identity>,
    identity: Arc<Identity>,
}

impl Gate {
    pub fn new() -> Self {
        let identity = Arc::new(Identity);
        Self { open_to: AtomicPtr::new(Arc::as_ptr(&identity).cast_mut()), identity }
    }

    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// Whether operations of a handle with this identity may not be started,
    /// and why.
    #[inline]
    pub fn check(&self, handle: &Arc<Identity>) -> Result<(), &'static Misuse> {
        // One comparison asks for both.
        if ptr::eq(Arc::as_ptr(handle), self.open_to.load(Ordering::Relaxed)) {
            return Ok(());
        }
        Err(if Arc::ptr_eq(handle, &self.identity) {
            &refusal::CLOSED
        } else {
            &refusal::WRONG_PORT
        })
    }

    #[inline]
    pub fn is_closed(&self) -> bool {
        self.open_to.load(Ordering::Relaxed).is_null()
    }

    /// Closes the port; `false` if it was closed already.
    pub fn close(&self) -> bool {
        !self.open_to.swap(ptr::null_mut(), Ordering::SeqCst).is_null()
    }
}
