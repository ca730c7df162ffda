//! Listeners that keep accepts in flight.
//!
//! A [`Listener`] starts accepts on a listening socket, and starts the next ones by itself. It
//! has neither a thread nor a timer: the accepts complete on the port, each with a context of
//! the program's choice, and whoever dequeues one passes its completion to
//! [`Listener::accepted`], which returns the connection and keeps as many accepts in flight as
//! before.
//!
//! ```
//! use std::net::{TcpListener, TcpStream};
//!
//! use completion_port::{Iocp, listener};
//!
//! const ACCEPT: usize = 1;
//!
//! let port = Iocp::new()?;
//! let socket = port.add_handle(TcpListener::bind("127.0.0.1:0")?, 0)?;
//! let options = listener::Options::new().accepts(16).max_connections(10_000);
//! let listener = options.listen(&port, socket, || ACCEPT)?;
//! # let client = TcpStream::connect(listener.local_addr())?;
//!
//! let mut completion = port.get_completion()?;
//! match completion.context {
//!     ACCEPT => match listener.accepted(&mut completion) {
//!         Ok(accepted) => {
//!             println!("{} has connected", accepted.peer);
//!             let connection = accepted.associate(&port, 2)?;
//!             port.initiate_read(&connection.stream, 3, Vec::with_capacity(1024))?;
//! #           assert_eq!(connection.peer, client.local_addr()?);
//!         }
//!         Err(error) => println!("a client went away: {error}"),
//!     },
//!     _ => {}
//! }
//!
//! // The end: the last completions of accepts, some of which may be connections.
//! let mut left = listener.stop();
//! while left > 0 {
//!     let mut completion = port.get_completion()?;
//!     if completion.context == ACCEPT {
//!         left -= 1;
//!         drop(listener.accepted(&mut completion));
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Its accepts cannot be awaited: for that, see [`initiate_accept`](Iocp::initiate_accept).
//!
//! # When sockets or memory run out
//!
//! An accept that is refused for want of something, or because more clients have gone away
//! than can have been waiting, is not started again at once, which would be in vain, but when
//! the next connection has come or one has ended, or when the program calls
//! [`refill`](Listener::refill): call that now and then, because without an accept or a
//! connection nothing else does. [`take_error`](Listener::take_error) tells why accepts are
//! missing. Clients wait in the socket's backlog meanwhile.
//!
//! # First data
//!
//! With [`Options::first_data`], a connection arrives with what its client has sent first. A
//! client that sends nothing then keeps an accept to itself, and as many of them keep all
//! others out. So call [`drop_silent`](Listener::drop_silent) now and then.
#![allow(clippy::result_large_err, reason = "what was passed in comes back")]
#![allow(clippy::must_use_candidate, reason = "of some methods only the effect may matter")]

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, OwnedSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{
    Error, ErrorKind, Facts, Rejected, Result, STATUS_CONNECTION_ABORTED, completion_error, refusal,
};
use crate::handle::Associated;
use crate::op::{AcceptInto, AcceptedInto};
use crate::operation::{CompletionStatus, ObjectKind};
use crate::panics::FirstPanic;
use crate::port::{Iocp, WeakIocp};
use crate::sys::{self, AcceptExAddresses};
use crate::trace;

