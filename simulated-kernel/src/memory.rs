//! Address space: a reservation is one block of the heap.

use std::alloc::{self, Layout};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::ERROR_COMMITMENT_LIMIT;
use windows_sys::Win32::System::Memory::{MEM_COMMIT, MEM_RELEASE, MEM_RESERVE};

use crate::handle::fail;
use crate::kernel::enter;

/// The sizes of the reservations, by address. Without pointers, which would hide
/// from Miri that a reservation is leaked.
static RESERVED: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

const GRANULARITY: usize = 64 * 1024;

/// The longest reservation that can be committed to its end.
const LONGEST: usize = 16 << 20;

/// Of a longer one only so much can.
const COMMIT_LIMIT: usize = 1 << 20;

/// How much of a reservation can be committed. (Miri is slow with large blocks,
/// whether they are used or not.)
fn limit(bytes: usize) -> usize {
    if cfg!(miri) && bytes > LONGEST { COMMIT_LIMIT } else { bytes }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(limit(bytes), GRANULARITY).expect("a size")
}

#[unsafe(no_mangle)]
unsafe extern "system" fn VirtualAlloc(
    address: *const c_void,
    bytes: usize,
    kind: u32,
    _protection: u32,
) -> *mut c_void {
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    if kind & MEM_RESERVE != 0 {
        assert!(address.is_null() && bytes > 0);
        // SAFETY: The size is not 0.
        let start = unsafe { alloc::alloc_zeroed(layout(bytes)) };
        reserved.insert(start.addr(), bytes);
        return start.cast();
    }
    assert_eq!(kind, MEM_COMMIT);
    let (start, size) = reserved.range(..=address.addr()).next_back().expect("a reservation");
    let end = address.addr() + bytes;
    assert!(end <= start + size, "a commit outside of the reservation");
    let mut kernel = enter();
    let refused = kernel.behaviour.refuse_memory > 0;
    kernel.behaviour.refuse_memory -= u32::from(refused);
    drop(kernel);
    if refused || end > start + limit(*size) {
        return fail(ERROR_COMMITMENT_LIMIT, ptr::null_mut());
    }
    address.cast_mut()
}

#[unsafe(no_mangle)]
unsafe extern "system" fn VirtualFree(address: *mut c_void, bytes: usize, kind: u32) -> i32 {
    assert_eq!((bytes, kind), (0, MEM_RELEASE));
    let size = RESERVED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&address.addr())
        .expect("a reservation");
    let range = address.addr()..address.addr() + layout(size).size();
    let lent = enter().lent.range(range).next().copied();
    assert_eq!(lent, None, "memory was released of which the kernel has an OVERLAPPED");
    // SAFETY: Allocated with this layout, and of no more use.
    unsafe { alloc::dealloc(address.cast(), layout(size)) };
    1
}

/// Writes to an out-parameter, unless it is null.
///
/// # Safety
///
/// The pointer is null or writable.
pub unsafe fn put<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: By the caller's promise.
        unsafe { ptr::write_unaligned(place, value) };
    }
}
