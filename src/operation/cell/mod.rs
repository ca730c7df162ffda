//! One operation's memory, at its final place before any pointer to it is
//! taken.
//!
//! The header is a cache line: the `OVERLAPPED`, the state, and what is needed
//! to cancel and to finish the operation. ObjectKind it is [filled](super::layout) with
//! follows.
//!
//! The header is written by who owns the cell alone, and read by who holds a part of
//! it; the [state](state) and the [status word](status_word) order the two.

pub(in crate::operation) mod overflow;
pub(in crate::operation) mod state;
pub(in crate::operation) mod status_word;

use std::any::{self, TypeId};
use std::cell::UnsafeCell;
use std::mem::{self, MaybeUninit};
use std::ops::Deref;
use std::ptr::{self, NonNull};

use windows_sys::Win32::System::IO::OVERLAPPED;

use self::overflow::Overflow;
use self::state::State;
use self::status_word::StatusWord;
// For the files in here.
use super::{atomic, yield_now};
use crate::error::{Facts, is_error};
use crate::sys::{Handle, LentOverlapped};

/// How many bytes of a cell context and payload may fill, and how they may be
/// aligned there.
pub(in crate::operation) const INLINE: usize = 48;
pub(in crate::operation) const INLINE_ALIGN: usize = 8;

#[repr(C, align(64))]
pub(crate) struct Cell {
    overlapped: Overlapped,
    pub state: State,
    /// The place of the next free cell, while this one is on the list of them.
    pub next: super::atomic::AtomicU32,
    /// ObjectKind to cancel on; while the cell is at hand, the address of the one
    /// behind it, or 0.
    handle: UnsafeCell<usize>,
    /// ObjectKind the cell is filled with; see [`VTable`].
    vtable: UnsafeCell<&'static VTable>,
    slab: UnsafeCell<NonNull<()>>,
    room: UnsafeCell<MaybeUninit<[u64; INLINE / 8]>>,
    overflow: UnsafeCell<Overflow>,
}

/// An [`OVERLAPPED`].
#[repr(C)]
struct Overlapped {
    /// `Internal`.
    status: StatusWord,
    /// `InternalHigh`.
    bytes: UnsafeCell<usize>,
    /// `Offset` and `OffsetHigh`, until the call is made. After the operation, the
    /// first is the status, because the status word is nobody's then.
    offset: UnsafeCell<[u32; 2]>,
    /// Null, always: an event would be signalled, and with it set the operation is
    /// cancelled when the thread that started it ends.
    event: UnsafeCell<usize>,
}

/// A cell that has been used, and so is initialised.
///
/// Whoever has it holds a part of the cell while anything but its atomics is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct CellRef(NonNull<Cell>);

impl Deref for CellRef {
    type Target = Cell;

    #[inline(always)]
    fn deref(&self) -> &Cell {
        // SAFETY: By the promise of `new`; all of it is atomic, or in an `UnsafeCell`.
        unsafe { self.0.as_ref() }
    }
}

impl CellRef {
    /// # Safety
    ///
    /// The pointer is that of the slab's reservation, to a cell that has been used. As
    /// long as this or a copy of it is used, the slab stays; and while something of it
    /// is read that is not atomic, nobody writes that.
    #[inline(always)]
    pub const unsafe fn new(cell: NonNull<Cell>) -> Self {
        Self(cell)
    }

    /// A cell that is used for the first time.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new), but the memory is zeroed, and nobody else knows it.
    pub unsafe fn initialize(cell: NonNull<Cell>, slab: NonNull<()>) {
        let cell = cell.as_ptr();
        // SAFETY: Zero is a value of the other fields.
        unsafe {
            (&raw mut (*cell).overlapped.status).write(StatusWord::default());
            (&raw mut (*cell).vtable).write(UnsafeCell::new(UNUSED));
            (&raw mut (*cell).slab).write(UnsafeCell::new(slab));
            (*cell).overflow.get().write(Overflow::NONE);
        }
    }

    #[inline(always)]
    pub fn as_ptr(self) -> NonNull<Cell> {
        self.0
    }

    /// The address that the operation's packet carries.
    #[inline(always)]
    pub fn address(self) -> usize {
        self.0.addr().get()
    }

    /// The room for what fits into the cell.
    #[inline(always)]
    pub fn inline(self) -> *mut u8 {
        // SAFETY: A projection within a cell.
        unsafe { (&raw mut (*self.0.as_ptr()).room).cast() }
    }

