//! Parking a thread in a port, where it dequeues.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::error::Result;
use crate::port::{Batch, Iocp, Parking};

/// Parks a thread of an executor in a port, where it dequeues while it is idle.
///
/// It is [`std::thread::park`] with completions: see [`Iocp::parker`].
pub struct Parker<'p, C: Send + 'static = usize> {
    port: &'p Iocp<C>,
    parking: Arc<Parking>,
    /// It is of one thread.
    thread: PhantomData<*const ()>,
}

/// Wakes a thread that is parked in a port; see [`Iocp::parker`].
///
/// It converts into a [`Waker`]. It does not keep the port open. At most one packet is in
/// flight for it, however often it is used, and nobody sees that packet as a completion.
#[derive(Clone)]
pub struct Unparker(Arc<Parking>);

impl<C: Send + 'static> Iocp<C> {
    /// Creates a parker for this thread, which other threads can wake.
    ///
    /// If other threads dequeue from the port as well, they may get the packet that is
    /// to wake this one. They pass it on, but that takes a millisecond and more.
    ///
    /// ```
    /// # use completion_port::{Batch, Iocp};
    /// # use std::thread;
    /// let port = Iocp::new()?;
    /// let mut parker = port.parker();
    /// let unparker = parker.unparker();
    /// let other = thread::spawn(move || unparker.unpark());
    /// let mut batch = Batch::with_capacity(64);
    /// assert_eq!(parker.park(&mut batch, None)?, 0); // nothing has completed
    /// # other.join().unwrap();
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    #[must_use]
    pub fn parker(&self) -> Parker<'_, C> {
        Parker { port: self, parking: self.parking(), thread: PhantomData }
    }
}

impl<C: Send + 'static> Parker<'_, C> {
    /// Waits until something completes, this thread is [unparked](Unparker::unpark), or
    /// `timeout` has passed, and fills the batch like
    /// [`get_completions`](crate::Iocp::get_completions).
    ///
    /// If the thread has been unparked since it last parked, this does not wait, but takes
    /// what is queued. It may also return for no reason.
    ///
    /// # Errors
    ///
    /// Those of [`get_completions`](crate::Iocp::get_completions).
    pub fn park(&mut self, batch: &mut Batch<C>, timeout: Option<Duration>) -> Result<usize> {
        let end = End(&self.parking);
        let waits = self.parking.state.begin(false);
        let timeout = if waits { timeout } else { Some(Duration::ZERO) };
        let parked = self.port.shared().fill::<true>(batch, timeout);
        // Before foreign code runs: what unparks it then is not to be queued for it.
        drop(end);
        batch.wake();
        parked
    }

    /// Waits as any thread does, because the port is closed.
    pub(super) fn park_outside(&mut self, timeout: Option<Duration>) {
        let _end = End(&self.parking);
        if self.parking.state.begin(true) {
            match timeout {
                None => thread::park(),
                Some(timeout) => thread::park_timeout(timeout),
            }
        }
    }

    /// Returns a handle that wakes this thread.
    #[must_use]
    pub fn unparker(&self) -> Unparker {
        Unparker(Arc::clone(&self.parking))
    }
}

/// A waker may panic.
struct End<'a>(&'a Arc<Parking>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.state.end();
    }
}

impl<C: Send + 'static> Drop for Parker<'_, C> {
    fn drop(&mut self) {
        self.port.shared().parkers.leave(&self.parking);
    }
}

impl Unparker {
    /// Wakes the thread. If it is not parked, its next call to park returns at once.
    pub fn unpark(&self) {
        self.0.unpark();
    }
}

impl Wake for Parking {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unpark();
    }
}

impl From<Unparker> for Waker {
    fn from(unparker: Unparker) -> Self {
        Self::from(unparker.0)
    }
}

impl<C: Send + 'static> fmt::Debug for Parker<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parker").field("port", self.port).finish_non_exhaustive()
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparker").finish_non_exhaustive()
    }
}
