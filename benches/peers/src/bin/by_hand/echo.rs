//! The echo server.

use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::windows::io::AsRawSocket;
use std::ptr;

use peers::{BATCH, BUFFER, Result};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AcceptEx, INVALID_SOCKET, IPPROTO_TCP, SO_UPDATE_ACCEPT_CONTEXT, SOCK_STREAM,
    SOCKADDR_STORAGE, SOCKET, SOL_SOCKET, TCP_NODELAY, WSA_FLAG_NO_HANDLE_INHERIT,
    WSA_FLAG_OVERLAPPED, WSA_IO_PENDING, WSABUF, WSAGetLastError, WSARecv, WSASend, WSASocketW,
    closesocket, setsockopt,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_ENTRY};

use crate::port::{self, Port};

#[derive(Clone, Copy)]
enum Step {
    Accept,
    Receive,
    Send,
}

/// What every operation starts with.
#[repr(C)]
struct Header {
    overlapped: OVERLAPPED,
    step: Step,
    socket: SOCKET,
}

const ADDRESS: usize = size_of::<SOCKADDR_STORAGE>() + 16;

#[repr(C)]
struct Accept {
    header: Header,
    addresses: [u8; 2 * ADDRESS],
}

/// A connection has one operation at a time, and so is its own.
#[repr(C)]
struct Connection {
    header: Header,
    length: u32,
    buffer: [u8; BUFFER],
}

struct Server {
    port: Port,
    listener: SOCKET,
    /// Those without a socket, to be used again.
    free: Vec<*mut Connection>,
    /// Those that have been served, and are to receive again.
    served: Vec<*mut Connection>,
    /// Those that have received at once.
    ready: Vec<*mut Connection>,
}

/// Serves all that is ready, and only then asks for more.
pub fn serve(listener: TcpListener) -> Result {
    let port = Port::new()?;
    port.associate_queued(listener.as_raw_socket() as HANDLE)?;
    let mut server = Server {
        port,
        listener: listener.as_raw_socket() as SOCKET,
        free: Vec::new(),
        served: Vec::new(),
        ready: Vec::new(),
    };
    for _ in 0..BATCH {
        let header = Header::new(Step::Accept, INVALID_SOCKET);
        let accept = Box::new(Accept { header, addresses: [0; 2 * ADDRESS] });
        // SAFETY: The operation is new, and never freed.
        unsafe { server.accept(Box::into_raw(accept))? };
    }
    let mut entries = port::entries();
    let (mut ready, mut served) = (Vec::new(), Vec::new());
    loop {
        let wait = server.ready.is_empty();
        mem::swap(&mut ready, &mut server.ready);
        for entry in server.port.dequeue(&mut entries, wait)? {
            // SAFETY: All packets are those of our operations, none of which
            // is ever freed.
            unsafe { server.complete(entry)? };
        }
        for connection in ready.drain(..) {
            // SAFETY: Its receive is over.
            unsafe { server.received(connection) };
        }
        mem::swap(&mut served, &mut server.served);
        for connection in served.drain(..) {
            // SAFETY: It has no operation in flight.
            unsafe { server.receive(connection) };
        }
    }
}

impl Header {
    fn new(step: Step, socket: SOCKET) -> Self {
        Self { overlapped: OVERLAPPED::default(), step, socket }
    }
}

impl Server {
    unsafe fn complete(&mut self, entry: &OVERLAPPED_ENTRY) -> io::Result<()> {
        // SAFETY: The packet says that the operation is over and ours.
        unsafe {
            let header: *mut Header = entry.lpOverlapped.cast();
            let succeeded = (*header).overlapped.Internal == 0;
            match (*header).step {
                Step::Accept => self.accepted(header.cast(), succeeded)?,
                Step::Receive => {
                    let connection: *mut Connection = header.cast();
                    let bytes = entry.dwNumberOfBytesTransferred;
                    (*connection).length = if succeeded { bytes } else { 0 };
                    self.received(connection);
                }
                Step::Send if succeeded => self.served.push(header.cast()),
                Step::Send => self.close(header.cast()),
            }
        }
        Ok(())
    }

