//! A server that echoes, on four threads: at most 10,000 connections, of which those that say
//! nothing for a minute are closed. It ends when its input does, and lets what is being
//! written go out.

use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::listener::{Connection, Listener, Options};
use completion_port::{CompletionStatus, Driver, ErrorKind, Iocp, OperationKind, Result};

const THREADS: usize = 4;
/// How long a client may say nothing, or take none of what it is sent.
const IDLE: Duration = Duration::from_secs(60);
/// How long what is being written may take at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an operation was for. A connection lives in the contexts of its operations, and is
/// closed when the last of them is dropped.
enum Event {
    Accepted,
    Received(Arc<Connection>),
    Sent(Arc<Connection>),
}

struct Server {
    port: Iocp<Event>,
    listener: Listener<Event>,
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:9000".into());
    let port: Iocp<Event> = Iocp::builder().concurrency(THREADS as u32).build()?;
    let socket = port.add_handle(TcpListener::bind(address)?, 0)?;
    println!("listening on {}", socket.get_ref().local_addr()?);
    let listener =
        Options::new()
            .accepts(64)
            .max_connections(10_000)
            .listen(&port, socket, || Event::Accepted)?;
    let server = Arc::new(Server { port: port.clone(), listener });
    let threads = Driver::spawn_pool(&port, THREADS, {
        let server = Arc::clone(&server);
        move |completion| server.serve(completion)
    })?;

    // In a service, its control handler does this; in a console, one for Ctrl-C.
    let (stop, stopped) = mpsc::channel();
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stop.send(())
    });
    while stopped.recv_timeout(Duration::from_secs(1)).is_err() {
        // Where sockets or memory had run out.
        if let Err(error) = server.listener.refill() {
            eprintln!("cannot accept: {error}");
        }
    }
    server.listener.stop();
    let left = port.shut_down_with(PATIENCE, |completion| server.serve(completion));
    println!("ended, with {left} operations in flight");
    threads.stop().expect("no handler panics");
    Ok(())
}

impl Server {
    fn serve(&self, completion: CompletionStatus<Event>) {
        let kind = completion.operation.kind();
        match self.go_on(completion) {
            Ok(()) => {}
            // It was idle, or this is the end.
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) if error.is_cancelled() || error.is_closed() => {}
            Err(error) if kind == OperationKind::Accept => eprintln!("a client was lost: {error}"),
            Err(error) => eprintln!("a connection has failed: {error}"),
        }
    }

    fn go_on(&self, mut completion: CompletionStatus<Event>) -> Result<()> {
        match completion.context {
            Event::Accepted => {
                let accepted = self.listener.accepted(&mut completion)?;
                let connection = Arc::new(accepted.associate(&self.port, 0)?);
                self.receive(&connection, Vec::with_capacity(4096))
            }
            Event::Received(connection) => {
                completion.error_status?;
                let buffer: Vec<u8> = completion.operation.output()?;
                if buffer.is_empty() {
                    return Ok(()); // the end, which closes the connection
                }
                let event = Event::Sent(Arc::clone(&connection));
                let sending = self.port.initiate_write(&connection.stream, event, buffer)?;
                sending.set_deadline(Instant::now() + IDLE)
            }
            Event::Sent(connection) => {
                completion.error_status?;
                let mut buffer: Vec<u8> = completion.operation.output()?;
                buffer.clear();
                self.receive(&connection, buffer)
            }
        }
    }

    fn receive(&self, connection: &Arc<Connection>, buffer: Vec<u8>) -> Result<()> {
        let event = Event::Received(Arc::clone(connection));
        let receiving = self.port.initiate_read(&connection.stream, event, buffer)?;
        receiving.set_deadline(Instant::now() + IDLE)
    }
}
