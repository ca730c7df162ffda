//! One operation's memory, at its final place before any pointer to it is
//! taken.
//!
//! The header is a cache line: the `OVERLAPPED`, the state, and what is needed
//! to cancel and to finish the operation. The [body](super::body) follows.

use std::cell::UnsafeCell;
use std::mem::{self, MaybeUninit};
use std::ptr::NonNull;

use windows_sys::Win32::System::IO::OVERLAPPED;

use super::atomic::AtomicU32;
use super::body::{ROOM, Spill, VTable, returned_payload, take_output};
use super::slab::Slab;
use super::state::{Holder, State};
use crate::error::{STATUS_CANCELLED, STATUS_PENDING, is_error};
use crate::panics::FirstPanic;
use crate::sys::{self, Handle, LentOverlapped};

#[repr(C, align(64))]
pub(crate) struct Cell {
    overlapped: UnsafeCell<OVERLAPPED>,
    pub state: State,
    /// The place of the next free cell, while this one is on the list of them.
    pub next: AtomicU32,
    /// What to cancel on; while the cell is at hand, the address of the one
    /// behind it, or 0.
    handle: UnsafeCell<Handle>,
    vtable: UnsafeCell<Option<&'static VTable>>,
    slab: UnsafeCell<Option<NonNull<Slab>>>,
    room: UnsafeCell<MaybeUninit<[u64; ROOM / 8]>>,
    spill: UnsafeCell<Spill>,
}

/// The functions below take the cell as a pointer, not as a reference, because
/// it may be the kernel's, or gone, while they run or as soon as they return.
impl Cell {
    /// # Safety
    ///
    /// `cell` is zeroed memory of a cell that nobody else knows yet.
    pub unsafe fn initialize(cell: NonNull<Cell>, slab: NonNull<Slab>) {
        let cell = cell.as_ptr();
        // SAFETY: By the caller's promise. Zero is a value of the other fields.
        unsafe {
            (*cell).slab.get().write(Some(slab));
            (*cell).spill.get().write(Spill::NONE);
        }
    }

    /// Notes what to cancel on.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline]
    pub unsafe fn set_handle(cell: NonNull<Cell>, handle: Handle) {
        // SAFETY: By the caller's promise.
        unsafe { (*cell.as_ptr()).handle.get().write(handle) };
    }

    /// Notes which cell is behind this one at hand.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and it is empty.
    #[inline]
    pub unsafe fn put_before(cell: NonNull<Cell>, behind: usize) {
        // SAFETY: By the caller's promise.
        unsafe { (*cell.as_ptr()).handle.get().write(Handle(behind)) };
    }

    /// The address of the cell behind this one at hand, or 0.
    ///
    /// # Safety
    ///
    /// The cell was put there, and is the caller's alone.
    #[inline]
    pub unsafe fn behind(cell: NonNull<Cell>) -> usize {
        // SAFETY: By the caller's promise.
        unsafe { (*(*cell.as_ptr()).handle.get()).0 }
    }

    /// Makes the `OVERLAPPED` ready for an operation, but for its offset.
    ///
    /// Its event stays null from the beginning: it would be signalled, and with
    /// it set the operation is cancelled when the thread that started it ends.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline]
    pub unsafe fn renew(cell: NonNull<Cell>) {
        // SAFETY: By the caller's promise.
        unsafe {
            let overlapped = (*cell.as_ptr()).overlapped.get();
            // As the system's own calls begin.
            (*overlapped).Internal = STATUS_PENDING as usize;
        }
    }

    /// The room for what fits into the cell.
    #[inline]
    pub(super) fn room(cell: NonNull<Cell>) -> *mut u8 {
        // SAFETY: A projection within a cell.
        unsafe { (&raw mut (*cell.as_ptr()).room).cast() }
    }

    /// Where the spill block is.
    ///
    /// # Safety
    ///
    /// The cell is filled, or the caller's.
    #[inline]
    pub(super) unsafe fn spill_start(cell: NonNull<Cell>) -> *mut u8 {
        // SAFETY: Nobody changes the spill while the cell is filled.
        unsafe { (*(*cell.as_ptr()).spill.get()).start() }
    }