/// How a [`Listener`] accepts.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Options {
    accepts: usize,
    max_connections: usize,
    first_data: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { accepts: 16, max_connections: usize::MAX, first_data: 0 }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many accepts are in flight, each with a socket of its own: 16 by default. As many
    /// clients can connect before a completion is passed to the listener; further ones wait in
    /// the socket's backlog.
    pub fn accepts(mut self, accepts: usize) -> Self {
        self.accepts = accepts;
        self
    }

    /// How many connections can be open at a time, those to come included: as many as the
    /// system can have, by default. A connection is open as long as its [`Permit`] is there.
    /// Further clients wait in the socket's backlog.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Lets connections arrive together with what the client has sent first, up to so many
    /// bytes; 0, the default, lets them arrive at once. Clients that send nothing have to be
    /// [dropped](Listener::drop_silent).
    pub fn first_data(mut self, bytes: u16) -> Self {
        self.first_data = bytes;
        self
    }

    /// Starts accepts on a socket that listens. `context` makes the context of each.
    ///
    /// Whatever `context` has captured stays with the listener and with its connections: a
    /// clone of the port should not be there.
    ///
    /// # Errors
    ///
    /// The socket comes back if no accept could be started: with the errors of
    /// [`initiate_accept`](Iocp::initiate_accept), and with
    /// [`InvalidInput`](ErrorKind::InvalidInput) if an option is 0 that must not be.
    pub fn listen<C: Send + 'static>(
        self,
        port: &Iocp<C>,
        socket: Associated<TcpListener>,
        context: impl Fn() -> C + Send + Sync + 'static,
    ) -> Result<Listener<C>, Rejected<Associated<TcpListener>>> {
        let (local, family, addresses) = match self.look_at(port, &socket) {
            Ok(known) => known,
            Err(error) => return Err(Rejected { error, returned: socket }),
        };
        let core = Core {
            options: self,
            local,
            family,
            object: socket.kind(),
            addresses,
            state: Mutex::new(State {
                socket: Some(socket),
                is_stopped: false,
                accepts: Vec::new(),
                last: 0,
                connections: 0,
                spare: Vec::new(),
                refusal: None,
            }),
        };
        let port = port.downgrade();
        let shared = Arc::new(Shared { core, port, context: Box::new(context) });
        let started = shared.start_missing();
        let mut state = shared.core.lock();
        if let Err(error) = started {
            if state.accepts.is_empty() {
                if let Some(socket) = state.socket.take() {
                    return Err(Rejected { error, returned: socket });
                }
            }
            state.refusal = Some(error);
        }
        drop(state);
        Ok(Listener { shared })
    }

    /// What has to be known of a socket, once.
    fn look_at<C: Send + 'static>(
        &self,
        port: &Iocp<C>,
        socket: &Associated<TcpListener>,
    ) -> Result<(SocketAddr, u16, AcceptExAddresses)> {
        socket.admit(&port.shared().state).map_err(Error::usage)?;
        if self.accepts == 0 || self.max_connections == 0 {
            return Err(Error::usage(&refusal::NO_ACCEPTS));
        }
        let object = socket.object(&port.shared().guards);
        let family = object.check_listener()?;
        let addresses = AcceptExAddresses::of(socket.raw(), object.provider())?;
        let local = socket.get_ref().local_addr();
        let local = local.map_err(|_| Error::usage(&refusal::NO_ADDRESSES))?;
        Ok((local, family, addresses))
    }
}

/// Keeps accepts in flight on a listening socket; see [the module](self).
///
/// Several threads can use it at a time. Dropping it closes the socket, and the completions
/// of its accepts still arrive; [stop](Self::stop) it first to lose no connection.
pub struct Listener<C: Send + 'static = usize> {
    shared: Arc<Shared<C>>,
}

