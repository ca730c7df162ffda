//! Whether this is Wine, for the places where it is known to break a rule.

use windows_sys::Win32::Foundation::{CloseHandle, WAIT_TIMEOUT};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    GetCurrentThreadId, OpenThread, THREAD_SYNCHRONIZE, WaitForSingleObject,
};
use windows_sys::{s, w};

/// Wine's `ntdll` exports its version, so that programs can ask.
pub(crate) fn is_wine() -> bool {
    // SAFETY: Both names end with a zero, and every process has an ntdll.
    unsafe { GetProcAddress(GetModuleHandleW(w!("ntdll.dll")), s!("wine_get_version")) }.is_some()
}

/// The number of the thread that calls.
#[inline(always)]
pub(crate) fn current_thread() -> u32 {
    // SAFETY: It has no arguments, and cannot fail.
    unsafe { GetCurrentThreadId() }
}

/// Whether the thread of this number has ended. Wine does not give a number away again
/// before hundreds of other threads have ended.
pub(crate) fn has_ended(thread: u32) -> bool {
    // SAFETY: It only looks for a thread.
    let handle = unsafe { OpenThread(THREAD_SYNCHRONIZE, 0, thread) };
    if handle.is_null() {
        return true;
    }
    // SAFETY: The handle was opened here, and nobody else has it.
    let waited = unsafe { WaitForSingleObject(handle, 0) };
    // SAFETY: The same.
    unsafe { CloseHandle(handle) };
    waited != WAIT_TIMEOUT
}
