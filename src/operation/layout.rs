//! ObjectKind an operation keeps in its cell behind the header: the context and the
//! payload, whose types are forgotten meanwhile.
//!
//! Both lie in the cell's room if they fit: the payload at its start, the
//! context at its end, so that whoever knows the one type finds it without
//! knowing the other. ObjectKind does not fit is in a overflow block on the heap, which
//! the cell keeps for its next operation.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::process;
use std::ptr;

use super::cell::state::{DROPS, Holder, SLOW_PATH};
use super::cell::{CellRef, INLINE, INLINE_ALIGN, Output, VTable, overflow};
use super::definition::{How, Operation, Outcome, Way};
use super::lend::Lend;
use crate::error::{STATUS_CANCELLED, is_error};
use crate::panics::OnPanic;
use crate::sys::Transferred;

/// A payload leaves at least so much of the room to the context.
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

const fn round_up(size: usize, align: usize) -> usize {
    (size + align - 1) & !(align - 1)
}

/// Whether a payload of this type is in the room, whatever the context is.
pub(super) const fn payload_is_inline<P>() -> bool {
    mem::size_of::<P>() <= INLINE - MIN_CONTEXT && mem::align_of::<P>() <= INLINE_ALIGN
}

/// Whether a context of this type is in the room, if the payload there takes
/// `taken` bytes.
const fn context_is_inline<C>(taken: usize) -> bool {
    let left = INLINE - round_up(taken, INLINE_ALIGN);
    mem::size_of::<C>() <= left && mem::align_of::<C>() <= INLINE_ALIGN
}

