//! The server: several threads on one port, breadth first.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use completion_port::{Associated, Batch, CompletionStatus, Error, ErrorKind, Iocp, Rejected};
use socket2::{Domain, Socket, Type};

use super::report::{Counters, Errors};

/// How many connections can be accepted without waiting for the server.
const ACCEPTS: usize = 64;
/// How many completions a thread takes at a time: few enough that the others
/// get their share.
const BATCH: usize = 32;
const BUFFER: usize = 16 * 1024;
/// How long the server waits, once stopped, for what is in flight to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an operation was for. A connection lives in the contexts of its
/// operations: when the last one is over, it is closed.
enum Event {
    Accepted,
    Received(Connection),
    Sent(Connection),
}

type Connection = Arc<Associated<TcpStream>>;

pub struct Server {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    port: Iocp<Event>,
    listener: Associated<TcpListener>,
    /// To end those that are still there when the server stops.
    connections: Mutex<Vec<Weak<Associated<TcpStream>>>>,
    /// Accepts in flight.
    accepting: AtomicUsize,
    stopping: AtomicBool,
    counters: Counters,
    errors: Arc<Errors>,
}

impl Server {
    pub fn start(listen: &str, threads: u32, errors: Arc<Errors>) -> io::Result<Self> {
        let port: Iocp<Event> = Iocp::builder().concurrency(threads).build()?;
        let listener = port.add_handle(bind(listen)?, 0)?;
        let shared = Arc::new(Shared {
            port,
            listener,
            connections: Mutex::default(),
            accepting: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            counters: Counters::default(),
            errors,
        });
        let threads = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve())
            })
            .collect();
        shared.keep_accepting();
        Ok(Self { shared, threads })
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.listener.get_ref().local_addr().expect("a bound listener has an address")
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Starts the accepts that were refused before, as happens when memory or
    /// descriptors are short. To be called now and then.
    pub fn keep_accepting(&self) {
        self.shared.keep_accepting();
    }

    /// Ends all that is in flight, waits a while for the completions, and
    /// stops the threads. How many accepts there were, and what was counted.
    pub fn stop(self) -> (usize, Counters) {
        self.keep_accepting();
        let accepting = self.shared.accepting.load(Ordering::SeqCst);
        self.shared.stopping.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        while self.shared.counters.in_flight() > 0 && Instant::now() < deadline {
            // Again and again: a connection that was busy may have gone on.
            self.shared.cancel_all();
            thread::sleep(Duration::from_millis(10));
        }
        self.shared.port.close();
        for thread in self.threads {
            thread.join().expect("the threads do not panic");
        }
        let shared = Arc::into_inner(self.shared).expect("the threads have ended");
        (accepting, shared.counters)
    }
}

/// Listens on the first of the addresses that can be had.
fn bind(listen: &str) -> io::Result<TcpListener> {
    // `:9000` is on all addresses of this machine.
    let host = if listen.starts_with(':') { "0.0.0.0" } else { "" };
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
    };
    let mut result = Err(io::ErrorKind::NotFound.into());
    for address in format!("{host}{listen}").to_socket_addrs().map_err(explain)? {
        result = bind_to(address);
        if result.is_ok() {
            break;
        }
    }
    result.map_err(explain)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    // Winsock's `SOMAXCONN`: as many clients may wait as the system allows.
    // `TcpListener::bind` lets 128 wait.
    socket.listen(i32::MAX)?;
    Ok(socket.into())
}

impl Shared {
    /// One thread's work: take a batch, serve all of it, and only then ask for
    /// more from those that were served. So nobody is served twice before all
    /// that are ready have been served once.
    fn serve(&self) {
        let mut batch = Batch::with_capacity(BATCH);
        let mut served = Vec::with_capacity(BATCH);
        loop {
            let count = match self.port.get_completions(&mut batch, None) {
                Ok(count) => count,
                Err(error) if error.is_closed() => return,
                Err(error) => return self.failed(&error),
            };
            for completion in &mut batch {
                match completion {
                    Ok(completion) => served.extend(self.complete(completion)),
                    Err(error) => self.failed(&error),
                }
            }
            for (connection, buffer) in served.drain(..) {
                self.receive(&connection, buffer);
            }
            self.counters.served(count);
        }
    }