    /// The block for what does not.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and it is empty, for as long as the
    /// reference is used.
    #[inline]
    pub unsafe fn overflow<'a>(self) -> &'a mut Overflow {
        // SAFETY: By the caller's promise.
        unsafe { &mut *(*self.0.as_ptr()).overflow.get() }
    }

    /// Where that block is, of a cell that is filled or the caller's: nobody changes it
    /// while the cell is filled.
    ///
    /// # Safety
    ///
    /// As it says.
    #[inline]
    pub unsafe fn overflow_start(self) -> *mut u8 {
        // SAFETY: By the caller's promise.
        unsafe { (*(*self.0.as_ptr()).overflow.get()).start() }
    }

    /// The `OVERLAPPED`, with this offset, for the one call that starts the operation.
    ///
    /// # Safety
    ///
    /// The cell is filled, and is the kernel's from now on.
    #[inline(always)]
    pub unsafe fn lend(self, offset: u64) -> LentOverlapped {
        // SAFETY: The cell is ours until here, and stays where it is.
        unsafe {
            self.overlapped.offset.get().write([offset as u32, (offset >> 32) as u32]);
            LentOverlapped::new(self.0.as_ptr().cast())
        }
    }
}

impl Cell {
    /// ObjectKind to cancel on.
    #[inline(always)]
    pub fn handle(&self) -> Handle {
        // SAFETY: By the promise of `CellRef::new`.
        Handle(unsafe { *self.handle.get() })
    }

    /// Notes what to cancel on.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline(always)]
    pub unsafe fn set_handle(&self, handle: Handle) {
        // SAFETY: By the caller's promise.
        unsafe { self.handle.get().write(handle.0) };
    }

    /// The address of the cell behind this one at hand, or 0.
    #[inline(always)]
    pub fn next_cached(&self) -> usize {
        // SAFETY: By the promise of `CellRef::new`.
        unsafe { *self.handle.get() }
    }

    /// Notes which cell is behind this one at hand.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline(always)]
    pub unsafe fn set_next_cached(&self, behind: usize) {
        // SAFETY: By the caller's promise.
        unsafe { self.handle.get().write(behind) };
    }

    /// ObjectKind the cell is filled with, or was last.
    #[inline(always)]
    pub fn vtable(&self) -> &'static VTable {
        // SAFETY: By the promise of `CellRef::new`.
        unsafe { *self.vtable.get() }
    }

    /// Notes what the cell is filled with.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline(always)]
    pub unsafe fn set_vtable(&self, vtable: &'static VTable) {
        // SAFETY: By the caller's promise.
        unsafe { self.vtable.get().write(vtable) };
    }

    /// The slab that the cell is of.
    #[inline(always)]
    pub fn slab(&self) -> NonNull<()> {
        // SAFETY: It is never changed.
        unsafe { *self.slab.get() }
    }

    /// Who ends the operation: see [`StatusWord`].
    #[inline(always)]
    pub fn status_word(&self) -> &StatusWord {
        &self.overlapped.status
    }

    /// The byte count that came with the status, for who has taken that.
    #[inline(always)]
    pub fn bytes(&self) -> u32 {
        // SAFETY: ObjectKind has a status is no longer the kernel's. A count over 32 bits is
        // cut as in a packet.
        unsafe { *self.overlapped.bytes.get() as u32 }
    }

    /// Notes the byte count of an operation that the kernel has not.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone.
    #[inline(always)]
    pub unsafe fn set_bytes(&self, bytes: u32) {
        // SAFETY: By the caller's promise.
        unsafe { self.overlapped.bytes.get().write(bytes as usize) };
    }

    /// The status and byte count of an operation that has been ended, and whose
    /// `Pending` was there then, or which takes the
    /// [long way](state::SLOW_PATH).
    #[inline]
    pub fn result(&self) -> (u32, u32) {
        // SAFETY: Nobody writes it any more.
        let [status, _] = unsafe { *self.overlapped.offset.get() };
        (status, self.bytes())
    }

    /// Notes the result where [`result`](Self::result) finds it. Not in the
    /// status word, which is nobody's once the status has been taken.
    ///
    /// # Safety
    ///
    /// The caller has taken the status, and nobody knows that the operation is over yet.
    #[inline]
    pub unsafe fn set_result(&self, status: u32, bytes: u32) {
        // ObjectKind a failed operation left in the buffer is not initialised for
        // certain.
        let bytes = if is_error(status) { 0 } else { bytes };
        // SAFETY: By the caller's promise.
        unsafe {
            (*self.overlapped.offset.get())[0] = status;
            self.set_bytes(bytes);
        }
    }
}