/// Where a context is.
///
/// # Safety
///
/// The cell was filled with a context of this type, and is the caller's.
#[inline]
pub(super) unsafe fn context_ptr<C>(cell: CellRef) -> *mut C {
    const { assert!(INLINE % INLINE_ALIGN == 0) };
    // SAFETY: Both places are within the cell's memory.
    unsafe {
        let has_room = context_is_inline::<C>(INLINE - MIN_CONTEXT)
            || context_is_inline::<C>(0) && cell.vtable().context_is_inline;
        if has_room {
            cell.inline().add(INLINE - round_up(mem::size_of::<C>(), INLINE_ALIGN)).cast()
        } else {
            cell.overflow_start().cast()
        }
    }
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
        // ObjectKind is made of the outcome wants to know it.
        || matches!(O::FINISH.0, How::Converted(_))
        || match Self::OVERFLOW {
            Some((layout, _)) => layout.size() > overflow::KEPT,
            None => false,
        };

    /// ObjectKind the [state](super::cell::state::State) says of the operation.
    pub const TRAITS: u32 = if Self::SLOW_PATH { SLOW_PATH } else { 0 }
        | if mem::needs_drop::<O::Memory>() { DROPS } else { 0 };

    /// Who holds a cell with the kernel while the operation is in flight, and what
    /// its state says of it.
    pub const HOLDERS: u32 =
        Holder::Pending as u32 | if W::SCOPED { Holder::Scope as u32 } else { 0 } | Self::TRAITS;

    const CONTEXT_IS_INLINE: bool = context_is_inline::<C>(
        Self::LINK + if Self::PAYLOAD_IS_INLINE { mem::size_of::<O::Memory>() } else { 0 },
    );

    /// ObjectKind the scope's list takes of the room. The payload behind it is aligned.
    const LINK: usize = if W::SCOPED { round_up(mem::size_of::<Link>(), INLINE_ALIGN) } else { 0 };

    const PAYLOAD_IS_INLINE: bool = mem::size_of::<O::Memory>() + Self::LINK
        <= INLINE - MIN_CONTEXT
        && mem::align_of::<O::Memory>() <= INLINE_ALIGN;

    /// The overflow block, if one of the two has no room, and where the payload
    /// is in it. The context is at its start.
    const OVERFLOW: Option<(Layout, usize)> = {
        let context =
            if Self::CONTEXT_IS_INLINE { Layout::new::<()>() } else { Layout::new::<C>() };
        let payload =
            if Self::PAYLOAD_IS_INLINE { Layout::new::<()>() } else { Layout::new::<O::Memory>() };
        let offset = round_up(context.size(), payload.align());
        let align =
            if context.align() > payload.align() { context.align() } else { payload.align() };
        // Not even for values of no size is a block of no size.
        let size = if offset + payload.size() == 0 { 1 } else { offset + payload.size() };
        match Layout::from_size_align(size, align) {
            _ if Self::CONTEXT_IS_INLINE && Self::PAYLOAD_IS_INLINE => None,
            Ok(layout) if layout.size() <= u32::MAX as usize => Some((layout, offset)),
            _ => panic!("a context and a buffer of 4 GiB and more"),
        }
    };

    /// Puts context and payload into a cell, and returns where the payload is.
    ///
    /// # Safety
    ///
    /// The cell is the caller's alone, and empty.
    #[inline]
    pub unsafe fn place(cell: CellRef, context: C, payload: O::Memory) -> *mut O::Memory {
        // SAFETY: The cell is the caller's; both places fit by size and
        // alignment.
        unsafe {
            cell.set_vtable(Self::VTABLE);
            if let Some((layout, _)) = Self::OVERFLOW {
                cell.overflow().make_room(layout);
            }
            context_ptr::<C>(cell).write(context);
            let place = Self::payload_ptr(cell);
            place.write(payload);
            place
        }
    }

    /// Moves context and payload back out.
    ///
    /// # Safety
    ///
    /// As for the functions of the [`VTable`].
    pub unsafe fn remove(cell: CellRef) -> (C, O::Memory) {
        // SAFETY: By the caller's promise.
        unsafe { (context_ptr::<C>(cell).read(), Self::payload_ptr(cell).read()) }
    }

    /// # Safety
    ///
    /// The cell was filled with these types, and is the caller's.
    #[inline]
    pub unsafe fn payload_ptr(cell: CellRef) -> *mut O::Memory {
        // SAFETY: Both places are within the cell's memory.
        unsafe {
            match Self::OVERFLOW {
                Some((_, offset)) if !Self::PAYLOAD_IS_INLINE => {
                    cell.overflow_start().add(offset).cast()
                }
                _ => cell.inline().add(Self::LINK).cast(),
            }
        }
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn completed(cell: CellRef, status: &mut u32) {
        // SAFETY: By the contract.
        unsafe {
            let Some(succeeded) = O::SUCCEEDED else { return };
            if !is_error(*status) {
                let unwinds = AbortOnUnwind;
                let seen = succeeded(&*Self::payload_ptr(cell));
                mem::forget(unwinds);
                if let Err(error) = seen {
                    // Nothing else: what a failed operation has put into its
                    // memory counts for nothing.
                    *status = if is_error(error) { error } else { STATUS_CANCELLED };
                }
            }
        }
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn fill(cell: CellRef, bytes: u32) {
        let How::Filled(fill) = O::FINISH.0 else { return };
        // SAFETY: By the contract; the operation has transferred the bytes.
        unsafe { fill(&mut *Self::payload_ptr(cell), Transferred::new(bytes)) };
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn convert(cell: CellRef, output: *mut u8) -> bool {
        let How::Converted(convert) = O::FINISH.0 else { return false };
        let (status, bytes) = cell.result();
        // SAFETY: By the contract, the payload is moved out once. Before that, it is
        // told, where it is, of the bytes that the operation has transferred; one that
        // panics cannot be told a second time.
        let memory = unsafe {
            if !W::IS_FILLED {
                let panicked = OnPanic(|| cell.vtable().drop_payload(cell));
                (*Self::payload_ptr(cell)).filled(Transferred::new(bytes));
                mem::forget(panicked);
            }
            Self::payload_ptr(cell).read()
        };
        let Some(value) = convert(memory, Outcome { status, bytes }) else { return false };
        // SAFETY: The caller has made room for a value of this type.
        unsafe { output.cast::<O::Output>().write(value) };
        true
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn drop_context(cell: CellRef) {
        // SAFETY: By the contract.
        unsafe { ptr::drop_in_place(context_ptr::<C>(cell)) };
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn drop_payload(cell: CellRef) {
        // SAFETY: By the contract.
        unsafe { ptr::drop_in_place(Self::payload_ptr(cell)) };
    }
}

/// The next cell in a scope's list: at the start of the room of its operations.
pub(super) type Link = Option<CellRef>;

/// Where a cell in a scope's list has the one behind it.
#[inline]
pub(super) fn link(cell: CellRef) -> *mut Link {
    cell.inline().cast()
}

/// Where the payload is of an operation that returns it, and is not a scope's.
///
/// # Safety
///
/// The cell was filled with a payload that is, in memory, a `T`, and is the
/// caller's.
#[inline]
pub(super) unsafe fn returned_payload_ptr<T>(cell: CellRef) -> *mut T {
    // SAFETY: Both places are within the cell's memory.
    unsafe {
        if payload_is_inline::<T>() {
            cell.inline().cast()
        } else {
            cell.overflow_start().add(cell.vtable().payload_offset).cast()
        }
    }
}

/// Moves out what the operation returns.
///
/// # Safety
///
/// The kernel has given the cell back, the caller has claimed the output
/// ([`State::take`](super::cell::state::State::take)), `T` is, in memory, its type,
/// the cell was filled with this table, and the operation has transferred so
/// many bytes.
#[inline]
pub(super) unsafe fn take_output<T>(cell: CellRef, vtable: &VTable, bytes: u32) -> Option<T> {
    // SAFETY: By the caller's promise.
    unsafe {
        match vtable.output {
            Output::Whole => {}
            // A buffer that panics cannot be told a second time.
            Output::Filled(fill) => {
                let panicked = OnPanic(|| vtable.drop_payload(cell));
                fill(cell, bytes);
                mem::forget(panicked);
            }
            Output::Converted(convert) => return take_converted(cell, convert),
        }
        let start = if vtable.payload_is_inline { cell.inline() } else { cell.overflow_start() };
        Some(start.add(vtable.payload_offset).cast::<T>().read())
    }
}

/// # Safety
///
/// As for [`take_output`], and `convert` is of this cell.
#[cold]
unsafe fn take_converted<T>(
    cell: CellRef,
    convert: unsafe fn(CellRef, *mut u8) -> bool,
) -> Option<T> {
    let mut output = MaybeUninit::<T>::uninit();
    // SAFETY: By the caller's promise.
    let converted = unsafe { convert(cell, output.as_mut_ptr().cast()) };
    // SAFETY: `convert` has written it if it says so.
    converted.then(|| unsafe { output.assume_init() })
}
