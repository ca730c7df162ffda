//! Operations on buffers that the program only lends, and the list that a
//! scope keeps of them.

use std::cell::Cell as Flag;
use std::marker::PhantomData;
use std::mem;

use super::cell::state::Holder;
use super::cell::{CellRef, EmptyCell};
use super::cells::Cells;
use super::complete::ScopePart;
use super::definition::{Operation, Scoped};
use super::layout::link;
use super::object::Target;
use super::pending::{InScope, Pending};
use super::pool::Pool;
use super::start::StartOutcome;
use crate::error::{Rejected, Result, UsageError};
use crate::panics::FirstPanic;
use crate::sys::Port;

/// The operations of one scope: the cells that it holds, each of which has the
/// address of the one behind it.
///
/// Memory that is lent in it may be anything that outlives `'scope`, because
/// nobody gets at it later:
/// - the kernel, because the scope waits for it;
/// - the `Pending`, because `'scope` is in its type, whatever it returns;
/// - the completion, because it returns nothing of a scope's operation, and drops
///   nothing that has been dropped here.
///
/// Only [`borrow`] makes one, and it waits for them.
pub(crate) struct Borrowing<'scope, 'env: 'scope> {
    first: Flag<Option<CellRef>>,
    /// How many more it may hold before it lets go of those that are over.
    room: Flag<i32>,
    /// Both are invariant, as in [`std::thread::Scope`]: what is borrowed for
    /// the scope must outlive it, and does if it is of the environment.
    scope: PhantomData<&'scope mut &'scope ()>,
    environment: PhantomData<&'env mut &'env ()>,
}

const FIRST_ROOM: i32 = 8;

/// Runs `body`, then waits for all operations that it started on borrowed
/// buffers: it asks for what is left to be cancelled, and calls `wait` until
/// nothing is left, whatever panics.
#[inline]
pub(crate) fn borrow<'env, T>(
    body: impl for<'scope> FnOnce(&'scope Borrowing<'scope, 'env>) -> T,
    wait: impl Fn() + Copy,
) -> T {
    /// No value of the program's, so nobody can leak it.
    struct End<'a, 'env, W: Fn() + Copy>(&'a Borrowing<'a, 'env>, W);

    impl<W: Fn() + Copy> Drop for End<'_, '_, W> {
        #[inline(always)]
        fn drop(&mut self) {
            let Self(borrowing, wait) = *self;
            if let Some(left) = borrowing.release_first_completed() {
                borrowing.cancel_and_wait(left, wait);
            }
        }
    }

    let borrowing = Borrowing {
        first: Flag::new(None),
        room: Flag::new(FIRST_ROOM),
        scope: PhantomData,
        environment: PhantomData,
    };
    let _end = End(&borrowing, wait);
    body(&borrowing)
}

impl<'scope> Borrowing<'scope, '_> {
    /// Starts an operation, as [`Cells::start`] does, whose memory is lent for the
    /// scope.
    #[inline(always)]
    pub fn start<C, O: Operation, const SOCKET: bool>(
        &'scope self,
        (cells, port): (&Cells<C>, &Port),
        target: Target,
        key: impl FnOnce() -> usize,
        context: C,
        parts: (O::Arguments, O::Memory),
        admit: impl Fn() -> Result<(), &'static UsageError>,
    ) -> Result<Pending<O::Output, InScope<'scope>>, Rejected<(C, O::Memory)>>
    where
        O::Memory: 'scope,
    {
        self.room.set(self.room.get() - 1);
        if self.room.get() < 0 {
            // As many more as are left: letting go costs little for each.
            let mut panic = FirstPanic::none();
            self.room.set(FIRST_ROOM.max(self.release_completed(false, &mut panic)));
            panic.resume();
        }
        let pending = match cells.start::<O, Scoped<SOCKET>>(target, context, parts, admit)? {
            StartOutcome::InFlight(pending) => pending,
            outcome => outcome.into_pending(cells, port, key())?,
        };
        self.hold(pending.cell());
        // From here on it cannot outlive the scope.
        Ok(pending.in_scope())
    }

    /// Takes note of a cell in which the scope has a part.
    #[inline]
    fn hold(&self, cell: CellRef) {
        // SAFETY: Rule 8: the link is the scope's.
        unsafe { link(cell).write(self.first.get()) };
        self.first.set(Some(cell));
    }

    fn held(&self) -> impl Iterator<Item = CellRef> {
        // SAFETY: Rule 8.
        std::iter::successors(self.first.get(), |cell| unsafe { link(*cell).read() })
    }

    /// Lets go of the first operations, as far as they are over and nobody else
    /// holds their cells. Which one is left as the first.
    #[inline(always)]
    fn release_first_completed(&self) -> Option<CellRef> {
        let mut next = self.first.get();
        while let Some(cell) = next {
            if !cell.state.is_exclusively_held_by(Holder::Scope, false) {
                return Some(cell);
            }
            // SAFETY: Rules 6 and 8: the operation is over, its context is gone, and the
            // memory is only borrowed.
            unsafe {
                next = link(cell).read();
                Pool::free(EmptyCell::new(cell));
            }
        }
        None
    }

    /// Lets go of all operations that are over, and keeps the others. Returns
    /// how many those are.
    ///
    /// Memory with a destructor is dropped here at the end of the scope, because
    /// the completion, which may hold the cell longer, must not do it; until then
    /// it is the `Pending`'s.
    #[cold]
    fn release_completed(&self, ends: bool, panic: &mut FirstPanic) -> i32 {
        let mut kept = 0;
        let mut next = self.first.take();
        while let Some(cell) = next {
            // SAFETY: Rule 8: the scope holds the cell until here.
            let part = unsafe {
                next = link(cell).read();
                ScopePart::new(cell)
            };
            let drops = cell.vtable().drop_payload.is_some();
            let is_shared = || !ends && !cell.state.is_held_only_by(Holder::Scope);
            if is_in_flight(cell) || drops && is_shared() {
                mem::forget(part);
                self.hold(cell);
                kept += 1;
            } else {
                if drops {
                    panic.catch(|| {
                        if let Some(payload) = cell.claim_payload() {
                            payload.drop_in_place();
                        }
                    });
                }
                drop(part);
            }
        }
        kept
    }

    /// Cancels what is left, from this cell on, waits for it, and lets go of it.
    #[cold]
    #[inline(never)]
    fn cancel_and_wait(&self, left: CellRef, wait: impl Fn()) {
        self.first.set(Some(left));
        let mut panic = FirstPanic::none();
        self.release_completed(false, &mut panic);
        let mut is_refused = false;
        for cell in self.held().filter(|cell| is_in_flight(*cell)) {
            // The scope holds the cell, so no other operation has it. Nothing to cancel,
            // or not possible: the completion decides.
            cell.state.mark_ending();
            is_refused |= cell.state.admits_cancel() && cell.cancel().is_err();
        }
        // One way through the list is enough: what is over stays so.
        for cell in self.held() {
            while is_in_flight(cell) {
                // Drops completions, whose contexts may panic.
                panic.catch(&wait);
                // There may have been no memory to say it.
                if is_refused && is_in_flight(cell) {
                    let _ = cell.cancel();
                }
            }
        }
        self.release_completed(true, &mut panic);
        panic.resume();
    }
}

#[inline]
fn is_in_flight(cell: CellRef) -> bool {
    cell.state.is_in_flight()
}
