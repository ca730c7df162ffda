//! The rows written by hand on `windows-sys`, with no call that could be spared.

use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawHandle, AsRawSocket};
use std::ptr;

use cost::objects::{SIZE, datagrams, file, pipes, streams};
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, GetLastError, HANDLE, INVALID_HANDLE_VALUE, STATUS_CANCELLED, STATUS_SUCCESS,
};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, IN_ADDR, IN_ADDR_0, INVALID_SOCKET, IPPROTO_TCP, LPFN_ACCEPTEX,
    LPFN_GETACCEPTEXSOCKADDRS, LPFN_WSARECVMSG, SIO_GET_EXTENSION_FUNCTION_POINTER,
    SO_UPDATE_ACCEPT_CONTEXT, SOCK_STREAM, SOCKADDR_IN, SOCKET, SOL_SOCKET,
    WSA_FLAG_NO_HANDLE_INHERIT, WSA_FLAG_OVERLAPPED, WSA_IO_PENDING, WSABUF, WSAGetLastError,
    WSAID_ACCEPTEX, WSAID_GETACCEPTEXSOCKADDRS, WSAID_WSARECVMSG, WSAIoctl, WSAMSG, WSARecv,
    WSASend, WSASendMsg, WSASocketW, closesocket, setsockopt,
};
use windows_sys::Win32::Storage::FileSystem::{
    ReadFile, SetFileCompletionNotificationModes, WriteFile,
};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatus, GetQueuedCompletionStatusEx,
    OVERLAPPED, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};
use windows_sys::core::GUID;

use crate::{CONNECTIONS, Echo, Row};

const INFINITE: u32 = u32::MAX;

#[allow(clippy::cast_possible_wrap, reason = "it is 4 or 8")]
const HANDLE_SIZE: i32 = size_of::<SOCKET>() as i32;

/// An operation and its buffer, at a place that does not change.
#[repr(C)]
struct Operation {
    overlapped: OVERLAPPED,
    buffer: [u8; SIZE],
}

impl Operation {
    fn new() -> Self {
        Self { overlapped: OVERLAPPED::default(), buffer: [7; SIZE] }
    }
}

pub fn run(row: Row, rounds: usize) {
    // SAFETY: Every operation is completed before its memory goes.
    unsafe {
        let port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 0);
        assert!(!port.is_null());
        match row {
            Row::Post => post(port, rounds),
            Row::FileRead => file_read(port, rounds),
            Row::PipeRoundTrip => pipe_round_trip(port, rounds),
            Row::Cancel => cancel(port, rounds),
            Row::Message => message(port, rounds),
            Row::Accept => accept(port, rounds),
            Row::Echo(echo) => self::echo(port, echo, rounds),
        }
    }
}

/// # Safety
///
/// For this and the following: `port` is a port, handles are open and
/// overlapped, and an operation stays where it is until it has completed.
unsafe fn post(port: HANDLE, rounds: usize) {
    for _ in 0..rounds {
        let operation = Operation::new();
        // SAFETY: The operation outlives its packet.
        unsafe {
            assert!(PostQueuedCompletionStatus(port, 0, 0, &raw const operation.overlapped) != 0);
            dequeue(port, STATUS_SUCCESS);
        }
    }
}

unsafe fn file_read(port: HANDLE, rounds: usize) {
    let file = file();
    let file = file.as_raw_handle();
    let mut operation = Operation::new();
    // SAFETY: By the caller's promise.
    unsafe {
        associate(port, file);
        for _ in 0..rounds {
            read(file, &mut operation);
            dequeue(port, STATUS_SUCCESS);
        }
    }
}

unsafe fn pipe_round_trip(port: HANDLE, rounds: usize) {
    let (server, client) = pipes("by-hand");
    let (server, client) = (server.as_raw_handle(), client.as_raw_handle());
    let (mut written, mut received) = (Operation::new(), Operation::new());
    // SAFETY: By the caller's promise.
    unsafe {
        associate(port, server);
        associate(port, client);
        for _ in 0..rounds {
            for (from, to) in [(server, client), (client, server)] {
                read(to, &mut received);
                write(from, &mut written);
                dequeue(port, STATUS_SUCCESS);
                dequeue(port, STATUS_SUCCESS);
            }
        }
    }
}

