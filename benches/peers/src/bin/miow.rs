//! On miow: one thread, batches; all completions come through the port. It
//! reads no files.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{FromRawHandle, IntoRawHandle};

use miow::Overlapped;
use miow::iocp::{CompletionPort, CompletionStatus};
use miow::net::{AcceptAddrsBuf, TcpListenerExt, TcpStreamExt};
use miow::pipe::NamedPipe;
use peers::{BATCH, BUFFER, MESSAGE, Peer, PingPong, Result, pipe_pair};
use socket2::{Domain, Socket, Type};

fn main() -> Result {
    Peer { echo, file: None, pipe: Some(pipe), posts: None }.main()
}

/// The key of the listener; connections are found by their operation.
const LISTENER: usize = 1;
const CONNECTION: usize = 0;

#[repr(C)]
struct Accept {
    overlapped: Overlapped,
    stream: Option<TcpStream>,
    addresses: AcceptAddrsBuf,
}

/// A connection has one operation at a time.
#[repr(C)]
struct Connection {
    overlapped: Overlapped,
    stream: TcpStream,
    sending: bool,
    buffer: [u8; BUFFER],
}

fn echo(listener: TcpListener) -> Result {
    let port = CompletionPort::new(1)?;
    port.add_socket(LISTENER, &listener)?;
    for _ in 0..BATCH {
        let addresses = AcceptAddrsBuf::new();
        let accept = Accept { overlapped: Overlapped::zero(), stream: None, addresses };
        // SAFETY: The operation is new, and never freed.
        unsafe { start_accept(&listener, Box::into_raw(Box::new(accept)))? };
    }
    let mut statuses = [CompletionStatus::zero(); BATCH];
    loop {
        for status in port.get_many(&mut statuses, None)? {
            // SAFETY: The packet says that the operation is over, and the key
            // whose it was.
            unsafe {
                if status.token() == LISTENER {
                    let accept = status.overlapped().cast();
                    accepted(&port, &listener, accept)?;
                    start_accept(&listener, accept)?;
                } else {
                    let connection = status.overlapped().cast::<Connection>();
                    let bytes = status.bytes_transferred() as usize;
                    if bytes == 0 || advance(connection, bytes).is_err() {
                        drop(Box::from_raw(connection));
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// The operation is not in flight, and is never freed.
unsafe fn start_accept(listener: &TcpListener, accept: *mut Accept) -> io::Result<()> {
    let stream = TcpStream::from(Socket::new(Domain::IPV4, Type::STREAM, None)?);
    // SAFETY: By the caller's promise.
    unsafe {
        let Accept { overlapped, stream: place, addresses } = &mut *accept;
        *overlapped = Overlapped::zero();
        let stream = place.insert(stream);
        listener.accept_overlapped(stream, addresses, overlapped.raw())?;
    }
    Ok(())
}

/// # Safety
///
/// The operation is over.
unsafe fn accepted(
    port: &CompletionPort,
    listener: &TcpListener,
    accept: *mut Accept,
) -> io::Result<()> {
    // SAFETY: By the caller's promise.
    let Some(stream) = (unsafe { (*accept).stream.take() }) else { return Ok(()) };
    // It fails if the client has gone away.
    if listener.accept_complete(&stream).is_err() {
        return Ok(());
    }
    stream.set_nodelay(true)?;
    port.add_socket(CONNECTION, &stream)?;
    let connection =
        Connection { overlapped: Overlapped::zero(), stream, sending: true, buffer: [0; BUFFER] };
    let connection = Box::into_raw(Box::new(connection));
    // SAFETY: It is new, and freed only when no operation is in flight.
    unsafe {
        if advance(connection, 0).is_err() {
            drop(Box::from_raw(connection));
        }
    }
    Ok(())
}

/// Sends what has been received, or receives again.
///
/// # Safety
///
/// The connection has no operation in flight.
unsafe fn advance(connection: *mut Connection, bytes: usize) -> io::Result<()> {
    // SAFETY: By the caller's promise.
    unsafe {
        let Connection { overlapped, stream, sending, buffer } = &mut *connection;
        *overlapped = Overlapped::zero();
        *sending = !*sending;
        if *sending {
            stream.write_overlapped(&buffer[..bytes], overlapped.raw())?;
        } else {
            stream.read_overlapped(buffer, overlapped.raw())?;
        }
    }
    Ok(())
}

/// One end of the pipe, with an operation in each direction.
struct End {
    pipe: NamedPipe,
    reading: Overlapped,
    writing: Overlapped,
    received: [u8; MESSAGE],
    sent: [u8; MESSAGE],
}

const SERVER: usize = 0;
const CLIENT: usize = 1;

fn pipe(mut job: PingPong) -> Result {
    let port = CompletionPort::new(1)?;
    let (server, client) = pipe_pair(&job.name())?;
    let mut ends = [server.into_raw_handle(), client.into_raw_handle()].map(|handle| {
        Box::leak(Box::new(End {
            // SAFETY: The handle is nobody else's.
            pipe: unsafe { NamedPipe::from_raw_handle(handle) },
            reading: Overlapped::zero(),
            writing: Overlapped::zero(),
            received: [0; MESSAGE],
            sent: [0; MESSAGE],
        }))
    });
    for (key, end) in ends.iter_mut().enumerate() {
        port.add_handle(key, &end.pipe)?;
        end.read()?;
    }
    job.next(&mut ends[CLIENT].sent);
    ends[CLIENT].write()?;
    let mut statuses = [CompletionStatus::zero(); BATCH];
    loop {
        for status in port.get_many(&mut statuses, None)? {
            assert_eq!(status.bytes_transferred() as usize, MESSAGE);
            let end = &mut *ends[status.token()];
            if status.overlapped() != end.reading.raw() {
                continue;
            }
            if status.token() == SERVER {
                end.sent = end.received;
            } else if job.done(&end.received) {
                job.next(&mut end.sent);
            } else {
                return Ok(());
            }
            end.read()?;
            end.write()?;
        }
    }
}

impl End {
    fn read(&mut self) -> io::Result<()> {
        self.reading = Overlapped::zero();
        // SAFETY: No read is in flight, and ends are never freed.
        unsafe { self.pipe.read_overlapped(&mut self.received, self.reading.raw())? };
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.writing = Overlapped::zero();
        // SAFETY: The last message has been answered, so its write is over.
        unsafe { self.pipe.write_overlapped(&self.sent, self.writing.raw())? };
        Ok(())
    }
}
