//! The server: several threads on one port, breadth first.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use completion_port::listener::{self, Listener};
use completion_port::{Batch, CompletionStatus, Error, Iocp, Rejected};
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

type Connection = Arc<listener::Connection>;

pub struct Server {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    port: Iocp<Event>,
    listener: Listener<Event>,
    /// To end those that are still there when the server stops.
    connections: Mutex<Vec<Weak<listener::Connection>>>,
    stopping: AtomicBool,
    counters: Counters,
    errors: Arc<Errors>,
}

impl Server {
    pub fn start(listen: &str, threads: u32, errors: Arc<Errors>) -> io::Result<Self> {
        let port: Iocp<Event> = Iocp::builder().concurrency(threads).build()?;
        let socket = port.add_handle(bind(listen)?, 0)?;
        let options = listener::Options::new().accepts(ACCEPTS);
        let listener = options.listen(&port, socket, || Event::Accepted)?;
        let shared = Arc::new(Shared {
            port,
            listener,
            connections: Mutex::default(),
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
        Ok(Self { shared, threads })
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.listener.local_addr()
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Starts the accepts that were refused before, as happens when memory or
    /// descriptors are short. To be called now and then.
    pub fn keep_accepting(&self) {
        let listener = &self.shared.listener;
        if let Some(error) = listener.refill().err().or_else(|| listener.take_error()) {
            self.shared.failed(&error);
        }
    }

    /// Ends all that is in flight, waits a while for the completions, and
    /// stops the threads. How many accepts there were, and what was counted.
    pub fn stop(self) -> (usize, Counters) {
        self.keep_accepting();
        self.shared.stopping.store(true, Ordering::SeqCst);
        let accepting = self.shared.listener.stop();
        let deadline = Instant::now() + PATIENCE;
        while self.shared.in_flight() > 0 && Instant::now() < deadline {
            // Again and again: a connection that was busy may have gone on.
            self.shared.cancel_all();
            thread::sleep(Duration::from_millis(10));
        }
        self.shared.port.close();
        for thread in self.threads {
            thread.join().expect("the threads do not panic");
        }
        let shared = Arc::into_inner(self.shared).expect("the threads have ended");
        shared.counters.accepting(shared.listener.in_flight());
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
                self.counters.accepting(1);
                let accepted = self.listener.accepted(&mut completion).ok()?;
                // Small echoes should not wait for each other.
                let _ = accepted.get_ref().set_nodelay(true);
                let connection = accepted.associate(&self.port, 0);
                let connection = connection.inspect_err(|rejected| self.failed(&rejected.error));
                let connection = Arc::new(connection.ok()?);
                self.counters.connected();
                self.remember(&connection);
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

    fn remember(&self, connection: &Connection) {
        let mut connections = self.connections.lock().expect("nobody panics with the lock");
        if connections.len() == connections.capacity() {
            connections.retain(|connection| connection.strong_count() > 0);
        }
        connections.push(Arc::downgrade(connection));
    }

    fn cancel_all(&self) {
        for connection in self.connections.lock().expect("nobody panics with the lock").iter() {
            if let Some(connection) = connection.upgrade() {
                // That there is nothing to cancel, or no more, is as good.
                let _ = connection.stream.cancel_all();
            }
        }
    }

    /// Operations in flight, accepts included.
    fn in_flight(&self) -> usize {
        self.counters.in_flight() + self.listener.in_flight()
    }

    fn receive(&self, connection: &Connection, buffer: Vec<u8>) {
        let context = Event::Received(Arc::clone(connection));
        // One that is refused is dropped, and its connection with it.
        self.start(|| self.port.initiate_read(&connection.stream, context, buffer));
    }

    fn send(&self, connection: &Connection, buffer: Vec<u8>) {
        let context = Event::Sent(Arc::clone(connection));
        self.start(|| self.port.initiate_write(&connection.stream, context, buffer));
    }

    /// Starts an operation, and counts it or why it was refused.
    fn start<P, T>(&self, initiate: impl FnOnce() -> Result<P, Rejected<T>>) {
        // Before it is started, because it may be over at once.
        self.counters.starting();
        if let Err(rejected) = initiate() {
            self.counters.refused();
            self.failed(&rejected.error);
        }
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
