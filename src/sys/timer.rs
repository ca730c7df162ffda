//! A clock that posts a packet to a port when it is time.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::{CloseHandle, FILETIME};
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CloseThreadpoolTimer, CloseThreadpoolWait,
    CreateThreadpoolTimer, CreateThreadpoolWait, CreateWaitableTimerExW, PTP_CALLBACK_INSTANCE,
    PTP_TIMER, PTP_WAIT, SYNCHRONIZATION_SYNCHRONIZE, SetThreadpoolTimer, SetThreadpoolWait,
    SetWaitableTimer, TIMER_MODIFY_STATE, WaitForThreadpoolTimerCallbacks,
    WaitForThreadpoolWaitCallbacks,
};

use super::{Handle, last_error, post};
use crate::error::{Error, Facts, Result};

/// A timer of the system's thread pool, which posts a packet to a port. It may be a little
/// early. When it is dropped, it posts no more.
#[derive(Debug)]
pub(crate) struct Clock {
    timer: Timer,
    alarm: NonNull<Alarm>,
}

#[derive(Debug)]
enum Timer {
    /// With a resolution of a millisecond or better: one that the thread pool waits for.
    HighResolution { timer: Handle, wait: PTP_WAIT },
    /// With that of the system's clock, of 16 milliseconds most often.
    Plain(PTP_TIMER),
}

/// What the thread pool's thread gets.
#[derive(Debug)]
struct Alarm {
    port: Handle,
    /// The address that the packet carries.
    marker: usize,
    ends: AtomicBool,
}

// SAFETY: The system's calls are for all threads, and what the pointer is to is only read.
unsafe impl Send for Clock {}
// SAFETY: The same.
unsafe impl Sync for Clock {}

impl Clock {
    /// For a port that is open as long as the clock is there, and packets with this
    /// address.
    pub fn create(port: Handle, marker: usize) -> Result<Self> {
        Self::with(port, marker, |alarm| match Timer::high_resolution(alarm) {
            Some(timer) => Ok(timer),
            None => Timer::plain(alarm),
        })
    }

    fn with(
        port: Handle,
        marker: usize,
        make: impl FnOnce(NonNull<Alarm>) -> Result<Timer>,
    ) -> Result<Self> {
        let alarm = Box::new(Alarm { port, marker, ends: AtomicBool::new(false) });
        let alarm = NonNull::from(Box::leak(alarm));
        match make(alarm) {
            Ok(timer) => Ok(Self { timer, alarm }),
            Err(error) => {
                // SAFETY: It was leaked above, and nobody else has it.
                drop(unsafe { Box::from_raw(alarm.as_ptr()) });
                Err(error)
            }
        }
    }

    /// Posts a packet when so much time has passed, and none that was to be posted before,
    /// unless that is being done already.
    pub fn set(&self, left: Duration) {
        // In units of 100 ns. "Negative values indicate relative time"
        // (https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setwaitabletimer).
        let due = -i64::try_from(left.as_nanos().div_ceil(100)).unwrap_or(i64::MAX).max(1);
        match self.timer {
            // SAFETY: Both are open, and the time is a local.
            Timer::HighResolution { timer, wait } => unsafe {
                // In this order: the wait that is there could take the timer's signal, and be
                // replaced before its callback begins.
                SetThreadpoolWait(wait, timer.raw(), ptr::null());
                let is_set = SetWaitableTimer(timer.raw(), &raw const due, 0, None, ptr::null(), 0);
                debug_assert_ne!(is_set, 0, "an open timer is set");
            },
            Timer::Plain(timer) => {
                let due =
                    FILETIME { dwLowDateTime: due as u32, dwHighDateTime: (due >> 32) as u32 };
                // SAFETY: It is open, and the time is a local.
                unsafe { SetThreadpoolTimer(timer, &raw const due, 0, 0) };
            }
        }
    }
}

impl Timer {
    /// `None` where the system has none: "This value is supported in Windows 10, version
    /// 1803, and later"
    /// (<https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createwaitabletimerexw>).
    fn high_resolution(alarm: NonNull<Alarm>) -> Option<Self> {
        const FLAGS: u32 = CREATE_WAITABLE_TIMER_HIGH_RESOLUTION;
        const ACCESS: u32 = TIMER_MODIFY_STATE | SYNCHRONIZATION_SYNCHRONIZE;
        // SAFETY: A timer without a name and with the default security.
        let timer = unsafe { CreateWaitableTimerExW(ptr::null(), ptr::null(), FLAGS, ACCESS) };
        if timer.is_null() {
            return None;
        }
        // SAFETY: The callback gets what it wants, which stays until no callback runs.
        let wait =
            unsafe { CreateThreadpoolWait(Some(wait_ended), alarm.as_ptr().cast(), ptr::null()) };
        if wait == 0 {
            // SAFETY: It is ours, and nobody else knows it.
            unsafe { CloseHandle(timer) };
            return None;
        }
        Some(Self::HighResolution { timer: Handle(timer.addr()), wait })
    }

