//! One operation's memory, at its final place before any pointer to it is
//! taken.
//!
//! The header is a cache line: the `OVERLAPPED`, the state, and what is needed
//! to cancel and to finish the operation. What it is [filled](super::layout) with
//! follows.
//!
//! Who may touch which field when is said in [`operation`](super).

mod number;
pub(in crate::operation) mod overflow;
pub(in crate::operation) mod state;
pub(in crate::operation) mod status_word;
mod waker;

use std::any::{self, TypeId};
use std::cell::UnsafeCell;
use std::mem::{self, MaybeUninit};
use std::ops::Deref;
use std::ptr::{self, NonNull};

use windows_sys::Win32::System::IO::OVERLAPPED;

use self::atomic::{AtomicPtr, AtomicUsize, Ordering};
use self::number::Number;
use self::overflow::Overflow;
use self::state::State;
use self::status_word::StatusWord;
pub(in crate::operation) use self::waker::WakerPlace;
// For the files in here.
use super::{atomic, yield_now};
use crate::error::{Facts, is_error};
use crate::sys::{Handle, LentOverlapped, Transferred};

/// How many bytes of a cell context and payload may fill, and how they may be
/// aligned there.
pub(in crate::operation) const INLINE: usize = 48;
pub(in crate::operation) const INLINE_ALIGN: usize = 8;

#[repr(C, align(64))]
pub(crate) struct Cell {
    overlapped: Overlapped,
    pub state: State,
    pub number: Number,
    header: Header,
    inline: UnsafeCell<MaybeUninit<[u64; INLINE / 8]>>,
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

/// What is written while a cell is empty.
#[repr(C)]
struct Header {
    /// What to cancel on; while the cell is in the cache, the address of the one
    /// behind it, or 0.
    handle: AtomicUsize,
    /// What the cell is filled with; see [`VTable`].
    vtable: UnsafeCell<&'static VTable>,
    /// The pool that the cell is of. It never changes.
    pool: AtomicPtr<()>,
}

/// A cell that has been used, and so is initialised.
///
/// Any number of these may exist. What is not atomic may be looked at by who holds a
/// part of the cell (rule 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct CellRef(NonNull<Cell>);

impl Deref for CellRef {
    type Target = Cell;

    #[inline(always)]
    fn deref(&self) -> &Cell {
        // SAFETY: Rule 1; all of it is atomic, or in an `UnsafeCell`.
        unsafe { self.0.as_ref() }
    }
}

impl CellRef {
    /// # Safety
    ///
    /// Rules 1 and 4: the pointer is that of the pool's reservation, to a cell that has
    /// been used; while something of it is read that is not atomic, nobody writes that.
    #[inline(always)]
    pub const unsafe fn new(cell: NonNull<Cell>) -> Self {
        Self(cell)
    }

    /// A cell that is used for the first time.
    ///
    /// # Safety
    ///
    /// Rule 1, and the memory is zeroed, and nobody else knows it.
    pub unsafe fn initialize(cell: NonNull<Cell>, pool: NonNull<()>) -> EmptyCell {
        // SAFETY: Rule 1: nobody else knows it, and zero is a value of the other fields.
        unsafe {
            let cell = cell.as_ptr();
            (&raw mut (*cell).overlapped.status).write(StatusWord::default());
            (&raw mut (*cell).header).write(Header {
                handle: AtomicUsize::new(0),
                vtable: UnsafeCell::new(UNUSED),
                pool: AtomicPtr::new(pool.as_ptr()),
            });
            (*cell).overflow.get().write(Overflow::NONE);
        }
        EmptyCell(Self(cell))
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

    /// The memory for what fits into the cell.
    #[inline(always)]
    pub fn inline(self) -> *mut u8 {
        self.0.as_ptr().cast::<u8>().wrapping_add(mem::offset_of!(Cell, inline))
    }

    /// The block for what does not.
    #[inline]
    pub fn overflow_start(self) -> *mut u8 {
        // SAFETY: Rule 4: it changes while the cell is empty.
        unsafe { (*self.overflow.get()).start() }
    }

    /// The `OVERLAPPED`, with this offset, for the one call that starts the operation.
    ///
    /// # Safety
    ///
    /// Rule 2: the cell is filled, and given away.
    #[inline(always)]
    pub unsafe fn lend(self, offset: u64) -> LentOverlapped {
        // SAFETY: Rule 2: the system has not got it yet.
        unsafe {
            self.overlapped.offset.get().write([offset as u32, (offset >> 32) as u32]);
            LentOverlapped::new(self.0.as_ptr().cast())
        }
    }
}

impl Cell {
    /// What to cancel on.
    #[inline(always)]
    pub fn handle(&self) -> Handle {
        Handle(self.header.handle.load(Ordering::Relaxed))
    }