    /// # Safety
    ///
    /// The caller owns the cell alone, and it is empty, for as long as the
    /// reference is used.
    #[inline]
    pub(super) unsafe fn spill<'a>(cell: NonNull<Cell>) -> &'a mut Spill {
        // SAFETY: By the caller's promise.
        unsafe { &mut *(*cell.as_ptr()).spill.get() }
    }

    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline]
    pub(super) unsafe fn set_vtable(cell: NonNull<Cell>, vtable: &'static VTable) {
        // SAFETY: By the caller's promise.
        unsafe { (*cell.as_ptr()).vtable.get().write(Some(vtable)) };
    }

    /// # Safety
    ///
    /// The cell is filled.
    #[inline]
    pub(super) unsafe fn vtable(cell: NonNull<Cell>) -> &'static VTable {
        // SAFETY: Written when the cell was filled, and not changed before it
        // is empty.
        unsafe { (*(*cell.as_ptr()).vtable.get()).unwrap_unchecked() }
    }

    /// # Safety
    ///
    /// The cell is filled.
    pub unsafe fn handle(cell: NonNull<Cell>) -> Handle {
        // SAFETY: As for `vtable`.
        unsafe { *(*cell.as_ptr()).handle.get() }
    }

    /// The slab that the cell is of.
    #[inline]
    pub(super) fn slab(cell: NonNull<Cell>) -> NonNull<Slab> {
        // SAFETY: Written when the cell was initialised.
        unsafe { (*(*cell.as_ptr()).slab.get()).unwrap_unchecked() }
    }

    /// The address that the operation's packet carries.
    #[inline]
    pub fn address(cell: NonNull<Cell>) -> usize {
        cell.addr().get()
    }

    /// # Safety
    ///
    /// The cell was filled and given to the kernel, and goes into one call.
    #[inline]
    pub unsafe fn lend(cell: NonNull<Cell>) -> LentOverlapped {
        // SAFETY: The cell stays where it is, and only `result` looks at the
        // OVERLAPPED, after the operation.
        unsafe { LentOverlapped::new((*cell.as_ptr()).overlapped.get()) }
    }

    /// The operation's status and byte count.
    ///
    /// # Safety
    ///
    /// The kernel has given the cell back.
    #[inline]
    pub unsafe fn result(cell: NonNull<Cell>) -> (u32, u32) {
        // SAFETY: By the caller's promise nobody writes the OVERLAPPED.
        let overlapped = unsafe { &*(*cell.as_ptr()).overlapped.get() };
        // A status is 32 bits wide; a count over 32 bits is cut as in a packet.
        let (status, bytes) = (overlapped.Internal as u32, overlapped.InternalHigh as u32);
        // What a failed operation left in the buffer is not initialised for
        // certain.
        (status, if is_error(status) { 0 } else { bytes })
    }

    /// Whether the kernel has written a result.
    ///
    /// # Safety
    ///
    /// The cell was filled and given to the kernel.
    unsafe fn has_result(cell: NonNull<Cell>) -> bool {
        // SAFETY: By the caller's promise.
        unsafe { Self::status(cell) != STATUS_PENDING }
    }

    /// Whether that result is a cancel.
    ///
    /// # Safety
    ///
    /// As for [`has_result`](Self::has_result).
    #[inline(always)]
    pub unsafe fn was_cancelled(cell: NonNull<Cell>) -> bool {
        // SAFETY: By the caller's promise.
        unsafe { Self::status(cell) == STATUS_CANCELLED }
    }

    /// # Safety
    ///
    /// The cell was filled and given to the kernel.
    #[inline(always)]
    unsafe fn status(cell: NonNull<Cell>) -> u32 {
        // SAFETY: The memory is there. Volatile, because the kernel may be
        // writing it.
        unsafe {
            (&raw const (*(*cell.as_ptr()).overlapped.get()).Internal).cast::<u32>().read_volatile()
        }
    }

    /// Notes the result where [`result`](Self::result) finds it.
    ///
    /// # Safety
    ///
    /// The kernel has given the cell back, and the caller is the thread that
    /// dequeued the packet or made the call.
    #[inline]
    pub unsafe fn set_result(cell: NonNull<Cell>, status: u32, bytes: u32) {
        // SAFETY: By the caller's promise nobody else looks at it yet.
        let overlapped = unsafe { &mut *(*cell.as_ptr()).overlapped.get() };
        overlapped.Internal = status as usize;
        overlapped.InternalHigh = bytes as usize;
    }

    /// A packet was dequeued that carries the cell's address, and nobody has a
    /// part but the kernel, and perhaps a scope: how many bytes the operation
    /// has transferred, if it has succeeded.
    ///
    /// # Safety
    ///
    /// As it says.
    #[inline(always)]
    pub unsafe fn success(cell: NonNull<Cell>) -> Option<u32> {
        // SAFETY: Who is alone with a cell has it.
        unsafe {
            let overlapped = (*cell.as_ptr()).overlapped.get();
            // Volatile, and no wider than it is used: so the compiler keeps this
            // path apart from the others, and knows there that it is a success.
            let bytes = (&raw const (*overlapped).InternalHigh).cast::<u32>().read_volatile();
            ((*overlapped).Internal as u32 == 0).then_some(bytes)
        }
    }

    /// A packet was dequeued that carries the cell's address: takes the kernel's
    /// part for the completion, whoever else has one. `false` if the kernel does
    /// not hold the cell.
    ///
    /// # Safety
    ///
    /// The cell is initialised, and each packet is used once.
    pub unsafe fn claim(cell: NonNull<Cell>) -> bool {
        // SAFETY: As above.
        unsafe {
            let state = &cell.as_ref().state;
            let lacks_result = state.is_in_flight() && !Self::has_result(cell);
            if lacks_result && !sys::is_wine() {
                // A packet comes with its result. This one is of an operation
                // that had the cell before: a broken provider has queued it
                // although the handle skips it.
                return false;
            }
            let is_ours = state.claim();
            if is_ours {
                if lacks_result {
                    // Wine's is this operation's, which has ended with its
                    // thread: nothing has been transferred.
                    Self::set_result(cell, STATUS_CANCELLED, 0);
                }
                Self::completed(cell);
                state.complete();
            }
            is_ours
        }
    }

    /// Lets the payload see that the operation is over, which may turn a
    /// success into an error. Returns the result.
    ///
    /// # Safety
    ///
    /// As for [`set_result`](Self::set_result).
    #[inline]
    pub unsafe fn completed(cell: NonNull<Cell>) -> (u32, u32) {
        // SAFETY: The kernel has given the cell back, and nobody else has it.
        unsafe {
            let (mut status, bytes) = Self::result(cell);
            if let Some(completed) = Self::vtable(cell).completed {
                completed(cell, &mut status);
                Self::set_result(cell, status, bytes);
            }
            Self::result(cell)
        }
    }

    /// Takes what the operation returns, which is its payload once `fill` has
    /// been called, if nobody else has, and lets the cell go. `fill` is none of
    /// the program's code, and does not panic.
    ///
    /// # Safety
    ///
    /// The kernel has given the cell back, which was filled with this table,
    /// after so many bytes; the context is gone, the completion's part ends
    /// here, and the payload is, in memory, a `T`.
    #[inline(always)]
    pub unsafe fn take_payload_and_leave<T: 'static>(
        cell: NonNull<Cell>,
        vtable: &VTable,
        bytes: u32,
        fill: impl FnOnce(&mut T),
    ) -> Option<T> {
        // SAFETY: The completion holds the cell; if it does so alone, it owns
        // it, and the payload is its to take.
        unsafe {
            let drops = mem::needs_drop::<T>();
            if !cell.as_ref().state.is_held_by_nobody_but(Holder::Completion, drops) {
                return Self::take_and_leave(cell, vtable, bytes);
            }
            let place = returned_payload::<T>(cell);
            fill(&mut *place);
            let payload = place.read();
            Self::free_emptied(cell);
            Some(payload)
        }
    }

    /// The same for all that an operation may return, which is a `T`.
    ///
    /// # Safety
    ///
    /// As for [`take_payload_and_leave`](Self::take_payload_and_leave)
    /// otherwise.
    #[cold]
    #[inline(never)]
    pub unsafe fn take_and_leave<T: 'static>(
        cell: NonNull<Cell>,
        vtable: &VTable,
        bytes: u32,
    ) -> Option<T> {
        // SAFETY: The completion holds the cell until it leaves, and the
        // output is claimed before it is taken.
        unsafe {
            let is_ours = cell.as_ref().state.take();
            let output = if is_ours { take_output(cell, vtable, bytes) } else { None };
            Self::leave(cell, Holder::Completion);
            output
        }
    }

    /// Lets go of the cell.
    ///
    /// # Safety
    ///
    /// The holder's part ends here. If it is the last, the operation is over
    /// and its context gone.
    #[inline]
    pub unsafe fn leave(cell: NonNull<Cell>, holder: Holder) {
        // SAFETY: The holder holds the cell; the last one owns it alone.
        unsafe {
            if cell.as_ref().state.leave(holder) {
                Self::finish(cell);
            }
        }
    }

    /// The same for the completion, which is most often the last.
    ///
    /// # Safety
    ///
    /// As for [`leave`](Self::leave).
    #[inline]
    pub unsafe fn leave_last(cell: NonNull<Cell>) {
        // SAFETY: As for `leave`.
        unsafe {
            if cell.as_ref().state.is_held_by_nobody_but(Holder::Completion, false) {
                Self::free_emptied(cell);
            } else {
                Self::leave(cell, Holder::Completion);
            }
        }
    }

    /// Drops what nobody has taken, and gives the cell back to its slab.
    ///
    /// # Safety
    ///
    /// The caller was the last holder, and the context is gone.
    #[cold]
    unsafe fn finish(cell: NonNull<Cell>) {
        let mut panic = FirstPanic::none();
        // SAFETY: The last holder owns the cell alone.
        unsafe {
            if !cell.as_ref().state.is_taken() {
                panic.catch(|| Self::vtable(cell).drop_payload(cell));
            }
            Self::free(cell);
        }
        panic.resume();
    }

    /// Gives an empty cell back to its slab.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and nothing is left in it.
    pub unsafe fn free(cell: NonNull<Cell>) {
        // SAFETY: By the caller's promise.
        unsafe {
            Self::spill(cell).shrink();
            Self::free_emptied(cell);
        }
    }

    /// The same for a cell whose operation took the short way: it has no block
    /// that is too large to be kept.
    ///
    /// # Safety
    ///
    /// As for [`free`](Self::free).
    #[inline]
    pub unsafe fn free_emptied(cell: NonNull<Cell>) {
        // SAFETY: By the caller's promise.
        unsafe { Slab::free(Self::slab(cell), cell) };
    }
}

/// The header's budget is one cache line, the `OVERLAPPED` included, and the
/// whole cell's is two.
const _: () = assert!(mem::offset_of!(Cell, room) <= 64);
const _: () = assert!(mem::size_of::<Cell>() <= 128);
