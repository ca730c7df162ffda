//! Dequeuing until the end of a port, and ending it.

use std::iter::FusedIterator;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::operation::CompletionStatus;
use crate::port::Iocp;

/// How long nothing may arrive of what was cancelled before it is given up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait for something to arrive on a port that is closed.
pub(super) const GLANCE: Duration = Duration::from_millis(1);

/// An iterator over the completions of a port; see [`Iocp::completions`].
#[derive(Debug)]
#[must_use = "iterators do nothing unless they are used"]
pub struct Completions<'p, C: Send + 'static = usize> {
    port: &'p Iocp<C>,
    is_over: bool,
}

impl<C: Send + 'static> Iterator for Completions<'_, C> {
    type Item = Result<CompletionStatus<C>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.port.get_completion() {
            Err(error) if error.foreign_packet().is_none() => {
                self.is_over = true;
                (!error.is_closed()).then_some(Err(error))
            }
            dequeued => Some(dequeued),
        }
    }
}

impl<C: Send + 'static> FusedIterator for Completions<'_, C> {}

impl<C: Send + 'static> Iocp<C> {
    /// Returns an iterator that waits for each completion, and ends when the port is closed
    /// and nothing is queued. It returns the errors of
    /// [`get_completion`](Self::get_completion), and goes on after a foreign packet, but
    /// after no other error.
    ///
    /// ```
    /// # let port = completion_port::Iocp::new()?;
    /// port.post(1, 0, 0)?;
    /// port.post(2, 0, 0)?;
    /// port.close();
    /// for completion in port.completions() {
    ///     println!("{} is done", completion?.context);
    /// }
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn completions(&self) -> Completions<'_, C> {
        Completions { port: self, is_over: false }
    }

    /// Dequeues completions and passes each to `each`, until the port is closed. Any number
    /// of threads may call it. It wakes whoever awaits an operation.
    ///
    /// When the port is closed, it cancels what is still in flight, and passes those
    /// completions to `each`, too, so that nobody waits for ever. (While another thread
    /// [shuts down](Self::shut_down) the port, that thread does the cancelling.) It gives up
    /// when nothing has completed for a second; what is left then stays in flight.
    ///
    /// Foreign packets are dropped: to see them, use [`completions`](Self::completions).
    ///
    /// # Errors
    ///
    /// If the system cannot dequeue.
    ///
    /// ```
    /// # let port = completion_port::Iocp::<u32>::typed()?;
    /// std::thread::scope(|scope| {
    ///     for _ in 0..4 {
    ///         scope.spawn(|| port.run(|completion| println!("{}", completion.context)));
    ///     }
    ///     port.post(7, 0, 0).unwrap();
    ///     port.close();
    /// });
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn run(&self, mut each: impl FnMut(CompletionStatus<C>)) -> Result<()> {
        self.try_run(|completion| {
            each(completion);
            Ok(())
        })
    }

    /// Dequeues completions like [`run`](Self::run), until `each` fails or the port is closed.
    ///
    /// Once the port is closed, `each` gets the completions that are left, and its errors are
    /// dropped: what it would start next is refused.
    ///
    /// # Errors
    ///
    /// The first error of `each` before the port is closed; what is in flight then stays so.
    /// Those of [`run`](Self::run).
    ///
    /// ```
    /// # let port = completion_port::Iocp::<u32>::typed()?;
    /// port.post(1, 0, 0)?;
    /// port.post(2, 0, 0)?;
    /// let ended: std::io::Result<()> = port.try_run(|completion| {
    ///     completion.error_status?;
    ///     match completion.context {
    ///         2 => Err(std::io::ErrorKind::InvalidData.into()),
    ///         number => port.post(number + 2, 0, 0).map_err(Into::into),
    ///     }
    /// });
    /// assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_run<E: From<Error>>(
        &self,
        mut each: impl FnMut(CompletionStatus<C>) -> Result<(), E>,
    ) -> Result<(), E> {
        for completion in self.completions() {
            match completion {
                Ok(completion) => match each(completion) {
                    Err(error) if !self.shared().state.is_closed() => return Err(error),
                    _ => {}
                },
                // Others may post for ever.
                Err(error) if error.foreign_packet().is_some() && self.is_closed() => break,
                Err(error) if error.foreign_packet().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.collect_rest(&mut |completion| _ = each(completion), || false);
        Ok(())
    }

    /// What is to be done when the port was found closed, unless it `stops`.
    pub(super) fn collect_rest(
        &self,
        each: &mut impl FnMut(CompletionStatus<C>),
        stops: impl Fn() -> bool,
    ) {
        self.collect(each, || !self.shared().is_shutting_down(), stops);
    }

    /// Returns the number of operations that are in flight: started, and not dequeued yet.
    /// Posted packets count, too.
    ///
    /// It looks at every operation that the port has memory for, so it is meant for
    /// statistics and for the end of a program. Other threads may have changed the number
    /// already.
    ///
    /// ```
    /// # let port = completion_port::Iocp::new()?;
    /// port.post(1, 0, 0)?;
    /// assert_eq!(port.in_flight(), 1);
    /// port.get_completion()?;
    /// assert_eq!(port.in_flight(), 0);
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared().cells.in_flight()
    }

    /// Lets what is in flight complete, cancels the rest after `patience`, and closes the
    /// port. Returns the number of operations that are left, most often 0.
    ///
    /// A read that waits for a silent peer is in flight, too, and so are accepts and timers: as
    /// long as there is one, this takes the whole of `patience`. So
    /// [stop](crate::listener::Listener::stop) listeners and cancel such reads before.
    ///
    /// From now on nothing can be started. When all operations are over, every thread that
    /// waits in the port gets [`Closed`](crate::ErrorKind::Closed). After the cancel, it
    /// gives up when nothing has completed for a second; what is left then stays in flight.
    ///
    /// This thread dequeues meanwhile and drops the completions; whoever awaits their
    /// operations gets the buffers. To see the completions, use
    /// [`shut_down_with`](Self::shut_down_with).
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::time::Duration;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let port = Iocp::<()>::typed()?;
    /// # let client = port.add_handle(client, 1)?;
    /// let mut read = port.initiate_read(&client, (), Vec::with_capacity(1024))?;
    /// assert_eq!(port.shut_down(Duration::from_millis(10)), 0);
    /// assert!(read.result().unwrap().unwrap_err().is_cancelled());
    /// assert!(port.initiate_read(&client, (), Vec::with_capacity(1024)).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shut_down(&self, patience: Duration) -> usize {
        self.shut_down_with(patience, drop)
    }

    /// Shuts down like [`shut_down`](Self::shut_down), and passes the completions that it
    /// dequeues to `each`.
    pub fn shut_down_with(
        &self,
        patience: Duration,
        mut each: impl FnMut(CompletionStatus<C>),
    ) -> usize {
        let _end = self.shared().begin_shut_down();
        let deadline = Instant::now().checked_add(patience);
        let gives_up = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        self.collect(&mut each, gives_up, || false)
    }

    /// Dequeues from the port, which is closed, until nothing is in flight; what is left
    /// of that. `gives_up` says whether to cancel it, `stops` whether to leave it to others.
    fn collect(
        &self,
        each: &mut impl FnMut(CompletionStatus<C>),
        gives_up: impl Fn() -> bool,
        stops: impl Fn() -> bool,
    ) -> usize {
        let mut progress = Instant::now();
        loop {
            let gives_up = gives_up();
            let (taken, left) = self.shared().sweep(gives_up, each);
            if taken > 0 || !gives_up {
                progress = Instant::now();
            }
            if left == 0 || progress.elapsed() > PATIENCE || stops() {
                return left;
            }
            if taken == 0 {
                thread::sleep(GLANCE);
            }
        }
    }
}
