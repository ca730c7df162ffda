//! What an operation keeps in its cell behind the header: the context and the
//! payload, whose types are forgotten meanwhile.
//!
//! Both lie in the cell's inline memory if they fit: the payload at its start, the
//! context at its end, so that whoever knows the one type finds it without
//! knowing the other. What does not fit is in an overflow block on the heap, which
//! the cell keeps for its next operation.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::process;
use std::ptr;
use std::task::Waker;

use super::cell::state::{DROPS, Holder, SLOW_PATH};
use super::cell::{
    CellRef, Context, EmptyCell, INLINE, INLINE_ALIGN, Output, Payload, VTable, WakerPlace,
    overflow,
};
use super::definition::{How, Operation, Outcome, Types, Way};
use super::lend::Lend;
use super::pool::Pool;
use crate::error::{STATUS_CANCELLED, completion_error, is_failure};
use crate::panics::{FirstPanic, OnPanic};
use crate::sys::Transferred;

/// A payload leaves at least so many bytes of the inline memory to the context.
const MIN_CONTEXT: usize = 8;

/// Between two steps of which the second must not be left out: the kernel may have
/// the operation already, or the packet is gone, and what stands for it would be
/// forgotten.
pub(super) struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        process::abort();
    }
}

/// Where the context and the payload of an operation are.
pub(super) struct CellLayout<C, O, W>(PhantomData<(C, O, W)>);

