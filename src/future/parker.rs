//! Parking a thread in a port, where it dequeues.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use super::park_state::{Park, ParkState};
use crate::error::Result;
use crate::port::{Batch, Iocp, milliseconds};
use crate::sys::{self, Alerts, INFINITE};

/// Parks a thread of an executor in a port, where it dequeues while it is idle.
///
/// It is [`std::thread::park`] with completions: see [`Iocp::parker`]. It stays on its thread.
pub struct Parker<'p, C: Send + 'static = usize> {
    port: &'p Iocp<C>,
    parking: Arc<Parking>,
    /// It is of one thread.
    thread: PhantomData<*const ()>,
}

/// Wakes a thread that is parked in a port; see [`Iocp::parker`].
///
/// An executor calls it from its tasks' wakers, once the task is in the executor's queue. Where
/// the thread runs one future, it converts into the [`Waker`] of that. It does not keep the
/// port open.
#[derive(Clone)]
pub struct Unparker(Arc<Parking>);

/// What a parker shares with those that unpark it.
struct Parking {
    state: ParkState,
    thread: Alerts,
}

impl<C: Send + 'static> Iocp<C> {
    /// Creates a parker for this thread, which other threads can wake.
    ///
    /// Any number of threads may park in one port. To wake one, another thread queues a
    /// procedure call (APC) for it, which nobody else can get, and which takes no place in the
    /// port. So the parked thread's wait is alertable: calls that other code has queued for it
    /// are made, too, and end the wait. And while the parker is there, one of its calls may end
    /// an alertable wait of other code on this thread.
    ///
    /// # Errors
    ///
    /// If the system has no memory for a handle of this thread, or denies it one (because the
    /// thread impersonates a user that may not open it).
    ///
    /// ```
    /// # use completion_port::{Batch, Iocp};
    /// # use std::thread;
    /// let port = Iocp::new()?;
    /// let mut parker = port.parker()?;
    /// let unparker = parker.unparker();
    /// let other = thread::spawn(move || unparker.unpark());
    /// let mut batch = Batch::with_capacity(64);
    /// assert_eq!(parker.park(&mut batch, None)?, 0); // nothing has completed
    /// # other.join().unwrap();
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn parker(&self) -> Result<Parker<'_, C>> {
        let parking = Parking { state: ParkState::default(), thread: Alerts::of_this_thread()? };
        Ok(Parker { port: self, parking: Arc::new(parking), thread: PhantomData })
    }
}

impl<C: Send + 'static> Parker<'_, C> {
    /// Waits until something completes, this thread is [unparked](Unparker::unpark), or
    /// `timeout` has passed, and fills the batch like
    /// [`get_completions`](crate::Iocp::get_completions).
    ///
    /// If the thread has been unparked since it last parked, this does not wait, but takes
    /// what is queued. It may also return for no reason. Those who await what has completed are
    /// woken before it returns. Take the completions out of the batch before the next call,
    /// which would not wait for those that are left.
    ///
    /// # Errors
    ///
    /// Those of [`get_completions`](crate::Iocp::get_completions). At
    /// [`Closed`](crate::ErrorKind::Closed), call [`shut_down`](crate::Iocp::shut_down), so that
    /// nobody awaits for ever what is still in flight.
    pub fn park(&mut self, batch: &mut Batch<C>, timeout: Option<Duration>) -> Result<usize> {
        let end = End(&self.parking.state);
        let timeout = if self.parking.waits() { timeout } else { Some(Duration::ZERO) };
        let parked = match self.port.shared().fill::<true>(batch, timeout) {
            Err(error) if error.is_alert() => {
                self.parking.state.drained();
                Ok(0)
            }
            parked => parked,
        };
        // Before foreign code runs: what unparks it then is not to be queued for it.
        drop(end);
        batch.wake();
        parked
    }

    /// Waits without the port, because that is closed.
    pub(super) fn park_outside(&mut self, timeout: Option<Duration>) {
        let _end = End(&self.parking.state);
        if self.parking.waits() {
            let milliseconds = timeout.map_or(INFINITE, milliseconds);
            if sys::sleep_alertable(milliseconds) {
                self.parking.state.drained();
            }
        }
    }

    /// Returns a handle that wakes this thread.
    #[must_use]
    pub fn unparker(&self) -> Unparker {
        Unparker(Arc::clone(&self.parking))
    }
}

impl Parking {
    /// Begins to park; `false` if it need not wait.
    fn waits(&self) -> bool {
        let park = self.state.begin();
        if park == Park::Drain {
            self.drain();
        }
        park == Park::Wait
    }

    /// Lets in what is queued for this thread, so that nothing of ours is left.
    fn drain(&self) {
        sys::sleep_alertable(0);
        self.state.drained();
    }

    fn unpark(&self) {
        if self.state.unpark() {
            self.thread.alert();
        }
    }
}

/// Ends to park, whatever happens.
struct End<'a>(&'a ParkState);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<C: Send + 'static> Drop for Parker<'_, C> {
    fn drop(&mut self) {
        // One that is on its way comes later, and does nothing.
        if self.parking.state.is_queued() {
            self.parking.drain();
        }
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
        f.debug_struct("Unparker").field("thread", &self.0.thread).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Another thread unparks this one, which something else has woken.
    fn unpark_too_late(parker: &Parker<'_>) {
        assert_eq!(parker.parking.state.begin(), Park::Wait);
        let unparker = parker.unparker();
        thread::spawn(move || unparker.unpark()).join().unwrap();
        parker.parking.state.end();
    }

    #[test]
    fn a_parker_leaves_no_call_behind() {
        let port = Iocp::new().unwrap();
        let [one, other] = [(); 2].map(|()| port.parker().unwrap());
        unpark_too_late(&one);
        assert!(sys::sleep_alertable(0), "this is how a call is left");
        unpark_too_late(&other);
        drop(other);
        assert!(!sys::sleep_alertable(0));
    }

    #[test]
    fn a_thread_is_woken_though_other_code_has_let_in_the_call_before() {
        let port = Iocp::new().unwrap();
        let mut parker = port.parker().unwrap();
        let mut batch = Batch::with_capacity(1);
        unpark_too_late(&parker);
        assert!(sys::sleep_alertable(0));
        assert_eq!(parker.park(&mut batch, None), Ok(0));
        let unparker = parker.unparker();
        let other = thread::spawn(move || unparker.unpark());
        assert_eq!(parker.park(&mut batch, None), Ok(0));
        other.join().unwrap();
    }
}
