//! Waiting for handles: a thread of the system's pool waits, and queues the packet.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, FILETIME, STATUS_SUCCESS, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::Threading::{
    CloseThreadpoolWait, CreateThreadpoolWait, DisassociateCurrentThreadFromCallback,
    PTP_CALLBACK_INSTANCE, PTP_WAIT, SetThreadpoolWait, WaitForSingleObjectEx,
    WaitForThreadpoolWaitCallbacks,
};

use super::{Answer, Handle, InPlace, LentOverlapped, is_wine, last_error, post};
use crate::error::{Cause, Facts, Result, STATUS_CANCELLED, STATUS_PENDING};

/// The waits of one port that the system's thread pool has.
///
/// Who takes a wait off the list closes it: who dequeues its packet, or who cancels it. The
/// callback takes no lock, because who cancels waits for it with the list locked.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    list: Mutex<HashMap<usize, Registration>>,
    /// How many callbacks nobody waits for who cancels, because they found no memory to queue
    /// their packet, and try again.
    late: AtomicUsize,
    /// Whether these give up.
    ends: AtomicBool,
}

#[derive(Debug)]
struct Registration {
    wait: PTP_WAIT,
    object: Handle,
    record: *mut WaitRecord,
}

// SAFETY: The record is lent to all that have a part in the operation.
unsafe impl Send for Registration {}

/// What the thread pool's callback has to know of a wait, in the operation's memory.
pub struct WaitRecord {
    waits: Arc<Waits>,
    port: Handle,
    overlapped: *mut OVERLAPPED,
    /// Whether the callback was called with the signal that was waited for.
    has_signal: AtomicBool,
    /// Whether it was called without.
    has_timed_out: AtomicBool,
}

// SAFETY: The pointer is for whoever has a part in the operation.
unsafe impl Send for WaitRecord {}

/// A [`WaitRecord`] that is lent until the wait is over.
#[derive(Debug)]
pub struct WaitRegion(*mut WaitRecord);

impl WaitRecord {
    pub fn new(waits: Arc<Waits>, port: Handle) -> Self {
        let (has_signal, has_timed_out) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { waits, port, overlapped: ptr::null_mut(), has_signal, has_timed_out }
    }

    pub(crate) fn region(&mut self, _: &InPlace) -> WaitRegion {
        WaitRegion(self)
    }

    /// The packet was dequeued: nothing is left to wait for.
    pub(crate) fn end(&self) {
        let ended = self.waits.lock().remove(&self.overlapped.addr());
        if let Some(Registration { wait, .. }) = ended {
            // SAFETY: The wait is the list's, and this is the last use of it. Its callback
            // has queued the packet, and may be on its way back: then "the wait object is
            // freed asynchronously after the outstanding callbacks complete"
            // (https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-closethreadpoolwait).
            unsafe { CloseThreadpoolWait(wait) };
        }
    }
}

impl fmt::Debug for WaitRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitRecord").finish_non_exhaustive()
    }
}

/// A wait of the thread pool that nobody has set yet.
#[derive(Debug)]
pub(crate) struct NewWait(PTP_WAIT);

impl NewWait {
    /// With this record.
    pub fn create(WaitRegion(record): &WaitRegion) -> Result<Self, Cause> {
        // SAFETY: The callback is called no earlier than it is set.
        let wait = unsafe { CreateThreadpoolWait(Some(called), record.cast(), ptr::null()) };
        if wait == 0 { Err(cause(Facts::CreateThreadpoolWait)) } else { Ok(Self(wait)) }
    }
}

/// Takes the signal of an object, if there is one. The thread pool relies on it that an object
/// can be waited for, and ends the process otherwise.
pub(crate) fn take_signal(object: Handle) -> Result<bool, Cause> {
    // SAFETY: The handle is checked. Not alertable.
    match unsafe { WaitForSingleObjectEx(object.raw(), 0, 0) } {
        WAIT_FAILED => Err(cause(Facts::WaitForSingleObjectEx)),
        WAIT_TIMEOUT => Ok(false),
        _ => Ok(true),
    }
}