impl<C: Send + 'static> Listener<C> {
    /// Starts accepts with the default [`Options`]; see [`Options::listen`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn new(
        port: &Iocp<C>,
        socket: Associated<TcpListener>,
        context: impl Fn() -> C + Send + Sync + 'static,
    ) -> Result<Self, Rejected<Associated<TcpListener>>> {
        Options::new().listen(port, socket, context)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.core.local
    }

    /// Takes the connection from the completion of an accept, and starts the accepts that are
    /// missing.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the completion is not that of a listener's
    /// accept; it is left as it was. Otherwise, why the accept has failed:
    /// - [`ConnectionReset`](ErrorKind::ConnectionReset),
    ///   [`ConnectionAborted`](ErrorKind::ConnectionAborted): the client went away;
    /// - [`TimedOut`](ErrorKind::TimedOut): it was [silent](Self::drop_silent);
    /// - [`Cancelled`](ErrorKind::Cancelled): the listener was [stopped](Self::stop);
    /// - what the system says: then accepts are missing until the next connection has come or
    ///   one has ended, or until [`refill`](Self::refill).
    pub fn accepted(&self, completion: &mut CompletionStatus<C>) -> Result<Accepted> {
        let Some(AcceptedInto { output, keeps }) = completion.operation.take::<Ended>() else {
            return Err(Error::usage(&refusal::NOT_ACCEPTED));
        };
        let bytes = completion.bytes_transferred as usize;
        keeps.end(completion.error_status.clone(), output, bytes)
    }

    /// Starts the accepts that are missing, and returns how many. To be called now and then,
    /// in case that nothing else [starts them again](self#when-sockets-or-memory-run-out).
    ///
    /// # Errors
    ///
    /// Why one was refused. It would be in vain to call this again at once.
    pub fn refill(&self) -> Result<usize> {
        self.shared.start_missing()
    }

    /// Why accepts could not be started lately, other than by [`refill`](Self::refill); `None`
    /// if they could, or this has been asked since.
    #[must_use]
    pub fn take_error(&self) -> Option<Error> {
        self.shared.core.lock().refusal.take()
    }

    /// How many accepts have been started whose completions have neither been passed to
    /// [`accepted`](Self::accepted) nor dropped.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.core.lock().accepts.len()
    }

    /// How many connections are open: how many [`Permit`]s there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.core.lock().connections
    }

    /// Ends clients that have connected so long ago, to a listener for [first
    /// data](Options::first_data), and have not sent any; returns how many. Their accepts
    /// complete, and others are started when these are passed to
    /// [`accepted`](Self::accepted).
    ///
    /// The system counts seconds (`SO_CONNECT_TIME`). What was sent in time, but whose
    /// completion has been waiting in the port for so long, cannot be told from silence.
    pub fn drop_silent(&self, older_than: Duration) -> usize {
        let core = &self.shared.core;
        if core.options.first_data == 0 {
            return 0;
        }
        let is_silent = |socket: &mut OwnedSocket| {
            let seconds = sys::connect_time(sys::handle_of(socket));
            seconds.is_some_and(|seconds| Duration::from_secs(seconds.into()) >= older_than)
        };
        // "It is recommended such connections be terminated by closing the accepted socket,
        // which forces the AcceptEx function call to complete with an error"
        // (https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex).
        let mut state = core.lock();
        let accepts = state.accepts.iter_mut();
        accepts.filter_map(|accept| accept.socket.take_if(is_silent)).count()
    }

    /// Starts no more accepts, cancels those in flight, and returns how many completions are
    /// still to be passed to [`accepted`](Self::accepted). Those that had succeeded already
    /// are connections.
    ///
    /// After the last of them the socket is closed, and clients are refused.
    pub fn stop(&self) -> usize {
        let mut state = self.shared.core.lock();
        let stops = !std::mem::replace(&mut state.is_stopped, true);
        let closed = state.close_if_over();
        let left = state.accepts.len();
        // If that fails, the socket was closed elsewhere, which has ended them, too.
        let cancel =
            |socket: &Associated<_>| (socket.raw(), trace::silently(|| socket.cancel_all()));
        let cancelled = state.socket.as_ref().filter(|_| stops).map(cancel);
        drop(state);
        drop(closed);
        if let Some((socket, asked)) = cancelled {
            trace::cancelling_all(socket, &asked);
        }
        left
    }
}

impl<C: Send + 'static> Drop for Listener<C> {
    fn drop(&mut self) {
        let socket = self.shared.core.lock().socket.take();
        drop(socket);
    }
}

impl<C: Send + 'static> fmt::Debug for Listener<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.shared.core.local)
            .field("options", &self.shared.core.options)
            .field("in_flight", &self.in_flight())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// A connection that a [`Listener`] has accepted, and that no port has yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    stream: TcpStream,
    object: ObjectKind,
    /// The address on which the client has reached the listener.
    pub local: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
    /// What the client has sent [first](Options::first_data). If it is empty on a listener that
    /// waits for it, the client has ended its side without sending anything.
    pub data: Vec<u8>,
    /// Counts it among the listener's open connections.
    pub permit: Permit,
}

impl Accepted {
    /// Associates the connection with a port, the listener's or any other. Nothing has to be
    /// asked about it, unlike what [`add_handle`](Iocp::add_handle) gets.
    ///
    /// # Errors
    ///
    /// The connection comes back if the port is closed, or the system is out of memory.
    pub fn associate<D: Send + 'static>(
        self,
        port: &Iocp<D>,
        handle_context: usize,
    ) -> Result<Connection, Rejected<Self>> {
        let Self { stream, object, local, peer, data, permit } = self;
        match port.add_accepted(stream, handle_context, object) {
            Ok(stream) => Ok(Connection { stream, local, peer, data, permit }),
            Err(Rejected { error, returned: stream }) => {
                let returned = Self { stream, object, local, peer, data, permit };
                Err(Rejected { error, returned })
            }
        }
    }

    /// The socket, to set its options.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        &self.stream
    }
}

