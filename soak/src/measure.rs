//! How large this process is.

use std::mem;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::{CreateEventW, GetCurrentProcess};

#[derive(Clone, Copy)]
pub struct Size {
    pub private_bytes: usize,
    /// The largest value of many new handles. Values are given out from the
    /// lowest on, so it grows by 4 for each handle that is leaked, and needs no
    /// count of handles, which Wine does not have.
    pub largest_handle: usize,
}

impl Size {
    /// To be called when no other thread opens or closes handles.
    pub fn measure() -> Self {
        let size = mem::size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
        let mut counters = PROCESS_MEMORY_COUNTERS { cb: size, ..Default::default() };
        // SAFETY: The counters are a local of this size.
        unsafe { K32GetProcessMemoryInfo(GetCurrentProcess(), &raw mut counters, size) };
        // So many that they fill all gaps between handles that stay open.
        let events: Vec<_> = (0..500).map(|_| event()).collect();
        let largest_handle = events.iter().map(|event| event.as_raw_handle().addr()).max();
        Self {
            private_bytes: counters.PagefileUsage,
            largest_handle: largest_handle.unwrap_or_default(),
        }
    }

    /// What is larger than what allocators and thread pools leave behind.
    pub fn growth_since(self, warm: Self) -> Vec<String> {
        const SLACK: usize = 16 << 20;
        const HANDLES: usize = 4 * 32;
        let mut growth = Vec::new();
        if self.private_bytes > warm.private_bytes + SLACK {
            let (from, to) = (warm.private_bytes, self.private_bytes);
            growth.push(format!("memory grew from {from} to {to} bytes"));
        }
        if self.largest_handle > warm.largest_handle + HANDLES {
            let (from, to) = (warm.largest_handle, self.largest_handle);
            growth.push(format!("handles grew from {from} to {to}"));
        }
        growth
    }
}

fn event() -> OwnedHandle {
    // SAFETY: An event without a name, which is nobody else's.
    unsafe {
        let event = CreateEventW(ptr::null(), 0, 0, ptr::null());
        assert!(!event.is_null(), "{}", std::io::Error::last_os_error());
        OwnedHandle::from_raw_handle(event)
    }
}
