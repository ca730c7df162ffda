//! Operations that no call starts: packets of the program's own, and timers.

use std::marker::PhantomData;
use std::time::Instant;

use super::cell::state::IS_TIMED;
use super::cell::{CellRef, EmptyCell};
use super::cells::Cells;
use super::definition::{Finish, Operation, Owned};
use super::layout::{CellLayout, FilledCell};
use super::object::Object;
use super::pending::Pending;
use super::start::{Begun, take_out};
use super::starter::{Starter, Submitted};
use crate::error::{Error, Facts, FactsOn, Rejected, Result};
use crate::sys::{Handle, Port};

/// An operation whose packet the port itself posts: at once, or when a `TIMER` goes off.
pub(super) struct Posted<const TIMER: bool>;

impl<const TIMER: bool> Operation for Posted<TIMER> {
    const FACTS: FactsOn = FactsOn::Handles(if TIMER {
        Facts::SetThreadpoolTimer
    } else {
        Facts::PostQueuedCompletionStatus
    });
    const FINISH: Finish<Self> = Finish::memory();
    type On = ();
    type Memory = ();
    type Arguments = ();
    type Output = ();

    fn split(self, _: &Object<'_>) -> Result<((), ()), (Error, ())> {
        Ok(((), ()))
    }

    fn start((): (), (): (), _: Starter<'_, Self>) -> Submitted<'_> {
        unreachable!("there is no call")
    }
}

impl<C> Cells<C> {
    /// Queues a packet of the program's own, which carries a context.
    #[inline(always)]
    pub fn post(&self, port: &Port, key: usize, bytes: u32, context: C) -> Result<(), Rejected<C>> {
        let cell = match self.pool().allocate() {
            Ok(cell) => cell,
            Err(error) => return Err(Rejected { error, returned: context }),
        };
        let cell = fill::<C, false>(cell, bytes, context);
        // In this order: whoever takes what the word said before finds nothing to end.
        cell.status_word().write(0);
        cell.state.begin(CellLayout::<C, Posted<false>, Owned<false>>::TRAITS);
        match port.post(key, bytes, cell.address()) {
            Ok(()) => Ok(()),
            Err(error) => Self::not_posted(cell, error),
        }
    }

    /// Gives back the context of a packet that could not be posted.
    #[cold]
    #[inline(never)]
    fn not_posted(cell: CellRef, error: Error) -> Result<(), Rejected<C>> {
        let begun = Begun::<C, Posted<false>, Owned<false>> { cell, types: PhantomData };
        match begun.withdraw() {
            Ok((filled, ..)) => {
                let (returned, ()) = take_out(filled);
                Err(Rejected { error, returned })
            }
            // Somebody has forged its packet.
            Err(_) => Ok(()),
        }
    }

    /// Starts a timer that goes off at this time, or never.
    pub fn start_timer(&self, at: Option<Instant>, context: C) -> Result<Pending<()>, Rejected<C>> {
        let pool = self.pool();
        let cell = match pool.prepare_timers().and_then(|()| pool.allocate()) {
            Ok(cell) => cell,
            Err(error) => return Err(Rejected { error, returned: context }),
        };
        let cell = fill::<C, true>(cell, 0, context);
        cell.status_word().reset();
        cell.state.begin(CellLayout::<C, Posted<true>, Owned<false>>::HOLDERS | IS_TIMED);
        pool.start_timer(cell, at);
        let begun = Begun::<C, Posted<true>, Owned<false>> { cell, types: PhantomData };
        Ok(begun.into_pending())
    }
}

/// Fills a cell for what ends with this byte count.
#[inline(always)]
fn fill<C, const TIMER: bool>(mut cell: EmptyCell, bytes: u32, context: C) -> CellRef {
    cell.set_handle(Handle::NONE);
    cell.set_bytes(bytes);
    FilledCell::<C, Posted<TIMER>, Owned<false>>::fill(cell, context, ()).into_cell()
}