    unsafe fn accept(&self, accept: *mut Accept) -> io::Result<()> {
        // SAFETY: The operation is not in flight.
        unsafe {
            let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
            let family = i32::from(AF_INET);
            let socket = WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, ptr::null(), 0, flags);
            if socket == INVALID_SOCKET {
                return Err(socket_error());
            }
            (*accept).header = Header::new(Step::Accept, socket);
            let addresses = (&raw mut (*accept).addresses).cast();
            let (room, mut bytes) = (ADDRESS as u32, 0);
            let (bytes, overlapped) = (&raw mut bytes, accept.cast());
            let done = AcceptEx(self.listener, socket, addresses, 0, room, room, bytes, overlapped);
            if done == 0 && WSAGetLastError() != WSA_IO_PENDING {
                return Err(socket_error());
            }
        }
        Ok(())
    }

    unsafe fn accepted(&mut self, accept: *mut Accept, succeeded: bool) -> io::Result<()> {
        // SAFETY: The operation is over.
        unsafe {
            let socket = (*accept).header.socket;
            if succeeded {
                self.adopt(socket)?;
            } else {
                closesocket(socket);
            }
            self.accept(accept)
        }
    }

    fn adopt(&mut self, socket: SOCKET) -> io::Result<()> {
        set(socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, &self.listener)?;
        set(socket, IPPROTO_TCP, TCP_NODELAY, &1_i32)?;
        self.port.associate(socket as HANDLE)?;
        let connection = self.free.pop().unwrap_or_else(|| {
            let header = Header::new(Step::Receive, socket);
            Box::into_raw(Box::new(Connection { header, length: 0, buffer: [0; BUFFER] }))
        });
        // SAFETY: It is free.
        unsafe { (*connection).header.socket = socket };
        self.served.push(connection);
        Ok(())
    }

    unsafe fn receive(&mut self, connection: *mut Connection) {
        // SAFETY: The connection has no operation in flight.
        unsafe {
            let socket = (*connection).header.socket;
            (*connection).header = Header::new(Step::Receive, socket);
            let buf = (&raw mut (*connection).buffer).cast();
            let buffer = WSABUF { len: BUFFER as u32, buf };
            let (mut bytes, mut flags) = (0, 0);
            let (bytes_out, flags) = (&raw mut bytes, &raw mut flags);
            let overlapped = connection.cast();
            if WSARecv(socket, &raw const buffer, 1, bytes_out, flags, overlapped, None) == 0 {
                (*connection).length = bytes;
                self.ready.push(connection);
            } else if WSAGetLastError() != WSA_IO_PENDING {
                self.close(connection);
            }
        }
    }

    unsafe fn received(&mut self, connection: *mut Connection) {
        // SAFETY: The connection has no operation in flight.
        unsafe {
            if (*connection).length == 0 {
                return self.close(connection);
            }
            let socket = (*connection).header.socket;
            (*connection).header = Header::new(Step::Send, socket);
            let buf = (&raw mut (*connection).buffer).cast();
            let buffer = WSABUF { len: (*connection).length, buf };
            let mut bytes = 0;
            let (bytes, overlapped) = (&raw mut bytes, connection.cast());
            if WSASend(socket, &raw const buffer, 1, bytes, 0, overlapped, None) == 0 {
                self.served.push(connection);
            } else if WSAGetLastError() != WSA_IO_PENDING {
                self.close(connection);
            }
        }
    }

    unsafe fn close(&mut self, connection: *mut Connection) {
        // SAFETY: The connection has no operation in flight.
        unsafe { closesocket((*connection).header.socket) };
        self.free.push(connection);
    }
}

fn set<T>(socket: SOCKET, level: i32, option: i32, value: &T) -> io::Result<()> {
    let value: *const T = value;
    // SAFETY: The value is as long as is said.
    let result = unsafe { setsockopt(socket, level, option, value.cast(), size_of::<T>() as i32) };
    if result == 0 { Ok(()) } else { Err(socket_error()) }
}

fn socket_error() -> io::Error {
    io::Error::last_os_error()
}
