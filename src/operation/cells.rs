//! The cells of one port.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::pool::Pool;
use crate::error::Result;
use crate::sys::{Handle, Port, WaitRecord};

/// The cells of one port, whose operations all have contexts of type `C`.
#[derive(Debug)]
pub(crate) struct Cells<C> {
    pool: NonNull<Pool>,
    contexts: PhantomData<fn(C) -> C>,
}

// SAFETY: Rule 9: contexts that move between threads are `Send`.
unsafe impl<C: Send> Send for Cells<C> {}
// SAFETY: Rule 9: contexts that move between threads are `Send`.
unsafe impl<C: Send> Sync for Cells<C> {}

impl<C> Cells<C> {
    pub fn reserve(operations: u32) -> Result<Self> {
        Ok(Self { pool: Pool::reserve(operations)?, contexts: PhantomData })
    }

    pub(super) fn pool(&self) -> &Pool {
        // SAFETY: Rule 7: the pool is open until `self` is dropped.
        unsafe { self.pool.as_ref() }
    }

    /// Whether a packet with this address is of an operation whose scope waits
    /// for it.
    pub fn is_awaited_by_scope(&self, overlapped: usize) -> bool {
        self.pool().find(overlapped).is_some_and(|cell| cell.state.is_ending())
    }

    /// Whether a packet with this address comes too late, for an operation that was not
    /// started.
    pub fn is_late_packet(&self, overlapped: usize) -> bool {
        self.pool().is_late_packet(overlapped)
    }

    /// Whether a packet with this address is one that should not have come, and
    /// is not to be seen.
    pub fn discard_late_packet(&self, overlapped: usize) -> bool {
        self.pool().discard_late_packet(overlapped)
    }

    /// What the packets carry for their `OVERLAPPED` that wake threads when the
    /// port closes.
    pub fn close_marker(&self) -> usize {
        self.pool().close_marker()
    }

    /// Says which port it is, until its timers are [closed](Self::close_timers).
    pub fn open_timers(&self, port: &Port) {
        self.pool().timers.open(port);
    }

    /// From now on, nothing is posted by timers and waits.
    pub fn close_timers(&self) {
        self.pool().timers.close();
        self.pool().waits().close();
    }

    /// What the packets carry for their `OVERLAPPED` that say that a timer may be due.
    pub fn clock_marker(&self) -> usize {
        self.pool().clock_marker()
    }

    /// Such a packet was dequeued: posts those of the timers that are due, and cancels
    /// what has reached its deadline. `false` if no such packet was to come.
    pub fn turn_clock(&self) -> bool {
        self.pool().timers.turn()
    }

    /// What a wait on this port has to have in its memory.
    pub fn wait_record(&self, port: &Port) -> WaitRecord {
        WaitRecord::new(Arc::clone(self.pool().waits()), port.handle())
    }

    /// How many operations and posted packets are in flight.
    pub fn in_flight(&self) -> usize {
        self.pool().all_in_flight().count()
    }

    /// Whether something is in flight that was started on a handle of this value.
    pub fn is_in_flight_on(&self, handle: Handle) -> bool {
        self.pool().all_in_flight().any(|cell| cell.handle() == handle)
    }

    /// Asks for everything in flight to be cancelled, and returns how many
    /// operations and posted packets that is. Nobody may start more meanwhile.
    pub fn cancel_all(&self) -> usize {
        self.pool()
            .all_in_flight()
            .map(|cell| {
                // The handle may be closed, even be another object's by now: then no
                // operation with this OVERLAPPED is found there.
                // A failure leaves the operation as it is.
                if cell.state.admits_cancel() {
                    let _ = cell.cancel();
                }
            })
            .count()
    }
}

impl<C> Drop for Cells<C> {
    fn drop(&mut self) {
        self.pool().reclaim_all();
        // SAFETY: Rule 7: whoever allocates borrows `self`.
        unsafe { Pool::close(self.pool) };
    }
}
