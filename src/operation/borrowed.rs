//! Operations on buffers that the program only lends, and the list that a
//! scope keeps of them.

use std::cell::Cell as Flag;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::thread;

use super::atomic::Ordering;
use super::cell::Cell;
use super::free_list::NONE;
use super::launch::{Cells, Target};
use super::payload::{Payload, Read, Write};
use super::pending::Pending;
use super::state::Holder;
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Rejected, Result};
use crate::sys::{self, Answer, LentOverlapped, LentRegion, Port};

/// A borrowed buffer whose lifetime the cell forgets and the scope remembers.
///
/// No code outside this crate can name the type, so the only way back to the
/// buffer is the `Pending`, which knows the lifetime.
#[derive(Debug)]
#[repr(transparent)]
struct Borrowed<B>(B);

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBuf> IoBuf for Borrowed<B> {
    fn initialized(&self) -> (*const u8, usize) {
        self.0.initialized()
    }
}

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBufMut> IoBufMut for Borrowed<B> {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.0.initialized_mut()
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.0.writable()
    }

    unsafe fn advance(&mut self, bytes: usize) {
        // SAFETY: The caller's promise.
        unsafe { self.0.advance(bytes) };
    }

    const FIXED: bool = B::FIXED;
}

/// The operations of one scope: the cells that it holds, linked by their
/// places.
///
/// Only [`borrow`] makes one, and it waits for them.
#[derive(Debug)]
pub(crate) struct Borrowing<'scope, 'env: 'scope> {
    first: Flag<Option<NonNull<Cell>>>,
    /// How many more it may hold before it lets go of those that are over.
    room: Flag<u32>,
    /// Both are invariant, as in [`std::thread::Scope`]: what is borrowed for
    /// the scope must outlive it, and does if it is of the environment.
    scope: PhantomData<&'scope mut &'scope ()>,
    environment: PhantomData<&'env mut &'env ()>,
}

const FIRST_ROOM: u32 = 8;

