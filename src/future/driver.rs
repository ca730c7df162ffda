//! Threads that dequeue for those who await, or for a handler.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::parker::Unparker;
use crate::error::Result;
use crate::operation::CompletionStatus;
use crate::port::{Batch, Iocp};

/// How many completions a thread dequeues at a time, if it is the only one. Of several,
/// each dequeues one, so that none has nothing to do while another has a batch.
const BATCH: usize = 64;

/// A thread that dequeues, so that operations can be awaited on any runtime, or a
/// [pool](Self::spawn_pool) of such threads. This crate starts no others.
///
/// Dropping it stops and joins its threads; the port stays open. While they run, they keep
/// the port open, so what is awaited goes on. When the port is closed, they cancel what is
/// in flight, dequeue that, and end, like [`Iocp::run`](crate::Iocp::run).
///
/// If a waker or the completion's handler panics, its thread goes on, and
/// [`stop`](Self::stop) returns the first of these panics.
///
/// ```
/// use completion_port::{Driver, Iocp};
///
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let port = Iocp::<()>::typed()?;
/// let driver = Driver::spawn(&port)?;
/// let client = port.add_handle(client, 1)?;
/// let mut write = port.initiate_write(&client, (), "hello")?;
/// # while !write.is_completed() { std::thread::yield_now(); }
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// // On any runtime: write.await
/// # let future = std::pin::pin!(std::future::IntoFuture::into_future(write));
/// # assert!(std::future::Future::poll(future, &mut context).is_ready());
/// driver.stop().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping it stops its threads"]
pub struct Driver {
    stops: Arc<AtomicBool>,
    threads: Vec<(Unparker, JoinHandle<Option<Panic>>)>,
}

type Panic = Box<dyn Any + Send>;

