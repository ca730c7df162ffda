//! Threads that wait in the port, and can be woken without a completion.

use std::fmt;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use super::Shared;
use super::dequeue::Other;
use super::park_state::{ParkState, Wakes};
use crate::sys::Packet;

/// A thread that parks in a port.
pub(crate) struct Parking {
    pub state: ParkState,
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
        let state = ParkState::default();
        let parking = Arc::new(Self { state, thread: thread::current(), port });
        shared.parkers.lock().push(Arc::clone(&parking));
        parking
    }

    /// What its packets have for a key.
    fn key(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Wakes the thread, or keeps it from waiting when it next parks.
    pub fn unpark(&self) {
        match self.state.unpark(|| self.is_own()) {
            Wakes::Nothing => {}
            Wakes::Outside => self.thread.unpark(),
            Wakes::Packet => {
                if let Some(port) = self.port.upgrade() {
                    port.post_unpark(self.key());
                }
            }
        }
    }

    /// Whether this thread is the one that parks there.
    fn is_own(&self) -> bool {
        self.thread.id() == thread::current().id()
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
        if !parking.state.leave() {
            all.retain(|one| !Arc::ptr_eq(one, parking));
        }
    }

    /// Its packet has come.
    fn arrived(&self, parking: &Arc<Parking>) {
        let mut all = self.lock();
        if parking.state.packet_came() {
            all.retain(|one| !Arc::ptr_eq(one, parking));
        }
    }

    /// Whether this thread parks here, and has been unparked.
    fn is_own_notified(&self) -> bool {
        self.lock().iter().any(|parking| parking.is_own() && parking.state.is_notified())
    }
}

impl<C: Send + 'static> Shared<C> {
    /// A packet was dequeued that unparks this thread or another, which then has to get
    /// it.
    #[cold]
    pub(super) fn pass_on(&self, packet: Packet, parking: Arc<Parking>) -> Other {
        if parking.is_own() {
            self.parkers.arrived(&parking);
            return Other::Unpark;
        }
        // Where the port is closed, the close marker wakes it.
        let is_woken = self.state.is_closed() && !self.is_shutting_down();
        if is_woken || parking.state.is_gone() {
            self.parkers.arrived(&parking);
            return Other::Stray;
        }
        if !parking.state.needs_packet() {
            return Other::Stray;
        }
        self.requeue(packet);
        Other::PassedOn(parking)
    }

    /// Leaves the port to the other threads for a moment, so that one of them gets its packet:
    /// the system prefers the thread that was the last to wait. Nothing of others is in hand.
    /// Whether this thread, if it `parks`, has been unparked itself.
    #[cold]
    pub(super) fn make_way(&self, parking: &Parking, parks: bool) -> bool {
        const YIELDS: u32 = 32;
        const TRIES: u32 = YIELDS + 20;
        for tries in 0..TRIES {
            // Its packet may be with somebody who makes way for it.
            if parks && self.parkers.is_own_notified() {
                return true;
            }
            if !parking.state.waits_for_packet() {
                return false;
            }
            if tries < YIELDS {
                thread::yield_now();
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
        false
    }
}