/// Runs `body`, then waits for all operations that it started on borrowed
/// buffers: it asks for what is left to be cancelled, and calls `wait` until
/// nothing is left, whatever panics.
#[inline]
pub(crate) fn borrow<'env, T>(
    body: impl for<'scope> FnOnce(&'scope Borrowing<'scope, 'env>) -> T,
    wait: impl FnMut(&Borrowing<'_, 'env>),
) -> T {
    let borrowing = Borrowing {
        first: Flag::new(None),
        room: Flag::new(FIRST_ROOM),
        scope: PhantomData,
        environment: PhantomData,
    };
    let mut result = catch_unwind(AssertUnwindSafe(|| body(&borrowing)));
    borrowing.let_go();
    if borrowing.first.get().is_some() {
        if let Err(panic) = borrowing.cancel_and_wait(wait) {
            result = Err(panic);
        }
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

impl<'scope> Borrowing<'scope, '_> {
    /// Starts a read into a borrowed buffer, as [`Cells::launch`] does.
    #[inline]
    pub fn read<C, const SOCKET: bool>(
        &'scope self,
        cells: &Cells<C>,
        port: &Port,
        target: Target,
        context: C,
        buffer: &'scope mut [u8],
        call: impl FnOnce(&LentRegion, LentOverlapped) -> Answer,
    ) -> Result<Pending<&'scope mut [u8]>, Rejected<C>> {
        // SAFETY: Only the lifetime changes. `borrow` waits for the operation
        // before 'scope ends.
        let buffer = unsafe { mem::transmute::<&mut [u8], &'static mut [u8]>(buffer) };
        let payload = Read::<_, SOCKET>(Borrowed(buffer));
        // SAFETY: The buffer comes back with the lifetime that it had.
        unsafe { self.launch(cells, port, target, context, payload, call) }
    }

    /// Starts a write from a borrowed buffer.
    #[inline]
    pub fn write<C, const SOCKET: bool>(
        &'scope self,
        cells: &Cells<C>,
        port: &Port,
        target: Target,
        context: C,
        buffer: &'scope [u8],
        call: impl FnOnce(&LentRegion, LentOverlapped) -> Answer,
    ) -> Result<Pending<&'scope [u8]>, Rejected<C>> {
        // SAFETY: As for `read`.
        let buffer = unsafe { mem::transmute::<&[u8], &'static [u8]>(buffer) };
        let payload = Write::<_, SOCKET>(Borrowed(buffer));
        // SAFETY: As for `read`.
        unsafe { self.launch(cells, port, target, context, payload, call) }
    }

    /// # Safety
    ///
    /// `T` is the payload's output without the wrapper, with the buffer's own
    /// lifetime.
    #[inline]
    unsafe fn launch<C, P: Payload, T>(
        &self,
        cells: &Cells<C>,
        port: &Port,
        target: Target,
        context: C,
        payload: P,
        call: impl FnOnce(&LentRegion, LentOverlapped) -> Answer,
    ) -> Result<Pending<T>, Rejected<C>> {
        // Without a destructor, there is nothing to do for the last holder.
        const { assert!(!mem::needs_drop::<P>()) };
        if self.room.get() == 0 {
            // As many more as are left: letting go costs little for each.
            self.room.set(FIRST_ROOM.max(self.let_go()));
        }
        let pending = cells
            .launch(target, true, context, payload, call)
            .and_then(|launched| launched.into_pending(cells, port, target.key))
            .map_err(|rejected| rejected.map(|(context, _)| context))?;
        self.room.set(self.room.get() - 1);
        self.hold(pending.cell());
        // SAFETY: By the caller's promise; `Borrowed` is transparent.
        Ok(unsafe { pending.cast() })
    }

    /// Takes note of a cell in which the scope has a part.
    #[inline]
    fn hold(&self, cell: NonNull<Cell>) {
        // SAFETY: The scope holds the cells; each has the place of the next.
        unsafe {
            let next = self.first.get().map_or(NONE, |next| Cell::slab(next).as_ref().place(next));
            cell.as_ref().next.store(next, Ordering::Relaxed);
        }
        self.first.set(Some(cell));
    }

    fn held(&self) -> impl Iterator<Item = NonNull<Cell>> {
        std::iter::successors(self.first.get(), |cell| next_held(*cell))
    }

    /// Lets go of the operations that are over, and keeps the others. Returns
    /// how many those are.
    #[inline]
    fn let_go(&self) -> u32 {
        let mut kept = 0;
        let mut next = self.first.take();
        while let Some(cell) = next {
            next = next_held(cell);
            // SAFETY: The scope holds the cell until here. If it is the last,
            // the operation is over, its context is gone, and the buffer is
            // only borrowed.
            unsafe {
                if cell.as_ref().state.is_held_by_nobody_but(Holder::Scope) {
                    Cell::free_emptied(cell);
                } else if is_in_flight(cell) {
                    self.hold(cell);
                    kept += 1;
                } else {
                    Cell::leave(cell, Holder::Scope);
                }
            }
        }
        kept
    }

    /// Whether the packet with this address is one of the scope's operations'.
    pub fn owns(&self, overlapped: usize) -> bool {
        self.held().any(|cell| Cell::address(cell) == overlapped)
    }

    #[cold]
    fn cancel_and_wait(&self, mut wait: impl FnMut(&Self)) -> thread::Result<()> {
        for cell in self.held() {
            // SAFETY: The scope holds the cell, so no other operation has it.
            let handle = unsafe { Cell::handle(cell) };
            // Nothing to cancel, or not possible: the completion decides.
            let _ = sys::cancel(handle, Cell::address(cell));
        }
        let mut result = Ok(());
        while self.held().any(is_in_flight) {
            // Waiting drops completions, whose contexts are the program's and
            // may panic.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| wait(self))) {
                result = Err(panic);
            }
        }
        self.let_go();
        result
    }
}

/// The cell that a scope holds after this one.
#[inline]
fn next_held(cell: NonNull<Cell>) -> Option<NonNull<Cell>> {
    // SAFETY: The scope holds both.
    unsafe {
        let next = cell.as_ref().next.load(Ordering::Relaxed);
        (next != NONE).then(|| Cell::slab(cell).as_ref().cell(next))
    }
}

#[inline]
fn is_in_flight(cell: NonNull<Cell>) -> bool {
    // SAFETY: The scope holds the cell.
    unsafe { cell.as_ref() }.state.is_in_flight()
}
