//! One operation's memory, at its final place before any pointer to it is
//! taken.
//!
//! The header is a cache line: the `OVERLAPPED`, the state, and what is needed
//! to cancel and to finish the operation. The *body* follows: the context and
//! the payload, in the same cell if they fit, otherwise in a spill block on
//! the heap, which the cell keeps for its next operation.

use std::alloc::{self, Layout};
use std::any::TypeId;
use std::cell::UnsafeCell;
use std::mem::{self, MaybeUninit};
use std::ptr::{self, NonNull};

use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};

use super::atomic::AtomicU32;
use super::payload::{OperationKind, Payload};
use super::slab::Slab;
use super::state::{Holder, State};
use crate::error::{Call, STATUS_PENDING, is_error};
use crate::sys::{Handle, LentOverlapped};

/// What fits in the cell itself.
const INLINE_SIZE: usize = 48;
const INLINE_ALIGN: usize = if mem::offset_of!(Cell, inline) % 64 == 0 { 64 } else { 8 };

/// Larger spill blocks are not kept: an idle cell should not pin megabytes.
const KEPT_SPILL: usize = 64 * 1024;

#[repr(C, align(64))]
pub(crate) struct Cell {
    overlapped: UnsafeCell<OVERLAPPED>,
    pub state: State,
    /// The next free cell, while this one is free.
    pub next_free: AtomicU32,
    /// What to cancel on.
    handle: UnsafeCell<Handle>,
    vtable: UnsafeCell<Option<&'static VTable>>,
    slab: UnsafeCell<Option<NonNull<Slab>>>,
    inline: UnsafeCell<MaybeUninit<[u64; INLINE_SIZE / 8]>>,
    spill: UnsafeCell<Spill>,
}

struct Spill {
    /// Dangling while the size is 0.
    start: NonNull<u8>,
    size: u32,
    align: u32,
}

impl Spill {
    fn layout(&self) -> Layout {
        Layout::from_size_align(self.size as usize, self.align as usize)
            .expect("a layout that was allocated")
    }
}

/// What is placed in a cell's body; the context first, so that it is found
/// without knowing the payload.
#[repr(C)]
pub(super) struct Body<C, P> {
    context: C,
    payload: P,
}

/// What an operation can do once its types are forgotten.
pub(super) struct VTable {
    pub call: Call,
    pub kind: OperationKind,
    inline: bool,
    /// The type that `take` writes.
    pub output_type: fn() -> TypeId,
    /// Runs when the packet is dequeued, before anybody sees the completion.
    completed: Option<unsafe fn(*mut u8, Handle, &mut u32)>,
    /// Moves the payload out of the cell and what becomes of it to the second
    /// pointer; `false` if nothing does.
    take: unsafe fn(NonNull<Cell>, *mut u8) -> bool,
    drop_context: unsafe fn(*mut u8),
    drop_payload: unsafe fn(*mut u8),
}