    /// What the cell is filled with, or was last.
    #[inline(always)]
    pub fn vtable(&self) -> &'static VTable {
        // SAFETY: Rule 4.
        unsafe { *self.header.vtable.get() }
    }

    /// What the cell is filled with, for who does not hold it: by now, it may be another
    /// operation's.
    pub fn vtable_of_somebody(&self) -> &'static VTable {
        // SAFETY: Rule 4: nothing but tables is written there, by atomic stores.
        unsafe { &*self.atomic_vtable().load(Ordering::Relaxed) }
    }

    #[inline(always)]
    fn atomic_vtable(&self) -> &AtomicPtr<VTable> {
        // SAFETY: Rule 1; a reference is a pointer.
        unsafe { AtomicPtr::from_ptr(self.header.vtable.get().cast()) }
    }

    /// The pool that the cell is of.
    #[inline(always)]
    pub fn pool(&self) -> *mut () {
        self.header.pool.load(Ordering::Relaxed)
    }

    /// Who ends the operation: see [`StatusWord`].
    #[inline(always)]
    pub fn status_word(&self) -> &StatusWord {
        &self.overlapped.status
    }

    /// The byte count that came with the status, for who has taken that.
    #[inline(always)]
    pub fn bytes(&self) -> u32 {
        // SAFETY: Rule 3: what has a status is no longer the system's. A count over 32
        // bits is cut as in a packet.
        unsafe { *self.overlapped.bytes.get() as u32 }
    }

    /// The status and byte count of an operation that has been ended, and whose
    /// `Pending` was there then, or which takes the
    /// [slow path](state::SLOW_PATH).
    #[inline]
    pub fn result(&self) -> (u32, u32) {
        // SAFETY: Rule 4: nobody writes it any more.
        let [status, _] = unsafe { *self.overlapped.offset.get() };
        (status, self.bytes())
    }

    /// Notes the result where [`result`](Self::result) finds it. Not in the
    /// status word, which is nobody's once the status has been taken.
    ///
    /// # Safety
    ///
    /// Rule 3: the caller has taken the status, and nobody knows that the operation is
    /// over yet.
    #[inline]
    pub unsafe fn set_result(&self, status: u32, bytes: u32) {
        // What a failed operation left in the buffer is not initialised for
        // certain.
        let bytes = if is_error(status) { 0 } else { bytes };
        // SAFETY: Rule 3, by the caller's promise.
        unsafe {
            (*self.overlapped.offset.get())[0] = status;
            self.overlapped.bytes.get().write(bytes as usize);
        }
    }
}

/// A cell that is the owner's alone, and has nothing in it (rule 4).
#[derive(Debug)]
#[repr(transparent)]
#[must_use = "the pool has a cell less"]
pub(crate) struct EmptyCell(CellRef);

impl EmptyCell {
    /// # Safety
    ///
    /// Rule 4: the caller owns the cell alone, and nothing is left in it.
    #[inline(always)]
    pub unsafe fn new(cell: CellRef) -> Self {
        Self(cell)
    }

    #[inline(always)]
    pub fn cell(&self) -> CellRef {
        self.0
    }

    #[inline(always)]
    pub fn into_cell(self) -> CellRef {
        self.0
    }

    /// Keeps it from being used: a packet may come for it.
    pub fn into_quarantine(mut self) -> CellRef {
        self.overflow().release();
        self.0.state.quarantine();
        self.0
    }

