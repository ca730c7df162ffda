//! Address space, reserved in one stretch and committed as it is needed.

use std::ptr::{self, NonNull};

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_NOACCESS, PAGE_READWRITE, VirtualAlloc, VirtualFree,
};

use crate::error::{Error, Facts, Result};

/// Reserves `bytes` of address space, aligned to 64 KiB, without memory behind.
pub(crate) fn reserve(bytes: usize) -> Result<NonNull<u8>> {
    // SAFETY: Reserving at an address of the system's choice touches no memory.
    let start = unsafe { VirtualAlloc(ptr::null(), bytes, MEM_RESERVE, PAGE_NOACCESS) };
    NonNull::new(start.cast()).ok_or_else(|| last_error(Facts::VirtualAlloc))
}

/// Puts zeroed memory behind `bytes` at `start`.
///
/// # Safety
///
/// The range lies within one that [`reserve`] returned and is not released.
pub(crate) unsafe fn commit(start: NonNull<u8>, bytes: usize) -> Result<()> {
    // SAFETY: By the caller's promise the range is ours; memory that is
    // committed already keeps its contents (VirtualAlloc, MEM_COMMIT).
    let committed =
        unsafe { VirtualAlloc(start.as_ptr().cast(), bytes, MEM_COMMIT, PAGE_READWRITE) };
    if committed.is_null() {
        return Err(last_error(Facts::VirtualAlloc));
    }
    Ok(())
}

/// Gives a reservation back, with all memory behind it.
///
/// # Safety
///
/// `start` came from [`reserve`], and nothing in the range is used any more,
/// by the kernel either.
pub(crate) unsafe fn release(start: NonNull<u8>) {
    // SAFETY: By the caller's promise. MEM_RELEASE takes the size 0.
    unsafe { VirtualFree(start.as_ptr().cast(), 0, MEM_RELEASE) };
}

fn last_error(facts: &'static Facts) -> Error {
    Error::os(facts, super::last_error())
}
