//! The server: several threads on one port, breadth first.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use completion_port::{Associated, Batch, CompletionStatus, Iocp, Rejected};

use super::report::Counters;

/// How many connections can be accepted without waiting for the server.
const ACCEPTS: usize = 16;
/// How many completions a thread takes at a time: few enough that the others
/// get their share.
const BATCH: usize = 32;
const BUFFER: usize = 16 * 1024;

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
    counters: Counters,
}

impl Server {
    pub fn start(address: SocketAddr, threads: u32) -> io::Result<Self> {
        let port: Iocp<Event> = Iocp::builder().concurrency(threads).build()?;
        let listener = port.add_handle(TcpListener::bind(address)?, 0)?;
        let shared = Arc::new(Shared {
            port,
            listener,
            connections: Mutex::default(),
            counters: Counters::default(),
        });
        for _ in 0..ACCEPTS {
            shared.accept();
        }
        let threads = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve())
            })
            .collect();
        Ok(Self { shared, threads })
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.listener.get_ref().local_addr().expect("a bound listener has an address")
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Ends all that is in flight, waits a while for the completions, and
    /// stops the threads.
    pub fn stop(self) -> Counters {
        self.shared.counters.stopping.set();
        for _ in 0..100 {
            // Again and again: a connection that was busy may have gone on.
            self.shared.cancel_all();
            if self.shared.counters.in_flight() == 0 {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.shared.port.close();
        for thread in self.threads {
            thread.join().expect("the threads do not panic");
        }
        Arc::into_inner(self.shared).expect("the threads have ended").counters
    }
}

impl Shared {
    /// One thread's work: take a batch, serve all of it, and only then ask for
    /// more from those that were served. So nobody is served twice before all
    /// that are ready have been served once.
    fn serve(&self) {
        let mut batch = Batch::with_capacity(BATCH);
        let mut served = Vec::with_capacity(BATCH);
        loop {
            match self.port.get_completions(&mut batch, None) {
                Ok(count) => self.counters.dequeued(count),
                Err(error) if error.is_closed() => return,
                Err(error) => {
                    eprintln!("cannot dequeue: {error}");
                    return;
                }
            }
            for completion in &mut batch {
                match completion {
                    Ok(completion) => served.extend(self.complete(completion)),
                    Err(error) => eprintln!("{error}"),
                }
            }
            for (connection, buffer) in served.drain(..) {
                self.receive(&connection, buffer);
            }
        }
    }

    /// Takes one operation a step further. A connection that is due to receive
    /// comes back.
    fn complete(&self, mut completion: CompletionStatus<Event>) -> Option<(Connection, Vec<u8>)> {
        if let Err(error) = &completion.error_status {
            self.counters.failed(error);
        }
        let succeeded = completion.error_status.is_ok();
        match completion.context {
            Event::Accepted => {
                if !self.counters.stopping.is_set() {
                    self.accept();
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
                self.counters.failed(&rejected.error);
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

    fn accept(&self) {
        self.started(self.port.initiate_accept(&self.listener, Event::Accepted));
    }

    fn receive(&self, connection: &Connection, buffer: Vec<u8>) {
        let context = Event::Received(Arc::clone(connection));
        self.started(self.port.initiate_read(connection, context, buffer));
    }

    fn send(&self, connection: &Connection, buffer: Vec<u8>) {
        let context = Event::Sent(Arc::clone(connection));
        self.started(self.port.initiate_write(connection, context, buffer));
    }

    /// Counts an operation. One that could not be started is dropped, and its
    /// connection with it.
    fn started<P, T>(&self, started: Result<P, Rejected<T>>) {
        match started {
            Ok(_) => self.counters.started(),
            Err(rejected) => self.counters.failed(&rejected.error),
        }
    }
}