/// ObjectKind an operation can do once its types are forgotten.
///
/// # Safety
///
/// The functions are for a cell that was filled with these types and is the
/// caller's alone (`completed`: or its context and payload are), and in which
/// what they use has not been moved out or dropped.
pub(in crate::operation) struct VTable {
    pub facts: &'static Facts,
    pub context_is_inline: bool,
    /// Where the payload is in the room, or in the overflow block if it has no room.
    pub payload_offset: usize,
    pub payload_is_inline: bool,
    /// ObjectKind the operation returns; see [`returned`].
    pub returned: fn() -> (TypeId, Form),
    /// The name of that type, for people.
    pub output_name: fn() -> &'static str,
    pub output: Output,
    /// Runs when the packet is dequeued, before anybody sees the completion.
    pub completed: Option<unsafe fn(CellRef, &mut u32)>,
    pub drop_context: unsafe fn(CellRef),
    pub drop_payload: Option<unsafe fn(CellRef)>,
}

/// ObjectKind a cell is filled with that has never been.
const UNUSED: &VTable = &VTable {
    facts: Facts::PostQueuedCompletionStatus,
    context_is_inline: true,
    payload_offset: 0,
    payload_is_inline: true,
    returned: returned::<(), WHOLE>,
    output_name: any::type_name::<()>,
    output: Output::Whole,
    completed: None,
    drop_context: nothing,
    drop_payload: None,
};

unsafe fn nothing(_: CellRef) {}

/// Which of the ways an operation returns something in; see
/// [`Finish`](super::definition::Finish).
pub(in crate::operation) type Form = u8;
/// The payload itself.
pub(in crate::operation) const WHOLE: Form = 0;
/// The payload, once it has been told how many bytes it has got.
pub(in crate::operation) const FILLED: Form = 1;
/// ObjectKind is made of it.
pub(in crate::operation) const CONVERTED: Form = 2;

/// How what an operation returns comes out of its payload.
pub(in crate::operation) enum Output {
    Whole,
    Filled(unsafe fn(CellRef, u32)),
    /// Puts it to the second pointer; `false` if there is none.
    Converted(unsafe fn(CellRef, *mut u8) -> bool),
}

impl VTable {
    /// Whether the operation returns a `B` in this form, at a glance: it may do
    /// so though the answer is `false`.
    #[inline]
    pub fn returns_as<B: 'static, const FORM: Form>(&self) -> bool {
        // One address means one answer, whatever a linker folds; but a function
        // may have several addresses.
        ptr::fn_addr_eq(self.returned, returned::<B, FORM> as fn() -> (TypeId, Form))
    }

    /// Whether [`drop_payload`](Self::drop_payload) does anything.
    pub fn drops_payload(&self) -> bool {
        self.drop_payload.is_some()
    }

    /// Drops the payload.
    ///
    /// # Safety
    ///
    /// As for the functions.
    pub unsafe fn drop_payload(&self, cell: CellRef) {
        if let Some(drop_payload) = self.drop_payload {
            // SAFETY: By the caller's promise.
            unsafe { drop_payload(cell) };
        }
    }

    /// Whether the operation returns a `B`, for certain.
    #[cold]
    #[inline(never)]
    pub fn returns<B: 'static>(&self) -> bool {
        (self.returned)().0 == TypeId::of::<B>()
    }
}

/// Stands for what it returns, by its address. Not inlined, so that it has as
/// few of them as can be.
#[inline(never)]
pub(in crate::operation) fn returned<T: 'static, const FORM: Form>() -> (TypeId, Form) {
    (TypeId::of::<T>(), FORM)
}

const _: () = {
    use OVERLAPPED as Real;
    assert!(mem::size_of::<Overlapped>() == mem::size_of::<Real>());
    assert!(mem::align_of::<Overlapped>() == mem::align_of::<Real>());
    assert!(mem::offset_of!(Overlapped, status) == mem::offset_of!(Real, Internal));
    assert!(mem::offset_of!(Overlapped, bytes) == mem::offset_of!(Real, InternalHigh));
    assert!(mem::offset_of!(Overlapped, offset) == mem::offset_of!(Real, Anonymous));
    assert!(mem::offset_of!(Overlapped, event) == mem::offset_of!(Real, hEvent));
    assert!(mem::offset_of!(Cell, overlapped) == 0);
};

/// The header's budget is one cache line, the `OVERLAPPED` included, and the
/// whole cell's is two.
const _: () = assert!(mem::offset_of!(Cell, room) <= 64);
const _: () = assert!(mem::size_of::<Cell>() <= 128);
