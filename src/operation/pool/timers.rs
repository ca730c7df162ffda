//! The timers of a port, and the deadlines of its operations.
//!
//! Each is an entry in a [`Heap`] behind a lock, which only who sets, ends or expires one
//! takes. A [`Clock`] posts a packet of its own when the first is due, and whoever dequeues
//! that [turns](Timers::turn) to what is due.
//!
//! As long as a cell has an entry, the cell is its operation's: a timer ends when its entry
//! is taken out, and who ends an operation that has a deadline takes out the entry before
//! it lets go of the completion's part. So nothing is cancelled but what had the deadline.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Pool;
use super::heap::{Entry, Heap, NEVER};
use crate::error::{Error, ErrorKind, Result, STATUS_CANCELLED, STATUS_TIMEOUT, refusal};
use crate::operation::cell::CellRef;
use crate::sys::{Clock, Handle, Port, post};

/// Empty until the first is set.
#[derive(Debug, Default)]
pub(in crate::operation) struct Timers(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Without a port, or one that is gone.
    #[default]
    Closed,
    /// Of this port, and none has been set.
    Unused(Handle),
    Used(Box<Used>),
}

#[derive(Debug)]
struct Used {
    heap: Heap,
    clock: Clock,
    port: Handle,
    ticks: Ticks,
    /// When the clock posts a packet, or before; [`NEVER`] if it posts none.
    set_to: u64,
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the timers if there are none yet, and does something with them.
    fn with<T>(&self, marker: usize, then: impl FnOnce(&mut Used) -> T) -> Result<T> {
        let mut state = self.lock();
        if let State::Unused(port) = *state {
            *state = State::Used(Box::new(Used {
                heap: Heap::default(),
                clock: Clock::create(port, marker)?,
                port,
                ticks: Ticks { start: Instant::now() },
                set_to: NEVER,
            }));
        }
        match &mut *state {
            State::Used(timers) => Ok(then(timers)),
            State::Unused(_) | State::Closed => Err(Error::usage(&refusal::CLOSED)),
        }
    }

    /// Does something with the timers, if there are any.
    fn with_used<T>(&self, then: impl FnOnce(&mut Used) -> Option<T>) -> Option<T> {
        match &mut *self.lock() {
            State::Used(timers) => then(timers),
            State::Unused(_) | State::Closed => None,
        }
    }

    /// The clock has posted its packet: posts those of the timers that are due, and
    /// cancels what has reached its deadline. `false` if there is no clock.
    pub fn turn(&self) -> bool {
        // Asked once, so that what is put off is not due again.
        let time = Instant::now();
        loop {
            let goes_on = self.with_used(|timers| {
                // Whichever packet of the clock this is, others may be lost.
                timers.set_to = NEVER;
                Some(timers.turn(time))
            });
            match goes_on {
                None => return false,
                Some(false) => return true,
                Some(true) => {}
            }
        }
    }

    /// The port that they are of, which stays open until they are [closed](Self::close).
    pub fn open(&self, port: &Port) {
        *self.lock() = State::Unused(port.handle());
    }

    /// From now on, nothing is posted to the port.
    pub fn close(&self) {
        let state = mem::take(&mut *self.lock());
        // Waits for the clock.
        drop(state);
    }
}

/// Milliseconds since a time.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    start: Instant,
}

impl Ticks {
    /// The first tick that is not before this time.
    fn not_before(self, time: Option<Instant>) -> u64 {
        let Some(time) = time else { return NEVER };
        let ticks = time.saturating_duration_since(self.start).as_nanos().div_ceil(1_000_000);
        u64::try_from(ticks).unwrap_or(NEVER)
    }

    /// The last tick that is not after this time.
    fn not_after(self, time: Instant) -> u64 {
        time.saturating_duration_since(self.start).as_millis() as u64
    }

    /// How long it is from this time to a tick.
    fn until(self, tick: u64, time: Instant) -> Duration {
        Duration::from_millis(tick).saturating_sub(time.saturating_duration_since(self.start))
    }
}

impl Used {
    /// Sees to what is due first; `false` if nothing is, at this time. What would take memory
    /// that the system has not is put off: the clock rings again a millisecond later.
    fn turn(&mut self, time: Instant) -> bool {
        let now = self.ticks.not_after(time);
        match self.heap.first() {
            Some(Entry { due, .. }) if due <= now => {}
            _ => {
                self.set_clock();
                return false;
            }
        }
        let Entry { fires, cell, .. } = self.heap.remove(0);
        let put_off = Entry { due: now + 1, fires, cell };
        if fires == NEVER {
            // It is not over, or who has ended it waits for the lock.
            let was_expired = cell.state.is_expired();
            if cell.state.expire() {
                let cancelled = cell.cancel();
                if cancelled != Ok(true) && !was_expired {
                    cell.state.unexpire();
                }
                if cancelled.is_err_and(|error| error.kind() == ErrorKind::ResourceExhausted) {
                    self.heap.push(put_off);
                }
            }
        } else {
            let _ = self.end(put_off, if fires <= now { 0 } else { STATUS_TIMEOUT });
        }
        true
    }