    /// Notes what the cell is filled with.
    #[inline(always)]
    pub fn set_vtable(&mut self, vtable: &'static VTable) {
        self.0.atomic_vtable().store(ptr::from_ref(vtable).cast_mut(), Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn set_handle(&mut self, handle: Handle) {
        self.0.header.handle.store(handle.0, Ordering::Relaxed);
    }

    /// The address of the cell behind this one in the cache, or 0.
    #[inline(always)]
    pub fn next_cached(&self) -> usize {
        self.0.header.handle.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub fn set_next_cached(&mut self, address: usize) {
        self.0.header.handle.store(address, Ordering::Relaxed);
    }

    /// Notes the byte count of an operation that the system does not count.
    #[inline(always)]
    pub fn set_bytes(&mut self, bytes: u32) {
        // SAFETY: Rule 4: the owner's alone.
        unsafe { self.0.overlapped.bytes.get().write(bytes as usize) };
    }

    #[inline]
    pub fn overflow(&mut self) -> &mut Overflow {
        // SAFETY: Rule 4: the owner's alone.
        unsafe { &mut *self.0.overflow.get() }
    }
}

/// The context of a filled cell, which is moved out or dropped once (rule 5).
#[derive(Debug)]
pub(in crate::operation) struct Context(CellRef);

impl Context {
    /// # Safety
    ///
    /// Rule 5: the context is in the cell, and the caller's.
    #[inline(always)]
    pub unsafe fn new(cell: CellRef) -> Self {
        Self(cell)
    }

    #[inline(always)]
    pub fn into_cell(self) -> CellRef {
        self.0
    }

    #[inline]
    pub fn drop_in_place(self) {
        (self.0.vtable().drop_context)(self);
    }
}

/// The payload of a filled cell, which is moved out or dropped once (rule 5).
#[derive(Debug)]
pub(in crate::operation) struct Payload(CellRef);

impl Payload {
    /// # Safety
    ///
    /// Rule 5: the payload is in the cell, and the caller's.
    #[inline(always)]
    pub unsafe fn new(cell: CellRef) -> Self {
        Self(cell)
    }

    #[inline(always)]
    pub fn cell(&self) -> CellRef {
        self.0
    }

    #[inline(always)]
    pub fn into_cell(self) -> CellRef {
        self.0
    }

    pub fn drop_in_place(self) {
        if let Some(drop_payload) = self.0.vtable().drop_payload {
            drop_payload(self);
        }
    }
}

/// What an operation can do once its types are forgotten.
///
/// The functions are for the cell that it was found in.
pub(in crate::operation) struct VTable {
    pub facts: &'static Facts,
    pub context_is_inline: bool,
    /// Where the payload is in the inline memory, or in the overflow block.
    pub payload_offset: usize,
    pub payload_is_inline: bool,
    pub waker: WakerPlace,
    /// What the operation returns; see [`returned`].
    pub returned: fn() -> (TypeId, Form),
    /// The name of that type, for people.
    pub output_name: fn() -> &'static str,
    pub output: Output,
    /// Runs when the packet is dequeued, before anybody sees the completion.
    pub completed: Option<fn(&Payload, &mut u32, u32)>,
    pub drop_context: fn(Context),
    pub drop_payload: Option<fn(Payload)>,
}

/// What a cell is filled with that has never been.
const UNUSED: &VTable = &VTable {
    facts: Facts::PostQueuedCompletionStatus,
    context_is_inline: true,
    payload_offset: 0,
    payload_is_inline: true,
    waker: WakerPlace::OverflowAlone,
    returned: returned::<(), WHOLE>,
    output_name: any::type_name::<()>,
    output: Output::Whole,
    completed: None,
    drop_context: nothing,
    drop_payload: None,
};

fn nothing(_: Context) {}

/// Which of the ways an operation returns something in; see
/// [`Finish`](super::definition::Finish).
pub(in crate::operation) type Form = u8;
/// The payload itself.
pub(in crate::operation) const WHOLE: Form = 0;
/// The payload, once it has been told how many bytes it has got.
pub(in crate::operation) const FILLED: Form = 1;
/// What is made of it.
pub(in crate::operation) const CONVERTED: Form = 2;

/// How what an operation returns comes out of its payload.
pub(in crate::operation) enum Output {
    Whole,
    Filled(fn(&mut Payload, Transferred)),
    /// Writes it to the pointer, which is to such a value; `false` if there is none.
    Converted(unsafe fn(Payload, *mut u8) -> bool),
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
const _: () = assert!(mem::offset_of!(Cell, inline) <= 64);
const _: () = assert!(mem::size_of::<Cell>() <= 128);