    /// Takes one operation a step further. A connection that is due to receive
    /// comes back.
    fn complete(&self, mut completion: CompletionStatus<Event>) -> Option<(Connection, Vec<u8>)> {
        if let Err(error) = &completion.error_status {
            self.failed(error);
        }
        let succeeded = completion.error_status.is_ok();
        match completion.context {
            Event::Accepted => {
                self.accepting.fetch_sub(1, Ordering::SeqCst);
                if completion.error_status.as_ref().err().is_none_or(client_went_away) {
                    self.keep_accepting();
                }
                let stream = completion.operation.take_accepted()?;
                let connection = self.adopt(stream)?;
                Some((connection, Vec::with_capacity(BUFFER)))
            }
            // The connection is dropped, and with it closed, when its client
            // has closed it.
            Event::Received(_) if !succeeded || completion.bytes_transferred == 0 => None,
            Event::Received(connection) => {
                let buffer = completion.operation.take_buffer()?;
                self.send(&connection, buffer);
                None
            }
            Event::Sent(_) if !succeeded => None,
            Event::Sent(connection) => {
                let mut buffer: Vec<u8> = completion.operation.take_buffer()?;
                self.counters.echoed(buffer.len());
                buffer.clear();
                Some((connection, buffer))
            }
        }
    }

    fn adopt(&self, stream: TcpStream) -> Option<Connection> {
        // Small echoes should not wait for each other.
        let _ = stream.set_nodelay(true);
        match self.port.add_handle(stream, 0) {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.counters.connected();
                self.remember(&connection);
                Some(connection)
            }
            Err(rejected) => {
                self.failed(&rejected.error);
                None
            }
        }
    }

    fn remember(&self, connection: &Connection) {
        let mut connections = self.connections.lock().expect("nobody panics with the lock");
        if connections.len() == connections.capacity() {
            connections.retain(|connection| connection.strong_count() > 0);
        }
        connections.push(Arc::downgrade(connection));
    }

    fn cancel_all(&self) {
        // That there is nothing to cancel, or no more, is as good.
        let _ = self.listener.cancel_all();
        for connection in self.connections.lock().expect("nobody panics with the lock").iter() {
            if let Some(connection) = connection.upgrade() {
                let _ = connection.cancel_all();
            }
        }
    }

    /// Starts accepts until there are enough of them, or one is refused because
    /// something is short.
    fn keep_accepting(&self) {
        let one_more = |accepting| (accepting < ACCEPTS).then_some(accepting + 1);
        while !self.is_stopping()
            && self.accepting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
        {
            let accept = || self.port.initiate_accept(&self.listener, Event::Accepted);
            if let Err(error) = self.start(accept) {
                self.accepting.fetch_sub(1, Ordering::SeqCst);
                if !client_went_away(&error) {
                    return;
                }
            }
        }
    }

    fn receive(&self, connection: &Connection, buffer: Vec<u8>) {
        let context = Event::Received(Arc::clone(connection));
        // One that is refused is dropped, and its connection with it.
        let _ = self.start(|| self.port.initiate_read(connection, context, buffer));
    }

    fn send(&self, connection: &Connection, buffer: Vec<u8>) {
        let context = Event::Sent(Arc::clone(connection));
        let _ = self.start(|| self.port.initiate_write(connection, context, buffer));
    }

    /// Starts an operation, and counts it or why it was refused.
    fn start<P, T>(&self, initiate: impl FnOnce() -> Result<P, Rejected<T>>) -> Result<(), Error> {
        // Before it is started, because it may be over at once.
        self.counters.starting();
        let Err(rejected) = initiate() else {
            return Ok(());
        };
        self.counters.refused();
        self.failed(&rejected.error);
        Err(rejected.error)
    }

    fn failed(&self, error: &Error) {
        if error.is_cancelled() || self.is_stopping() {
            self.counters.cancelled();
        } else {
            self.errors.count("server", error.kind(), error);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Whether an accept failed because its client went away. Another can be
/// started at once; if something else is short, it would fail as well.
fn client_went_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}