/// The signal was taken before anybody had to wait for it: queues the packet.
pub(crate) fn finish_wait(WaitRegion(record): WaitRegion, overlapped: LentOverlapped) -> Answer {
    // SAFETY: The record is where it was lent, and nobody else's yet; so is the OVERLAPPED.
    unsafe {
        (*record).overlapped = overlapped.into_raw();
        // The signal could not be given back.
        while finish(record, STATUS_SUCCESS as u32).is_err() {
            thread::sleep(PAUSE);
        }
    }
    Answer::Code(ERROR_IO_PENDING)
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Registration>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to wait for an object, which can be waited for.
    pub fn set(
        &self,
        NewWait(wait): NewWait,
        object: Handle,
        WaitRegion(record): WaitRegion,
        overlapped: LentOverlapped,
    ) -> Answer {
        let overlapped = overlapped.into_raw();
        // Who dequeues the packet earlier waits until the wait is on the list.
        let mut list = self.lock();
        list.insert(overlapped.addr(), Registration { wait, object, record });
        // SAFETY: The record is where it was lent, and nobody else's yet. It stays until the
        // packet has been dequeued, which the callback queues.
        unsafe {
            (*record).overlapped = overlapped;
            SetThreadpoolWait(wait, object.raw(), ptr::null());
        }
        Answer::Code(ERROR_IO_PENDING)
    }

    /// Cancels a wait; `false` if it has taken its signal, or is over. If its packet cannot be
    /// queued, the wait goes on.
    pub fn cancel(&self, overlapped: usize) -> Result<bool> {
        let mut list = self.lock();
        let Some(&Registration { wait, object, record }) = list.get(&overlapped) else {
            return Ok(false);
        };
        // SAFETY: The wait was on the list, so it is not over, and will not be before that is
        // unlocked: until then the record is lent.
        let has_signal = unsafe {
            if is_wine() {
                settle(wait, object, record);
            }
            // "If this parameter is NULL, the wait object will cease to queue new callbacks
            // (but callbacks already queued will still occur)"
            // (https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-setthreadpoolwait).
            SetThreadpoolWait(wait, ptr::null_mut(), ptr::null());
            WaitForThreadpoolWaitCallbacks(wait, 0);
            (*record).has_signal.load(Ordering::Acquire)
        };
        if !has_signal {
            // SAFETY: The same, and the callback will not be called any more, unless the wait
            // is set again.
            unsafe {
                if let Err(error) = finish(record, STATUS_CANCELLED) {
                    (*record).has_timed_out.store(false, Ordering::Relaxed);
                    SetThreadpoolWait(wait, object.raw(), ptr::null());
                    return Err(error);
                }
            }
        }
        list.remove(&overlapped);
        // SAFETY: It was on the list, and this is the last use of it.
        unsafe { CloseThreadpoolWait(wait) };
        Ok(!has_signal)
    }

    /// From now on, nothing is queued any more: what is not over stays so.
    pub fn close(&self) {
        self.ends.store(true, Ordering::Relaxed);
        for (_, Registration { wait, .. }) in self.lock().drain() {
            // SAFETY: It was on the list, and this is the last use of it.
            unsafe {
                SetThreadpoolWait(wait, ptr::null_mut(), ptr::null());
                WaitForThreadpoolWaitCallbacks(wait, 0);
                CloseThreadpoolWait(wait);
            }
        }
        while self.late.load(Ordering::Acquire) > 0 {
            thread::sleep(PAUSE);
        }
    }
}

/// Waits until no thread has taken the signal of a wait without having queued the callback.
///
/// Wine's thread that waits does one after the other, and if the wait is changed in between,
/// the signal is lost: `waitqueue_thread_proc` in
/// <https://gitlab.winehq.org/wine/wine/-/blob/wine-10.0/dlls/ntdll/threadpool.c>. A time-out
/// for the same object is no change. That thread tells of it between two waits, and does not
/// wait for the object again, because the time is over already.
///
/// # Safety
///
/// The wait is set to the object, and its record lent.
#[cold]
unsafe fn settle(wait: PTP_WAIT, object: Handle, record: *const WaitRecord) {
    let long_ago = FILETIME { dwLowDateTime: 1, dwHighDateTime: 0 };
    // SAFETY: By the caller's promise.
    unsafe {
        SetThreadpoolWait(wait, object.raw(), &raw const long_ago);
        while !(*record).has_signal.load(Ordering::Acquire)
            && !(*record).has_timed_out.load(Ordering::Acquire)
        {
            thread::yield_now();
        }
    }
}

