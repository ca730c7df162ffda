//! The port: create, associate, post, dequeue, close.

mod batch;
mod create;
mod dequeue;
mod scopes;
mod state;
mod sweep;
mod time;

use std::fmt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

pub use batch::Batch;
pub(crate) use dequeue::milliseconds;
pub(crate) use state::{Identity, PortState};

use crate::error::{Error, Rejected, Result, refusal};
use crate::operation::{Cells, IdleGuards, MAX_OPERATIONS, Taken};
use crate::panics::FirstPanic;
use crate::sys::{self, Packet};

/// An I/O completion port, and the operations in flight on it.
///
/// Cloning is cheap, and every clone is the same port: give one to each thread that starts
/// operations or dequeues completions. Dropping the last clone cancels what is in flight,
/// collects the completions, and closes the port. If destructors of contexts or buffers panic
/// meanwhile, all are dropped first, and then the first panic is resumed. A [`Batch`] does so,
/// too.
///
/// What is in a port keeps it open if it owns a clone of it: let contexts have a [`WeakIocp`].
/// A task that awaits is in the port, too, by its waker: if it owns a clone, neither is freed
/// until the operation is over or the executor drops the task.
///
/// `C` is the type of the operations' contexts: `usize`, or any `Send` type that the port
/// is [made for](Iocp::typed), which moves in with an operation and back out with its
/// completion.
///
/// ```
/// use std::io::Write;
/// use std::net::{TcpListener, TcpStream};
///
/// use completion_port::Iocp;
///
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 123)?;
/// port.initiate_read(&stream, 456, Vec::with_capacity(1024))?;
/// # client.write_all(b"hello")?;
///
/// let mut completion = port.get_completion()?;
/// assert_eq!(completion.context, 456);
/// assert_eq!(completion.handle_context, 123);
/// completion.error_status?;
/// let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
/// assert_eq!(buffer.len(), completion.bytes_transferred as usize);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Contexts cross threads with their completions, so they must be [`Send`]:
///
/// ```compile_fail,E0277
/// let port = completion_port::Iocp::<std::rc::Rc<str>>::typed().unwrap();
/// std::thread::spawn(move || port.get_completion());
/// ```
pub struct Iocp<C: Send + 'static = usize> {
    shared: Arc<Shared<C>>,
}

/// A reference to an [`Iocp`] that does not keep it open; see [`Iocp::downgrade`].
pub struct WeakIocp<C: Send + 'static = usize> {
    shared: Weak<Shared<C>>,
}

/// The settings of a new port; see [`Iocp::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    concurrency: Option<u32>,
    max_operations: u32,
}

/// What all clones of a port share.
///
/// The fields are dropped in this order: the handle is closed before the cells
/// are let go.
pub(crate) struct Shared<C: Send + 'static> {
    pub port: sys::Port,
    pub cells: Cells<C>,
    pub state: PortState,
    /// Read while a scope may have packets of others in hand, which it puts back;
    /// written while somebody has to find all that is queued.
    in_hand: RwLock<()>,
    pub polls: PollEpoch,
    pub guards: Arc<IdleGuards>,
    /// How many threads wait in [`Iocp::shut_down`].
    pub shutting_down: AtomicUsize,
}

/// How often somebody has looked at the port who does not just wait for the
/// next completion: batches and dequeues with a time-out. Inline completions
/// are counted from look to look. Not exact between threads.
///
/// In a cache line of its own, because the rest of `Shared` is only read.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct PollEpoch(AtomicU32);

impl PollEpoch {
    #[inline]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn add(&self) {
        self.0.store(self.count().wrapping_add(1), Ordering::Relaxed);
    }
}

impl Builder {
    /// Sets how many threads the port lets run at a time, instead of one for each processor.
    /// Not 0.
    pub fn concurrency(mut self, threads: u32) -> Self {
        self.concurrency = Some(threads);
        self
    }

    /// Sets how many operations can be in flight (or completed, and not dropped) at a time.
    /// The default is 1,048,575, or 65,535 where pointers have 32 bits; the most is
    /// 16,777,214. Each takes 128 bytes of address space from the start, and of memory once
    /// it is first used.
    pub fn max_operations(mut self, operations: u32) -> Self {
        self.max_operations = operations;
        self
    }

    /// Creates the port.
    ///
    /// # Errors
    ///
    /// If a setting is out of range, or the system has no memory or address
    /// space for another port.
    pub fn build<C: Send + 'static>(self) -> Result<Iocp<C>> {
        if self.concurrency == Some(0) {
            return Err(Error::usage(&refusal::NO_THREADS));
        }
        if !(1..=MAX_OPERATIONS).contains(&self.max_operations) {
            return Err(Error::usage(&refusal::NO_OPERATIONS));
        }
        let port = sys::Port::create(self.concurrency.unwrap_or(0))?;
        let cells = Cells::reserve(self.max_operations)?;
        cells.open_timers(&port);
        Ok(Iocp {
            shared: Arc::new(Shared {
                port,
                cells,
                state: PortState::new(),
                in_hand: RwLock::new(()),
                polls: PollEpoch::default(),
                guards: Arc::default(),
                shutting_down: AtomicUsize::new(0),
            }),
        })
    }
}

