//! How the model learns which handles are closed: it looks, from time to time.

#[cfg(miri)]
mod probing {
    //! Miri tells nobody. That a handle is closed shows when its value is given
    //! out again.

    use std::ptr;

    use windows_sys::Win32::Foundation::CloseHandle;
    use windows_sys::Win32::Storage::FileSystem::FILE_CURRENT;

    use crate::handle::{open, seek};
    use crate::kernel::Kernel;

    impl Kernel {
        /// Finds out which handles have been closed.
        pub fn sweep(&mut self) {
            let last = self.tokens.last_key_value().map_or(0, |(value, _)| *value);
            self.sweep_to(last);
        }

        /// The same, up to a value; whether that is open.
        fn sweep_to(&mut self, last: usize) -> bool {
            let mut closed = Vec::new();
            // Miri gives out the lowest value that is free.
            loop {
                let probe = open();
                closed.push(probe);
                if probe.addr() >= last {
                    break;
                }
            }
            let is_open = closed.last().is_none_or(|probe| probe.addr() != last);
            for probe in closed {
                // SAFETY: It was opened above.
                unsafe { CloseHandle(probe) };
                self.forget_token(probe.addr());
            }
            is_open
        }

        /// Where the file pointer of a handle is, if it is one.
        pub fn position(&mut self, value: usize) -> Option<i64> {
            const MOST_OPEN: usize = 1000;
            let near = open();
            // SAFETY: It was opened above.
            unsafe { CloseHandle(near) };
            // Miri ends the program at the use of anything else.
            if value.abs_diff(near.addr()) > MOST_OPEN || !self.sweep_to(value) {
                return None;
            }
            // SAFETY: The handle is open.
            Some(unsafe { seek(ptr::without_provenance_mut(value), 0, FILE_CURRENT) })
        }
    }
}

#[cfg(not(miri))]
mod listening {
    //! The program's `CloseHandle` is the model's, which passes it on.

    use std::mem;
    use std::ptr;
    use std::sync::{Mutex, PoisonError};

    use windows_sys::Wdk::Foundation::NtClose;
    use windows_sys::Win32::Foundation::{ERROR_INVALID_HANDLE, HANDLE};
    use windows_sys::Win32::Storage::FileSystem::{FILE_CURRENT, SetFilePointerEx};

    use crate::handle::truth;
    use crate::kernel::{Kernel, enter_if_idle};

    /// What has been closed since the last look.
    static CLOSED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

    #[unsafe(no_mangle)]
    unsafe extern "system" fn CloseHandle(handle: HANDLE) -> i32 {
        // Before its value can be given out again.
        CLOSED.lock().unwrap_or_else(PoisonError::into_inner).push(handle.addr());
        // SAFETY: The caller gives the handle up.
        let status = unsafe { NtClose(handle) };
        // The caller may be the model itself, at work.
        if let Some(mut kernel) = enter_if_idle() {
            kernel.sweep();
        }
        truth(if status == 0 { Ok(()) } else { Err(ERROR_INVALID_HANDLE) })
    }

    impl Kernel {
        /// Finds out which handles have been closed.
        pub fn sweep(&mut self) {
            let closed = mem::take(&mut *CLOSED.lock().unwrap_or_else(PoisonError::into_inner));
            for value in closed {
                self.forget_token(value);
            }
        }

        /// Where the file pointer of a handle is, if it is one.
        #[expect(clippy::unused_self, reason = "under Miri it is needed")]
        pub fn position(&mut self, value: usize) -> Option<i64> {
            let mut position = 0;
            let handle = ptr::without_provenance_mut(value);
            // SAFETY: The out-parameter is a local, and nothing is moved.
            let is_file =
                unsafe { SetFilePointerEx(handle, 0, &raw mut position, FILE_CURRENT) } != 0;
            is_file.then_some(position)
        }
    }
}