const fn max(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

const fn round_up(size: usize, align: usize) -> usize {
    (size + align - 1) & !(align - 1)
}

/// Whether a payload of this type is in the cell, whatever the context is.
pub(super) const fn payload_is_inline<P>() -> bool {
    mem::size_of::<P>() <= INLINE - MIN_CONTEXT && mem::align_of::<P>() <= INLINE_ALIGN
}

/// Whether a context of this type is in the cell, if the payload there takes
/// `taken` bytes.
const fn context_is_inline<C>(taken: usize) -> bool {
    let left = INLINE - round_up(taken, INLINE_ALIGN);
    mem::size_of::<C>() <= left && mem::align_of::<C>() <= INLINE_ALIGN
}

/// Where the context is of a cell that was filled with a context of this type.
#[inline]
fn context_ptr<C>(cell: CellRef) -> *mut C {
    const { assert!(INLINE % INLINE_ALIGN == 0) };
    let is_inline = context_is_inline::<C>(INLINE - MIN_CONTEXT)
        || context_is_inline::<C>(0) && cell.vtable().context_is_inline;
    if is_inline {
        cell.inline().wrapping_add(INLINE - round_up(mem::size_of::<C>(), INLINE_ALIGN)).cast()
    } else {
        cell.overflow_start().cast()
    }
}

/// Moves out the context.
///
/// # Safety
///
/// Rule 5: it is a `C`.
#[inline(always)]
pub(super) unsafe fn take_context<C>(context: Context) -> C {
    // SAFETY: Rule 5.
    unsafe { context_ptr::<C>(context.into_cell()).read() }
}

impl<C, O: Operation, W: Way<O>> CellLayout<C, O, W> {
    pub const VTABLE: &'static VTable = &VTable {
        facts: W::FACTS,
        context_is_inline: Self::CONTEXT_IS_INLINE,
        payload_offset: match Self::OVERFLOW {
            Some((_, offset)) if !Self::PAYLOAD_IS_INLINE => offset,
            _ => Self::LINK,
        },
        payload_is_inline: Self::PAYLOAD_IS_INLINE,
        waker: match (Self::INLINE_WAKER, Self::OVERFLOW) {
            (Some(offset), _) => WakerPlace::Inline(offset),
            (None, Some((layout, _))) => {
                WakerPlace::Overflow(layout.size() - mem::size_of::<Waker>())
            }
            (None, None) => WakerPlace::OverflowAlone,
        },
        returned: W::RETURNED,
        output_name: W::OUTPUT_NAME,
        output: match O::FINISH.0 {
            How::Filled(_) if !W::IS_FILLED => Output::Filled(Self::fill),
            How::Whole | How::Filled(_) => Output::Whole,
            How::Converted(_) => Output::Converted(Self::convert),
        },
        completed: if O::SUCCEEDED.is_some() { Some(Self::completed) } else { None },
        drop_context: Self::drop_context,
        drop_payload: if mem::needs_drop::<O::Memory>() { Some(Self::drop_payload) } else { None },
    };

    /// Whether the operation takes the [long way](SLOW_PATH).
    const SLOW_PATH: bool = O::SUCCEEDED.is_some()
        // What is made of the outcome wants to know it.
        || matches!(O::FINISH.0, How::Converted(_))
        || match Self::OVERFLOW {
            Some((layout, _)) => layout.size() > overflow::KEPT,
            None => false,
        };

    /// What the [state](super::cell::state::State) says of the operation.
    pub const TRAITS: u32 = if Self::SLOW_PATH { SLOW_PATH } else { 0 }
        | if mem::needs_drop::<O::Memory>() { DROPS } else { 0 };

    /// Who holds a cell with the kernel while the operation is in flight, and what
    /// its state says of it.
    pub const HOLDERS: u32 =
        Holder::Pending as u32 | if W::SCOPED { Holder::Scope as u32 } else { 0 } | Self::TRAITS;

    const CONTEXT_IS_INLINE: bool = context_is_inline::<C>(
        Self::LINK + if Self::PAYLOAD_IS_INLINE { mem::size_of::<O::Memory>() } else { 0 },
    );

    /// What the scope's list takes of the inline memory. The payload behind it is aligned.
    const LINK: usize = if W::SCOPED { round_up(mem::size_of::<Link>(), INLINE_ALIGN) } else { 0 };

    const PAYLOAD_IS_INLINE: bool = mem::size_of::<O::Memory>() + Self::LINK
        <= INLINE - MIN_CONTEXT
        && mem::align_of::<O::Memory>() <= INLINE_ALIGN;

    /// Where a waker has room between the two. If it has none, it is at the end of the
    /// overflow block.
    const INLINE_WAKER: Option<usize> = {
        let payload = if Self::PAYLOAD_IS_INLINE { mem::size_of::<O::Memory>() } else { 0 };
        let start = round_up(Self::LINK + payload, INLINE_ALIGN);
        let context = if Self::CONTEXT_IS_INLINE { mem::size_of::<C>() } else { 0 };
        let end = INLINE - round_up(context, INLINE_ALIGN);
        if start + mem::size_of::<Waker>() <= end { Some(start) } else { None }
    };

    /// The overflow block, if one of the two has no room, and where the payload
    /// is in it. The context is at its start.
    const OVERFLOW: Option<(Layout, usize)> = {
        let context =
            if Self::CONTEXT_IS_INLINE { Layout::new::<()>() } else { Layout::new::<C>() };
        let payload =
            if Self::PAYLOAD_IS_INLINE { Layout::new::<()>() } else { Layout::new::<O::Memory>() };
        // Aligned for one in any case, which the cell's next operation may need.
        let waker = Layout::new::<Waker>();
        let offset = round_up(context.size(), payload.align());
        let size = match Self::INLINE_WAKER {
            Some(_) => offset + payload.size(),
            None => round_up(offset + payload.size(), waker.align()) + waker.size(),
        };
        // Not even for values of no size is a block of no size.
        let size = if size == 0 { 1 } else { size };
        match Layout::from_size_align(
            size,
            max(max(context.align(), payload.align()), waker.align()),
        ) {
            _ if Self::CONTEXT_IS_INLINE && Self::PAYLOAD_IS_INLINE => None,
            Ok(layout) if layout.size() <= u32::MAX as usize => Some((layout, offset)),
            _ => panic!("a context and a buffer of 4 GiB and more"),
        }
    };

    /// Where the payload is of a cell that was filled with these types.
    #[inline]
    fn payload_ptr(cell: CellRef) -> *mut O::Memory {
        match Self::OVERFLOW {
            Some((_, offset)) if !Self::PAYLOAD_IS_INLINE => {
                cell.overflow_start().wrapping_add(offset).cast()
            }
            _ => cell.inline().wrapping_add(Self::LINK).cast(),
        }
    }

    fn completed(payload: &Payload, status: &mut u32, bytes: u32) {
        let Some(succeeded) = O::SUCCEEDED else { return };
        if completion_error(*status, bytes, W::FACTS).is_ok() {
            let unwinds = AbortOnUnwind;
            // SAFETY: Rule 5; the system has given it back.
            let seen = succeeded(unsafe { &*Self::payload_ptr(payload.cell()) });
            mem::forget(unwinds);
            if let Err(error) = seen {
                // Nothing else: what a failed operation has put into its
                // memory counts for nothing.
                *status = if is_failure(error) { error } else { STATUS_CANCELLED };
            }
        }
    }

    fn fill(payload: &mut Payload, bytes: Transferred) {
        let How::Filled(fill) = O::FINISH.0 else { return };
        // SAFETY: Rule 5.
        fill(unsafe { &mut *Self::payload_ptr(payload.cell()) }, bytes);
    }

    /// # Safety
    ///
    /// Rule 10: `output` is for an output of the operation.
    unsafe fn convert(payload: Payload, output: *mut u8) -> bool {
        let How::Converted(convert) = O::FINISH.0 else { return false };
        let cell = payload.into_cell();
        let (status, bytes) = cell.result();
        let is_ok = completion_error(status, bytes, W::FACTS).is_ok();
        // SAFETY: Rules 3 and 5: so many bytes have been transferred, and it is moved
        // out once. Before that, it is told of them, where it is; one that panics
        // cannot be told a second time.
        let memory = unsafe {
            if !W::IS_FILLED {
                let panicked = OnPanic(|| Payload::new(cell).drop_in_place());
                (*Self::payload_ptr(cell)).filled(Transferred::new(bytes));
                mem::forget(panicked);
            }
            Self::payload_ptr(cell).read()
        };
        let Some(value) = convert(memory, Outcome { status, bytes, is_ok }) else { return false };
        // SAFETY: Rule 10, by the caller's promise.
        unsafe { output.cast::<O::Output>().write(value) };
        true
    }

    fn drop_context(context: Context) {
        // SAFETY: Rule 5.
        unsafe { ptr::drop_in_place(context_ptr::<C>(context.into_cell())) };
    }

    fn drop_payload(payload: Payload) {
        // SAFETY: Rule 5.
        unsafe { ptr::drop_in_place(Self::payload_ptr(payload.into_cell())) };
    }
}

