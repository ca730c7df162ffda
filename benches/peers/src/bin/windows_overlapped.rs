//! On windows-overlapped-io-sys: one thread, skip-on-success. It has no
//! batches, and no accept: another thread accepts.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use peers::{BLOCK, BUFFER, FileReads, MESSAGE, Peer, PingPong, Read, Result, pipe_pair};
use slab::Slab;
use windows_overlapped_io_sys::{
    AssociatedEndpoint, AssociatedSocket, Completion, CompletionPort, FileIo, NotificationModes,
    SocketIo, Started, UnassociatedEndpoint,
};
use windows_sys::Win32::System::Threading::INFINITE;

const SKIP: NotificationModes =
    NotificationModes { skip_completion_port_on_success: true, skip_set_event_on_handle: false };

fn main() -> Result {
    Peer { echo, file: Some(file), pipe: Some(pipe), posts: None }.main()
}

/// The key of posted packets, which say that there are new connections.
const ACCEPTED: usize = usize::MAX;

/// A port that lives as long as the program.
fn leaked_port() -> io::Result<&'static CompletionPort> {
    Ok(Box::leak(Box::new(CompletionPort::new(1)?)))
}

struct Connection {
    socket: AssociatedSocket<'static>,
    pending: Option<SocketIo<Vec<u8>>>,
    receiving: bool,
}

struct Server {
    port: &'static CompletionPort,
    accepted: Receiver<TcpStream>,
    connections: Slab<Connection>,
    /// What has completed at once: the connection, its buffer, and how much.
    ready: VecDeque<(usize, Vec<u8>, usize)>,
}

fn echo(listener: TcpListener) -> Result {
    let port = leaked_port()?;
    let (sender, accepted) = mpsc::channel();
    thread::spawn(move || -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept()?;
            if sender.send(stream).is_err() {
                return Ok(());
            }
            port.post(ACCEPTED, 0)?;
        }
    });
    let (connections, ready) = (Slab::new(), VecDeque::new());
    let mut server = Server { port, accepted, connections, ready };
    loop {
        let timeout = if server.ready.is_empty() { INFINITE } else { 0 };
        if let Some(completion) = port.get(timeout)? {
            if completion.key() == ACCEPTED {
                server.adopt()?;
            } else {
                server.complete(&completion);
            }
        }
        if let Some((key, buffer, bytes)) = server.ready.pop_front() {
            server.advance(key, buffer, bytes);
        }
    }
}

impl Server {
    fn adopt(&mut self) -> Result {
        let stream = self.accepted.recv()?;
        stream.set_nodelay(true)?;
        let place = self.connections.vacant_entry();
        let key = place.key();
        let mut socket = self.port.associate_socket(stream.into(), key)?;
        socket.set_notification_modes(SKIP)?;
        place.insert(Connection { socket, pending: None, receiving: false });
        self.advance(key, vec![0; BUFFER], 0);
        Ok(())
    }

    fn complete(&mut self, completion: &Completion) {
        let key = completion.key();
        let pending = self.connections.get_mut(key).and_then(|found| found.pending.take());
        match pending.map(|pending| pending.claim(completion)) {
            Some(Ok((buffer, Ok(bytes)))) => self.advance(key, buffer, bytes),
            _ => drop(self.connections.try_remove(key)),
        }
    }

    /// Sends what has been received, or receives again.
    fn advance(&mut self, key: usize, mut buffer: Vec<u8>, bytes: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.receiving && bytes == 0 {
            self.connections.remove(key);
            return;
        }
        connection.receiving = !connection.receiving;
        let started = if connection.receiving {
            buffer.resize(BUFFER, 0);
            connection.socket.recv(buffer)
        } else {
            buffer.truncate(bytes);
            connection.socket.send(buffer)
        };
        match started {
            Ok(Started::Pending(pending)) => connection.pending = Some(pending),
            Ok(Started::Completed { payload, bytes_transferred }) => {
                self.ready.push_back((key, payload, bytes_transferred));
            }
            Err(_) => drop(self.connections.remove(key)),
        }
    }
}

type Block = FileIo<Vec<u8>>;

