//! Accepting connections: `AcceptEx`.

use std::net::TcpStream;

use crate::error::{Rejected, Result};
use crate::handle::{Associated, Mode};
use crate::operation::Accept;
use crate::port::Iocp;
use crate::sys;

impl<C: Send + 'static> Iocp<C> {
    /// Starts to accept a connection on a listening socket.
    ///
    /// The completion has the connection, as a `TcpStream` like any other:
    /// [`Finished::take_accepted`](crate::Finished::take_accepted). Keep a few
    /// accepts in flight, so that connections need not wait for one.
    ///
    /// An accept that fails with
    /// [`ConnectionReset`](crate::ErrorKind::ConnectionReset) or
    /// [`ConnectionAborted`](crate::ErrorKind::ConnectionAborted), when it is
    /// started or later, means that one client went away; the listener is well.
    /// Start another.
    ///
    /// A connection that was accepted before the listener was dropped is handed
    /// out all the same. It reads and writes; but as there is no listener to
    /// inherit from, its `local_addr`, `peer_addr` and `shutdown` fail on
    /// Windows.
    ///
    /// # Errors
    ///
    /// The context comes back if the accept could not be started. A server has
    /// one accept fewer in flight then, and with none it is deaf, so what it
    /// does depends on the kind:
    /// - [`ConnectionReset`](crate::ErrorKind::ConnectionReset),
    ///   [`ConnectionAborted`](crate::ErrorKind::ConnectionAborted): one client
    ///   went away. Start the accept again, at once;
    /// - [`ResourceExhausted`](crate::ErrorKind::ResourceExhausted),
    ///   [`TooManyOperations`](crate::ErrorKind::TooManyOperations): there are
    ///   no more sockets, buffers or places in the port. Start it again when a
    ///   connection has ended or a moment has passed (at once would be in
    ///   vain); clients wait in the listener's backlog meanwhile;
    /// - [`Unsupported`](crate::ErrorKind::Unsupported) on what is no socket,
    ///   [`InvalidInput`](crate::ErrorKind::InvalidInput) on one that does not
    ///   listen, and the others as for [`initiate_read`](Self::initiate_read):
    ///   nothing that time would mend.
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use completion_port::Iocp;
    ///
    /// let port = Iocp::new()?;
    /// let listener = port.add_handle(TcpListener::bind("127.0.0.1:0")?, 1)?;
    /// port.initiate_accept(&listener, 2)?;
    /// let client = TcpStream::connect(listener.get_ref().local_addr()?)?;
    /// let mut completion = port.get_completion()?;
    /// completion.error_status?;
    /// let accepted = completion.operation.take_accepted().unwrap();
    /// assert_eq!(accepted.peer_addr()?, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn initiate_accept<H, M: Mode>(
        &self,
        listener: &Associated<H, M>,
        context: C,
    ) -> Result<M::Started<TcpStream, C>, Rejected<C>> {
        let target = listener.target(None);
        let prepared = listener.check_listener(&self.shared().gate).and_then(sys::new_socket);
        let socket = match prepared {
            Ok(socket) => socket,
            Err(error) => return Err(Rejected { error, returned: context }),
        };
        let accepted = sys::handle_of(&socket);
        let payload = Accept::new(socket, listener.guard(&self.shared().guards));
        self.start(listener, target, context, payload, |addresses, overlapped| {
            sys::accept(target.handle, accepted, addresses, overlapped)
        })
        .map_err(|rejected| rejected.map(|(context, ())| context))
    }
}
