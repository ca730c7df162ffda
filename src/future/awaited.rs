//! The end of an operation, as a future.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::{Failed, Result, ended};
use crate::operation::{CompletionStatus, Finished, Pending, Started};

/// A future that waits for an operation and owns its [`Pending`].
///
/// Dropping it before the operation is over requests a cancel. The completion still arrives,
/// with the buffer, and with the data if the operation was faster than the cancel; they are
/// dropped unless whoever dequeues it takes them. So **await by reference what races with
/// anything else**: see [`AwaitedMut`].
///
/// Somebody has to dequeue from the port meanwhile. That thread calls the waker, which must
/// not wait for this port itself.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Awaited<B, S = ()> {
    /// `None` after the end.
    pending: Option<Pending<B, S>>,
}

/// A future that waits for an operation and borrows its [`Pending`].
///
/// Dropping it changes nothing: the operation goes on, and can be awaited again. So
/// what races with something else loses no data:
///
/// ```no_run
/// # use completion_port::{Associated, Iocp};
/// # use std::time::Duration;
/// # async fn timeout<F: std::future::IntoFuture>(_: Duration, f: F) -> Result<F::Output, ()> { Ok(f.await) }
/// # async fn read(port: Iocp<()>, stream: Associated<std::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut read = port.initiate_read(&stream, (), Vec::with_capacity(1024))?;
/// let ended = match timeout(Duration::from_secs(1), &mut read).await {
///     Ok(ended) => ended,
///     Err(_) => {
///         read.cancel()?;
///         read.await // cancelled, or it was faster, and here is the data
///     }
/// };
/// # Ok(())
/// # }
/// ```
///
/// If the future is forgotten, its waker is called in vain.
#[must_use = "futures do nothing unless they are awaited"]
pub struct AwaitedMut<'a, B, S = ()> {
    pending: &'a mut Pending<B, S>,
}

/// A future that waits for an operation and owns its [`Started`], which may have completed at
/// once. It is like [`Awaited`] otherwise.
///
/// If the operation completed at once, its context is dropped, because no completion comes.
#[must_use = "futures do nothing unless they are awaited"]
pub struct AwaitedStarted<B>(Start<B>);

enum Start<B> {
    Completed { result: Result<()>, bytes: u32, operation: Finished },
    Pending(Awaited<B>),
    Ended,
}

const ENDED: &str = "the future was polled after its end";

/// Waits for the operation to complete. Dropping the future requests a cancel; see
/// [`Awaited`].
///
/// ```
/// # use completion_port::Iocp;
/// # fn main() -> std::io::Result<()> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// # let (server, _) = listener.accept()?;
/// let port = Iocp::<()>::typed()?;
/// # let client = port.add_handle(client, 1)?;
/// # let server = port.add_handle(server, 2)?;
/// # let read = async {
/// let (_, hello) = port.initiate_write(&client, (), "hello")?.await?;
/// let (bytes, buffer) = port.initiate_read(&server, (), Vec::with_capacity(1024))?.await?;
/// assert_eq!((bytes, &buffer[..]), (5, hello.as_bytes()));
/// # Ok::<(), std::io::Error>(())
/// # };
/// # port.block_on(read)?
/// # }
/// ```
impl<B, S> IntoFuture for Pending<B, S> {
    type Output = Result<(u32, B), Failed<B>>;
    type IntoFuture = Awaited<B, S>;

    fn into_future(self) -> Awaited<B, S> {
        Awaited { pending: Some(self) }
    }
}

/// Waits for the operation to complete. Dropping the future changes nothing; see
/// [`AwaitedMut`].
impl<'a, B, S> IntoFuture for &'a mut Pending<B, S> {
    type Output = Result<(u32, B), Failed<B>>;
    type IntoFuture = AwaitedMut<'a, B, S>;

    fn into_future(self) -> AwaitedMut<'a, B, S> {
        AwaitedMut { pending: self }
    }
}

/// Waits for the operation to complete, which it may have already. Dropping the future
/// requests a cancel; see [`Awaited`].
impl<B: 'static, C> IntoFuture for Started<B, C> {
    type Output = Result<(u32, B), Failed<B>>;
    type IntoFuture = AwaitedStarted<B>;

    fn into_future(self) -> AwaitedStarted<B> {
        AwaitedStarted(match self {
            Self::Completed(completion) => {
                let CompletionStatus { error_status, bytes_transferred, operation, .. } =
                    completion;
                Start::Completed { result: error_status, bytes: bytes_transferred, operation }
            }
            Self::Pending(pending) => Start::Pending(pending.into_future()),
        })
    }
}

