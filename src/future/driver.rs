//! A thread that dequeues for those who await.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::parker::Unparker;
use crate::operation::CompletionStatus;
use crate::port::{Batch, Iocp};

/// How many completions are dequeued at a time.
const BATCH: usize = 64;

/// A thread that dequeues, so that whatever runtime the program uses can await the
/// operations of a port. This crate starts no other threads.
///
/// Dropping it stops and joins the thread; the port goes on. As long as it runs, it keeps
/// the port: what is awaited goes on. When the port is closed, the thread cancels what is
/// in flight, dequeues that, and ends, as [`Iocp::run`](crate::Iocp::run) does.
///
/// If a waker or the completion's handler panics, the thread goes on, and
/// [`stop`](Self::stop) returns the first of these panics.
///
/// ```
/// use completion_port::{Driver, Iocp};
///
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let port: Iocp<()> = Iocp::builder().build()?;
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
#[must_use = "dropping it stops its thread"]
pub struct Driver {
    stops: Arc<AtomicBool>,
    unparker: Unparker,
    /// `None` once it was joined.
    thread: Option<JoinHandle<Option<Panic>>>,
}

type Panic = Box<dyn Any + Send>;

impl Driver {
    /// Starts a thread that dequeues and drops the completions, of which those who await
    /// their operations have the buffers. What else they have is lost: see
    /// [`spawn_with`](Self::spawn_with).
    ///
    /// # Errors
    ///
    /// If the system has no more threads.
    pub fn spawn<C: Send + 'static>(port: &Iocp<C>) -> io::Result<Self> {
        Self::spawn_with(port, drop)
    }

    /// Starts a thread that hands the completions to `each`.
    ///
    /// # Errors
    ///
    /// If the system has no more threads.
    ///
    /// ```
    /// use completion_port::{Driver, Iocp};
    ///
    /// let port: Iocp<u32> = Iocp::builder().build()?;
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
        let stops = Arc::new(AtomicBool::new(false));
        let (sender, unparker) = mpsc::channel();
        let thread = thread::Builder::new().name("completion port".into()).spawn({
            let (port, stops) = (port.clone(), Arc::clone(&stops));
            move || drive(&port, &stops, &sender, each)
        })?;
        let unparker = unparker.recv().map_err(io::Error::other)?;
        Ok(Self { stops, unparker, thread: Some(thread) })
    }

    /// Stops the thread, and waits for it. Dropping the driver does so, too.
    ///
    /// From the thread itself, that is from a waker or the completion's handler, it does
    /// not wait.
    ///
    /// # Errors
    ///
    /// The first panic of a waker or the completion's handler.
    pub fn stop(mut self) -> thread::Result<()> {
        self.end().map_or(Ok(()), Err)
    }

    fn end(&mut self) -> Option<Panic> {
        let thread = self.thread.take()?;
        self.stops.store(true, Ordering::Release);
        self.unparker.unpark();
        if thread.thread().id() == thread::current().id() {
            return None;
        }
        thread.join().unwrap_or_else(Some)
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
        f.debug_struct("Driver").field("thread", &self.thread).finish_non_exhaustive()
    }
}

fn drive<C: Send + 'static>(
    port: &Iocp<C>,
    stops: &AtomicBool,
    sender: &mpsc::Sender<Unparker>,
    mut each: impl FnMut(CompletionStatus<C>),
) -> Option<Panic> {
    let mut parker = port.parker();
    let mut batch = Batch::with_capacity(BATCH);
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
    // Who started this thread waits for it.
    let _ = sender.send(parker.unparker());
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
                port.collect_rest(&mut each);
                is_over = true;
            });
        }
    }
    first
}
