//! Operations on borrowed buffers.

use std::fmt;

use crate::error::Rejected;
use crate::handle::{Associated, Queued};
use crate::io::refused;
use crate::op::wait::{Wait, Waitable};
use crate::op::{self, on::Supports};
use crate::operation::{Borrowing, InScope, Operation, Pending, Target, borrow};
use crate::port::Iocp;
use crate::trace;

/// A scope in which operations may borrow their buffers; see [`Iocp::scope`].
pub struct Scope<'scope, 'env: 'scope, C: Send + 'static = usize> {
    port: &'scope Iocp<C>,
    borrowing: &'scope Borrowing<'scope, 'env>,
}

impl<C: Send + 'static> Iocp<C> {
    /// Runs `body`, in which operations may borrow their buffers.
    ///
    /// Before it returns, it cancels and waits for all operations of the scope that are still
    /// in flight, also if their `Pending`s were dropped or leaked, or if `body` panics. Their
    /// completions can be dequeued in the scope, by any thread; those that are left at the
    /// end are dropped. Other completions stay queued for the threads that dequeue.
    ///
    /// Like [`std::thread::scope`], this waits as long as it takes: a driver
    /// that does not honour the cancel keeps the scope open.
    ///
    /// # Panics
    ///
    /// If `body` panics, or the destructor of a context that it drops. The first of these
    /// panics continues after the last operation is over.
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::io::Write;
    /// # use std::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// # let (stream, _) = listener.accept()?;
    /// # let port = Iocp::new()?;
    /// # let stream = port.add_handle(stream, 1)?;
    /// # client.write_all(b"hello")?;
    /// let mut buffer = [0; 1024];
    /// let length = port.scope(|scope| -> completion_port::Result<_> {
    ///     scope.initiate_read(&stream, 456, &mut buffer)?;
    ///     let completion = port.get_completion()?;
    ///     completion.error_status?;
    ///     Ok(completion.bytes_transferred as usize)
    /// })?;
    /// assert_eq!(&buffer[..length], b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// A borrowed buffer is for scopes alone, and has to outlive them:
    ///
    /// ```compile_fail,E0597
    /// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// let mut buffer = [0; 1024];
    /// port.initiate_read(stream, 456, &mut buffer); // not without a scope
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0597
    /// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// port.scope(|scope| {
    ///     let mut buffer = [0; 1024];
    ///     scope.initiate_read(stream, 456, &mut buffer).unwrap();
    /// }); // the buffer is gone before the scope ends
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0506
    /// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// let mut buffer = [0; 1024];
    /// port.scope(|scope| {
    ///     scope.initiate_read(stream, 456, &mut buffer).unwrap();
    ///     buffer[0] = 1; // still borrowed
    /// });
    /// # }
    /// ```
    #[inline]
    pub fn scope<'env, T>(
        &'env self,
        body: impl for<'scope> FnOnce(&Scope<'scope, 'env, C>) -> T,
    ) -> T {
        borrow(
            |borrowing| body(&Scope { port: self, borrowing }),
            || self.shared().wait_for_scopes(),
        )
    }
}

