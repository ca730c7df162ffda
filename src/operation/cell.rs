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
use super::status_word::StatusWord;
use crate::error::{STATUS_CANCELLED, is_error};
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
            (*cell).overlapped.get().cast::<StatusWord>().write(StatusWord::default());
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
            cell.as_ref().status_word().renew();
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

    /// Who ends the operation: see [`StatusWord`].
    #[inline]
    pub fn status_word(&self) -> &StatusWord {
        // SAFETY: A word of a cell that is initialised, which is only used as
        // what it is transparent over: atomically.
        unsafe { &*self.overlapped.get().cast() }
    }

    /// The byte count that came with the status.
    ///
    /// # Safety
    ///
    /// The caller has taken the status.
    #[inline]
    pub unsafe fn bytes(cell: NonNull<Cell>) -> u32 {
        // SAFETY: What has a status is no longer the kernel's. A count over 32
        // bits is cut as in a packet.
        unsafe { (*(*cell.as_ptr()).overlapped.get()).InternalHigh as u32 }
    }

    /// Notes the byte count of an operation that the kernel has not.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline]
    pub unsafe fn set_bytes(cell: NonNull<Cell>, bytes: u32) {
        // SAFETY: By the caller's promise.
        unsafe { (*(*cell.as_ptr()).overlapped.get()).InternalHigh = bytes as usize };
    }

    /// The status and byte count of an operation that has been ended, and whose
    /// `Pending` was there then, or which takes the
    /// [long way](super::state::LONG_WAY).
    ///
    /// # Safety
    ///
    /// The caller holds the cell, and the kernel does not.
    #[inline]
    pub unsafe fn result(cell: NonNull<Cell>) -> (u32, u32) {
        // SAFETY: By the caller's promise nobody writes the OVERLAPPED, but for
        // its status word.
        let status = unsafe { (*(*cell.as_ptr()).overlapped.get()).Anonymous.Anonymous.Offset };
        // SAFETY: As above.
        (status, unsafe { Self::bytes(cell) })
    }

    /// Notes the result where [`result`](Self::result) finds it. Not in the
    /// status word, which is nobody's once the status has been taken.
    ///
    /// # Safety
    ///
    /// The caller has taken the status, and nobody knows that the operation is
    /// over yet.
    #[inline]
    pub unsafe fn set_result(cell: NonNull<Cell>, status: u32, bytes: u32) {
        // What a failed operation left in the buffer is not initialised for
        // certain.
        let bytes = if is_error(status) { 0 } else { bytes };
        // SAFETY: By the caller's promise nobody else looks at it.
        unsafe {
            (*(*cell.as_ptr()).overlapped.get()).Anonymous.Anonymous.Offset = status;
            Self::set_bytes(cell, bytes);
        }
    }

    /// A packet was dequeued that carries the cell's address: ends the operation,
    /// whoever else has a part in it. `None` if it is not in flight, or the
    /// packet is not its own.
    ///
    /// # Safety
    ///
    /// The cell is initialised.
    pub unsafe fn claim(cell: NonNull<Cell>, packet_bytes: u32) -> Option<(u32, u32)> {
        // SAFETY: Who has taken the status ends the operation. The status is the
        // proof that the kernel has given the cell back.
        unsafe {
            let Self { state, .. } = cell.as_ref();
            let word = cell.as_ref().status_word();
            let taken = word.take_for_certain(|| state.is_in_flight())?;
            let (status, bytes) = if taken.is_status() {
                (taken.status(), Self::bytes(cell))
            } else if Self::has_ended_without_status(cell, packet_bytes) {
                (STATUS_CANCELLED, 0)
            } else {
                // "The status block [...] is not updated until the packet is
                // removed", and then it is: this is somebody else's packet, or of
                // an operation that had the cell before
                // (https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports).
                word.put_back(taken);
                return None;
            };
            let result = Self::completed(cell, status, bytes);
            state.complete();
            Some(result)
        }
    }

    /// Whether a packet without a status is the operation's all the same. Wine
    /// queues one, of no bytes, for a receive that ends together with the thread
    /// that started it. Asking it cancels an operation that goes on, so it is asked
    /// about no other packets.
    ///
    /// # Safety
    ///
    /// The cell is filled, and the caller has taken its status word.
    #[cold]
    unsafe fn has_ended_without_status(cell: NonNull<Cell>, packet_bytes: u32) -> bool {
        packet_bytes == 0 && sys::is_wine() && {
            // "If this function cannot find a request to cancel, the return
            // value is 0 (zero), and GetLastError returns ERROR_NOT_FOUND"
            // (https://learn.microsoft.com/windows/win32/fileio/cancelioex-func).
            // SAFETY: By the caller's promise.
            let handle = unsafe { Self::handle(cell) };
            sys::cancel(handle, Self::address(cell)) != Ok(true)
        }
    }

    /// Lets the payload see that the operation is over with this result, which
    /// may turn a success into an error, and notes the result.
    ///
    /// # Safety
    ///
    /// As for [`set_result`](Self::set_result).
    #[inline]
    pub unsafe fn completed(cell: NonNull<Cell>, mut status: u32, bytes: u32) -> (u32, u32) {
        // SAFETY: The kernel has given the cell back, and nobody else has it.
        unsafe {
            if let Some(completed) = Self::vtable(cell).completed {
                completed(cell, &mut status);
            }
            Self::set_result(cell, status, bytes);
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

/// The status word is the first of the `OVERLAPPED`'s.
const _: () = assert!(mem::offset_of!(OVERLAPPED, Internal) == 0);

/// The header's budget is one cache line, the `OVERLAPPED` included, and the
/// whole cell's is two.
const _: () = assert!(mem::offset_of!(Cell, room) <= 64);
const _: () = assert!(mem::size_of::<Cell>() <= 128);