impl<B, S> Pending<B, S> {
    /// Waits for the end of the operation, for so long: then it is cancelled, and what the
    /// system says of it is waited for. So no data is lost: what was faster than the cancel
    /// is a success, and otherwise the error is [`TimedOut`](crate::ErrorKind::TimedOut),
    /// and has the buffer.
    ///
    /// This is a [deadline](Self::set_deadline). If none can be set, for want of memory,
    /// the operation is cancelled at once.
    ///
    /// ```
    /// # use completion_port::{ErrorKind, Iocp};
    /// # use std::time::Duration;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let port: Iocp<()> = Iocp::builder().build()?;
    /// # let client = port.add_handle(client, 1)?;
    /// # port.block_on(async {
    /// let read = port.initiate_read(&client, (), Vec::with_capacity(1024))?;
    /// let failed = read.timeout(Duration::from_millis(10)).await.unwrap_err();
    /// assert_eq!(failed.error.kind(), ErrorKind::TimedOut);
    /// let buffer = failed.returned.unwrap();
    /// # assert!(buffer.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// # })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timeout(self, duration: Duration) -> Awaited<B, S> {
        let deadline = Instant::now().checked_add(duration);
        if self.set_deadline(deadline).is_err() {
            // If it cannot be cancelled, it goes on.
            let _ = self.cancel();
        }
        self.into_future()
    }
}

impl<B: 'static, C> Started<B, C> {
    /// Waits for the end of the operation, which may be over already, for so long:
    /// otherwise as [`Pending::timeout`].
    pub fn timeout(self, duration: Duration) -> AwaitedStarted<B> {
        match self {
            Self::Pending(pending) => AwaitedStarted(Start::Pending(pending.timeout(duration))),
            completed @ Self::Completed(_) => completed.into_future(),
        }
    }
}

impl<B, S> Awaited<B, S> {
    /// Returns the [`Pending`], without cancelling the operation.
    ///
    /// # Panics
    ///
    /// If the future was polled to its end.
    #[must_use]
    pub fn into_pending(mut self) -> Pending<B, S> {
        let mut pending = self.pending.take().expect(ENDED);
        drop(pending.take_waker());
        pending
    }
}

impl<B, S> Future for Awaited<B, S> {
    type Output = Result<(u32, B), Failed<B>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(pending) = &mut self.pending else { panic!("{ENDED}") };
        if pending.poll_completed(context).is_pending() {
            return Poll::Pending;
        }
        let Some(pending) = self.pending.take() else { unreachable!() };
        pending.poll_end()
    }
}

impl<B, S> Future for AwaitedMut<'_, B, S> {
    type Output = Result<(u32, B), Failed<B>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.pending.poll_completed(context).map(|()| self.pending.end())
    }
}

impl<B: 'static> Future for AwaitedStarted<B> {
    type Output = Result<(u32, B), Failed<B>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Start::Pending(awaited) = &mut self.0 else {
            let Start::Completed { result, bytes, mut operation } =
                std::mem::replace(&mut self.0, Start::Ended)
            else {
                panic!("{ENDED}");
            };
            return Poll::Ready(ended(result, bytes, operation.take()));
        };
        Pin::new(awaited).poll(context)
    }
}

impl<B, S> Drop for Awaited<B, S> {
    #[inline]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn abandon<B, S>(mut pending: Pending<B, S>) {
            let waker = pending.take_waker();
            // If it cannot be cancelled, it goes on.
            let _ = pending.cancel();
            drop(pending);
            // Foreign code comes last: its destructor may panic.
            drop(waker);
        }
        if let Some(pending) = self.pending.take() {
            abandon(pending);
        }
    }
}

impl<B, S> Drop for AwaitedMut<'_, B, S> {
    fn drop(&mut self) {
        drop(self.pending.take_waker());
    }
}

impl<B, S> fmt::Debug for Awaited<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaited").field("pending", &self.pending).finish()
    }
}

impl<B, S> fmt::Debug for AwaitedMut<'_, B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitedMut").field("pending", &self.pending).finish()
    }
}

impl<B> fmt::Debug for AwaitedStarted<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitedStarted").finish_non_exhaustive()
    }
}
