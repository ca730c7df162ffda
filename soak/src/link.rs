//! A connection between two ends, both on the port, and what is done with it.

use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use completion_port::{Associated, Iocp, Pending};
use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::CreateNamedPipeW;

use crate::random::Random;
use crate::ticket::{Stream, Ticket, Work, counts};

pub struct Link {
    ends: [End; 2],
    /// What the first end writes, and what the second does.
    streams: [Arc<Stream>; 2],
}

enum End {
    Socket(Associated<TcpStream>),
    Pipe(Associated<OwnedHandle>),
}

/// A `Pending` that is kept for later.
pub struct Kept {
    pending: Pending<Vec<u8>>,
    stream: Arc<Stream>,
    offset: u64,
}

impl Kept {
    /// Whether the operation is over; verifies its buffer if it is still there.
    pub fn is_over(&mut self) -> bool {
        if let Some(buffer) = self.pending.take_buffer() {
            self.stream.verify(self.offset, &buffer);
        }
        self.pending.is_completed()
    }
}

/// Calls the right method of an end.
macro_rules! on {
    ($end:expr, $handle:ident => $call:expr) => {
        match $end {
            End::Socket($handle) => $call,
            End::Pipe($handle) => $call,
        }
    };
}

impl Link {
    pub fn open(port: &Iocp<Ticket>, listener: &TcpListener, random: &mut Random) -> Self {
        counts::LINKS.fetch_add(1, Ordering::Relaxed);
        let ends = if random.one_in(2) {
            let client = TcpStream::connect(listener.local_addr().unwrap()).expect("loopback");
            let (server, _) = listener.accept().expect("loopback");
            [client, server].map(|end| End::Socket(port.add_handle(end, 1).expect("new")))
        } else {
            pipe().map(|end| End::Pipe(port.add_handle(end, 2).expect("new")))
        };
        Self { ends, streams: [Stream::new(random.next()), Stream::new(random.next())] }
    }

    /// Does one thing or another.
    pub fn step(&mut self, port: &Iocp<Ticket>, random: &mut Random, kept: &mut Vec<Kept>) {
        let end = random.below(2) as usize;
        match random.below(16) {
            0..6 => self.write(end, port, random, kept),
            6..12 => self.read(end, port, random, kept),
            12 => {
                if !kept.is_empty() {
                    let index = random.below(kept.len() as u64) as usize;
                    // The handle may be closed, and its operation over.
                    kept[index].pending.cancel().expect("a cancel is harmless");
                }
            }
            13 if random.one_in(8) => {
                on!(&self.ends[end], handle => handle.cancel_all()).expect("an open handle");
            }
            14 => {
                let ticket = Ticket::new(Work::Post);
                port.post(ticket, 3, 4).map_err(|rejected| rejected.error).expect("an open port");
            }
            _ => kept.retain_mut(|kept| !kept.is_over()),
        }
    }

    fn write(&self, end: usize, port: &Iocp<Ticket>, random: &mut Random, kept: &mut Vec<Kept>) {
        let stream = &self.streams[end];
        if stream.broken.load(Ordering::Relaxed) || stream.writing.swap(true, Ordering::Acquire) {
            return;
        }
        let offset = stream.sent.load(Ordering::Relaxed);
        let longest = if random.one_in(8) { 100_000 } else { 2000 };
        let length = 1 + random.below(longest);
        let buffer = stream.bytes(offset, length);
        let work = Work::Write { stream: Arc::clone(stream), offset, length };
        let started = on!(&self.ends[end], handle => {
            port.initiate_write(handle, Ticket::new(work), buffer).map_err(|rejected| rejected.error)
        });
        keep(started, stream, offset, random, kept);
    }

    fn read(&self, end: usize, port: &Iocp<Ticket>, random: &mut Random, kept: &mut Vec<Kept>) {
        let stream = &self.streams[1 - end];
        if stream.broken.load(Ordering::Relaxed) || stream.reading.swap(true, Ordering::Acquire) {
            return;
        }
        let offset = stream.received.load(Ordering::Relaxed);
        let buffer = Vec::with_capacity(1 + random.below(4000) as usize);
        let work = Work::Read { stream: Arc::clone(stream), offset };
        let started = on!(&self.ends[end], handle => {
            port.initiate_read(handle, Ticket::new(work), buffer).map_err(|rejected| rejected.error)
        });
        keep(started, stream, offset, random, kept);
    }

