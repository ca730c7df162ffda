//! Waiting for objects, as operations.

use crate::error::Rejected;
use crate::op::wait::{Wait, Waitable};
use crate::operation::{Owned, Pending, Target};
use crate::port::Iocp;

impl<C: Send + 'static> Iocp<C> {
    /// Waits until an object is signalled, without a thread of the program's: a process or a
    /// thread ends, an event is set, a semaphore has a count, a timer is due.
    ///
    /// The object moves in, and comes back with the completion, as the operation's output.
    /// It need not be associated with a port. The wait takes what any wait takes: a count of
    /// the semaphore, the signal of an event that resets itself. If it was
    /// [cancelled](Pending::cancel) before, it takes nothing; if it was faster, the
    /// completion is a success. The completion's [`handle_context`](crate::CompletionStatus::handle_context) is 0.
    ///
    /// A mutex cannot be waited for in this way: it would be owned by a thread of the
    /// system's.
    ///
    /// # Errors
    ///
    /// Object and context come back with
    /// - [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if the handle has no right
    ///   to wait (`SYNCHRONIZE`), and [`InvalidHandle`](crate::ErrorKind::InvalidHandle) if
    ///   what it stands for cannot be waited for;
    /// - [`Closed`](crate::ErrorKind::Closed) if the port is closed;
    /// - [`TooManyOperations`](crate::ErrorKind::TooManyOperations), and what the system
    ///   answers.
    ///
    /// ```
    /// use std::thread::{self, JoinHandle};
    ///
    /// use completion_port::Iocp;
    ///
    /// const END: usize = 1;
    /// let port = Iocp::new()?;
    /// port.initiate_wait(thread::spawn(|| "hello"), END)?;
    ///
    /// let mut completion = port.get_completion()?;
    /// assert_eq!(completion.context, END);
    /// completion.error_status?;
    /// let thread: JoinHandle<&str> = completion.operation.output()?;
    /// assert_eq!(thread.join().unwrap(), "hello"); // at once
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn initiate_wait<W>(
        &self,
        object: W,
        context: C,
    ) -> Result<Pending<W::Output>, Rejected<(C, W)>>
    where
        W: Waitable<Output: 'static> + 'static,
    {
        let shared = self.shared();
        let wait = Wait::new(object, shared.cells.wait_record(&shared.port));
        let open = || shared.state.check_open();
        shared
            .cells
            .start::<Wait<W>, Owned<false>>(Target::WAIT, context, wait.into_parts(), open)
            .and_then(|outcome| outcome.into_pending(&shared.cells, &shared.port, 0))
            .map_err(|rejected| rejected.map(Wait::back))
    }
}