/// A connection that a [`Listener`] has accepted.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The socket.
    pub stream: Associated<TcpStream>,
    /// The address on which the client has reached the listener.
    pub local: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
    /// What the client has sent [first](Options::first_data). If it is empty on a listener that
    /// waits for it, the client has ended its side without sending anything.
    pub data: Vec<u8>,
    /// Counts it among the listener's open connections. Who takes a connection apart keeps
    /// this with the socket.
    pub permit: Permit,
}

impl Connection {
    /// Closes a connection on which nothing is in flight. To drop it does that too, but has to
    /// ask the system to cancel what there might be.
    pub fn close(self) {
        drop(self.stream.into_inner());
    }
}

/// Counts a connection among those that a [`Listener`] has open.
///
/// Dropping it says that the connection has ended, and starts an accept if one is
/// [missing](Options::max_connections).
pub struct Permit(Arc<dyn Refill>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.core().lock().connections -= 1;
        let mut panic = FirstPanic::none();
        // Contexts are the program's to make.
        panic.catch(|| Arc::clone(&self.0).refill());
        panic.resume();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.0.core().local).finish()
    }
}

struct Shared<C: Send + 'static> {
    core: Core,
    /// Connections are in contexts, which must not keep their port.
    port: WeakIocp<C>,
    context: Box<dyn Fn() -> C + Send + Sync>,
}

/// A listener, whatever contexts its accepts have.
trait Refill: Send + Sync {
    fn core(&self) -> &Core;

    /// Starts the accepts that are missing.
    fn refill(self: Arc<Self>);
}

struct Core {
    options: Options,
    local: SocketAddr,
    family: u16,
    /// What the listening socket is, and each connection.
    object: ObjectKind,
    addresses: AcceptExAddresses,
    /// Held while accepts are started, so that who stops finds all of them. No value of the
    /// program's, and no accept, is dropped meanwhile, and no subscriber called.
    state: Mutex<State>,
}

struct State {
    /// `None` once it is closed.
    socket: Option<Associated<TcpListener>>,
    is_stopped: bool,
    accepts: Vec<PostedAccept>,
    /// The number of the accept that was started last.
    last: u64,
    connections: usize,
    /// Outputs of accepts, to be used again.
    spare: Vec<Box<[u8]>>,
    refusal: Option<Error>,
}

/// An accept in flight.
struct PostedAccept {
    number: u64,
    /// The connection to be; `None` once its client has been silent for too long.
    socket: Option<OwnedSocket>,
}

/// Stands for an accept in flight in its memory.
struct Posted {
    listener: Arc<dyn Refill>,
    number: u64,
}

type Ended = AcceptedInto<Posted>;

/// So many clients that went away are passed over in a row of starts: twice as many as wait in
/// the backlog of a `TcpListener` that the standard library has bound.
const MOST_GONE: u32 = 256;

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind the lock is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that an accept needs for what it writes.
    fn output_size(&self) -> usize {
        usize::from(self.options.first_data) + 2 * sys::ADDRESS_SPACE
    }

    fn is_missing_accepts(&self, state: &State) -> bool {
        let Options { accepts, max_connections, .. } = self.options;
        let in_flight = state.accepts.len();
        state.socket.is_some()
            && !state.is_stopped
            && in_flight < accepts
            && in_flight + state.connections < max_connections
    }
}

impl State {
    fn remove(&mut self, number: u64) -> Option<OwnedSocket> {
        let index = self.accepts.iter().position(|accept| accept.number == number)?;
        self.accepts.swap_remove(index).socket
    }

    /// The socket, if it has been of use for the last time, to be closed.
    fn close_if_over(&mut self) -> Option<TcpListener> {
        let is_over = self.is_stopped && self.accepts.is_empty();
        // There is nothing to be cancelled.
        self.socket.take_if(|_| is_over).map(Associated::into_inner)
    }
}