unsafe fn cancel(port: HANDLE, rounds: usize) {
    let (_client, server) = streams();
    let mut operation = Operation::new();
    // SAFETY: By the caller's promise.
    unsafe {
        associate(port, server.as_raw_socket() as HANDLE);
        for _ in 0..rounds {
            receive(&server, &mut operation);
            let socket = server.as_raw_socket() as HANDLE;
            assert!(CancelIoEx(socket, &raw const operation.overlapped) != 0);
            dequeue(port, STATUS_CANCELLED);
        }
    }
}

unsafe fn message(port: HANDLE, rounds: usize) {
    let (one, other) = datagrams();
    let SocketAddr::V4(to) = other.local_addr().unwrap() else { unreachable!("it is IPv4") };
    let mut to = SOCKADDR_IN {
        sin_family: AF_INET,
        sin_port: to.port().to_be(),
        sin_addr: IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from_ne_bytes(to.ip().octets()) } },
        ..Default::default()
    };
    let (one, other) = (one.as_raw_socket() as SOCKET, other.as_raw_socket() as SOCKET);
    let (mut sent, mut received) = (Operation::new(), Operation::new());
    let mut from = SOCKADDR_IN::default();
    // SAFETY: By the caller's promise; the function is the provider's.
    unsafe {
        let receive: LPFN_WSARECVMSG = mem::transmute(extension(other, WSAID_WSARECVMSG));
        let receive = receive.unwrap();
        associate(port, one as HANDLE);
        associate(port, other as HANDLE);
        for _ in 0..rounds {
            let (mut buffer, mut message) = wsamsg(&mut to, &mut sent);
            message.lpBuffers = &raw mut buffer;
            let overlapped = &raw mut sent.overlapped;
            at_once(WSASendMsg(one, &raw const message, 0, ptr::null_mut(), overlapped, None));
            let (mut buffer, mut message) = wsamsg(&mut from, &mut received);
            message.lpBuffers = &raw mut buffer;
            let overlapped = &raw mut received.overlapped;
            at_once(receive(other, &raw mut message, ptr::null_mut(), overlapped, None));
            dequeue_all(port, 2);
        }
    }
}

fn wsamsg(address: &mut SOCKADDR_IN, operation: &mut Operation) -> (WSABUF, WSAMSG) {
    operation.overlapped = OVERLAPPED::default();
    let buffer = WSABUF { len: SIZE as u32, buf: operation.buffer.as_mut_ptr() };
    let name = ptr::from_mut(address).cast();
    (buffer, WSAMSG { name, namelen: 16, dwBufferCount: 1, ..Default::default() })
}