impl<C, P: Payload> Body<C, P> {
    pub const VTABLE: &'static VTable = &VTable {
        call: P::CALL,
        kind: P::KIND,
        inline: Self::INLINE,
        output_type: P::output_type,
        completed: if P::SEES_COMPLETION { Some(Self::completed) } else { None },
        take: Self::take,
        drop_context: Self::drop_context,
        drop_payload: Self::drop_payload,
    };

    const INLINE: bool =
        mem::size_of::<Self>() <= INLINE_SIZE && mem::align_of::<Self>() <= INLINE_ALIGN;

    /// Where the body of a cell is that has been filled with one of this type.
    ///
    /// # Safety
    ///
    /// The cell is such a one.
    #[inline]
    unsafe fn place(cell: NonNull<Cell>) -> *mut Self {
        // SAFETY: By the caller's promise.
        unsafe { Cell::part(cell, Self::INLINE).cast() }
    }

    pub fn new(context: C, payload: P) -> Self {
        Self { context, payload }
    }

    pub fn payload_mut(&mut self) -> &mut P {
        &mut self.payload
    }

    pub fn into_parts(self) -> (C, P) {
        (self.context, self.payload)
    }

    /// # Safety
    ///
    /// For this and the following: `body` is a `Body<C, P>` that the caller
    /// may use alone, and the part that is moved out or dropped has not been
    /// before.
    unsafe fn completed(body: *mut u8, handle: Handle, status: &mut u32) {
        // SAFETY: By the contract above.
        unsafe { &mut (*body.cast::<Self>()).payload }.completed(handle, status);
    }

    /// # Safety
    ///
    /// As for `completed`, of the body in `cell`; `output` has room for a
    /// `P::Output`.
    unsafe fn take(cell: NonNull<Cell>, output: *mut u8) -> bool {
        // SAFETY: By the contract above, the payload is moved out once.
        let payload = unsafe { (&raw mut (*Self::place(cell)).payload).read() };
        // SAFETY: The operation has completed, with this result.
        let value = unsafe {
            let (status, bytes) = Cell::result(cell);
            payload.into_output(status, bytes)
        };
        let Some(value) = value else { return false };
        // SAFETY: The caller has made room for a value of this type.
        unsafe { output.cast::<P::Output>().write(value) };
        true
    }

    /// # Safety
    ///
    /// As for `completed`.
    unsafe fn drop_context(body: *mut u8) {
        // SAFETY: By the contract above.
        unsafe { ptr::drop_in_place(&raw mut (*body.cast::<Self>()).context) };
    }

    /// # Safety
    ///
    /// As for `completed`.
    unsafe fn drop_payload(body: *mut u8) {
        // SAFETY: By the contract above.
        unsafe { ptr::drop_in_place(&raw mut (*body.cast::<Self>()).payload) };
    }
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
            (*cell).spill.get().write(Spill { start: NonNull::dangling(), size: 0, align: 1 });
        }
    }

    /// Puts a body and a fresh `OVERLAPPED` into the cell, and returns where
    /// the body is.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and it is empty.
    #[inline]
    pub unsafe fn fill<C, P: Payload>(
        cell: NonNull<Cell>,
        handle: Handle,
        offset: u64,
        body: Body<C, P>,
    ) -> NonNull<Body<C, P>> {
        let this = cell.as_ptr();
        let place = if Body::<C, P>::INLINE {
            // SAFETY: A projection within the caller's cell.
            unsafe { NonNull::new_unchecked((*this).inline.get().cast()) }
        } else {
            // SAFETY: The caller owns the cell.
            unsafe { Self::spill_for(cell, Layout::new::<Body<C, P>>()) }.cast()
        };
        // SAFETY: The place fits the body by size and alignment, and is empty;
        // the header is the caller's.
        unsafe {
            place.write(body);
            (*this).vtable.get().write(Some(Body::<C, P>::VTABLE));
            (*this).handle.get().write(handle);
            (*this).overlapped.get().write(OVERLAPPED {
                // As the system's own calls begin.
                Internal: STATUS_PENDING as usize,
                InternalHigh: 0,
                Anonymous: OVERLAPPED_0 {
                    Anonymous: OVERLAPPED_0_0 {
                        Offset: offset as u32,
                        OffsetHigh: (offset >> 32) as u32,
                    },
                },
                // "Never set": an event would be signalled, and with it set the
                // operation is cancelled when the thread that started it ends.
                hEvent: ptr::null_mut(),
            });
        }
        place
    }

    /// Moves the body back out.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and filled it with this type.
    pub unsafe fn empty<C, P: Payload>(cell: NonNull<Cell>) -> Body<C, P> {
        // SAFETY: By the caller's promise.
        unsafe { Body::<C, P>::place(cell).read() }
    }

    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[cold]
    unsafe fn spill_for(cell: NonNull<Cell>, layout: Layout) -> NonNull<u8> {
        // SAFETY: The caller owns the cell, spill included.
        let Spill { start, size, align } = unsafe { (*cell.as_ptr()).spill.get().read() };
        if size as usize >= layout.size() && align as usize >= layout.align() {
            return start;
        }
        // SAFETY: As above; nothing is in the block.
        unsafe { Self::release_spill(cell) };
        let size = u32::try_from(layout.size()).expect("a body under 4 GiB");
        // SAFETY: The size is not zero, or the body would be inline.
        let start = unsafe { alloc::alloc(layout) };
        let Some(start) = NonNull::new(start) else { alloc::handle_alloc_error(layout) };
        let spill = Spill { start, size, align: layout.align() as u32 };
        // SAFETY: The caller owns the cell.
        unsafe { (*cell.as_ptr()).spill.get().write(spill) };
        start
    }

    /// Frees the spill block, if there is one.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and nothing is in the block.
    pub unsafe fn release_spill(cell: NonNull<Cell>) {
        // SAFETY: By the caller's promise.
        let spill = unsafe { &mut *(*cell.as_ptr()).spill.get() };
        if spill.size != 0 {
            // SAFETY: The block was allocated with this layout.
            unsafe { alloc::dealloc(spill.start.as_ptr(), spill.layout()) };
            spill.size = 0;
        }
    }

    /// # Safety
    ///
    /// The cell is filled, and not in the kernel's hands.
    #[inline]
    unsafe fn body(cell: NonNull<Cell>) -> *mut u8 {
        // SAFETY: By the caller's promise.
        unsafe { Self::part(cell, Self::vtable(cell).inline) }
    }

    /// # Safety
    ///
    /// As for `body`, and the body is inline or not, as it is said to be.
    #[inline]
    unsafe fn part(cell: NonNull<Cell>, inline: bool) -> *mut u8 {
        let this = cell.as_ptr();
        // SAFETY: By the caller's promise.
        unsafe {
            if inline { (*this).inline.get().cast() } else { (*(*this).spill.get()).start.as_ptr() }
        }
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
        // A status is 32 bits wide; a count over 32 bits is cut by the packet.
        (overlapped.Internal as u32, overlapped.InternalHigh as u32)
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

    /// Notes that the operation has transferred so many bytes, as its packet
    /// says, and lets the payload see it, which may turn a success into an
    /// error.
    ///
    /// # Safety
    ///
    /// As for [`set_result`](Self::set_result).
    #[inline]
    pub unsafe fn completed(cell: NonNull<Cell>, bytes: u32) {
        // SAFETY: The kernel has given the cell back, and nobody else has it.
        unsafe {
            let (mut status, _) = Self::result(cell);
            if let Some(completed) = Self::vtable(cell).completed {
                completed(Self::body(cell), Self::handle(cell), &mut status);
            }
            // What a failed operation left in the buffer is not initialised
            // for certain.
            Self::set_result(cell, status, if is_error(status) { 0 } else { bytes });
        }
    }

    /// Moves the context out.
    ///
    /// # Safety
    ///
    /// As for [`set_result`](Self::set_result); contexts of this port are `C`,
    /// and this is done or [`drop_context`](Self::drop_context), once.
    #[inline]
    pub unsafe fn take_context<C>(cell: NonNull<Cell>) -> C {
        // SAFETY: The context is the first field of the body.
        unsafe { Self::body(cell).cast::<C>().read() }
    }

    /// # Safety
    ///
    /// As for [`take_context`](Self::take_context).
    pub unsafe fn drop_context(cell: NonNull<Cell>) {
        // SAFETY: By the caller's promise.
        unsafe { (Self::vtable(cell).drop_context)(Self::body(cell)) };
    }

    /// Moves out what the operation returns.
    ///
    /// # Safety
    ///
    /// The kernel has given the cell back, the caller has claimed the output
    /// ([`State::take`]), and `T` is its type.
    #[inline]
    pub unsafe fn take_output<T>(cell: NonNull<Cell>) -> Option<T> {
        let mut output = MaybeUninit::<T>::uninit();
        // SAFETY: By the caller's promise.
        let taken = unsafe { (Self::vtable(cell).take)(cell, output.as_mut_ptr().cast()) };
        // SAFETY: `take` wrote it if it says so.
        taken.then(|| unsafe { output.assume_init() })
    }

    /// Takes what the operation returns, if nobody else has, and lets the cell
    /// go.
    ///
    /// # Safety
    ///
    /// The kernel has given the cell back, the context is gone, `holder`'s part
    /// ends here, and `T` is the type of the output.
    #[inline]
    pub unsafe fn take_and_leave<T>(cell: NonNull<Cell>, holder: Holder) -> Option<T> {
        // SAFETY: The holder holds the cell.
        let state = &unsafe { cell.as_ref() }.state;
        let alone = state.is_held_by_nobody_but(holder);
        let claimed = alone || state.take();
        // SAFETY: The output is claimed, or nobody else is there to do so.
        let output = claimed.then(|| unsafe { Self::take_output(cell) });
        // SAFETY: The last holder owns the cell alone, and there is nothing
        // left in it.
        unsafe {
            if alone {
                Self::free(cell);
            } else if state.leave(holder) {
                Self::finish(cell);
            }
        }
        output.flatten()
    }

    /// Drops what nobody has taken, and gives the cell back to its slab.
    ///
    /// # Safety
    ///
    /// The caller was the last holder, and the context is gone.
    pub unsafe fn finish(cell: NonNull<Cell>) {
        // SAFETY: The last holder owns the cell alone.
        unsafe {
            if !cell.as_ref().state.is_taken() {
                (Self::vtable(cell).drop_payload)(Self::body(cell));
            }
            Self::free(cell);
        }
    }

    /// Gives an empty cell back to its slab.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and nothing is left in it.
    #[inline]
    pub unsafe fn free(cell: NonNull<Cell>) {
        // SAFETY: By the caller's promise.
        unsafe {
            if (*(*cell.as_ptr()).spill.get()).size as usize > KEPT_SPILL {
                Self::release_spill(cell);
            }
            cell.as_ref().state.free();
            let slab = (*(*cell.as_ptr()).slab.get()).unwrap_unchecked();
            Slab::free(slab, cell);
        }
    }
}

/// The header's budget is one cache line, the `OVERLAPPED` included, and the
/// whole cell's is two.
const _: () = assert!(mem::offset_of!(Cell, inline) <= 64);
const _: () = assert!(mem::size_of::<Cell>() <= 128);
