//! What an operation keeps in its cell behind the header: the context and the
//! payload, whose types are forgotten meanwhile.
//!
//! Both lie in the cell's room if they fit: the payload at its start, the
//! context at its end, so that whoever knows the one type finds it without
//! knowing the other. What does not fit is in a spill block on the heap, which
//! the cell keeps for its next operation.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::process;
use std::ptr;

use super::cell::state::{DROPS, Holder, LONG_WAY};
use super::cell::{CellRef, Output, ROOM, ROOM_ALIGN, VTable, overflow};
use super::definition::{How, Operation, Outcome, Way};
use super::lend::Lend;
use crate::error::{STATUS_CANCELLED, is_error};
use crate::panics::IfItPanics;
use crate::sys::Transferred;

/// A payload leaves at least so much of the room to the context.
const CONTEXT_ROOM: usize = 8;

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
pub(super) struct Body<C, O, W>(PhantomData<(C, O, W)>);

const fn round_up(size: usize, align: usize) -> usize {
    (size + align - 1) & !(align - 1)
}

/// Whether a payload of this type is in the room, whatever the context is.
pub(super) const fn payload_has_room<P>() -> bool {
    mem::size_of::<P>() <= ROOM - CONTEXT_ROOM && mem::align_of::<P>() <= ROOM_ALIGN
}

/// Whether a context of this type is in the room, if the payload there takes
/// `taken` bytes.
const fn context_has_room<C>(taken: usize) -> bool {
    let left = ROOM - round_up(taken, ROOM_ALIGN);
    mem::size_of::<C>() <= left && mem::align_of::<C>() <= ROOM_ALIGN
}

/// Where a context is.
///
/// # Safety
///
/// The cell was filled with a context of this type, and is the caller's.
#[inline]
pub(super) unsafe fn context_place<C>(cell: CellRef) -> *mut C {
    const { assert!(ROOM % ROOM_ALIGN == 0) };
    // SAFETY: Both places are within the cell's memory.
    unsafe {
        let has_room = context_has_room::<C>(ROOM - CONTEXT_ROOM)
            || context_has_room::<C>(0) && cell.vtable().context_has_room;
        if has_room {
            cell.room().add(ROOM - round_up(mem::size_of::<C>(), ROOM_ALIGN)).cast()
        } else {
            cell.spill_start().cast()
        }
    }
}

impl<C, O: Operation, W: Way<O>> Body<C, O, W> {
    pub const VTABLE: &'static VTable = &VTable {
        facts: W::FACTS,
        context_has_room: Self::CONTEXT_HAS_ROOM,
        payload_offset: match Self::SPILL {
            Some((_, offset)) if !Self::PAYLOAD_HAS_ROOM => offset,
            _ => Self::LINK,
        },
        payload_has_room: Self::PAYLOAD_HAS_ROOM,
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

    /// Whether the operation takes the [long way](LONG_WAY).
    const LONG_WAY: bool = O::SUCCEEDED.is_some()
        // What is made of the outcome wants to know it.
        || matches!(O::FINISH.0, How::Converted(_))
        || match Self::SPILL {
            Some((layout, _)) => layout.size() > overflow::KEPT,
            None => false,
        };

    /// What the [state](super::cell::state::State) says of the operation.
    pub const TRAITS: u32 = if Self::LONG_WAY { LONG_WAY } else { 0 }
        | if mem::needs_drop::<O::Memory>() { DROPS } else { 0 };

    /// Who holds a cell with the kernel while the operation is in flight, and what
    /// its state says of it.
    pub const HOLDERS: u32 =
        Holder::Pending as u32 | if W::SCOPED { Holder::Scope as u32 } else { 0 } | Self::TRAITS;

    const CONTEXT_HAS_ROOM: bool = context_has_room::<C>(
        Self::LINK + if Self::PAYLOAD_HAS_ROOM { mem::size_of::<O::Memory>() } else { 0 },
    );

    /// What the scope's list takes of the room. The payload behind it is aligned.
    const LINK: usize = if W::SCOPED { round_up(mem::size_of::<Link>(), ROOM_ALIGN) } else { 0 };

    const PAYLOAD_HAS_ROOM: bool = mem::size_of::<O::Memory>() + Self::LINK <= ROOM - CONTEXT_ROOM
        && mem::align_of::<O::Memory>() <= ROOM_ALIGN;

    /// The spill block, if one of the two has no room, and where the payload
    /// is in it. The context is at its start.
    const SPILL: Option<(Layout, usize)> = {
        let context = if Self::CONTEXT_HAS_ROOM { Layout::new::<()>() } else { Layout::new::<C>() };
        let payload =
            if Self::PAYLOAD_HAS_ROOM { Layout::new::<()>() } else { Layout::new::<O::Memory>() };
        let offset = round_up(context.size(), payload.align());
        let align =
            if context.align() > payload.align() { context.align() } else { payload.align() };
        // Not even for values of no size is a block of no size.
        let size = if offset + payload.size() == 0 { 1 } else { offset + payload.size() };
        match Layout::from_size_align(size, align) {
            _ if Self::CONTEXT_HAS_ROOM && Self::PAYLOAD_HAS_ROOM => None,
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
            if let Some((layout, _)) = Self::SPILL {
                cell.spill().make_room(layout);
            }
            context_place::<C>(cell).write(context);
            let place = Self::payload_place(cell);
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
        unsafe { (context_place::<C>(cell).read(), Self::payload_place(cell).read()) }
    }

    /// # Safety
    ///
    /// The cell was filled with these types, and is the caller's.
    #[inline]
    pub unsafe fn payload_place(cell: CellRef) -> *mut O::Memory {
        // SAFETY: Both places are within the cell's memory.
        unsafe {
            match Self::SPILL {
                Some((_, offset)) if !Self::PAYLOAD_HAS_ROOM => {
                    cell.spill_start().add(offset).cast()
                }
                _ => cell.room().add(Self::LINK).cast(),
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
                let seen = succeeded(&*Self::payload_place(cell));
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
        unsafe { fill(&mut *Self::payload_place(cell), Transferred::new(bytes)) };
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
                let panicked = IfItPanics(|| cell.vtable().drop_payload(cell));
                (*Self::payload_place(cell)).filled(Transferred::new(bytes));
                mem::forget(panicked);
            }
            Self::payload_place(cell).read()
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
        unsafe { ptr::drop_in_place(context_place::<C>(cell)) };
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn drop_payload(cell: CellRef) {
        // SAFETY: By the contract.
        unsafe { ptr::drop_in_place(Self::payload_place(cell)) };
    }
}

/// The next cell in a scope's list: at the start of the room of its operations.
pub(super) type Link = Option<CellRef>;

/// Where a cell in a scope's list has the one behind it.
#[inline]
pub(super) fn link(cell: CellRef) -> *mut Link {
    cell.room().cast()
}

/// Where the payload is of an operation that returns it, and is not a scope's.
///
/// # Safety
///
/// The cell was filled with a payload that is, in memory, a `T`, and is the
/// caller's.
#[inline]
pub(super) unsafe fn returned_payload<T>(cell: CellRef) -> *mut T {
    // SAFETY: Both places are within the cell's memory.
    unsafe {
        if payload_has_room::<T>() {
            cell.room().cast()
        } else {
            cell.spill_start().add(cell.vtable().payload_offset).cast()
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
                let panicked = IfItPanics(|| vtable.drop_payload(cell));
                fill(cell, bytes);
                mem::forget(panicked);
            }
            Output::Converted(convert) => return take_converted(cell, convert),
        }
        let start = if vtable.payload_has_room { cell.room() } else { cell.spill_start() };
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
