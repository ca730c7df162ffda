//! The kernel's state, and the thread that works in it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::behaviour::{Behaviour, Random};
use crate::lock::Lock;
use crate::object::{Object, Objects};
use crate::operation::{Direction, Finished, settle};
use crate::timer::Timer;
use crate::wait::PoolWaits;

/// What a handle or a packet's way leads to: never used twice.
pub type Id = u64;

pub struct Kernel {
    pub objects: Objects,
    /// Handles of ports, files and pipes: real ones.
    pub tokens: BTreeMap<usize, Id>,
    pub sockets: BTreeMap<usize, Id>,
    /// How often Winsock was started, and not cleaned up since.
    pub winsock_starts: u32,
    /// Addresses of the `OVERLAPPED`s that were lent, until their packets are
    /// dequeued.
    pub lent: BTreeSet<usize>,
    /// Operations whose handles are closed, and whose cancels are ignored.
    pub hung: Vec<Finished>,
    /// Of parts of files, which were granted.
    pub locks: Vec<Lock>,
    pub pool_waits: PoolWaits,
    /// How often somebody has opened what tells of free instances of pipes.
    pub pipe_waits: u32,
    pub behaviour: Behaviour,
    pub random: Random,
    to_look: VecDeque<Id>,
    is_looking: bool,
    pub timers: Vec<Timer>,
    work: VecDeque<Work>,
    is_working: bool,
    is_settling: bool,
    clients: usize,
}

enum Work {
    /// Look whether operations of the object can be finished.
    Look(Id),
    /// End the operations of the object that are to be cancelled.
    Cancel(Id),
    Finish(Box<Finished>),
}

static KERNEL: Mutex<Kernel> = Mutex::new(Kernel {
    objects: Objects::new(),
    tokens: BTreeMap::new(),
    sockets: BTreeMap::new(),
    winsock_starts: 0,
    lent: BTreeSet::new(),
    hung: Vec::new(),
    locks: Vec::new(),
    pool_waits: PoolWaits::new(),
    pipe_waits: 0,
    behaviour: Behaviour::new(),
    random: Random::new(),
    to_look: VecDeque::new(),
    is_looking: false,
    timers: Vec::new(),
    work: VecDeque::new(),
    is_working: false,
    is_settling: false,
    clients: 0,
});

/// There is something to do for the kernel's thread.
static WORK: Condvar = Condvar::new();

/// Something has happened that a blocking call may be waiting for.
static CHANGED: Condvar = Condvar::new();

pub type Entered = MutexGuard<'static, Kernel>;

/// A system call begins.
pub fn enter() -> Entered {
    CLIENT.with(|_| ());
    lock()
}