fn file(job: FileReads) -> Result {
    let port = CompletionPort::new(1)?;
    let mut file = UnassociatedEndpoint::open(job.path(), true, false, 0)?;
    file.set_notification_modes(SKIP)?;
    let file = port.associate(file, 0)?;
    let mut pending: Vec<(Read, Block)> = Vec::new();
    let mut ready: VecDeque<(Read, Vec<u8>)> =
        (0..job.depth).map(|slot| (job.next(slot), vec![0; BLOCK])).collect();
    let mut left = job.depth;
    while left > 0 {
        let Some((read, buffer)) = ready.pop_front() else {
            let completion = port.get(INFINITE)?.ok_or("the wait is over without a packet")?;
            let index = pending.iter().position(|(_, block)| Some(block.id()) == completion.id());
            let (read, block) = pending.swap_remove(index.ok_or("a packet of nobody's")?);
            let (buffer, count) = block.claim(&completion).map_err(|_| "another's packet")?;
            if job.done(&read, &buffer[..count?]) {
                ready.push_back((job.next(read.slot), buffer));
            } else {
                left -= 1;
            }
            continue;
        };
        match file.read(buffer, read.offset)? {
            Started::Pending(block) => pending.push((read, block)),
            Started::Completed { payload, bytes_transferred } => {
                if job.done(&read, &payload[..bytes_transferred]) {
                    ready.push_back((job.next(read.slot), payload));
                } else {
                    left -= 1;
                }
            }
        }
    }
    job.report();
    Ok(())
}

const SERVER: usize = 0;
const CLIENT: usize = 1;

/// One end of the pipe, with an operation in each direction.
struct End {
    endpoint: AssociatedEndpoint<'static>,
    reading: Option<Block>,
    writing: Option<Block>,
    received: VecDeque<Vec<u8>>,
}

fn pipe(mut job: PingPong) -> Result {
    let port = leaked_port()?;
    let (server, client) = pipe_pair(&job.name())?;
    let mut ends = Vec::new();
    for (key, handle) in [server, client.into()].into_iter().enumerate() {
        // SAFETY: The handle is new, overlapped, and nobody else's.
        let mut endpoint = unsafe { UnassociatedEndpoint::assume_overlapped(handle) };
        endpoint.set_notification_modes(SKIP)?;
        let endpoint = port.associate(endpoint, key)?;
        ends.push(End { endpoint, reading: None, writing: None, received: VecDeque::new() });
        ends[key].read(vec![0; MESSAGE])?;
    }
    let mut message = [0; MESSAGE];
    job.next(&mut message);
    ends[CLIENT].write(message.to_vec())?;
    loop {
        if ends.iter().all(|end| end.received.is_empty()) {
            let completion = port.get(INFINITE)?.ok_or("the wait is over without a packet")?;
            ends[completion.key()].complete(&completion)?;
        }
        if let Some(message) = ends[SERVER].received.pop_front() {
            ends[SERVER].read(vec![0; MESSAGE])?;
            ends[SERVER].write(message)?;
        }
        if let Some(mut buffer) = ends[CLIENT].received.pop_front() {
            if !job.done(&buffer) {
                // The port waits for what is in flight, and nothing is to come.
                std::process::exit(0);
            }
            ends[CLIENT].read(vec![0; MESSAGE])?;
            job.next(&mut message);
            buffer.copy_from_slice(&message);
            ends[CLIENT].write(buffer)?;
        }
    }
}

impl End {
    fn read(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        match self.endpoint.read(buffer, 0)? {
            Started::Pending(reading) => self.reading = Some(reading),
            Started::Completed { payload, .. } => self.received.push_back(payload),
        }
        Ok(())
    }

    fn write(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.writing = self.endpoint.write(message, 0)?.pending();
        Ok(())
    }

    fn complete(&mut self, completion: &Completion) -> Result {
        if let Some(reading) = self.reading.take() {
            match reading.claim(completion) {
                Ok((buffer, count)) => {
                    assert_eq!(count?, MESSAGE);
                    self.received.push_back(buffer);
                    return Ok(());
                }
                Err(reading) => self.reading = Some(reading),
            }
        }
        let writing = self.writing.take().ok_or("a packet of nobody's")?;
        let (_, count) = writing.claim(completion).map_err(|_| "another's packet")?;
        assert_eq!(count?, MESSAGE);
        Ok(())
    }
}
