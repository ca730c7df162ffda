//! Threads, and the procedure calls (APCs) that are queued for them.

use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_GEN_FAILURE, ERROR_INVALID_HANDLE, ERROR_NOT_ENOUGH_MEMORY, HANDLE, PAPCFUNC,
    WAIT_IO_COMPLETION,
};
use windows_sys::Win32::System::Threading::THREAD_SET_CONTEXT;

use crate::handle::{fail, truth};
use crate::kernel::{Client, Id, Kernel, announce, enter, wait_on};
use crate::object::{Body, Object};

#[derive(Default)]
pub struct Thread {
    calls: Vec<Call>,
    /// What wakes it where it waits so that a call may end that.
    alerted: Option<Arc<Condvar>>,
    has_ended: bool,
}

/// A procedure call that is queued.
pub struct Call {
    procedure: PAPCFUNC,
    data: usize,
}

impl Call {
    pub fn make(self) {
        let procedure = self.procedure.expect("a procedure");
        // SAFETY: As the program promised when it queued the call.
        unsafe { procedure(self.data) };
    }
}

/// `GetCurrentThread` returns it. The model knows threads that have been opened.
const THIS_THREAD: usize = usize::MAX - 1;

impl Kernel {
    fn thread(&mut self, id: Id) -> Option<&mut Thread> {
        match &mut self.objects.get_mut(id)?.body {
            Body::Thread(thread) => Some(thread),
            _ => None,
        }
    }

    fn this_thread(&mut self) -> Option<&mut Thread> {
        self.thread(Client::thread()?)
    }

    /// The calls that are queued for the calling thread, which makes them.
    pub fn take_calls(&mut self) -> Vec<Call> {
        self.this_thread().map_or_else(Vec::new, |thread| std::mem::take(&mut thread.calls))
    }

    /// The calling thread waits for this, and calls end that.
    pub fn alert_by(&mut self, condition: &Arc<Condvar>) {
        if let Some(thread) = self.this_thread() {
            thread.alerted = Some(Arc::clone(condition));
        }
    }

    pub fn end_thread(&mut self, id: Id) {
        if let Some(thread) = self.thread(id) {
            thread.has_ended = true;
        }
        self.close(id);
    }

    fn queue_call(&mut self, thread: HANDLE, call: Call) -> Result<(), u32> {
        if self.behaviour.refuse_calls > 0 {
            self.behaviour.refuse_calls -= 1;
            return Err(ERROR_NOT_ENOUGH_MEMORY);
        }
        let id = if thread.addr() == THIS_THREAD {
            Client::thread()
        } else {
            self.resolve(thread.addr())
        };
        let id = id.ok_or(ERROR_INVALID_HANDLE)?;
        let thread = self.thread(id).ok_or(ERROR_INVALID_HANDLE)?;
        if thread.has_ended {
            return Err(ERROR_GEN_FAILURE);
        }
        thread.calls.push(call);
        if let Some(alerted) = &thread.alerted {
            alerted.notify_one();
        }
        announce();
        Ok(())
    }
}

/// Opens the calling thread only.
#[unsafe(no_mangle)]
extern "system" fn OpenThread(access: u32, _inherit: i32, _thread: u32) -> HANDLE {
    assert_eq!(access, THREAD_SET_CONTEXT, "the model queues calls only");
    let mut kernel = enter();
    if kernel.behaviour.refuse_threads > 0 {
        kernel.behaviour.refuse_threads -= 1;
        drop(kernel);
        return fail(ERROR_NOT_ENOUGH_MEMORY, std::ptr::null_mut());
    }
    let id = Client::thread().unwrap_or_else(|| {
        let id = kernel.add(Object::new(Body::Thread(Thread::default())));
        // The thread itself is a holder, as long as it runs.
        kernel.objects[id].handles += 1;
        Client::set_thread(id);
        id
    });
    kernel.open_token(id)
}

#[unsafe(no_mangle)]
extern "system" fn QueueUserAPC(procedure: PAPCFUNC, thread: HANDLE, data: usize) -> u32 {
    let queued = enter().queue_call(thread, Call { procedure, data });
    truth(queued) as u32
}

#[unsafe(no_mangle)]
extern "system" fn SleepEx(milliseconds: u32, alertable: i32) -> u32 {
    assert_ne!(alertable, 0, "the model sleeps only so that calls end that");
    let deadline = (milliseconds != u32::MAX)
        .then(|| Instant::now() + Duration::from_millis(milliseconds.into()));
    let alerted = Arc::new(Condvar::new());
    let mut kernel = enter();
    kernel.alert_by(&alerted);
    loop {
        let calls = kernel.take_calls();
        if !calls.is_empty() {
            drop(kernel);
            calls.into_iter().for_each(Call::make);
            return WAIT_IO_COMPLETION;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return 0;
        }
        (kernel, _) = wait_on(&alerted, kernel, deadline);
    }
}