impl<C: Send + 'static> Shared<C> {
    fn start_missing(self: &Arc<Self>) -> Result<usize> {
        let (mut started, mut gone) = (0, 0);
        loop {
            match self.start() {
                Ok(true) => started += 1,
                Ok(false) => return Ok(started),
                Err(error) if client_went_away(&error) && gone < MOST_GONE => gone += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts an accept, if one is missing.
    fn start(self: &Arc<Self>) -> Result<bool> {
        let core = &self.core;
        let Some(port) = self.port.upgrade() else { return Ok(false) };
        if !core.is_missing_accepts(&core.lock()) {
            return Ok(false);
        }
        let context = (self.context)();
        let socket = sys::new_socket(core.family)?;
        let mut guard = core.lock();
        // Another thread may have been faster.
        if !core.is_missing_accepts(&guard) {
            return Ok(false);
        }
        let state = &mut *guard;
        let Some(listener) = &state.socket else { return Ok(false) };
        state.last += 1;
        let number = state.last;
        let output = state.spare.pop().unwrap_or_else(|| vec![0; core.output_size()].into());
        let accepted = socket.as_raw_socket();
        state.accepts.push(PostedAccept { number, socket: Some(socket) });
        let keeps = Posted { listener: Arc::clone(self) as Arc<dyn Refill>, number };
        let accept = AcceptInto { accepted, output, keeps };
        let socket = listener.raw();
        let started = trace::silently(|| port.initiate(listener, context, accept));
        if started.is_ok() {
            state.refusal = None;
        }
        drop(guard);
        match &started {
            Ok(accept) => trace::starting(Facts::AcceptEx, socket, accept.address()),
            Err(_) => trace::rejected(socket, &started),
        }
        started?;
        Ok(true)
    }
}

impl<C: Send + 'static> Refill for Shared<C> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn refill(self: Arc<Self>) {
        if let Err(error) = self.start_missing() {
            self.core.lock().refusal = Some(error);
        }
    }
}

impl Posted {
    /// What has become of the accept.
    fn end(self, result: Result<()>, mut output: Box<[u8]>, bytes: usize) -> Result<Accepted> {
        let listener = Arc::clone(&self.listener);
        let core = listener.core();
        let mut state = core.lock();
        let silent = || Error::usage(&refusal::SILENT);
        let accepted = state.remove(self.number).ok_or_else(silent).and_then(|socket| {
            result?;
            let inherits = |listener: &Associated<TcpListener>| {
                sys::update_accept_context(sys::handle_of(&socket), listener.raw()).is_ok()
            };
            if !state.socket.as_ref().is_none_or(inherits) {
                completion_error(STATUS_CONNECTION_ABORTED, 0, Facts::AcceptEx)?;
            }
            let stream = TcpStream::from(socket);
            // Wine writes none where the client has sent nothing.
            let ask = || Some((stream.local_addr().ok()?, stream.peer_addr().ok()?));
            let addresses = core.addresses.get(&mut output).or_else(ask);
            let addresses = addresses.ok_or_else(|| Error::usage(&refusal::NO_ADDRESSES))?;
            Ok((stream, addresses))
        });
        let mut data = Vec::new();
        if accepted.is_ok() {
            state.connections += 1;
            if core.options.first_data > 0 {
                data = std::mem::take(&mut output).into();
                data.truncate(bytes.min(core.options.first_data.into()));
            }
        }
        if !output.is_empty() {
            // The next client's addresses are not to be taken for this one's.
            output.fill(0);
            state.spare.push(output);
        }
        let closed = state.close_if_over();
        drop(state);
        drop(closed);
        match accepted {
            Ok((stream, (local, peer))) => {
                let permit = Permit(Arc::clone(&listener));
                let object = core.object;
                Arc::clone(&listener).refill();
                Ok(Accepted { stream, object, local, peer, data, permit })
            }
            Err(error) => {
                if client_went_away(&error) {
                    Arc::clone(&listener).refill();
                }
                Err(error)
            }
        }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        let mut state = self.listener.core().lock();
        let socket = state.remove(self.number);
        let closed = state.close_if_over();
        drop(state);
        drop((socket, closed));
    }
}

/// Whether an accept has failed because of its client. Another can be started at once; if
/// something else is short, it would fail as well.
fn client_went_away(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::TimedOut
    )
}
