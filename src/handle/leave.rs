//! Handles that leave their port, or move to another.

use super::mode::InlineRun;
use super::{Adoptable, Associated};
use crate::error::{Error, Rejected, Result, refusal};
use crate::port::Iocp;
use crate::sys::{self, Port};

impl<C: Send + 'static> Iocp<C> {
    /// Takes a handle from the port, so that it can be used as if it never had been
    /// [added](Self::add_handle): with another port, or by code that knows of none.
    ///
    /// Nothing may be in flight on it, neither at the system nor in the port's queue. (To
    /// [give it up](Associated::into_inner) leaves it associated.) It looks at the memory of
    /// all operations of the port, as [`in_flight`](Self::in_flight) does. (An operation that
    /// has found its end within its call is not in flight: its completion still comes from this
    /// port.)
    ///
    /// A handle that [skips the port](Associated::skip_on_success) does so for ever, so
    /// `add_handle` refuses it afterwards. [Move](Self::move_handle) it instead.
    ///
    /// # Errors
    ///
    /// The handle comes back as it was with
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput), if something is in flight on it.
    ///   (Handles are told apart by their values: a completion that is still queued of a
    ///   handle that was closed counts if this one has got its value);
    /// - [`Unsupported`](crate::ErrorKind::Unsupported), if the system cannot do this: it
    ///   needs Windows 8.1 or later, and not Wine. Then let the handle stay: a clone of the
    ///   port can be wherever the handle is;
    /// - [`WrongPort`](crate::ErrorKind::WrongPort), if it is another port's;
    /// - what else the system answers, for one if other code has something in flight on a
    ///   duplicate.
    ///
    /// ```
    /// use completion_port::{ErrorKind, Iocp};
    ///
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let port = Iocp::new()?;
    /// let stream = port.add_handle(stream, 1)?;
    /// match port.remove_handle(stream) {
    ///     Ok(stream) => {
    ///         let other = Iocp::new()?;
    ///         let stream = other.add_handle(stream, 1)?;
    ///     }
    ///     Err(rejected) => {
    ///         assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    ///         let stream = rejected.returned; // still associated
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove_handle<H: Adoptable, M>(
        &self,
        handle: Associated<H, M>,
    ) -> Result<H, Rejected<Associated<H, M>>> {
        match self.replace_port(&handle, None) {
            Ok(()) => Ok(handle.into_inner()),
            Err(error) => Err(Rejected { error, returned: handle }),
        }
    }

    /// Moves a handle to another port, with another `context`: from now on its operations
    /// are started there. To move it to the port that it has changes its context.
    ///
    /// Otherwise as [`remove_handle`](Self::remove_handle), but the handle is never without
    /// a port, and one that [skips the port](Associated::skip_on_success) does so at the
    /// other.
    ///
    /// # Errors
    ///
    /// Those of `remove_handle`, and [`Closed`](crate::ErrorKind::Closed), if the other port
    /// is.
    ///
    /// ```
    /// use completion_port::{ErrorKind, Iocp};
    ///
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let (port, other) = (Iocp::new()?, Iocp::new()?);
    /// let stream = port.add_handle(stream, 1)?;
    /// match port.move_handle(stream, &other, 2) {
    ///     Ok(stream) => {
    ///         other.initiate_write(&stream, 3, "hello")?;
    ///         assert_eq!(other.get_completion()?.handle_context, 2);
    ///     }
    ///     Err(rejected) => assert_eq!(rejected.error.kind(), ErrorKind::Unsupported),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn move_handle<H: Adoptable, M, D: Send + 'static>(
        &self,
        handle: Associated<H, M>,
        other: &Iocp<D>,
        context: usize,
    ) -> Result<Associated<H, M>, Rejected<Associated<H, M>>> {
        let to = other.shared();
        let checked = if to.state.is_closed() {
            Err(Error::usage(&refusal::CLOSED))
        } else {
            self.replace_port(&handle, Some((&to.port, context)))
        };
        match checked {
            // What accepts and connects know of it goes on: none is in flight.
            Ok(()) => Ok(Associated {
                identity: to.state.identity(),
                key: context,
                inline_run: InlineRun::default(),
                ..handle
            }),
            Err(error) => Err(Rejected { error, returned: handle }),
        }
    }

    /// Nobody can start anything on the handle meanwhile, which is the caller's alone.
    fn replace_port<H, M>(
        &self,
        handle: &Associated<H, M>,
        port: Option<(&Port, usize)>,
    ) -> Result<()> {
        let shared = self.shared();
        if handle.identity != shared.state.identity() {
            return Err(Error::usage(&refusal::WRONG_PORT));
        }
        if shared.cells.is_in_flight_on(handle.raw) {
            return Err(Error::usage(&refusal::STILL_IN_FLIGHT));
        }
        sys::replace_port(handle.raw, port)
    }
}