impl<C: Send + 'static> Iocp<C> {
    /// Posts a packet. It is dequeued like a completion whose
    /// [`context`](crate::CompletionStatus::context),
    /// [`handle_context`](crate::CompletionStatus::handle_context) and
    /// [`bytes_transferred`](crate::CompletionStatus::bytes_transferred) are the given values.
    ///
    /// # Errors
    ///
    /// If the port is closed, [too many operations](Builder::max_operations)
    /// are in flight, or the system has no memory for another packet. The
    /// context comes back.
    ///
    /// ```
    /// # let port = completion_port::Iocp::new()?;
    /// const STOP: usize = usize::MAX;
    /// port.post(STOP, 0, 0)?;
    /// assert_eq!(port.get_completion()?.context, STOP);
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    #[inline(always)]
    pub fn post(
        &self,
        context: C,
        handle_context: usize,
        bytes_transferred: u32,
    ) -> Result<(), Rejected<C>> {
        let shared = self.shared();
        if shared.state.is_closed() {
            return Err(Rejected { error: Error::usage(&refusal::CLOSED), returned: context });
        }
        shared.cells.post(&shared.port, handle_context, bytes_transferred, context)
    }

    /// Closes the port: nothing more can be started or posted, and every thread that waits in
    /// it wakes. What is queued already is handed out before
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// Operations that are in flight go on. Their completions can still be dequeued, but no
    /// longer waited for. A future that awaits one may wait for ever, unless a thread is in
    /// [`run`](Self::run) or [`block_on`](Iocp::block_on), or a [`Driver`](crate::Driver)
    /// runs: these cancel and dequeue what is in flight. To let operations complete first,
    /// [shut down](Self::shut_down). If another thread is doing that, it goes on, but those
    /// that wait are told at once.
    ///
    /// ```
    /// # let port = completion_port::Iocp::new()?;
    /// port.post(1, 0, 0)?;
    /// port.close();
    /// assert_eq!(port.get_completion()?.context, 1);
    /// assert!(port.get_completion().unwrap_err().is_closed());
    /// assert!(port.post(2, 0, 0).unwrap_err().error.is_closed());
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn close(&self) {
        let shared = self.shared();
        shared.state.close();
        shared.tell_of_close();
    }

    /// Returns `true` if [`close`](Self::close) has been called, on any clone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared().state.is_closed()
    }

    /// Returns a reference that does not keep the port open. Use it in contexts and wakers,
    /// which are in the port themselves: a clone there would keep the port open for ever.
    ///
    /// ```
    /// # use completion_port::{Iocp, WeakIocp};
    /// struct Event { port: WeakIocp<Event> }
    ///
    /// let port = Iocp::<Event>::typed()?;
    /// port.post(Event { port: port.downgrade() }, 0, 0)?;
    /// let event = port.get_completion()?.context;
    /// assert!(event.port.upgrade().is_some());
    /// drop(port);
    /// assert!(event.port.upgrade().is_none());
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakIocp<C> {
        WeakIocp { shared: Arc::downgrade(&self.shared) }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared<C> {
        &self.shared
    }
}

impl<C: Send + 'static> Shared<C> {
    /// Tells the threads that wait that the port is closed, unless they have been told.
    fn tell_of_close(&self) {
        if self.state.tells() {
            self.post_close_marker();
        }
    }

    /// Queues the packet that wakes a thread to tell it that the port is
    /// closed. Each thread that takes it queues it again for the next.
    fn post_close_marker(&self) {
        self.requeue(Packet::posted(self.cells.close_marker()));
    }

    /// Queues a packet that others are to dequeue.
    fn requeue(&self, packet: Packet) {
        // Every packet takes a little of the non-paged pool. Where there is
        // none left, others give some back sooner or later.
        while self.port.post(packet.key, packet.bytes, packet.overlapped).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Dequeues and drops what is still in flight, until nothing comes any
    /// more. What then remains stays the kernel's: its cells are never freed.
    fn drain(&self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        let mut in_flight = self.cells.cancel_all();
        let mut progress = Instant::now();
        let mut panic = FirstPanic::none();
        while in_flight > 0 && progress.elapsed() < PATIENCE {
            match self.port.dequeue(50) {
                Ok(packet) => {
                    let completed = self.cells.try_complete(packet, Taken::NONE);
                    if let Some((operation, waker)) = completed {
                        panic.catch(|| waker.map_or((), Waker::wake));
                        panic.catch(|| drop(operation));
                        in_flight -= 1;
                        progress = Instant::now();
                    }
                }
                // What could not be told that it is cancelled is told again.
                Err(error) if error.is_dequeue_timeout() => in_flight = self.cells.cancel_all(),
                Err(_) => break,
            }
        }
        self.cells.close_timers();
        panic.resume();
    }
}

impl<C: Send + 'static> Drop for Shared<C> {
    fn drop(&mut self) {
        self.drain();
    }
}

impl<C: Send + 'static> Clone for Iocp<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Send + 'static> fmt::Debug for Iocp<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iocp")
            .field("handle", &self.as_raw_handle())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<C: Send + 'static> WeakIocp<C> {
    /// Returns the port, unless its last clone has been dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Iocp<C>> {
        self.shared.upgrade().map(|shared| Iocp { shared })
    }
}

impl<C: Send + 'static> Clone for WeakIocp<C> {
    fn clone(&self) -> Self {
        Self { shared: Weak::clone(&self.shared) }
    }
}

impl<C: Send + 'static> fmt::Debug for WeakIocp<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakIocp").finish_non_exhaustive()
    }
}

/// Borrows the port's handle for calls that this crate does not make. Packets that
/// others post to it arrive as [foreign](crate::Error::foreign_packet) ones;
/// packets that others dequeue from it are lost to this port, and the memory
/// of their operations with them.
impl<C: Send + 'static> AsHandle for Iocp<C> {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.shared().port.as_handle()
    }
}

/// The value of the port's handle; see [`as_handle`](AsHandle::as_handle).
impl<C: Send + 'static> AsRawHandle for Iocp<C> {
    fn as_raw_handle(&self) -> RawHandle {
        self.shared().port.handle().raw()
    }
}
