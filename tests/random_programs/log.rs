//! What all threads of a program write down.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::kernel::Kernel;
use crate::operation::Operation;
use crate::program::{Link, Object, Program};
use crate::strangers::Strangers;

/// Counts the moments of a program.
pub type Time = u64;

pub struct Log {
    /// How the kernel was told to behave.
    pub kernel: Kernel,
    clock: AtomicU64,
    operations: Mutex<Vec<Arc<Operation>>>,
    wrong: Mutex<Vec<String>>,
    /// How often a cancel has failed for want of resources.
    pub shortages: AtomicUsize,
    pub ends: Vec<End>,
    pub strangers: Strangers,
    /// When the call of `close` began, and when it was over.
    pub closing: OnceLock<Time>,
    pub closed: OnceLock<Time>,
    /// When the port began to be dropped.
    pub dropping: OnceLock<Time>,
}

/// One end of a link.
pub struct End {
    pub object: Object,
    /// Where it listens.
    pub address: OnceLock<SocketAddr>,
    /// How many reads were started on it, or accepts.
    pub reads: AtomicUsize,
    /// How many writes, or connects to it.
    pub writes: AtomicUsize,
    /// When sockets that were to connect to it began to be closed.
    pub partings: Mutex<Vec<Time>>,
    /// When everything on it was cancelled.
    pub cancels: Mutex<Vec<Time>>,
    /// When it began to be closed.
    pub closing: OnceLock<Time>,
    pub is_reset: OnceLock<()>,
}

impl Log {
    pub fn new(program: &Program) -> Self {
        let end = |link: &Link| End {
            object: link.object,
            address: OnceLock::new(),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            partings: Mutex::default(),
            cancels: Mutex::default(),
            closing: OnceLock::new(),
            is_reset: OnceLock::new(),
        };
        Self {
            kernel: program.kernel.clone(),
            clock: AtomicU64::new(1),
            operations: Mutex::default(),
            wrong: Mutex::default(),
            shortages: AtomicUsize::new(0),
            ends: program.links.iter().flat_map(|link| [end(link), end(link)]).collect(),
            strangers: Strangers::default(),
            closing: OnceLock::new(),
            closed: OnceLock::new(),
            dropping: OnceLock::new(),
        }
    }

    /// A moment, later than all before.
    pub fn now(&self) -> Time {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub fn wrong(&self, complaint: String) {
        self.wrong.lock().expect("nobody panics with it").push(complaint);
    }

    pub fn complaints(&self) -> Vec<String> {
        self.wrong.lock().expect("nobody panics with it").clone()
    }

    pub fn add(&self, operation: Operation) -> Arc<Operation> {
        let operation = Arc::new(operation);
        self.operations.lock().expect("nobody panics with it").push(Arc::clone(&operation));
        operation
    }

    /// All operations, in the order of their starts on each end.
    pub fn operations(&self) -> Vec<Arc<Operation>> {
        self.operations.lock().expect("nobody panics with it").clone()
    }

    /// One of the listeners that are still open.
    pub fn listener(&self, which: usize) -> Option<usize> {
        let is_open = |end: &&End| end.address.get().is_some() && end.closing.get().is_none();
        let numbered = self.ends.iter().enumerate();
        let open: Vec<usize> =
            numbered.filter(|(_, end)| is_open(end)).map(|(number, _)| number).collect();
        Some(open[which.checked_rem(open.len())?])
    }

    /// Whether the port was being closed before this moment.
    pub fn is_closing(&self, before: Time) -> bool {
        self.closing.get().is_some_and(|closing| *closing < before)
    }
}

impl End {
    /// Whether it was being closed before this moment.
    pub fn is_closing(&self, before: Time) -> bool {
        self.closing.get().is_some_and(|closing| *closing < before)
    }

    /// Whether it, or one who was to connect to it, was being closed before this
    /// moment.
    pub fn may_be_lost(&self, before: Time) -> bool {
        self.is_closing(before) || self.has_lost_one(before)
    }

    /// Whether one who was to connect to it was being closed before this moment.
    fn has_lost_one(&self, before: Time) -> bool {
        let partings = self.partings.lock().expect("nobody panics with it");
        partings.iter().any(|parting| *parting < before)
    }
}

/// The other end of an end's link.
pub const fn peer(end: usize) -> usize {
    end ^ 1
}
