//! Starting operations: all of them in one way, and the most common ones under
//! names of their own.

mod named;

use crate::error::{Error, Rejected};
use crate::handle::{Associated, Mode, Queued};
use crate::op::on::Supports;
use crate::operation::{Operation, Owned, Pending};
use crate::port::{Iocp, Shared};

pub use named::unconnected_stream;

impl<C: Send + 'static> Iocp<C> {
    /// Starts any operation: one of [`op`](crate::op), or of your own.
    ///
    /// What it returns arrives with the completion: [`Finished::take`], or
    /// [`CompletionStatus::into_output`].
    ///
    /// [`Finished::take`]: crate::Finished::take
    /// [`CompletionStatus::into_output`]: crate::CompletionStatus::into_output
    ///
    /// # Errors
    ///
    /// Context and [what was given](Operation::Given) come back if it could not be
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
    /// let (datagram, _) = port.get_completion()?.into_output::<op::Datagram<Vec<u8>>>()?;
    /// assert_eq!(datagram.buffer, b"hello");
    /// assert_eq!(datagram.from, Some(client.local_addr()?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// What makes no sense for the type of a handle does not compile:
    ///
    /// ```compile_fail,E0277
    /// # fn accept(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// port.initiate(stream, 1, completion_port::op::Accept::new());
    /// # }
    /// ```
    ///
    /// Borrowed memory is for [scopes](Iocp::scope) alone:
    ///
    /// ```compile_fail,E0597
    /// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// let mut buffer = [0; 1024];
    /// port.initiate(stream, 456, completion_port::op::Read::new(&mut buffer));
    /// # }
    /// ```
    ///
    /// and so is memory that threads cannot share:
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
    ) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Given)>>
    where
        H: Supports<O::On>,
        O: Operation<Memory: 'static, Output: 'static>,
    {
        self.start(handle, context, operation)
    }

    /// The same for a context that owns the handle, or finds it.
    ///
    /// ```
    /// use completion_port::{Associated, Iocp, op};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// struct Connection { stream: Associated<TcpStream>, requests: u32 }
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?)?;
    /// let port: Iocp<Box<Connection>> = Iocp::builder().build()?;
    /// let stream = port.add_handle(client, 1)?;
    /// let connection = Box::new(Connection { stream, requests: 0 });
    /// port.initiate_with(connection, |it| &it.stream, op::Write::new("hello"))?;
    /// let mut connection = port.get_completion()?.context;
    /// connection.requests += 1;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`initiate`](Self::initiate).
    #[inline(always)]
    pub fn initiate_with<H, O>(
        &self,
        context: C,
        handle: impl FnOnce(&C) -> &Associated<H, Queued>,
        mut operation: O,
    ) -> Result<Pending<O::Output>, Rejected<(C, O::Given)>>
    where
        H: Supports<O::On>,
        O: Operation<Memory: 'static, Output: 'static>,
    {
        let shared = self.shared();
        let handle = handle(&context);
        let prepared = match handle.is_socket(&shared.gate) {
            Ok(true) => handle.prepare::<O, true>(&mut operation).map(|()| true),
            Ok(false) => handle.prepare::<O, false>(&mut operation).map(|()| false),
            Err(misuse) => Err(Error::misuse(misuse)),
        };
        // By value: from here on the handle goes where the context goes, which is
        // open in its cell at least until the operation is over.
        let target = handle.target(operation.offset());
        let (cells, port, key) = (&shared.cells, &shared.port, target.key);
        match prepared {
            Ok(true) => cells
                .launch::<O, Owned<true>>(target, context, operation)?
                .into_pending(cells, port, key),
            Ok(false) => cells
                .launch::<O, Owned<false>>(target, context, operation)?
                .into_pending(cells, port, key),
            Err(error) => Err(rejected(error, context, operation)),
        }
    }

    /// [`initiate`](Self::initiate) for any type of handle.
    #[inline(always)]
    fn start<H, M: Mode, O>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        operation: O,
    ) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Given)>>
    where
        O: Operation<Memory: 'static, Output: 'static>,
    {
        let shared = self.shared();
        match handle.is_socket(&shared.gate) {
            Ok(true) => start_on::<C, H, M, O, true>(shared, handle, context, operation),
            Ok(false) => start_on::<C, H, M, O, false>(shared, handle, context, operation),
            Err(misuse) => Err(rejected(Error::misuse(misuse), context, operation)),
        }
    }
}

#[inline(always)]
fn start_on<C: Send + 'static, H, M: Mode, O, const SOCKET: bool>(
    shared: &Shared<C>,
    handle: &Associated<H, M>,
    context: C,
    mut operation: O,
) -> Result<M::Started<O::Output, C>, Rejected<(C, O::Given)>>
where
    O: Operation<Memory: 'static, Output: 'static>,
{
    if let Err(error) = handle.prepare::<O, SOCKET>(&mut operation) {
        return Err(rejected(error, context, operation));
    }
    let target = handle.target(operation.offset());
    let launched = shared.cells.launch::<O, Owned<SOCKET>>(target, context, operation)?;
    M::deliver(launched, handle, shared)
}

/// What comes back of an operation that nothing was done for.
#[inline]
pub(crate) fn rejected<C, O: Operation>(
    error: Error,
    context: C,
    operation: O,
) -> Rejected<(C, O::Given)> {
    Rejected { error, returned: (context, O::give_back(operation.split().1)) }
}
