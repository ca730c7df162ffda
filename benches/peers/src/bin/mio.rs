//! On mio: one thread, reads and writes until they would block. It reads no
//! files.

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::os::windows::io::{FromRawHandle, IntoRawHandle};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::windows::NamedPipe;
use mio::{Events, Interest, Poll, Token};
use peers::{BATCH, BUFFER, MESSAGE, Peer, PingPong, Result, pipe_pair};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);

fn main() -> Result {
    Peer { echo, file: None, pipe: Some(pipe), posts: None }.main()
}

struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// What has been received and not sent back.
    unsent: std::ops::Range<usize>,
}

fn echo(listener: net::TcpListener) -> Result {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    register(&poll, &mut listener, LISTENER)?;
    let mut connections = Slab::new();
    let mut events = Events::with_capacity(BATCH);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut connections)?;
            } else if let Some(connection) = connections.get_mut(event.token().0)
                && !matches!(connection.serve(), Ok(true))
            {
                connections.remove(event.token().0);
            }
        }
    }
}

fn accept(
    poll: &Poll,
    listener: &TcpListener,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    while let Some((mut stream, _)) = ready(listener.accept())? {
        stream.set_nodelay(true)?;
        let place = connections.vacant_entry();
        register(poll, &mut stream, Token(place.key()))?;
        place.insert(Connection {
            stream,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            unsent: 0..0,
        });
    }
    Ok(())
}

impl Connection {
    /// Sends back what comes until it would block; whether the connection is open.
    fn serve(&mut self) -> io::Result<bool> {
        loop {
            while !self.unsent.is_empty() {
                match ready(self.stream.write(&self.buffer[self.unsent.clone()]))? {
                    Some(count) => self.unsent.start += count,
                    None => return Ok(true),
                }
            }
            match ready(self.stream.read(&mut self.buffer))? {
                Some(0) => return Ok(false),
                Some(count) => self.unsent = 0..count,
                None => return Ok(true),
            }
        }
    }
}

const SERVER: Token = Token(0);
const CLIENT: Token = Token(1);

fn pipe(mut job: PingPong) -> Result {
    let (server, client) = pipe_pair(&job.name())?;
    let mut poll = Poll::new()?;
    let mut server = End::new(&poll, server.into_raw_handle(), SERVER)?;
    let mut client = End::new(&poll, client.into_raw_handle(), CLIENT)?;
    job.next(&mut client.message);
    client.unsent = true;
    client.send()?;
    let mut events = Events::with_capacity(BATCH);
    loop {
        poll.poll(&mut events, None)?;
        server.send()?;
        while server.receive()? {
            server.unsent = true;
            server.send()?;
        }
        client.send()?;
        while client.receive()? {
            if !job.done(&client.message) {
                return Ok(());
            }
            job.next(&mut client.message);
            client.unsent = true;
            client.send()?;
        }
    }
}

/// One end of the pipe, and the message that it has received or shall send.
struct End {
    pipe: NamedPipe,
    message: [u8; MESSAGE],
    unsent: bool,
}

impl End {
    fn new(poll: &Poll, handle: std::os::windows::io::RawHandle, token: Token) -> io::Result<Self> {
        // SAFETY: The handle is nobody else's, and overlapped.
        let mut pipe = unsafe { NamedPipe::from_raw_handle(handle) };
        register(poll, &mut pipe, token)?;
        Ok(Self { pipe, message: [0; MESSAGE], unsent: false })
    }

    /// Sends what is to be sent, if that is possible now.
    fn send(&mut self) -> io::Result<()> {
        if self.unsent
            && let Some(count) = ready(self.pipe.write(&self.message))?
        {
            assert_eq!(count, MESSAGE, "mio writes all or nothing");
            self.unsent = false;
        }
        Ok(())
    }

    /// Whether a message has come. Messages are written as a whole, and so
    /// they come.
    fn receive(&mut self) -> io::Result<bool> {
        if self.unsent {
            return Ok(false);
        }
        let received = ready(self.pipe.read(&mut self.message))?;
        assert!(received.is_none_or(|count| count == MESSAGE), "part of a message");
        Ok(received.is_some())
    }
}

fn register(poll: &Poll, source: &mut impl Source, token: Token) -> io::Result<()> {
    poll.registry().register(source, token, Interest::READABLE | Interest::WRITABLE)
}

/// `None` if it would have to wait.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
