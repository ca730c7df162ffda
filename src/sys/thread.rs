//! Threads that wait so that a procedure call ends the wait.

use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::{CloseHandle, WAIT_IO_COMPLETION};
use windows_sys::Win32::System::Threading::{
    OpenThread, QueueUserAPC, SleepEx, THREAD_SET_CONTEXT,
};

use super::{Handle, current_thread, last_error};
use crate::error::{Error, ErrorKind, Facts, Result};

/// A thread whose waits can be ended.
#[derive(Debug)]
pub(crate) struct Alerts(Handle);

impl Alerts {
    /// For the calling thread.
    pub fn of_this_thread() -> Result<Self> {
        // "The handle must have THREAD_SET_CONTEXT access permission"
        // (https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-queueuserapc).
        // SAFETY: Opens a handle, and writes no memory.
        let thread = unsafe { OpenThread(THREAD_SET_CONTEXT, 0, current_thread()) };
        if thread.is_null() {
            return Err(Error::os(Facts::OpenThread, last_error()));
        }
        Ok(Self(Handle(thread.addr())))
    }

    /// Ends the thread's alertable wait, or its next one. A thread that has ended needs none.
    pub fn alert(&self) {
        loop {
            // SAFETY: The call does nothing, and may be made at any time. The handle is open.
            if unsafe { QueueUserAPC(Some(nothing), self.0.raw(), 0) } != 0 {
                return;
            }
            let error = Error::os(Facts::QueueUserAPC, last_error());
            if error.kind() != ErrorKind::ResourceExhausted {
                return;
            }
            // Others give memory back sooner or later.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        // SAFETY: The handle is ours, and this is its last use.
        unsafe { CloseHandle(self.0.raw()) };
    }
}

/// Waits so that an alert ends it. What is queued for this thread is let in; whether there was
/// anything.
pub(crate) fn sleep_alertable(milliseconds: u32) -> bool {
    // SAFETY: Procedure calls that other code has queued are that code's own.
    unsafe { SleepEx(milliseconds, 1) == WAIT_IO_COMPLETION }
}

extern "system" fn nothing(_: usize) {}