/// A cell that is the owner's alone, and filled with a context and memory of these
/// types. Dropping it drops them, and frees the cell.
#[derive(Debug)]
pub(super) struct FilledCell<C, O: Operation, W: Way<O>> {
    cell: CellRef,
    types: Types<C, O, W>,
}

impl<C, O: Operation, W: Way<O>> FilledCell<C, O, W> {
    /// Fills a cell.
    #[inline(always)]
    pub fn fill(mut cell: EmptyCell, context: C, memory: O::Memory) -> Self {
        cell.set_vtable(CellLayout::<C, O, W>::VTABLE);
        if let Some((layout, _)) = CellLayout::<C, O, W>::OVERFLOW {
            cell.overflow().make_room(layout);
        }
        let cell = cell.cell();
        // SAFETY: Rules 4 and 10.
        unsafe {
            context_ptr::<C>(cell).write(context);
            CellLayout::<C, O, W>::payload_ptr(cell).write(memory);
        }
        Self { cell, types: PhantomData }
    }

    /// # Safety
    ///
    /// Rule 4: the caller owns the cell alone, and it is filled with these types.
    #[inline(always)]
    pub unsafe fn new(cell: CellRef) -> Self {
        Self { cell, types: PhantomData }
    }

    #[inline(always)]
    pub fn cell(&self) -> CellRef {
        self.cell
    }

