//! Threads that wait in the port, and can be woken without a completion.

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use super::Shared;
use super::dequeue::Other;
use crate::sys::Packet;

/// The thread waits in the port, or is about to.
const PARKED: u8 = 1;
/// It does so as any thread does, because the port is closed.
const OUTSIDE: u8 = 2;
/// It has been unparked, and does not know yet.
const NOTIFIED: u8 = 4;
/// A packet that unparks it is queued, or will be.
const POSTED: u8 = 8;
/// Nobody parks here any more.
const GONE: u8 = 16;

/// A thread that parks in a port.
///
/// A packet is posted only where the thread is parked, and one at a time. Whoever dequeues
/// it, the thread is told by the state: the packet only makes it look there.
pub(crate) struct Parking {
    state: AtomicU8,
    thread: Thread,
    port: Weak<dyn Unparks>,
}

/// A port, whatever its contexts are.
trait Unparks: Send + Sync {
    fn post_unpark(&self, key: usize);
}

impl<C: Send + 'static> Unparks for Shared<C> {
    fn post_unpark(&self, key: usize) {
        self.requeue(Packet { key, ..Packet::posted(self.cells.unpark_marker()) });
    }
}

impl Parking {
    /// For this thread.
    pub fn new<C: Send + 'static>(shared: &Arc<Shared<C>>) -> Arc<Self> {
        let port: Weak<Shared<C>> = Arc::downgrade(shared);
        let state = AtomicU8::new(0);
        let parking = Arc::new(Self { state, thread: thread::current(), port });
        shared.parkers.lock().push(Arc::clone(&parking));
        parking
    }

    /// What its packets have for a key.
    fn key(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Begins to park. `false` if it was unparked before.
    pub fn begin(&self, outside: bool) -> bool {
        let parked = PARKED | if outside { OUTSIDE } else { 0 };
        self.state.fetch_or(parked, Ordering::AcqRel) & NOTIFIED == 0
    }

    /// Ends it.
    pub fn end(&self) {
        self.state.fetch_and(!(PARKED | OUTSIDE | NOTIFIED), Ordering::AcqRel);
    }

    /// Wakes the thread, or keeps it from waiting when it next parks.
    pub fn unpark(&self) {
        const KEPT: u8 = PARKED | OUTSIDE | NOTIFIED | POSTED;
        let is_own = || thread::current().id() == self.thread.id();
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let posts = state & KEPT == PARKED && !is_own();
            let notified = state | NOTIFIED | if posts { POSTED } else { 0 };
            match self.state.compare_exchange(state, notified, Ordering::AcqRel, Ordering::Acquire)
            {
                Err(now) => state = now,
                Ok(_) if state & OUTSIDE != 0 => return self.thread.unpark(),
                Ok(_) if posts => {
                    if let Some(port) = self.port.upgrade() {
                        port.post_unpark(self.key());
                    }
                    return;
                }
                Ok(_) => return,
            }
        }
    }

    fn is_gone(&self) -> bool {
        self.state.load(Ordering::Acquire) & GONE != 0
    }
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").field("thread", &self.thread.id()).finish_non_exhaustive()
    }
}

/// Those that park in one port, or have parked and left a packet.
#[derive(Debug, Default)]
pub(crate) struct Parkers(Mutex<Vec<Arc<Parking>>>);

impl Parkers {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Parking>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom a packet with this key unparks.
    pub fn find(&self, key: usize) -> Option<Arc<Parking>> {
        self.lock().iter().find(|parking| parking.key() == key).cloned()
    }

    /// Nobody parks there any more. It stays here until its packet has come.
    pub fn leave(&self, parking: &Arc<Parking>) {
        let mut all = self.lock();
        // It is not parked, so no packet will be posted.
        if parking.state.fetch_or(GONE, Ordering::AcqRel) & POSTED == 0 {
            all.retain(|one| !Arc::ptr_eq(one, parking));
        }
    }

    /// Its packet has come.
    fn arrived(&self, parking: &Arc<Parking>) {
        let mut all = self.lock();
        parking.state.fetch_and(!POSTED, Ordering::AcqRel);
        if parking.is_gone() {
            all.retain(|one| !Arc::ptr_eq(one, parking));
        }
    }
}

impl<C: Send + 'static> Shared<C> {
    /// A packet was dequeued that unparks this thread or another, which then has to get
    /// it.
    #[cold]
    pub(super) fn pass_on(&self, packet: Packet, parking: &Arc<Parking>) -> Other {
        if parking.thread.id() == thread::current().id() {
            self.parkers.arrived(parking);
            return Other::Unpark;
        }
        // Where the port is closed, the close marker wakes it.
        let is_woken = self.state.is_closed() && !self.is_shutting_down();
        if is_woken || parking.is_gone() {
            self.parkers.arrived(parking);
        } else {
            self.requeue(packet);
            // The system prefers the thread that was the last to wait.
            thread::sleep(Duration::from_millis(1));
        }
        Other::Stray
    }
}
