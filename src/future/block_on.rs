//! Running a future on a thread that dequeues while it waits.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::run::GLANCE;
use crate::error::Result;
use crate::operation::CompletionStatus;
use crate::port::{Batch, Iocp};

/// How many completions are dequeued between two polls.
const BATCH: usize = 64;

/// A context that says nothing, so that no completion is missed: `()`.
#[diagnostic::on_unimplemented(
    message = "`block_on` would drop completions with contexts of type `{Self}`",
    note = "use `block_on_with`, which passes them on, or a port without contexts, made by \
            `Iocp::<()>::typed()`"
)]
pub trait NoContext: sealed::NoContext {}

impl NoContext for () {}

mod sealed {
    pub trait NoContext: Send + 'static {}

    impl NoContext for () {}
}

impl<C: Send + 'static> Iocp<C> {
    /// Runs a future to completion on this thread, which dequeues while it waits. No other
    /// thread is needed, and none is woken.
    ///
    /// Completions are dropped, because whoever awaits their operations gets the buffers.
    /// Where contexts have a type, use [`block_on_with`](Iocp::block_on_with), which passes
    /// them on.
    ///
    /// The future may wait for anything else, too: its waker unparks this thread, like a
    /// [`Parker`](crate::Parker)'s.
    ///
    /// When the port is closed, what is in flight is cancelled, and the future goes on.
    ///
    /// # Errors
    ///
    /// If the system cannot dequeue, or has no handle for a [parker](Self::parker).
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let (server, _) = listener.accept()?;
    /// let port = Iocp::<()>::typed()?;
    /// let client = port.add_handle(client, 1)?;
    /// let server = port.add_handle(server, 2)?;
    /// port.block_on(async {
    ///     let read = port.initiate_read(&server, (), Vec::with_capacity(1024))?;
    ///     port.initiate_write(&client, (), "hello")?.await?;
    ///     let (bytes, buffer) = read.await?;
    ///     assert_eq!((bytes, &buffer[..]), (5, &b"hello"[..]));
    ///     Ok::<(), completion_port::Error>(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// On a port that has contexts it does not compile:
    ///
    /// ```compile_fail,E0277
    /// let port = completion_port::Iocp::new().unwrap(); // contexts are `usize`
    /// port.block_on(async {});
    /// ```
    pub fn block_on<F: IntoFuture>(&self, future: F) -> Result<F::Output>
    where
        C: NoContext,
    {
        self.block_on_with(future, drop)
    }

    /// Runs a future to completion, like [`block_on`](Iocp::block_on), and passes each
    /// completion to `each`.
    ///
    /// # Errors
    ///
    /// If the system cannot dequeue, or has no handle for a [parker](Self::parker).
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let port = Iocp::<&str>::typed()?;
    /// let client = port.add_handle(client, 1)?;
    /// port.post("posted", 0, 0).unwrap();
    /// let mut contexts = Vec::new();
    /// let write = port.initiate_write(&client, "written", "hello").unwrap();
    /// let written = port.block_on_with(write, |completion| contexts.push(completion.context))?;
    /// assert_eq!(written, Ok((5, "hello")));
    /// assert_eq!(contexts, ["posted", "written"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn block_on_with<F: IntoFuture>(
        &self,
        future: F,
        mut each: impl FnMut(CompletionStatus<C>),
    ) -> Result<F::Output> {
        let mut parker = self.parker()?;
        let waker = Waker::from(parker.unparker());
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future.into_future());
        let mut batch = Batch::with_capacity(BATCH);
        let mut is_open = true;
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            if is_open {
                match parker.park(&mut batch, None) {
                    Ok(_) => batch.by_ref().flatten().for_each(&mut each),
                    Err(error) if error.is_closed() => is_open = false,
                    Err(error) => return Err(error),
                }
            } else {
                let cancels = !self.shared().is_shutting_down();
                let (_, left) = self.shared().sweep(cancels, &mut each);
                parker.park_outside((left > 0).then_some(GLANCE));
            }
        }
    }
}
