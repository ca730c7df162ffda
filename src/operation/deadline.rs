//! The deadlines of operations.

use std::time::Instant;

use super::pending::{Pending, Started};
use super::pool::Pool;
use crate::error::Result;

impl<B, S> Pending<B, S> {
    /// Sets when the operation is to be cancelled, or that it is not. If it is in flight
    /// then, it is cancelled, and its completion says
    /// [`TimedOut`](crate::ErrorKind::TimedOut), unless the program has asked for that
    /// [before](Self::cancel), while there was a deadline: then it says
    /// [`Cancelled`](crate::ErrorKind::Cancelled). If it is faster, it is a success, and has
    /// its data.
    ///
    /// The deadline is the operation's: it stays when the `Pending` is dropped, and ends
    /// with the operation. Setting another, or `None`, takes the place of the one before; a
    /// deadline that has passed when it is set is one that passes now. For an operation that
    /// is over, this does nothing.
    ///
    /// It is kept as a [timer](crate::Iocp::after) is: to the millisecond where the system
    /// can do that, not early, late by the time that the machine sleeps meanwhile, and only if
    /// somebody dequeues from the port. That thread cancels, as [`cancel`](Self::cancel) does,
    /// which says what strict handle checks make of that. What cannot be cancelled goes on,
    /// without a deadline; where the system has no memory to cancel it just then, that is done
    /// a little later.
    ///
    /// A [timer](crate::Iocp::after) can have a deadline, too.
    ///
    /// # Errors
    ///
    /// If the system has no memory for the port's timers, or the port is gone. Then the
    /// operation goes on, and has the deadline that it had.
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::time::{Duration, Instant};
    /// # let port = Iocp::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let client = port.add_handle(client, 1)?;
    /// let deadline = Instant::now() + Duration::from_millis(10);
    /// let read = port.initiate_read(&client, 2, Vec::with_capacity(1024))?;
    /// read.set_deadline(deadline)?;
    /// let mut completion = port.get_completion()?;
    /// let error = completion.error_status.unwrap_err();
    /// assert_eq!(error.kind(), completion_port::ErrorKind::TimedOut);
    /// assert!(Instant::now() >= deadline);
    /// let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
    /// # assert!(buffer.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_deadline(&self, deadline: impl Into<Option<Instant>>) -> Result<()> {
        if self.is_completed() { Ok(()) } else { Pool::set_deadline(self.cell(), deadline.into()) }
    }
}

impl<B, C> Started<B, C> {
    /// [`Pending::set_deadline`], if the operation is in flight.
    ///
    /// # Errors
    ///
    /// Those of [`Pending::set_deadline`].
    pub fn set_deadline(&self, deadline: impl Into<Option<Instant>>) -> Result<()> {
        match self {
            Self::Completed(_) => Ok(()),
            Self::Pending(pending) => pending.set_deadline(deadline),
        }
    }
}
