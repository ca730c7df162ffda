//! Starting operations: all of them in one way, and the most common ones under
//! names of their own.

mod named;
mod wait;

use crate::error::{Error, Rejected, UsageError};
use crate::handle::{Associated, Mode};
use crate::op::on::Supports;
use crate::operation::{Operation, Owned, Target};
use crate::port::{Identity, Iocp};
use crate::trace;

pub use named::unconnected_stream;

impl<C: Send + 'static> Iocp<C> {
    /// Starts any operation: one of [`op`](crate::op), or of your own.
    ///
    /// Its output arrives with the completion: see [`Finished::take`](crate::Finished::take).
    ///
    /// # Errors
    ///
    /// Context and [memory](Operation::Memory) come back if it could not be
    /// started: what the system answers, and
    /// [`Unsupported`](crate::ErrorKind::Unsupported),
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput),
    /// [`WrongPort`](crate::ErrorKind::WrongPort),
    /// [`Closed`](crate::ErrorKind::Closed),
    /// [`TooManyOperations`](crate::ErrorKind::TooManyOperations).
    ///
    /// ```
    /// use completion_port::{Iocp, op};
    /// use std::net::UdpSocket;
    ///
    /// let port = Iocp::new()?;
    /// let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0")?, 1)?;
    /// port.initiate(&socket, 2, op::ReceiveFrom::new(Vec::with_capacity(1500)))?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"hello", socket.get_ref().local_addr()?)?;
    ///
    /// let mut completion = port.get_completion()?;
    /// completion.error_status?;
    /// let datagram: op::Datagram<Vec<u8>> = completion.operation.output()?;
    /// assert_eq!(datagram.buffer, b"hello");
    /// assert_eq!(datagram.from, Some(client.local_addr()?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// An operation that the type of the handle does not support does not compile:
    ///
    /// ```compile_fail,E0277
    /// # fn accept(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// port.initiate(stream, 1, completion_port::op::Accept::new());
    /// # }
    /// ```
    ///
    /// Nor does borrowed memory, which is for [scopes](Iocp::scope):
    ///
    /// ```compile_fail,E0597
    /// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// let mut buffer = [0; 1024];
    /// port.initiate(stream, 456, completion_port::op::Read::new(&mut buffer));
    /// # }
    /// ```
    ///
    /// Nor does memory that cannot be sent to another thread:
    ///
    /// ```compile_fail,E0277
    /// # use std::rc::Rc;
    /// # fn send(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// struct Shared(Rc<[u8]>);
    /// unsafe impl completion_port::IoBuf for Shared {
    ///     fn initialized(&self) -> (*const u8, usize) { (self.0.as_ptr(), self.0.len()) }
    /// }
    /// port.initiate(stream, 456, completion_port::op::Write::new(Shared(Rc::from(*b"hello"))));
    /// # }
    /// ```
    #[inline(always)]
    pub fn initiate<H, M: Mode, O>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        operation: O,
    ) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Memory)>>
    where
        H: Supports<O::On>,
        O: Operation<Memory: 'static, Output: 'static>,
    {
        self.start(handle, context, operation)
    }

    /// Starts any operation on a handle that its context owns, or finds.
    ///
    /// `handle` returns the handle from the context, before the context is moved. On a handle
    /// that [skips the port](Associated::skip_on_success) it is called again if the operation
    /// completes at once.
    ///
    /// # Errors
    ///
    /// Those of [`initiate`](Self::initiate).
    ///
    /// ```
    /// use completion_port::{Associated, Iocp, op};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// struct Connection { stream: Associated<TcpStream>, requests: u32 }
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = Iocp::<Box<Connection>>::typed()?;
    /// let stream = port.add_handle(client, 1)?;
    /// let connection = Box::new(Connection { stream, requests: 0 });
    /// port.initiate_with(connection, |it| &it.stream, op::Write::new("hello"))?;
    /// let mut connection = port.get_completion()?.context;
    /// connection.requests += 1;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn initiate_with<H, M: Mode, O>(
        &self,
        context: C,
        handle: impl Fn(&C) -> &Associated<H, M>,
        operation: O,
    ) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Memory)>>
    where
        H: Supports<O::On>,
        O: Operation<Memory: 'static, Output: 'static>,
    {
        let shared = self.shared();
        let on = handle(&context);
        let object = on.object(&shared.guards);
        // From the start on the handle goes where the context goes, so only its values
        // are used.
        let values = Values {
            target: object.target(),
            key: on.context(),
            identity: on.identity(),
            may_be_inline: M::SKIPS && on.inline_run().goes_on(shared.polls.count()),
        };
        if object.is_socket() {
            let parts = object.split::<O, true>(operation);
            self.start_with::<H, M, O, true>(context, handle, values, parts)
        } else {
            let parts = object.split::<O, false>(operation);
            self.start_with::<H, M, O, false>(context, handle, values, parts)
        }
    }

    #[inline(always)]
    fn start_with<H, M: Mode, O, const SOCKET: bool>(
        &self,
        context: C,
        handle: impl Fn(&C) -> &Associated<H, M>,
        Values { target, key, identity, may_be_inline }: Values,
        parts: Result<(O::Arguments, O::Memory), (Error, O::Memory)>,
    ) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Memory)>>
    where
        O: Operation<Memory: 'static, Output: 'static>,
    {
        let shared = self.shared();
        let admit = || shared.state.check(&identity);
        let parts = match parts {
            Ok(parts) => parts,
            Err((error, memory)) => return Err(refused(admit(), error, context, memory)),
        };
        let begun = shared.cells.start::<O, Owned<SOCKET>>(target, context, parts, admit);
        trace::rejected(target.handle, &begun);
        let started = M::deliver(begun?, shared, key, may_be_inline, |context, note| {
            // If the operation has completed at once, the context is back.
            if let Some(context) = context {
                note(handle(context).inline_run());
            }
        });
        trace::rejected(target.handle, &started);
        started
    }

    /// [`initiate`](Self::initiate) for any type of handle.
    #[inline(always)]
    fn start<H, M: Mode, O>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        operation: O,
    ) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Memory)>>
    where
        O: Operation<Memory: 'static, Output: 'static>,
    {
        if handle.object(&self.shared().guards).is_socket() {
            self.start_on::<H, M, O, true>(handle, context, operation)
        } else {
            self.start_on::<H, M, O, false>(handle, context, operation)
        }
    }

    #[inline(always)]
    fn start_on<H, M: Mode, O, const SOCKET: bool>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        operation: O,
    ) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Memory)>>
    where
        O: Operation<Memory: 'static, Output: 'static>,
    {
        let shared = self.shared();
        let on = handle.object(&shared.guards);
        let run = handle.inline_run();
        let admit = || handle.admit(&shared.state);
        let parts = match on.split::<O, SOCKET>(operation) {
            Ok(parts) => parts,
            Err((error, memory)) => return Err(refused(admit(), error, context, memory)),
        };
        let may_be_inline = M::SKIPS && run.goes_on(shared.polls.count());
        let begun = shared.cells.start::<O, Owned<SOCKET>>(on.target(), context, parts, admit);
        trace::rejected(handle.raw(), &begun);
        let started =
            M::deliver(begun?, shared, handle.context(), may_be_inline, |_, note| note(run));
        trace::rejected(handle.raw(), &started);
        started
    }
}

/// What comes back of an operation that cannot be started on its handle. That the port
/// is closed, or another, comes before all else.
pub(crate) fn refused<C, M>(
    admitted: Result<(), &'static UsageError>,
    error: Error,
    context: C,
    memory: M,
) -> Rejected<(C, M)> {
    let error = admitted.map_or_else(Error::usage, |()| error);
    Rejected { error, returned: (context, memory) }
}

/// What an operation on a handle has to know of it, by value.
struct Values {
    target: Target,
    key: usize,
    identity: Identity,
    may_be_inline: bool,
}