impl Driver {
    /// Starts a thread that dequeues and drops the completions. Those who await get their
    /// buffers; contexts, and buffers that nobody awaits, are dropped. To keep them, see
    /// [`spawn_with`](Self::spawn_with).
    ///
    /// # Errors
    ///
    /// If the system has no more threads, or no handle for a [parker](crate::Iocp::parker).
    pub fn spawn<C: Send + 'static>(port: &Iocp<C>) -> io::Result<Self> {
        Self::spawn_with(port, drop)
    }

    /// Starts a thread that dequeues completions and passes them to `each`.
    ///
    /// `each` also gets those that are awaited.
    /// [`is_tracked`](crate::Finished::is_tracked) tells them from those whose buffer nobody
    /// else will take.
    ///
    /// # Errors
    ///
    /// If the system has no more threads, or no handle for a [parker](crate::Iocp::parker).
    ///
    /// ```
    /// use completion_port::{Driver, Iocp};
    ///
    /// let port = Iocp::<u32>::typed()?;
    /// let (contexts, received) = std::sync::mpsc::channel();
    /// let driver = Driver::spawn_with(&port, move |completion| {
    ///     contexts.send(completion.context).unwrap();
    /// })?;
    /// port.post(7, 0, 0)?;
    /// assert_eq!(received.recv(), Ok(7));
    /// # drop(driver);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn_with<C: Send + 'static>(
        port: &Iocp<C>,
        each: impl FnMut(CompletionStatus<C>) + Send + 'static,
    ) -> io::Result<Self> {
        let mut driver = Self::without_threads();
        driver.start(port, BATCH, each)?;
        Ok(driver)
    }

    /// Starts threads that dequeue completions and pass them to `each`, which several of
    /// them may call at a time.
    ///
    /// To end such a pool in order, [shut down](Iocp::shut_down_with) the port, with the same
    /// function for what that dequeues, and [`stop`](Self::stop) the threads.
    ///
    /// # Errors
    ///
    /// If the system has no more threads, or no handle for a [parker](crate::Iocp::parker); or
    /// `threads` is 0.
    ///
    /// ```
    /// use completion_port::{CompletionStatus, Driver, Iocp};
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use std::time::Duration;
    ///
    /// static SUM: AtomicU32 = AtomicU32::new(0);
    ///
    /// fn add(completion: CompletionStatus<u32>) {
    ///     SUM.fetch_add(completion.context, Ordering::Relaxed);
    /// }
    ///
    /// let port = Iocp::<u32>::typed()?;
    /// let workers = Driver::spawn_pool(&port, 4, add)?;
    /// for number in 1..=100 {
    ///     port.post(number, 0, 0)?;
    /// }
    /// port.shut_down_with(Duration::from_secs(5), add);
    /// workers.stop().unwrap();
    /// assert_eq!(SUM.load(Ordering::Relaxed), 5050);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn_pool<C: Send + 'static>(
        port: &Iocp<C>,
        threads: usize,
        each: impl Fn(CompletionStatus<C>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        if threads == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a pool needs a thread"));
        }
        let (mut driver, each) = (Self::without_threads(), Arc::new(each));
        for _ in 0..threads {
            let each = Arc::clone(&each);
            driver.start(port, 1, move |completion| each(completion))?;
        }
        Ok(driver)
    }

    fn without_threads() -> Self {
        Self { stops: Arc::new(AtomicBool::new(false)), threads: Vec::new() }
    }

    fn start<C: Send + 'static>(
        &mut self,
        port: &Iocp<C>,
        batch: usize,
        each: impl FnMut(CompletionStatus<C>) + Send + 'static,
    ) -> io::Result<()> {
        let (sender, unparker) = mpsc::channel();
        let thread = thread::Builder::new().name("completion port".into()).spawn({
            let (port, stops) = (port.clone(), Arc::clone(&self.stops));
            move || drive(&port, &stops, &sender, Batch::with_capacity(batch), each)
        })?;
        let unparker = unparker.recv().map_err(io::Error::other)??;
        self.threads.push((unparker, thread));
        Ok(())
    }

    /// Stops the threads, and waits for them. Dropping the driver does so, too. What they
    /// have dequeued is handed out before.
    ///
    /// From one of the threads itself, that is from a waker or the completion's handler, it
    /// does not wait for that one.
    ///
    /// # Errors
    ///
    /// The first panic of a waker or the completion's handler.
    pub fn stop(mut self) -> thread::Result<()> {
        self.end().map_or(Ok(()), Err)
    }

    fn end(&mut self) -> Option<Panic> {
        self.stops.store(true, Ordering::Release);
        for (unparker, _) in &self.threads {
            unparker.unpark();
        }
        let mut first = None;
        for (_, thread) in self.threads.drain(..) {
            if thread.thread().id() == thread::current().id() {
                continue;
            }
            match thread.join().unwrap_or_else(Some) {
                Some(panic) if first.is_none() => first = Some(panic),
                // Its destructor is foreign code, too.
                other => std::mem::forget(other),
            }
        }
        first
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(panic) = self.end() {
            // Its destructor is foreign code, too.
            std::mem::forget(panic);
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

fn drive<C: Send + 'static>(
    port: &Iocp<C>,
    stops: &AtomicBool,
    sender: &mpsc::Sender<Result<Unparker>>,
    mut batch: Batch<C>,
    mut each: impl FnMut(CompletionStatus<C>),
) -> Option<Panic> {
    // Who started this thread waits for it.
    let mut parker = match port.parker() {
        Ok(parker) => parker,
        Err(error) => {
            let _ = sender.send(Err(error));
            return None;
        }
    };
    let _ = sender.send(Ok(parker.unparker()));
    let mut first = None;
    let mut catch = |foreign: &mut dyn FnMut()| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(foreign)) {
            match first {
                None => first = Some(panic),
                // Its destructor is foreign code, too.
                Some(_) => std::mem::forget(panic),
            }
        }
    };
    let mut is_open = true;
    while is_open && !stops.load(Ordering::Acquire) {
        catch(&mut || is_open = parker.park(&mut batch, None).is_ok());
        while !batch.is_empty() {
            catch(&mut || {
                if let Some(Ok(completion)) = batch.next() {
                    each(completion);
                }
            });
        }
    }
    if !is_open {
        let mut is_over = false;
        while !is_over {
            catch(&mut || {
                port.collect_rest(&mut each, || stops.load(Ordering::Acquire));
                is_over = true;
            });
        }
    }
    first
}
