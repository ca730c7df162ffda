//! Whether this is Wine, for the places where it is known to break a rule.

use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::{s, w};

/// Wine's `ntdll` exports its version, so that programs can ask.
pub(crate) fn is_wine() -> bool {
    // SAFETY: Both names end with a zero, and every process has an ntdll.
    unsafe { GetProcAddress(GetModuleHandleW(w!("ntdll.dll")), s!("wine_get_version")) }.is_some()
}