    /// Closes both ends, one way or another, with whatever is in flight.
    pub fn close(self, port: &Iocp<Ticket>, random: &mut Random) {
        if random.one_in(4) {
            self.read_in_scope(port, random);
        }
        let [first, second] = self.ends;
        if let (End::Socket(socket), true) = (&first, random.one_in(3)) {
            reset_when_closed(socket.get_ref());
        }
        match random.below(3) {
            0 => drop((second, first)),
            1 => drop((first, second)),
            // Closed as what it was before, without its association.
            _ => on!(first, handle => drop(handle.into_inner())),
        }
    }

    /// A read into borrowed memory, which the end of the scope cancels.
    fn read_in_scope(&self, port: &Iocp<Ticket>, random: &mut Random) {
        let stream = &self.streams[1];
        if stream.broken.load(Ordering::Relaxed) || stream.reading.swap(true, Ordering::Acquire) {
            return;
        }
        let offset = stream.received.load(Ordering::Relaxed);
        let length = 1 + random.below(1000);
        // No byte is what it will be if it is read.
        let mut buffer: Vec<u8> = stream.bytes(offset, length).iter().map(|byte| !byte).collect();
        let work = Work::Read { stream: Arc::clone(stream), offset };
        port.scope(|scope| {
            let _ = on!(&self.ends[0], handle => {
                scope.initiate_read(handle, Ticket::new(work), &mut buffer).map(drop)
            });
        });
        // Nobody knows how much was read.
        stream.broken.store(true, Ordering::Relaxed);
        let untouched = |index: usize| buffer[index] == !stream.byte(offset + index as u64);
        let read = (0..buffer.len()).take_while(|&index| !untouched(index)).count();
        stream.verify(offset, &buffer[..read]);
        assert!((read..buffer.len()).all(untouched), "a gap in what was read");
    }
}

fn keep(
    started: Result<Pending<Vec<u8>>, completion_port::Error>,
    stream: &Arc<Stream>,
    offset: u64,
    random: &mut Random,
    kept: &mut Vec<Kept>,
) {
    match started {
        Ok(pending) if random.one_in(2) => {
            kept.push(Kept { pending, stream: Arc::clone(stream), offset });
        }
        Ok(dropped) => drop(dropped),
        // The other end is gone, or was reset.
        Err(_) => stream.broken.store(true, Ordering::Relaxed),
    }
}

/// Makes the end of the connection a reset.
fn reset_when_closed(socket: &TcpStream) {
    let linger = ws::LINGER { l_onoff: 1, l_linger: 0 };
    // SAFETY: The value is read for its length before the call returns.
    unsafe {
        ws::setsockopt(
            socket.as_raw_socket() as ws::SOCKET,
            ws::SOL_SOCKET,
            ws::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<ws::LINGER>() as i32,
        );
    }
}

/// The two ends of a new named pipe.
fn pipe() -> [OwnedHandle; 2] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let (process, count) = (std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let name = format!(r"\\.\pipe\completion-port-soak-{process}-{count}");
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let open_mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
    // SAFETY: The name ends with a zero, and lives during both calls.
    unsafe {
        let server = CreateNamedPipeW(name.as_ptr(), open_mode, 0, 1, 16384, 16384, 0, ptr::null());
        let client = CreateFileW(
            name.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            0,
            ptr::null(),
            OPEN_EXISTING,
            FILE_FLAG_OVERLAPPED,
            ptr::null_mut(),
        );
        [server, client].map(own)
    }
}

fn own(handle: HANDLE) -> OwnedHandle {
    assert_ne!(handle, INVALID_HANDLE_VALUE, "{}", std::io::Error::last_os_error());
    // SAFETY: The handle is new and nobody else's.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}
