//! The thread pool's timers. Each callback has a thread of its own.

use std::ffi::c_void;
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{ERROR_NO_SYSTEM_RESOURCES, FILETIME};
use windows_sys::Win32::System::Threading::{
    PTP_TIMER, PTP_TIMER_CALLBACK, TP_CALLBACK_ENVIRON_V3,
};

use crate::handle::fail;
use crate::kernel::{Kernel, announce, enter, lock, wait};

pub struct Timer {
    callback: unsafe extern "system" fn(isize, *mut c_void, PTP_TIMER),
    /// A pointer, which is only handed on.
    context: Context,
    due: Option<Instant>,
    /// How many callbacks have begun, and not ended.
    running: usize,
    is_open: bool,
}

#[derive(Clone, Copy)]
struct Context(*mut c_void);

// SAFETY: It is given to the callback, which is for any thread.
unsafe impl Send for Context {}

impl Kernel {
    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.iter().filter_map(|timer| timer.due).min()
    }

    /// Has the timers' callbacks called that are due.
    pub fn ring(&mut self) {
        let now = Instant::now();
        for (index, timer) in self.timers.iter_mut().enumerate() {
            if timer.due.is_none_or(|due| due > now) {
                continue;
            }
            timer.due = None;
            timer.running += 1;
            let (callback, context) = (timer.callback, timer.context);
            let call = move || {
                let context = { context }.0;
                // SAFETY: As it was asked for; who closes the timer waits for this.
                unsafe { callback(0, context, index as PTP_TIMER + 1) };
                lock().timers[index].running -= 1;
                announce();
            };
            thread::Builder::new().name("pool".into()).spawn(call).expect("the pool's thread");
        }
    }

    fn timer(&mut self, timer: PTP_TIMER) -> &mut Timer {
        let timer = &mut self.timers[timer as usize - 1];
        assert!(timer.is_open, "a timer that is closed");
        timer
    }
}

/// There is none of high resolution, for which the thread pool would have to wait. (Miri's
/// own says so, too, and the standard library has it.)
#[cfg(not(miri))]
#[unsafe(no_mangle)]
extern "system" fn CreateWaitableTimerExW(
    _attributes: *const c_void,
    _name: *const u16,
    _flags: u32,
    _access: u32,
) -> *mut c_void {
    fail(ERROR_NO_SYSTEM_RESOURCES, std::ptr::null_mut())
}

#[unsafe(no_mangle)]
extern "system" fn CreateThreadpoolTimer(
    callback: PTP_TIMER_CALLBACK,
    context: *mut c_void,
    _environment: *const TP_CALLBACK_ENVIRON_V3,
) -> PTP_TIMER {
    let mut kernel = enter();
    if kernel.behaviour.refuse_timers > 0 {
        kernel.behaviour.refuse_timers -= 1;
        drop(kernel);
        return fail(ERROR_NO_SYSTEM_RESOURCES, 0);
    }
    kernel.timers.push(Timer {
        callback: callback.expect("a callback"),
        context: Context(context),
        due: None,
        running: 0,
        is_open: true,
    });
    kernel.timers.len() as PTP_TIMER
}

#[unsafe(no_mangle)]
unsafe extern "system" fn SetThreadpoolTimer(
    timer: PTP_TIMER,
    due: *const FILETIME,
    period: u32,
    _window: u32,
) {
    assert_eq!(period, 0, "it is due once");
    let mut kernel = enter();
    // SAFETY: It is null, or a time.
    let due = unsafe { due.as_ref() }.map(|due| {
        let due = i64::from(due.dwHighDateTime as i32) << 32 | i64::from(due.dwLowDateTime);
        assert!(due < 0, "a relative time");
        let left = Duration::from_nanos(due.unsigned_abs().saturating_mul(100));
        // Its clock is not the program's.
        let early = Duration::from_micros(kernel.random.below(1000).into());
        Instant::now() + left.saturating_sub(early)
    });
    kernel.timer(timer).due = due;
    kernel.go_to_work();
}

#[unsafe(no_mangle)]
extern "system" fn WaitForThreadpoolTimerCallbacks(timer: PTP_TIMER, cancels: i32) {
    assert_eq!(cancels, 1, "what has not begun is not begun");
    let mut kernel = enter();
    while kernel.timer(timer).running > 0 {
        kernel = wait(kernel);
    }
}

#[unsafe(no_mangle)]
extern "system" fn CloseThreadpoolTimer(timer: PTP_TIMER) {
    let mut kernel = enter();
    let timer = kernel.timer(timer);
    assert!(timer.due.is_none() && timer.running == 0, "a timer that may go off");
    timer.is_open = false;
}
