//! The clock of a port, and the deadlines of its operations.

use std::time::Instant;

use super::pending::{Pending, Started};
use super::pool::Pool;
use super::start::Cells;
use crate::error::Result;
use crate::sys::{Packet, Port};

impl<C> Cells<C> {
    /// Whose port it is, until its timers are [closed](Self::close_timers).
    pub fn open_timers(&self, port: &Port) {
        self.pool().timers.open(port);
    }

    /// From now on, nothing is posted by timers.
    pub fn close_timers(&self) {
        self.pool().timers.close();
    }

    /// What the packets carry for their `OVERLAPPED` that say that a timer may be due.
    pub fn clock_marker(&self) -> usize {
        self.pool().clock_marker()
    }

    /// Such a packet was dequeued: `post`s those of the timers that are due, and cancels
    /// what has reached its deadline. `false` if no such packet was to come.
    pub fn turn_clock(&self, post: impl FnMut(Packet)) -> bool {
        self.pool().timers.turn(post)
    }
}

impl<B, S> Pending<B, S> {
    /// Sets when the operation is to be cancelled, or that it is not. If it is in flight
    /// then, it is cancelled, and its completion says
    /// [`TimedOut`](crate::ErrorKind::TimedOut). If it is faster, it is a success, and has
    /// its data.
    ///
    /// The deadline is the operation's: it stays when the `Pending` is dropped, and ends
    /// with the operation. Setting another, or `None`, takes the place of the one before. It
    /// is kept to the millisecond, and not early, as long as somebody dequeues from the
    /// port. It cancels as [`cancel`](Self::cancel) does; what cannot be cancelled goes on.
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
    /// The same.
    pub fn set_deadline(&self, deadline: impl Into<Option<Instant>>) -> Result<()> {
        match self {
            Self::Completed(_) => Ok(()),
            Self::Pending(pending) => pending.set_deadline(deadline),
        }
    }
}