unsafe fn accept(port: HANDLE, rounds: usize) {
    const ROOM: u32 = size_of::<SOCKADDR_IN>() as u32 + 16;
    const { assert!(SIZE >= 2 * ROOM as usize) };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.as_raw_socket() as SOCKET;
    let mut operation = Operation::new();
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    // SAFETY: By the caller's promise; the functions are the provider's.
    unsafe {
        let accept_ex: LPFN_ACCEPTEX = mem::transmute(extension(listener, WSAID_ACCEPTEX));
        let get_addresses: LPFN_GETACCEPTEXSOCKADDRS =
            mem::transmute(extension(listener, WSAID_GETACCEPTEXSOCKADDRS));
        let (accept_ex, get_addresses) = (accept_ex.unwrap(), get_addresses.unwrap());
        associate(port, listener as HANDLE);
        let start = |operation: &mut Operation| {
            let socket =
                WSASocketW(AF_INET.into(), SOCK_STREAM, IPPROTO_TCP, ptr::null(), 0, flags);
            assert_ne!(socket, INVALID_SOCKET);
            operation.overlapped = OVERLAPPED::default();
            let (output, overlapped) =
                (operation.buffer.as_mut_ptr().cast(), &raw mut operation.overlapped);
            let mut count = 0;
            let accepted =
                accept_ex(listener, socket, output, 0, ROOM, ROOM, &raw mut count, overlapped);
            at_once(accepted - 1);
            socket
        };
        let mut next = start(&mut operation);
        for _ in 0..rounds {
            let client = TcpStream::connect(address).unwrap();
            dequeue(port, STATUS_SUCCESS);
            let socket = next;
            let value = (&raw const listener).cast();
            assert_eq!(
                setsockopt(socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, value, HANDLE_SIZE),
                0
            );
            let (mut local, mut peer) = (ptr::null_mut(), ptr::null_mut());
            let (mut local_length, mut peer_length) = (0, 0);
            get_addresses(
                operation.buffer.as_ptr().cast(),
                0,
                ROOM,
                ROOM,
                &raw mut local,
                &raw mut local_length,
                &raw mut peer,
                &raw mut peer_length,
            );
            assert_eq!((*peer).sa_family, AF_INET);
            next = start(&mut operation);
            associate(port, socket as HANDLE);
            closesocket(socket);
            drop(client);
        }
        assert!(CancelIoEx(listener as HANDLE, &raw const operation.overlapped) != 0);
        dequeue(port, STATUS_CANCELLED);
        closesocket(next);
    }
}