impl<'scope, C: Send + 'static> Scope<'scope, '_, C> {
    /// Starts any operation, whose memory may be borrowed. Only the [`Pending`] returns the
    /// output, and it cannot leave the scope.
    ///
    /// ```
    /// # use completion_port::{Iocp, op};
    /// # use std::net::UdpSocket;
    /// # let port = Iocp::new()?;
    /// # let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0")?, 1)?;
    /// # let client = UdpSocket::bind("127.0.0.1:0")?;
    /// # client.send_to(b"hello", socket.get_ref().local_addr()?)?;
    /// let mut buffer = [0; 1500];
    /// let from = port.scope(|scope| -> completion_port::Result<_> {
    ///     let mut pending = scope.initiate(&socket, 1, op::ReceiveFrom::new(&mut buffer[..]))?;
    ///     port.get_completion()?.error_status?;
    ///     Ok(pending.take().and_then(|datagram| datagram.from))
    /// })?;
    /// assert_eq!(from, Some(client.local_addr()?));
    /// assert_eq!(&buffer[..5], b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// ```compile_fail,E0521
    /// # use completion_port::{Iocp, op};
    /// # fn send(port: &Iocp, socket: &completion_port::Associated<std::net::UdpSocket>) {
    /// let bytes = *b"hello";
    /// let mut kept = None;
    /// port.scope(|scope| {
    ///     let to = "127.0.0.1:9".parse().unwrap();
    ///     kept = Some(scope.initiate(socket, 1, op::SendTo::new(&bytes[..], to)).unwrap());
    /// }); // a `Pending` stays in its scope, whatever it returns
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Iocp::initiate`].
    #[inline(always)]
    pub fn initiate<H, O>(
        &self,
        handle: &Associated<H, Queued>,
        context: C,
        operation: O,
    ) -> Result<Pending<O::Output, InScope<'scope>>, Rejected<(C, O::Memory)>>
    where
        H: Supports<O::On>,
        O: Operation<Memory: 'scope>,
    {
        self.start(handle, context, operation)
    }

    /// Waits for an object, which may be borrowed. Otherwise as [`Iocp::initiate_wait`].
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # let port = Iocp::new()?;
    /// let thread = std::thread::spawn(|| "hello");
    /// port.scope(|scope| -> completion_port::Result<_> {
    ///     scope.initiate_wait(&thread, 1)?;
    ///     port.get_completion()?.error_status
    /// })?;
    /// assert_eq!(thread.join().unwrap(), "hello");
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Iocp::initiate_wait`].
    pub fn initiate_wait<W: Waitable + 'scope>(
        &self,
        object: W,
        context: C,
    ) -> Result<Pending<W::Output, InScope<'scope>>, Rejected<(C, W)>> {
        let shared = self.port.shared();
        let wait = Wait::new(object, shared.cells.wait_record(&shared.port));
        self.borrowing
            .start::<C, Wait<W>, false>(
                (&shared.cells, &shared.port),
                Target::WAIT,
                || 0,
                context,
                wait.into_parts(),
                || shared.state.check_open(),
            )
            .map_err(|rejected| rejected.map(Wait::back))
    }

    /// Starts a read that overwrites a borrowed buffer, like [`Iocp::initiate_read`].
    ///
    /// # Errors
    ///
    /// Those of [`Iocp::initiate_read`]. The context comes back; the buffer is
    /// the caller's again when the scope ends.
    #[inline]
    pub fn initiate_read<H>(
        &self,
        handle: &Associated<H, Queued>,
        context: C,
        buffer: &'scope mut [u8],
    ) -> Result<Pending<&'scope mut [u8]>, Rejected<C>> {
        self.start(handle, context, op::Read::new(buffer))
            .map(Pending::unmarked_mut)
            .map_err(|rejected| rejected.map(|(context, _)| context))
    }

    /// Starts a read from a file into a borrowed buffer, from `offset` on, in bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Iocp::initiate_read_at`].
    #[inline]
    pub fn initiate_read_at<H>(
        &self,
        handle: &Associated<H, Queued>,
        context: C,
        buffer: &'scope mut [u8],
        offset: u64,
    ) -> Result<Pending<&'scope mut [u8]>, Rejected<C>> {
        self.start(handle, context, op::Read::new(buffer).at(offset))
            .map(Pending::unmarked_mut)
            .map_err(|rejected| rejected.map(|(context, _)| context))
    }

    /// Starts a write from a borrowed buffer, like [`Iocp::initiate_write`].
    ///
    /// # Errors
    ///
    /// Those of [`Iocp::initiate_write`]. The context comes back.
    #[inline]
    pub fn initiate_write<H>(
        &self,
        handle: &Associated<H, Queued>,
        context: C,
        buffer: &'scope [u8],
    ) -> Result<Pending<&'scope [u8]>, Rejected<C>> {
        self.start(handle, context, op::Write::new(buffer))
            .map(Pending::unmarked)
            .map_err(|rejected| rejected.map(|(context, _)| context))
    }

    /// Starts a write to a file from a borrowed buffer, from `offset` on, in bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Iocp::initiate_write_at`].
    #[inline]
    pub fn initiate_write_at<H>(
        &self,
        handle: &Associated<H, Queued>,
        context: C,
        buffer: &'scope [u8],
        offset: u64,
    ) -> Result<Pending<&'scope [u8]>, Rejected<C>> {
        self.start(handle, context, op::Write::new(buffer).at(offset))
            .map(Pending::unmarked)
            .map_err(|rejected| rejected.map(|(context, _)| context))
    }

    #[inline(always)]
    fn start<H, O: Operation>(
        &self,
        handle: &Associated<H, Queued>,
        context: C,
        operation: O,
    ) -> Result<Pending<O::Output, InScope<'scope>>, Rejected<(C, O::Memory)>>
    where
        O::Memory: 'scope,
    {
        if handle.object(&self.port.shared().guards).is_socket() {
            self.start_on::<H, O, true>(handle, context, operation)
        } else {
            self.start_on::<H, O, false>(handle, context, operation)
        }
    }

    #[inline(always)]
    fn start_on<H, O: Operation, const SOCKET: bool>(
        &self,
        handle: &Associated<H, Queued>,
        context: C,
        operation: O,
    ) -> Result<Pending<O::Output, InScope<'scope>>, Rejected<(C, O::Memory)>>
    where
        O::Memory: 'scope,
    {
        let shared = self.port.shared();
        let on = handle.object(&shared.guards);
        let admit = || handle.admit(&shared.state);
        match on.split::<O, SOCKET>(operation) {
            Ok(parts) => {
                let started = self.borrowing.start::<C, O, SOCKET>(
                    (&shared.cells, &shared.port),
                    on.target(),
                    || handle.context(),
                    context,
                    parts,
                    admit,
                );
                trace::rejected(handle.raw(), &started);
                started
            }
            Err((error, memory)) => Err(refused(admit(), error, context, memory)),
        }
    }
}

impl<C: Send + 'static> fmt::Debug for Scope<'_, '_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("port", self.port).finish_non_exhaustive()
    }
}