/// The kernel's own thread goes on.
pub fn lock() -> Entered {
    KERNEL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same for who may be inside already, if nobody is.
#[cfg(not(miri))]
pub fn enter_if_idle() -> Option<Entered> {
    KERNEL.try_lock().ok()
}

/// A thread that makes system calls. When the last one ends, so does the
/// kernel's thread, because Miri wants none to be left at the end of the program.
pub struct Client {
    /// The port that has released it last.
    port: Cell<Option<Id>>,
    /// What handles of it stand for, if somebody has opened one.
    thread: Cell<Option<Id>>,
}

thread_local! {
    static CLIENT: Client = Client::new();
}

impl Client {
    fn new() -> Self {
        lock().clients += 1;
        Self { port: Cell::new(None), thread: Cell::new(None) }
    }

    /// The calling thread is one of those that run on a port.
    pub fn run_on(kernel: &mut Kernel, port: Id) {
        CLIENT.with(|client| client.port.set(Some(port)));
        kernel.start_running(port);
    }

    /// It is no more.
    pub fn leave_port(kernel: &mut Kernel) -> Option<Id> {
        let port = CLIENT.with(|client| client.port.take())?;
        kernel.stop_running(port);
        Some(port)
    }

    /// The calling thread's object, if it has one.
    pub fn thread() -> Option<Id> {
        CLIENT.with(|client| client.thread.get())
    }

    pub fn set_thread(id: Id) {
        CLIENT.with(|client| client.thread.set(Some(id)));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut kernel = lock();
        if let Some(port) = self.port.take() {
            kernel.stop_running(port);
        }
        if let Some(thread) = self.thread.take() {
            kernel.end_thread(thread);
        }
        kernel.clients -= 1;
        WORK.notify_one();
    }
}

/// Blocks until something has happened, or a little while.
pub fn wait(mut kernel: Entered) -> Entered {
    let port = Client::leave_port(&mut kernel);
    let (mut kernel, _) = wait_on(&CHANGED, kernel, None);
    if let Some(port) = port {
        Client::run_on(&mut kernel, port);
    }
    kernel
}

/// The same for what only one thread is told of, until it is too late; whether
/// it has been.
///
/// Nobody tells the kernel when a handle is closed, so nobody waits long
/// without looking.
pub fn wait_on(condition: &Condvar, kernel: Entered, deadline: Option<Instant>) -> (Entered, bool) {
    const GLANCE: Duration = Duration::from_millis(50);
    // Who is late, but may not say so yet, lets others do something.
    const LATE: Duration = Duration::from_millis(1);
    let left = deadline.map_or(GLANCE, |deadline| {
        deadline.saturating_duration_since(Instant::now()).clamp(LATE, GLANCE)
    });
    let (kernel, result) =
        condition.wait_timeout(kernel, left).unwrap_or_else(PoisonError::into_inner);
    (kernel, !result.timed_out())
}

impl Kernel {
    pub fn add(&mut self, object: Object) -> Id {
        self.objects.add(object)
    }

    /// Something has happened to the object: which of its operations are over is
    /// decided now.
    pub fn look(&mut self, id: Id) {
        CHANGED.notify_all();
        self.to_look.push_back(id);
        // What comes of it may be something for other objects, and for this.
        if !self.is_looking {
            self.is_looking = true;
            while let Some(id) = self.to_look.pop_front() {
                if let Some(listener) = self.socket(id).and_then(|socket| socket.accepted_at) {
                    self.to_look.push_back(listener);
                }
                for direction in [Direction::In, Direction::Out, Direction::Neither] {
                    while let Some(finished) = self.progress(id, direction) {
                        self.finish(finished);
                    }
                }
            }
            self.is_looking = false;
        }
    }

    /// The same, but at a time of the kernel's choice.
    pub fn look_later(&mut self, id: Id) {
        self.work.push_back(Work::Look(id));
        self.go_to_work();
    }

    /// Ends the operations that are to be cancelled, at a time of the kernel's
    /// choice.
    pub fn cancel_later(&mut self, id: Id) {
        self.work.push_back(Work::Cancel(id));
        self.go_to_work();
    }

    /// The operation is over; its memory is written later.
    pub fn finish(&mut self, finished: Finished) {
        self.work.push_back(Work::Finish(Box::new(finished)));
        self.go_to_work();
    }

    /// There is nothing that the kernel's thread has still to do.
    pub fn is_idle(&self) -> bool {
        self.work.is_empty() && !self.is_settling
    }

    fn next_work(&mut self) -> Option<Work> {
        if self.behaviour.any_order {
            let any = self.random.below(self.work.len() as u32);
            return self.work.swap_remove_front(any as usize);
        }
        self.work.pop_front()
    }

    /// Has the kernel's thread look what there is to do, and when the next timer is due.
    pub fn go_to_work(&mut self) {
        WORK.notify_one();
        if !self.is_working {
            self.is_working = true;
            thread::Builder::new().name("kernel".into()).spawn(work).expect("the kernel's thread");
        }
    }
}

/// The kernel's thread.
fn work() {
    let mut kernel = lock();
    loop {
        kernel.ring();
        while kernel.work.is_empty() {
            if kernel.clients == 0 {
                kernel.is_working = false;
                return;
            }
            kernel = match kernel.next_timer() {
                None => WORK.wait(kernel).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    WORK.wait_timeout(kernel, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            kernel.ring();
        }
        let delay = kernel.behaviour.delay;
        let delay = kernel.random.below(delay + 1);
        drop(kernel);
        for _ in 0..delay {
            thread::yield_now();
        }
        kernel = lock();
        match kernel.next_work() {
            Some(Work::Look(id)) => kernel.look(id),
            Some(Work::Cancel(id)) => kernel.end_cancelled(id),
            Some(Work::Finish(finished)) => {
                kernel.is_settling = true;
                // What follows is not in order with other threads' calls.
                drop(kernel);
                settle(*finished);
                kernel = lock();
                kernel.is_settling = false;
            }
            None => {}
        }
    }
}

/// Tells blocking calls that something has happened.
pub fn announce() {
    CHANGED.notify_all();
}