    fn plain(alarm: NonNull<Alarm>) -> Result<Self> {
        // SAFETY: The callback gets what it wants, which stays until no callback runs.
        let timer =
            unsafe { CreateThreadpoolTimer(Some(timer_ended), alarm.as_ptr().cast(), ptr::null()) };
        if timer == 0 {
            return Err(Error::os(Facts::CreateThreadpoolTimer, last_error()));
        }
        Ok(Self::Plain(timer))
    }
}

impl Alarm {
    /// The time has come.
    fn ring(&self) {
        // Every packet takes a little of the non-paged pool. Where there is none left,
        // others give some back sooner or later.
        while !self.ends.load(Ordering::Relaxed) && post(self.port, 0, 0, self.marker).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// # Safety
///
/// `alarm` is an [`Alarm`], whose port is open.
unsafe extern "system" fn wait_ended(
    _: PTP_CALLBACK_INSTANCE,
    alarm: *mut c_void,
    _: PTP_WAIT,
    _: u32,
) {
    // SAFETY: By the caller's promise.
    unsafe { &*alarm.cast::<Alarm>() }.ring();
}

/// # Safety
///
/// `alarm` is an [`Alarm`], whose port is open.
unsafe extern "system" fn timer_ended(_: PTP_CALLBACK_INSTANCE, alarm: *mut c_void, _: PTP_TIMER) {
    // SAFETY: By the caller's promise.
    unsafe { &*alarm.cast::<Alarm>() }.ring();
}

impl Drop for Clock {
    fn drop(&mut self) {
        // SAFETY: All of them are ours, and this is their last use. A callback that has
        // begun is waited for, and what has not is not begun, as the documentation says of
        // both kinds: "call SetThreadpoolWait with the h parameter set to NULL, call
        // WaitForThreadpoolWaitCallbacks, and then call CloseThreadpoolWait"
        // (https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-closethreadpoolwait).
        unsafe {
            self.alarm.as_ref().ends.store(true, Ordering::Relaxed);
            match self.timer {
                Timer::HighResolution { timer, wait } => {
                    SetThreadpoolWait(wait, ptr::null_mut(), ptr::null());
                    WaitForThreadpoolWaitCallbacks(wait, 1);
                    CloseThreadpoolWait(wait);
                    CloseHandle(timer.raw());
                }
                Timer::Plain(timer) => {
                    SetThreadpoolTimer(timer, ptr::null(), 0, 0);
                    WaitForThreadpoolTimerCallbacks(timer, 1);
                    CloseThreadpoolTimer(timer);
                }
            }
            drop(Box::from_raw(self.alarm.as_ptr()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Port;

    const MARKER: usize = 7;
    const PATIENCE: u32 = 30_000;

    /// Whichever of the two a system has, the other is like it.
    #[test]
    fn timers_of_either_resolution_post_what_they_are_set_to_and_no_more_when_they_are_dropped() {
        type Make = fn(NonNull<Alarm>) -> Result<Timer>;
        let kinds: [Make; 2] = [
            |alarm| Timer::high_resolution(alarm).map_or_else(|| Timer::plain(alarm), Ok),
            Timer::plain,
        ];
        for make in kinds {
            let port = Port::create(0).unwrap();
            let clock = Clock::with(port.handle(), MARKER, make).unwrap();
            for micros in [0, 1, 3_000] {
                clock.set(Duration::from_micros(micros));
                let packet = port.dequeue(PATIENCE).unwrap();
                assert_eq!((packet.overlapped, packet.key, packet.bytes), (MARKER, 0, 0));
            }
            // What it is set to last counts.
            clock.set(Duration::MAX);
            clock.set(Duration::from_millis(1));
            assert_eq!(port.dequeue(PATIENCE).unwrap().overlapped, MARKER);
            clock.set(Duration::from_millis(1));
            clock.set(Duration::MAX);
            drop(clock);
            // One may have been posted before it was set again.
            let _ = port.dequeue(0);
            assert!(port.dequeue(2).is_err());
        }
    }
}