    /// Ends a timer, whose entry was all that anybody else could end it by: the caller stands
    /// in for the system. If its packet cannot be posted, the entry is put back.
    fn end(&mut self, entry: Entry, status: u32) -> Result<()> {
        let Entry { cell, .. } = entry;
        let word = cell.status_word();
        word.write(status);
        // With the lock held, under which the port is open.
        let posted = post(self.port, 0, 0, cell.address());
        if posted.is_err() && word.take_for_certain(|| cell.state.is_in_flight()).is_some() {
            word.reset();
            self.heap.push(entry);
        }
        posted
    }

    /// Has the clock post its packet when the first is due.
    fn set_clock(&mut self) {
        let Some(Entry { due, .. }) = self.heap.first() else { return };
        if due < self.set_to {
            self.set_to = due;
            self.clock.set(self.ticks.until(due, Instant::now()));
        }
    }

    fn set_deadline(&mut self, cell: CellRef, at: Option<Instant>) {
        let due = self.ticks.not_before(at);
        match self.heap.find(cell) {
            Some(place) => match self.heap.entry(place).fires {
                NEVER if at.is_none() => drop(self.heap.remove(place)),
                fires => self.heap.set_due(place, due.min(fires)),
            },
            // What has no handle is a timer that has gone off, or is over otherwise, and
            // could not be cancelled with the lock held.
            None if at.is_none() || cell.handle() == Handle::NONE => {}
            None => {
                self.heap.push(Entry { due, fires: NEVER, cell });
                if !cell.state.note_timed() {
                    self.forget(cell);
                }
            }
        }
        self.set_clock();
    }

    fn forget(&mut self, cell: CellRef) {
        if let Some(place) = self.heap.find(cell) {
            self.heap.remove(place);
        }
    }

    fn cancel_timer(&mut self, cell: CellRef) -> Result<bool> {
        let Some(place) = self.heap.find(cell) else { return Ok(false) };
        let entry = self.heap.remove(place);
        self.end(entry, STATUS_CANCELLED).map(|()| true)
    }
}

impl Pool {
    /// The pool that a cell is of, which the cell keeps.
    fn of_held<'a>(cell: CellRef) -> &'a Self {
        // SAFETY: Rule 7: whoever calls this holds the cell, or is about to end its
        // operation, and keeps the pool no longer.
        unsafe { &*Self::of(cell) }
    }

    /// Makes what timers need, so that they can be [started](Self::start_timer).
    pub fn prepare_timers(&self) -> Result<()> {
        self.timers.with(self.clock_marker(), |_| ())
    }

    /// Starts a timer, whose cell has been begun, and is said to be timed.
    pub fn start_timer(&self, cell: CellRef, at: Option<Instant>) {
        self.timers.with_used(|timers| {
            // One without an end is still a timer.
            let due = timers.ticks.not_before(at).min(NEVER - 1);
            timers.heap.push(Entry { due, fires: due, cell });
            timers.set_clock();
            Some(())
        });
    }

    /// Sets, moves or clears the deadline of an operation whose `Pending` the caller has.
    pub fn set_deadline(cell: CellRef, at: Option<Instant>) -> Result<()> {
        if at.is_none() && !cell.state.is_timed() {
            return Ok(());
        }
        let pool = Self::of_held(cell);
        pool.timers.with(pool.clock_marker(), |timers| timers.set_deadline(cell, at))
    }

    /// An operation that has a deadline is over.
    #[cold]
    pub fn forget_deadline(cell: CellRef) {
        Self::of_held(cell).timers.with_used(|timers| {
            timers.forget(cell);
            Some(())
        });
    }

    /// Ends a timer, if it has not gone off; whether it does so.
    #[cold]
    pub fn cancel_timer(cell: CellRef) -> Result<bool> {
        if !cell.state.is_timed() {
            return Ok(false);
        }
        let cancel = |timers: &mut Used| Some(timers.cancel_timer(cell));
        Self::of_held(cell).timers.with_used(cancel).unwrap_or(Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_before_its_time_and_all_is_a_millisecond_later() {
        // What clocks count in.
        const STEP: Duration = Duration::from_nanos(100);
        const MILLISECOND: Duration = Duration::from_millis(1);
        let start = Instant::now();
        let ticks = Ticks { start };
        for nanos in [200, 999_900, 1_000_000, 1_000_100, 7_300_000, 3_600_000_000_000] {
            let before = start + Duration::from_nanos(nanos).saturating_sub(STEP);
            let time = before + STEP;
            let due = ticks.not_before(Some(time));
            assert!(ticks.not_after(before) < due, "{nanos}");
            assert!(ticks.not_after(time + MILLISECOND) >= due, "{nanos}");
            assert!(ticks.until(due, time) < MILLISECOND, "{nanos}");
            assert_eq!(ticks.not_after(time + ticks.until(due, time)), due, "{nanos}");
        }
        assert_eq!(ticks.not_before(Some(start)), 0);
        assert_eq!(ticks.not_before(None), NEVER);
        assert_eq!(ticks.until(0, start + MILLISECOND), Duration::ZERO);
    }
}
