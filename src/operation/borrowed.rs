//! Operations on buffers that the program only lends, and the list that a
//! scope keeps of them.

use std::cell::Cell as Flag;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::ptr::NonNull;

use super::body::payload_has_room;
use super::cell::Cell;
use super::launch::{Cells, Target};
use super::payload::{Payload, Read, Write};
use super::pending::Pending;
use super::state::Holder;
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Rejected, Result};
use crate::panics::FirstPanic;
use crate::sys::{self, Answer, LentOverlapped, LentRegion, Port};

/// A borrowed buffer whose lifetime the cell forgets and the scope remembers.
///
/// No code outside this crate can name the type, so the only way back to the
/// buffer is the `Pending`, which knows the lifetime.
#[derive(Debug)]
#[repr(C)]
struct Borrowed<B> {
    /// First, because that is where the `Pending` looks for it.
    buffer: B,
    /// The cell behind this one in the scope's list.
    behind: MaybeUninit<Option<NonNull<Cell>>>,
}

impl<B> Borrowed<B> {
    fn new(buffer: B) -> Self {
        Self { buffer, behind: MaybeUninit::uninit() }
    }
}

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBuf> IoBuf for Borrowed<B> {
    fn initialized(&self) -> (*const u8, usize) {
        self.buffer.initialized()
    }
}

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBufMut> IoBufMut for Borrowed<B> {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.buffer.initialized_mut()
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.buffer.writable()
    }

    unsafe fn advance(&mut self, bytes: usize) {
        // SAFETY: The caller's promise.
        unsafe { self.buffer.advance(bytes) };
    }

    const FIXED: bool = B::FIXED;
}

/// The operations of one scope: the cells that it holds, each of which has the
/// address of the one behind it.
///
/// Only [`borrow`] makes one, and it waits for them.
#[derive(Debug)]
pub(crate) struct Borrowing<'scope, 'env: 'scope> {
    first: Flag<Option<NonNull<Cell>>>,
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
            if let Some(left) = borrowing.let_go_of_first() {
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
        let payload = Read::<_, SOCKET>(Borrowed::new(buffer));
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
        let payload = Write::<_, SOCKET>(Borrowed::new(buffer));
        // SAFETY: As for `read`.
        unsafe { self.launch(cells, port, target, context, payload, call) }
    }

    /// # Safety
    ///
    /// `P` is a `Borrowed` buffer, and `T` that buffer with its own lifetime.
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
        self.room.set(self.room.get() - 1);
        if self.room.get() < 0 {
            // As many more as are left: letting go costs little for each.
            self.room.set(FIRST_ROOM.max(self.let_go()));
        }
        let pending = cells
            .launch(target, true, context, payload, || Ok(()), call)
            .and_then(|launched| launched.into_pending(cells, port, target.key))
            .map_err(|rejected| rejected.map(|(context, _)| context))?;
        self.hold(pending.cell());
        // SAFETY: By the caller's promise; a `Borrowed` starts with its buffer.
        Ok(unsafe { pending.cast() })
    }

    /// Takes note of a cell in which the scope has a part.
    #[inline]
    fn hold(&self, cell: NonNull<Cell>) {
        // SAFETY: The scope holds the cell.
        unsafe { behind(cell).write(self.first.get()) };
        self.first.set(Some(cell));
    }

    fn held(&self) -> impl Iterator<Item = NonNull<Cell>> {
        // SAFETY: The scope holds the cells in its list.
        std::iter::successors(self.first.get(), |cell| unsafe { behind(*cell).read() })
    }

    /// Lets go of the first operations, as far as they are over and nobody else
    /// holds their cells. Which one is left as the first.
    #[inline(always)]
    fn let_go_of_first(&self) -> Option<NonNull<Cell>> {
        let mut next = self.first.get();
        while let Some(cell) = next {
            // SAFETY: The scope holds the cell until here. If it does so alone,
            // the operation is over, its context is gone, and the buffer is
            // only borrowed.
            unsafe {
                if !cell.as_ref().state.is_held_by_nobody_but(Holder::Scope, false) {
                    return Some(cell);
                }
                next = behind(cell).read();
                Cell::free_emptied(cell);
            }
        }
        None
    }

    /// Lets go of all operations that are over, and keeps the others. Returns
    /// how many those are.
    #[cold]
    fn let_go(&self) -> i32 {
        let mut kept = 0;
        let mut next = self.first.take();
        while let Some(cell) = next {
            // SAFETY: The scope holds the cell until it leaves; it has nothing
            // to drop in it.
            unsafe {
                next = behind(cell).read();
                if is_in_flight(cell) {
                    self.hold(cell);
                    kept += 1;
                } else {
                    Cell::leave(cell, Holder::Scope);
                }
            }
        }
        kept
    }

    /// Cancels what is left, from this cell on, waits for it, and lets go of it.
    #[cold]
    #[inline(never)]
    fn cancel_and_wait(&self, left: NonNull<Cell>, wait: impl Fn()) {
        self.first.set(Some(left));
        self.let_go();
        for cell in self.held() {
            // SAFETY: The scope holds the cell, so no other operation has it.
            let handle = unsafe {
                cell.as_ref().state.mark_ending();
                Cell::handle(cell)
            };
            // Nothing to cancel, or not possible: the completion decides.
            let _ = sys::cancel(handle, Cell::address(cell));
        }
        let mut panic = FirstPanic::none();
        // One way through the list is enough: what is over stays so.
        for cell in self.held() {
            while is_in_flight(cell) {
                // Drops completions, whose contexts may panic.
                panic.catch(&wait);
            }
        }
        self.let_go();
        panic.resume();
    }
}

/// Where a cell in the scope's list has the address of the one behind it.
#[inline]
fn behind(cell: NonNull<Cell>) -> *mut Option<NonNull<Cell>> {
    // Where it is does not depend on what is borrowed, nor how.
    const OFFSET: usize = mem::offset_of!(Borrowed<&[u8]>, behind);
    const { assert!(OFFSET == mem::offset_of!(Borrowed<&mut [u8]>, behind)) };
    const { assert!(payload_has_room::<Borrowed<&[u8]>>()) };
    // SAFETY: A payload with room is at the start of it.
    unsafe { Cell::room(cell).add(OFFSET).cast() }
}

#[inline]
fn is_in_flight(cell: NonNull<Cell>) -> bool {
    // SAFETY: The scope holds the cell.
    unsafe { cell.as_ref() }.state.is_in_flight()
}
