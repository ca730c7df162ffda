//! What a `Pending` does for who waits for its operation.

use std::mem;
use std::task::{Context, Poll, Waker};

use super::cell::{EmptyCell, Payload};
use super::completion::result_of;
use super::layout::take_output;
use super::pending::Pending;
use super::pool::Pool;
use crate::error::{Failed, ended};
use crate::panics::{self, OnPanic};

impl<B, S> Pending<B, S> {
    /// Returns `Ready` if the operation is over, and otherwise has the task woken when it is.
    /// It is for futures that are written by hand; others await the `Pending`.
    ///
    /// The task that asked last is woken, once, by the thread that dequeues the packet,
    /// in whichever way. A waker that is left when the `Pending` is dropped is woken in
    /// vain.
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::task::{Context, Poll, Waker};
    /// # let port = Iocp::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let client = port.add_handle(client, 1)?;
    /// let mut write = port.initiate_write(&client, 2, "hello")?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert_eq!(write.poll_completed(&mut context), Poll::Pending);
    /// port.get_completion()?;
    /// assert_eq!(write.poll_completed(&mut context), Poll::Ready(()));
    /// assert_eq!(write.take_buffer(), Some("hello"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn poll_completed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((place, waker)) = self.cell().take_waker() else {
            return Poll::Ready(());
        };
        let (waker, outdated) = match waker {
            Some(waker) if waker.will_wake(context.waker()) => (waker, None),
            outdated => (context.waker().clone(), outdated),
        };
        let refused = place.put(waker);
        let polled = if refused.is_some() { Poll::Ready(()) } else { Poll::Pending };
        if outdated.is_some() || refused.is_some() {
            drop_wakers(outdated, refused);
        }
        polled
    }

    /// Takes the waker back that was left by [`poll_completed`](Self::poll_completed).
    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.cell().take_waker()?.1
    }

    /// What an operation that is over has come to.
    pub(crate) fn end(&mut self) -> Result<(u32, B), Failed<B>> {
        let (_, bytes) = self.cell().result();
        ended(result_of(self.cell()).map(|_| ()), bytes, self.take())
    }

    /// [`end`](Self::end), as a future returns it that ends.
    #[inline(always)]
    pub(crate) fn poll_end(self) -> Poll<Result<(u32, B), Failed<B>>> {
        let cell = self.cell();
        if !cell.state.is_exclusively_pendings() {
            return self.poll_shared_end();
        }
        let (0, bytes) = cell.result() else { return self.poll_shared_end() };
        mem::forget(self);
        // SAFETY: Rule 6: the only holder owns the cell, and what is left in it is taken
        // out here, which is a `B`. The cell is freed if a buffer panics, too.
        let output = unsafe {
            let panicked = OnPanic(|| Pool::free(EmptyCell::new(cell)));
            let output = take_output(Payload::new(cell), bytes);
            mem::forget(panicked);
            Pool::free(EmptyCell::new(cell));
            output
        };
        match output {
            Some(output) => Poll::Ready(Ok((bytes, output))),
            None => poll_taken(bytes),
        }
    }

    #[cold]
    #[inline(never)]
    fn poll_shared_end(mut self) -> Poll<Result<(u32, B), Failed<B>>> {
        Poll::Ready(self.end())
    }
}

/// An operation that has succeeded returns nothing.
#[cold]
#[inline(never)]
fn poll_taken<B>(bytes: u32) -> Poll<Result<(u32, B), Failed<B>>> {
    Poll::Ready(ended(Ok(()), bytes, None))
}

#[cold]
#[inline(never)]
fn drop_wakers(one: Option<Waker>, other: Option<Waker>) {
    panics::drop_all([one, other].into_iter());
}