    /// The memory, at its place.
    #[inline(always)]
    pub fn memory(&mut self) -> &mut O::Memory {
        // SAFETY: Rule 4.
        unsafe { &mut *CellLayout::<C, O, W>::payload_ptr(self.cell) }
    }

    /// Keeps it filled.
    #[inline(always)]
    pub fn into_cell(self) -> CellRef {
        ManuallyDrop::new(self).cell
    }

    /// Keeps it filled, and notes the byte count of its operation, which is over.
    pub fn counted(self, bytes: u32) -> CellRef {
        let cell = self.into_cell();
        // SAFETY: Rule 4: its own until here. What is filled with stays.
        unsafe { EmptyCell::new(cell) }.set_bytes(bytes);
        cell
    }

    /// Moves context and memory back out.
    pub fn empty(self) -> (C, O::Memory, EmptyCell) {
        let cell = self.into_cell();
        // SAFETY: Rules 4 and 5.
        unsafe {
            let memory = CellLayout::<C, O, W>::payload_ptr(cell).read();
            (context_ptr::<C>(cell).read(), memory, EmptyCell::new(cell))
        }
    }
}

impl<C, O: Operation, W: Way<O>> Drop for FilledCell<C, O, W> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn drop_all<C, O: Operation, W: Way<O>>(filled: FilledCell<C, O, W>) {
            let (context, memory, cell) = filled.empty();
            let mut panic = FirstPanic::none();
            Pool::free_unused(cell);
            panic.catch(|| drop(context));
            panic.catch(|| drop(memory));
            panic.resume();
        }
        // SAFETY: Rule 4: `self` is not used afterwards.
        drop_all(unsafe { Self::new(self.cell) });
    }
}

/// The next cell in a scope's list: at the start of the inline memory of its operations.
pub(super) type Link = Option<CellRef>;

/// Where a cell in a scope's list has the one behind it.
#[inline]
pub(super) fn link(cell: CellRef) -> *mut Link {
    cell.inline().cast()
}

/// Moves out the payload of an operation that returns it, and is not a scope's, once
/// `fill` has been called.
///
/// # Safety
///
/// Rule 5: the payload is, in memory, a `T`.
#[inline(always)]
pub(super) unsafe fn take_payload<T>(payload: Payload, fill: impl FnOnce(&mut T)) -> T {
    let cell = payload.into_cell();
    let place: *mut T = if payload_is_inline::<T>() {
        cell.inline().cast()
    } else {
        cell.overflow_start().wrapping_add(cell.vtable().payload_offset).cast()
    };
    // SAFETY: Rule 5.
    unsafe {
        fill(&mut *place);
        place.read()
    }
}

/// Moves out what the operation returns, which is a `T`.
///
/// # Safety
///
/// Rule 5: it is, and the operation has transferred so many bytes.
#[inline]
pub(super) unsafe fn take_output<T>(mut payload: Payload, bytes: u32) -> Option<T> {
    let cell = payload.cell();
    let vtable = cell.vtable();
    // SAFETY: Rule 5, by the caller's promise.
    unsafe {
        match vtable.output {
            Output::Whole => {}
            // A buffer that panics cannot be told a second time.
            Output::Filled(fill) => {
                let panicked = OnPanic(|| Payload::new(cell).drop_in_place());
                fill(&mut payload, Transferred::new(bytes));
                mem::forget(panicked);
            }
            Output::Converted(convert) => {
                let mut output = MaybeUninit::<T>::uninit();
                let is_written = convert(payload, output.as_mut_ptr().cast());
                return is_written.then(|| output.assume_init());
            }
        }
        let start = if vtable.payload_is_inline { cell.inline() } else { cell.overflow_start() };
        Some(start.wrapping_add(vtable.payload_offset).cast::<T>().read())
    }
}