unsafe fn extension(socket: SOCKET, id: GUID) -> *const () {
    let (mut function, mut returned) = (ptr::null::<()>(), 0);
    // SAFETY: Input and output are locals of these sizes.
    let result = unsafe {
        WSAIoctl(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            size_of::<GUID>() as u32,
            (&raw mut function).cast(),
            size_of::<*const ()>() as u32,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    assert_eq!(result, 0);
    function
}

unsafe fn echo(port: HANDLE, echo: Echo, rounds: usize) {
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| streams()).collect();
    let mut operations: Vec<_> =
        (0..CONNECTIONS).map(|_| (Operation::new(), Operation::new())).collect();
    for stream in connections.iter().flat_map(|(client, server)| [client, server]) {
        let socket = stream.as_raw_socket() as HANDLE;
        // SAFETY: By the caller's promise.
        unsafe {
            associate(port, socket);
            if echo.skip {
                let flags = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
                assert!(SetFileCompletionNotificationModes(socket, flags as u8) != 0);
            }
        }
    }
    for _ in 0..rounds / CONNECTIONS {
        for back in [false, true] {
            let mut packets = 0;
            let mut started = |at_once: bool| packets += usize::from(!(at_once && echo.skip));
            for sending in [echo.ready, !echo.ready] {
                for ((client, server), (sent, received)) in connections.iter().zip(&mut operations)
                {
                    let (from, to) = if back { (server, client) } else { (client, server) };
                    // SAFETY: By the caller's promise.
                    unsafe {
                        started(if sending { send(from, sent) } else { receive(to, received) });
                    }
                }
            }
            // SAFETY: By the caller's promise.
            unsafe {
                if echo.batches {
                    dequeue_batches(port, packets);
                } else if packets > 0 {
                    dequeue_all(port, packets);
                } else {
                    look(port);
                }
            }
        }
    }
}

unsafe fn associate(port: HANDLE, handle: HANDLE) {
    // SAFETY: By the caller's promise.
    unsafe { assert!(!CreateIoCompletionPort(handle, port, 0, 0).is_null()) }
}

unsafe fn read(handle: HANDLE, operation: &mut Operation) {
    operation.overlapped = OVERLAPPED::default();
    let buffer = operation.buffer.as_mut_ptr();
    let overlapped = &raw mut operation.overlapped;
    // SAFETY: By the caller's promise.
    unsafe {
        let read = ReadFile(handle, buffer, SIZE as u32, ptr::null_mut(), overlapped);
        assert!(read != 0 || GetLastError() == ERROR_IO_PENDING);
    }
}

unsafe fn write(handle: HANDLE, operation: &mut Operation) {
    operation.overlapped = OVERLAPPED::default();
    let buffer = operation.buffer.as_ptr();
    let overlapped = &raw mut operation.overlapped;
    // SAFETY: By the caller's promise.
    unsafe {
        let written = WriteFile(handle, buffer, SIZE as u32, ptr::null_mut(), overlapped);
        assert!(written != 0 || GetLastError() == ERROR_IO_PENDING);
    }
}

/// Whether it was received at once.
unsafe fn receive(stream: &TcpStream, operation: &mut Operation) -> bool {
    operation.overlapped = OVERLAPPED::default();
    let buffer = WSABUF { len: SIZE as u32, buf: operation.buffer.as_mut_ptr() };
    let (socket, overlapped) = (stream.as_raw_socket() as SOCKET, &raw mut operation.overlapped);
    let (mut received, mut flags) = (0, 0);
    // SAFETY: By the caller's promise.
    unsafe {
        let (received, flags) = (&raw mut received, &raw mut flags);
        at_once(WSARecv(socket, &raw const buffer, 1, received, flags, overlapped, None))
    }
}

/// Whether it was sent at once.
unsafe fn send(stream: &TcpStream, operation: &mut Operation) -> bool {
    operation.overlapped = OVERLAPPED::default();
    let buffer = WSABUF { len: SIZE as u32, buf: operation.buffer.as_mut_ptr() };
    let (socket, overlapped) = (stream.as_raw_socket() as SOCKET, &raw mut operation.overlapped);
    let mut sent = 0;
    // SAFETY: By the caller's promise.
    unsafe { at_once(WSASend(socket, &raw const buffer, 1, &raw mut sent, 0, overlapped, None)) }
}

/// What the call's result says of that.
fn at_once(result: i32) -> bool {
    // SAFETY: Reads the calling thread's last error.
    assert!(result == 0 || unsafe { WSAGetLastError() } == WSA_IO_PENDING);
    result == 0
}

unsafe fn dequeue(port: HANDLE, expected: i32) {
    let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
    // SAFETY: The out-parameters are locals; the operation is completed.
    unsafe {
        let (bytes, key) = (&raw mut bytes, &raw mut key);
        GetQueuedCompletionStatus(port, bytes, key, &raw mut overlapped, INFINITE);
        assert!(!overlapped.is_null() && (*overlapped).Internal as u32 == expected as u32);
    }
}

unsafe fn dequeue_all(port: HANDLE, packets: usize) {
    for _ in 0..packets {
        // SAFETY: By the caller's promise.
        unsafe { dequeue(port, STATUS_SUCCESS) };
    }
}

/// Sees whether something else is ready, before going on with what completed
/// at once.
unsafe fn look(port: HANDLE) {
    let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
    // SAFETY: The out-parameters are locals.
    unsafe {
        let (bytes, key) = (&raw mut bytes, &raw mut key);
        assert!(GetQueuedCompletionStatus(port, bytes, key, &raw mut overlapped, 0) == 0);
    }
}

unsafe fn dequeue_batches(port: HANDLE, mut packets: usize) {
    let mut entries = [OVERLAPPED_ENTRY::default(); 2 * CONNECTIONS];
    // What completed at once is not kept waiting.
    let mut wait = if packets < 2 * CONNECTIONS { 0 } else { INFINITE };
    loop {
        let (start, length, mut count) = (entries.as_mut_ptr(), entries.len() as u32, 0);
        // SAFETY: So many entries are writable; the operations are completed.
        let dequeued =
            unsafe { GetQueuedCompletionStatusEx(port, start, length, &raw mut count, wait, 0) };
        assert!(dequeued != 0 || wait == 0);
        // Of a look in vain the count says nothing.
        let count = if dequeued == 0 { 0 } else { count as usize };
        for entry in &entries[..count] {
            // SAFETY: As above.
            assert!(unsafe { (*entry.lpOverlapped).Internal } == 0);
        }
        packets -= count;
        if packets == 0 {
            return;
        }
        wait = INFINITE;
    }
}
