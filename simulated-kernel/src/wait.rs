//! Events and semaphores, and the waits of the system's thread pool for them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::thread;

use windows_sys::Win32::Foundation::{
    ERROR_INVALID_HANDLE, ERROR_TOO_MANY_POSTS, FILETIME, HANDLE, WAIT_EVENT, WAIT_FAILED,
    WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::System::Threading::{
    PTP_CALLBACK_INSTANCE, PTP_WAIT, PTP_WAIT_CALLBACK, TP_CALLBACK_ENVIRON_V3,
};

use crate::handle::{fail, truth};
use crate::kernel::{Id, Kernel, announce, enter, lock, wait};
use crate::object::{Body, Object};
use crate::operation::Lent;

/// An event or a semaphore.
pub struct Waitable {
    signals: u32,
    most: u32,
    /// Waits take nothing.
    is_manual: bool,
}

/// The waits of the thread pool, by their numbers, which are never used twice.
pub struct PoolWaits {
    waits: BTreeMap<PTP_WAIT, PoolWait>,
    last: PTP_WAIT,
}

struct PoolWait {
    callback: PTP_WAIT_CALLBACK,
    context: Lent<u8>,
    object: Option<Id>,
    /// How many callbacks were queued that have not returned.
    calls: u32,
    is_closed: bool,
}

impl Waitable {
    fn take(&mut self) -> bool {
        let is_signalled = self.signals > 0;
        if is_signalled && !self.is_manual {
            self.signals -= 1;
        }
        is_signalled
    }
}

impl PoolWaits {
    pub const fn new() -> Self {
        Self { waits: BTreeMap::new(), last: 0 }
    }

    fn get(&mut self, wait: PTP_WAIT) -> &mut PoolWait {
        self.waits.get_mut(&wait).expect("a wait that is not closed")
    }

    fn forget_if_idle(&mut self, wait: PTP_WAIT) {
        if self.get(wait).is_closed && self.get(wait).calls == 0 {
            self.waits.remove(&wait);
        }
    }
}

impl Kernel {
    fn waitable(&mut self, id: Id) -> Option<&mut Waitable> {
        match &mut self.objects.get_mut(id)?.body {
            Body::Waitable(waitable) => Some(waitable),
            _ => None,
        }
    }

    fn resolve_waitable(&mut self, handle: HANDLE) -> Result<Id, u32> {
        let id = self.resolve(handle.addr()).ok_or(ERROR_INVALID_HANDLE)?;
        self.waitable(id).map(|_| id).ok_or(ERROR_INVALID_HANDLE)
    }

    fn create_waitable(&mut self, waitable: Waitable) -> HANDLE {
        let id = self.add(Object::new(Body::Waitable(waitable)));
        self.open_token(id)
    }

    /// Adds signals, and returns how many there were.
    fn signal(&mut self, id: Id, count: u32) -> Result<u32, u32> {
        let waitable = self.waitable(id).ok_or(ERROR_INVALID_HANDLE)?;
        let before = waitable.signals;
        waitable.signals = match before.checked_add(count).filter(|sum| *sum <= waitable.most) {
            Some(sum) => sum,
            None if waitable.most == 1 => 1,
            None => return Err(ERROR_TOO_MANY_POSTS),
        };
        self.serve_waits(id);
        announce();
        Ok(before)
    }

    /// Calls the callbacks of those that wait for an object, as long as it has signals.
    fn serve_waits(&mut self, object: Id) {
        let waits = self.pool_waits.waits.iter();
        let waiting: Vec<PTP_WAIT> =
            waits.filter(|(_, it)| it.object == Some(object)).map(|(wait, _)| *wait).collect();
        for wait in waiting {
            if !self.waitable(object).is_some_and(Waitable::take) {
                return;
            }
            let it = self.pool_waits.get(wait);
            it.object = None;
            it.calls += 1;
            let (callback, context) = (it.callback, it.context);
            let delay = self.behaviour.delay;
            let delay = self.random.below(delay + 1);
            thread::Builder::new()
                .name("pool".into())
                .spawn(move || call(wait, callback, context, delay))
                .expect("a thread of the pool");
        }
    }

    /// Nobody may wait for what is closed.
    pub fn check_unwaited(&self, object: Id) {
        let is_waited_for = self.pool_waits.waits.values().any(|it| it.object == Some(object));
        assert!(!is_waited_for, "closed, and somebody waits for it");
    }
}

thread_local! {
    /// Whether this thread counts as executing a callback.
    static IS_ASSOCIATED: Cell<bool> = const { Cell::new(false) };
}

fn call(wait: PTP_WAIT, callback: PTP_WAIT_CALLBACK, context: Lent<u8>, delay: u32) {
    (0..delay).for_each(|_| thread::yield_now());
    let callback = callback.expect("a callback");
    IS_ASSOCIATED.set(true);
    // SAFETY: As the program promised when it made the wait.
    unsafe { callback(wait, context.start().cast(), wait, WAIT_OBJECT_0) };
    if IS_ASSOCIATED.get() {
        DisassociateCurrentThreadFromCallback(wait);
    }
}

#[unsafe(no_mangle)]
extern "system" fn DisassociateCurrentThreadFromCallback(wait: PTP_CALLBACK_INSTANCE) {
    assert!(IS_ASSOCIATED.replace(false), "not in a callback, or done already");
    let mut kernel = enter();
    kernel.pool_waits.get(wait).calls -= 1;
    kernel.pool_waits.forget_if_idle(wait);
    announce();
}

/// How many waits the thread pool has, whether they are set or not.
#[must_use]
pub fn pool_waits() -> usize {
    enter().pool_waits.waits.len()
}

#[unsafe(no_mangle)]
extern "system" fn CreateEventW(
    _security: *const SECURITY_ATTRIBUTES,
    manual: i32,
    initial: i32,
    name: *const u16,
) -> HANDLE {
    assert!(name.is_null(), "the model's events have no names");
    let signals = u32::from(initial != 0);
    enter().create_waitable(Waitable { signals, most: 1, is_manual: manual != 0 })
}

#[unsafe(no_mangle)]
extern "system" fn SetEvent(event: HANDLE) -> i32 {
    let mut kernel = enter();
    let answer = kernel.resolve_waitable(event).and_then(|id| kernel.signal(id, 1));
    drop(kernel);
    truth(answer.map(|_| ()))
}

#[unsafe(no_mangle)]
extern "system" fn CreateSemaphoreW(
    _security: *const SECURITY_ATTRIBUTES,
    initial: i32,
    most: i32,
    name: *const u16,
) -> HANDLE {
    assert!(name.is_null(), "the model's semaphores have no names");
    let (signals, most) = (initial as u32, most as u32);
    assert!(signals <= most && most > 1, "a semaphore");
    enter().create_waitable(Waitable { signals, most, is_manual: false })
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ReleaseSemaphore(
    semaphore: HANDLE,
    count: i32,
    previous: *mut i32,
) -> i32 {
    let mut kernel = enter();
    let answer = kernel.resolve_waitable(semaphore);
    let answer = answer.and_then(|id| kernel.signal(id, count as u32));
    drop(kernel);
    truth(answer.map(|before| {
        if !previous.is_null() {
            // SAFETY: The out-parameter is writable.
            unsafe { previous.write(before as i32) };
        }
    }))
}

#[unsafe(no_mangle)]
extern "system" fn WaitForSingleObjectEx(
    object: HANDLE,
    milliseconds: u32,
    alertable: i32,
) -> WAIT_EVENT {
    assert_eq!(alertable, 0, "the model has no APCs");
    assert_eq!(milliseconds, 0, "the model only looks");
    let mut kernel = enter();
    let id = match kernel.resolve_waitable(object) {
        Ok(id) => id,
        Err(code) => {
            drop(kernel);
            return fail(code, WAIT_FAILED);
        }
    };
    let unseen = kernel.behaviour.unseen_signals;
    let sees = !kernel.random.draw(unseen);
    if sees && kernel.waitable(id).is_some_and(Waitable::take) {
        WAIT_OBJECT_0
    } else {
        WAIT_TIMEOUT
    }
}

#[unsafe(no_mangle)]
extern "system" fn CreateThreadpoolWait(
    callback: PTP_WAIT_CALLBACK,
    context: *mut c_void,
    environment: *const TP_CALLBACK_ENVIRON_V3,
) -> PTP_WAIT {
    assert!(environment.is_null(), "the model has one pool");
    let mut kernel = enter();
    if let Some(code) = kernel.behaviour.refuse.pop_front() {
        drop(kernel);
        return fail(code, 0);
    }
    let waits = &mut kernel.pool_waits;
    waits.last += 1;
    let context = Lent::new(context.cast());
    let wait = PoolWait { callback, context, object: None, calls: 0, is_closed: false };
    waits.waits.insert(waits.last, wait);
    waits.last
}

#[unsafe(no_mangle)]
extern "system" fn SetThreadpoolWait(wait: PTP_WAIT, object: HANDLE, timeout: *const FILETIME) {
    assert!(timeout.is_null(), "the model's waits have no time-outs");
    let mut kernel = enter();
    if object.is_null() {
        kernel.pool_waits.get(wait).object = None;
        return;
    }
    // As the system says it.
    let object = kernel.resolve_waitable(object).expect("STATUS_THREADPOOL_HANDLE_EXCEPTION");
    kernel.pool_waits.get(wait).object = Some(object);
    kernel.serve_waits(object);
    let dequeued_first = kernel.behaviour.dequeued_first;
    let lingers = kernel.random.draw(dequeued_first);
    drop(kernel);
    if lingers {
        linger(wait);
    }
}

/// The callback of a wait that was satisfied at once is called before the call returns.
fn linger(wait: PTP_WAIT) {
    const PATIENCE: u32 = 40;
    for _ in 0..PATIENCE {
        if lock().pool_waits.get(wait).calls == 0 {
            break;
        }
        thread::yield_now();
    }
}

#[unsafe(no_mangle)]
extern "system" fn WaitForThreadpoolWaitCallbacks(wait: PTP_WAIT, cancel: i32) {
    assert_eq!(cancel, 0, "what is queued is called");
    let mut kernel = enter();
    while kernel.pool_waits.get(wait).calls > 0 {
        kernel = self::wait(kernel);
    }
}

#[unsafe(no_mangle)]
extern "system" fn CloseThreadpoolWait(wait: PTP_WAIT) {
    let mut kernel = enter();
    let it = kernel.pool_waits.get(wait);
    assert!(!it.is_closed, "closed twice");
    (it.is_closed, it.object) = (true, None);
    kernel.pool_waits.forget_if_idle(wait);
}