/// Called on a thread of the system's pool: once, when the object is signalled, unless the wait
/// is cancelled before; and once more, at most, if [`settle`] has set a time-out.
///
/// # Safety
///
/// For the thread pool alone: the record is that of a wait whose packet is not queued.
unsafe extern "system" fn called(
    instance: PTP_CALLBACK_INSTANCE,
    record: *mut c_void,
    _: PTP_WAIT,
    result: u32,
) {
    let record = record.cast::<WaitRecord>();
    // SAFETY: The record is lent until the packet has been dequeued, which is queued here, or
    // by who cancels the wait and waits for this.
    unsafe {
        if result == WAIT_OBJECT_0 {
            (*record).has_signal.store(true, Ordering::Release);
            if finish(record, STATUS_SUCCESS as u32).is_err() {
                finish_late(instance, record);
            }
        } else {
            (*record).has_timed_out.store(true, Ordering::Release);
        }
    }
}

/// Tries to queue the packet of a wait that has its signal until there is memory for it.
/// Nobody waits for that but the end of the port.
///
/// # Safety
///
/// As [`called`], which this is the rest of.
#[cold]
unsafe fn finish_late(instance: PTP_CALLBACK_INSTANCE, record: *const WaitRecord) {
    // SAFETY: By the caller's promise. "The current thread will no longer count as executing a
    // callback on behalf of the object"
    // (https://learn.microsoft.com/windows/win32/api/threadpoolapiset/nf-threadpoolapiset-disassociatecurrentthreadfromcallback),
    // so that who cancels the wait does not wait for this.
    unsafe {
        let waits = Arc::clone(&(*record).waits);
        waits.late.fetch_add(1, Ordering::Relaxed);
        DisassociateCurrentThreadFromCallback(instance);
        while !waits.ends.load(Ordering::Relaxed) && finish(record, STATUS_SUCCESS as u32).is_err()
        {
            thread::sleep(PAUSE);
        }
        waits.late.fetch_sub(1, Ordering::Release);
    }
}

/// Every packet takes a little of the non-paged pool. Where there is none left, others give
/// some back sooner or later.
const PAUSE: Duration = Duration::from_millis(1);

/// Does what the system does at the end of an operation: writes its result and queues its
/// packet. If it cannot, the operation goes on.
///
/// # Safety
///
/// The record and its OVERLAPPED are lent, and it is not called again once it has succeeded.
/// Another thread may have dropped both before it returns then.
unsafe fn finish(record: *const WaitRecord, status: u32) -> Result<()> {
    const PENDING: usize = STATUS_PENDING as usize;
    let status = status as usize;
    // SAFETY: By the caller's promise.
    let (port, overlapped) = unsafe {
        let WaitRecord { port, overlapped, .. } = *record;
        (&raw mut (*overlapped).InternalHigh).write(0);
        AtomicUsize::from_ptr(&raw mut (*overlapped).Internal).store(status, Ordering::Release);
        (port, overlapped)
    };
    post(port, 0, 0, overlapped.addr()).or_else(|error| {
        // SAFETY: No packet is queued, so nobody ends the operation, unless by a forged one.
        // Then the memory of the OVERLAPPED, the port's, is still there, and the word is not
        // this status.
        let word = unsafe { AtomicUsize::from_ptr(&raw mut (*overlapped).Internal) };
        match word.compare_exchange(status, PENDING, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Err(error),
            Err(_) => Ok(()),
        }
    })
}

#[cold]
fn cause(facts: &'static Facts) -> Cause {
    Cause::Call { facts, code: last_error() }
}
