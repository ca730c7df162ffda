//! Operations on buffers that the program only lends, and the list that a
//! scope keeps of them.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use super::cell::Cell;
use super::launch::{Cells, Launched, Target};
use super::payload::{Payload, Read, Write};
use super::pending::Pending;
use super::state::Holder;
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Rejected, Result};
use crate::sys::{self, Answer, LentOverlapped, LentRegion, Packet, Port};

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
}

/// The operations of one scope that may still be in flight.
///
/// Only [`borrow`] makes one, and it waits for them.
#[derive(Debug)]
pub(crate) struct Borrowing<'scope, 'env: 'scope> {
    held: RefCell<Vec<Held>>,
    /// Both are invariant, as in [`std::thread::Scope`]: what is borrowed for
    /// the scope must outlive it, and does if it is of the environment.
    scope: PhantomData<&'scope mut &'scope ()>,
    environment: PhantomData<&'env mut &'env ()>,
}

/// A scope's part in a cell.
#[derive(Debug)]
struct Held(NonNull<Cell>);

/// Runs `body`, then waits for all operations that it started on borrowed
/// buffers: it asks for what is left to be cancelled, and calls `wait` until
/// nothing is left, whatever panics.
pub(crate) fn borrow<'env, T>(
    body: impl for<'scope> FnOnce(&'scope Borrowing<'scope, 'env>) -> T,
    mut wait: impl FnMut(&Borrowing<'_, 'env>),
) -> T {
    let borrowing =
        Borrowing { held: RefCell::default(), scope: PhantomData, environment: PhantomData };
    let mut result = catch_unwind(AssertUnwindSafe(|| body(&borrowing)));
    borrowing.cancel();
    while borrowing.is_in_flight() {
        // Waiting drops completions, whose contexts are the program's and may
        // panic.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| wait(&borrowing))) {
            result = Err(panic);
        }
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

impl<'scope> Borrowing<'scope, '_> {
    /// Starts a read into a borrowed buffer, as [`Cells::launch`] does.
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
    unsafe fn launch<C, P: Payload, T>(
        &self,
        cells: &Cells<C>,
        port: &Port,
        target: Target,
        context: C,
        payload: P,
        call: impl FnOnce(&LentRegion, LentOverlapped) -> Answer,
    ) -> Result<Pending<T>, Rejected<C>> {
        self.make_room();
        let started = match cells.launch(target, true, context, payload, call) {
            Ok(Launched::InFlight(pending)) => Ok(pending),
            Ok(Launched::Unqueued(done)) => done.post_or_take_back(port),
            Err(rejected) => Err(rejected),
        };
        let pending = started.map_err(|rejected| rejected.map(|(context, _)| context))?;
        // Room was made before the call: this cannot fail.
        self.held.borrow_mut().push(Held(pending.cell()));
        // SAFETY: By the caller's promise; `Borrowed` is transparent.
        Ok(unsafe { pending.cast() })
    }

    /// Lets go of operations that are over rather than growing the list.
    fn make_room(&self) {
        let mut held = self.held.borrow_mut();
        if held.len() == held.capacity() {
            held.retain(Held::is_in_flight);
            held.reserve(1);
        }
    }

    /// Whether a packet belongs to one of the scope's operations.
    pub fn owns(&self, packet: &Packet) -> bool {
        self.held.borrow().iter().any(|held| Cell::address(held.0) == packet.overlapped())
    }

    fn is_in_flight(&self) -> bool {
        self.held.borrow().iter().any(Held::is_in_flight)
    }

    fn cancel(&self) {
        for held in self.held.borrow().iter().filter(|held| held.is_in_flight()) {
            // SAFETY: The scope holds the cell, so no other operation has it.
            let handle = unsafe { Cell::handle(held.0) };
            // Nothing to cancel, or not possible: the completion decides.
            let _ = sys::cancel(handle, Cell::address(held.0));
        }
    }
}

impl Held {
    fn is_in_flight(&self) -> bool {
        // SAFETY: The scope holds the cell.
        unsafe { self.0.as_ref() }.state.is_in_flight()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: The scope holds the cell, and lets go of it here. If it is
        // the last, the operation is over and its context is gone.
        unsafe {
            if self.0.as_ref().state.leave(Holder::Scope) {
                Cell::finish(self.0);
            }
        }
    }
}
