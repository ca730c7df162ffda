//! The rows written by hand: as a careful programmer would who calls the API
//! directly. It finds its connection by the completion key and its operation
//! by the `OVERLAPPED`, checks the status, and keeps the buffer with the
//! operation.

use std::hint::black_box;
use std::os::windows::io::{AsRawHandle, AsRawSocket};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, GetLastError, HANDLE, INVALID_HANDLE_VALUE, STATUS_CANCELLED,
};
use windows_sys::Win32::Networking::WinSock::{
    SOCKET, WSA_IO_PENDING, WSABUF, WSAGetLastError, WSARecv, WSASend,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatus, GetQueuedCompletionStatusEx,
    OVERLAPPED, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};

use crate::objects::{SIZE, file, pipes, streams};

const INFINITE: u32 = u32::MAX;

/// An operation and its buffer, at a place that does not change.
#[repr(C)]
struct Operation {
    overlapped: OVERLAPPED,
    buffer: Vec<u8>,
}

impl Operation {
    fn new() -> Self {
        Self { overlapped: OVERLAPPED::default(), buffer: vec![7; SIZE] }
    }
}

/// A context with data.
enum Event {
    Message([u64; 3]),
    Number(u64),
}

/// What the program knows of a connection, found by its key.
struct Connection {
    handle: HANDLE,
    transferred: usize,
}

pub fn run() {
    // SAFETY: Every operation below is completed before its memory goes.
    unsafe {
        let port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 0);
        post(port);
        let (client, server) = streams();
        sockets(port, client.as_raw_socket() as HANDLE, server.as_raw_socket() as HANDLE);
        let file = file();
        file_read(port, file.as_raw_handle());
        let (server, client) = pipes("by-hand");
        pipe(port, server.as_raw_handle(), client.as_raw_handle());
    }
}

#[inline(never)]
unsafe fn post(port: HANDLE) {
    measure!(0, {
        // SAFETY: Posted values are not followed.
        unsafe {
            assert!(PostQueuedCompletionStatus(port, 3, 5, ptr::null()) != 0);
            let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
            let dequeued = GetQueuedCompletionStatus(
                port,
                &raw mut bytes,
                &raw mut key,
                &raw mut overlapped,
                INFINITE,
            );
            assert!(dequeued != 0 && overlapped.is_null());
            black_box((key, bytes));
        }
    });

    measure!(10, {
        // SAFETY: The box that goes in is the one that comes out.
        unsafe {
            let event = Box::new(if black_box(true) {
                Event::Message([1, 2, 3])
            } else {
                Event::Number(4)
            });
            let event = Box::into_raw(event) as usize;
            assert!(PostQueuedCompletionStatus(port, 0, event, ptr::null()) != 0);
            let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
            let dequeued = GetQueuedCompletionStatus(
                port,
                &raw mut bytes,
                &raw mut key,
                &raw mut overlapped,
                INFINITE,
            );
            assert!(dequeued != 0 && overlapped.is_null());
            match *Box::from_raw(key as *mut Event) {
                Event::Message(message) => black_box(message),
                Event::Number(number) => black_box([number; 3]),
            };
        }
    });

    let mut entries = [OVERLAPPED_ENTRY::default(); 64];
    measure!(12, {
        // SAFETY: Posted values are not followed.
        unsafe {
            for key in 0..64 {
                assert!(PostQueuedCompletionStatus(port, 3, key, ptr::null()) != 0);
            }
            let mut left = 64;
            while left > 0 {
                let mut count = 0;
                let entries_start = entries.as_mut_ptr();
                let dequeued = GetQueuedCompletionStatusEx(
                    port,
                    entries_start,
                    64,
                    &raw mut count,
                    INFINITE,
                    0,
                );
                assert!(dequeued != 0);
                for entry in &entries[..count as usize] {
                    assert!(entry.lpOverlapped.is_null());
                    black_box((entry.lpCompletionKey, entry.dwNumberOfBytesTransferred));
                }
                left -= count;
            }
        }
    });
}

/// Waits for one operation, finds its connection, and checks it.
#[inline]
unsafe fn dequeue(port: HANDLE, connections: &mut [Connection]) -> (usize, *mut Operation, u32) {
    let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
    // SAFETY: The out-parameters are locals; what comes back went in.
    unsafe {
        let dequeued = GetQueuedCompletionStatus(
            port,
            &raw mut bytes,
            &raw mut key,
            &raw mut overlapped,
            INFINITE,
        );
        assert!(dequeued != 0 || !overlapped.is_null());
        let operation = overlapped.cast::<Operation>();
        let status = (*operation).overlapped.Internal as u32;
        connections[key].transferred += bytes as usize;
        (key, operation, status)
    }
}

unsafe fn start_receive(socket: HANDLE, operation: &mut Operation) {
    operation.overlapped = OVERLAPPED::default();
    let buffer = WSABUF { len: operation.buffer.len() as u32, buf: operation.buffer.as_mut_ptr() };
    let mut flags = 0;
    // SAFETY: The operation stays where it is until it has completed.
    unsafe {
        let overlapped = &raw mut operation.overlapped;
        let received = WSARecv(
            socket as SOCKET,
            &raw const buffer,
            1,
            ptr::null_mut(),
            &raw mut flags,
            overlapped,
            None,
        );
        assert!(received == 0 || WSAGetLastError() == WSA_IO_PENDING);
    }
}

#[inline(never)]
unsafe fn sockets(port: HANDLE, client: HANDLE, server: HANDLE) {
    let mut connections = [client, server].map(|handle| Connection { handle, transferred: 0 });
    let (mut sent, mut received) = (Box::new(Operation::new()), Box::new(Operation::new()));
    // SAFETY: As promised by `run`.
    unsafe {
        for (key, connection) in connections.iter().enumerate() {
            assert!(!CreateIoCompletionPort(connection.handle, port, key, 0).is_null());
        }
    }
    measure!(2, {
        // SAFETY: As above; both are completed before the next round.
        unsafe {
            start_receive(connections[1].handle, &mut received);
            sent.overlapped = OVERLAPPED::default();
            let buffer = WSABUF { len: sent.buffer.len() as u32, buf: sent.buffer.as_mut_ptr() };
            let overlapped = &raw mut sent.overlapped;
            let socket = connections[0].handle as SOCKET;
            let result =
                WSASend(socket, &raw const buffer, 1, ptr::null_mut(), 0, overlapped, None);
            assert!(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
            for _ in 0..2 {
                let (key, operation, status) = dequeue(port, &mut connections);
                assert!(status == 0);
                black_box((key, &(*operation).buffer));
            }
        }
    });
    measure!(8, {
        // SAFETY: As above.
        unsafe {
            start_receive(connections[1].handle, &mut received);
            assert!(CancelIoEx(connections[1].handle, &raw const received.overlapped) != 0);
            let (_, operation, status) = dequeue(port, &mut connections);
            assert!(status == STATUS_CANCELLED as u32);
            black_box(&(*operation).buffer);
        }
    });
}

#[inline(never)]
unsafe fn file_read(port: HANDLE, handle: HANDLE) {
    let mut connections = [Connection { handle, transferred: 0 }];
    let mut operation = Box::new(Operation::new());
    // SAFETY: As promised by `run`.
    unsafe { assert!(!CreateIoCompletionPort(handle, port, 0, 0).is_null()) };
    for region in [4, 14, 16, 18] {
        measure!(region, {
            // SAFETY: The operation is completed before the next round.
            unsafe {
                operation.overlapped = OVERLAPPED::default();
                operation.overlapped.Anonymous.Anonymous.Offset = black_box(128);
                let overlapped = &raw mut operation.overlapped;
                let buffer = operation.buffer.as_mut_ptr();
                let length = operation.buffer.len() as u32;
                let read =
                    ReadFile(connections[0].handle, buffer, length, ptr::null_mut(), overlapped);
                assert!(read != 0 || GetLastError() == ERROR_IO_PENDING);
                let (_, operation, status) = dequeue(port, &mut connections);
                assert!(status == 0);
                black_box(&(*operation).buffer);
            }
        });
    }
}

#[inline(never)]
unsafe fn pipe(port: HANDLE, server: HANDLE, client: HANDLE) {
    let mut connections = [server, client].map(|handle| Connection { handle, transferred: 0 });
    let (mut written, mut read) = (Box::new(Operation::new()), Box::new(Operation::new()));
    // SAFETY: As promised by `run`.
    unsafe {
        for (key, connection) in connections.iter().enumerate() {
            assert!(!CreateIoCompletionPort(connection.handle, port, key, 0).is_null());
        }
    }
    measure!(6, {
        // SAFETY: All four are completed before the next round.
        unsafe {
            for (from, to) in [(0, 1), (1, 0)] {
                read.overlapped = OVERLAPPED::default();
                written.overlapped = OVERLAPPED::default();
                let length = read.buffer.len() as u32;
                let into = read.buffer.as_mut_ptr();
                let overlapped = &raw mut read.overlapped;
                let result =
                    ReadFile(connections[to].handle, into, length, ptr::null_mut(), overlapped);
                assert!(result != 0 || GetLastError() == ERROR_IO_PENDING);
                let length = written.buffer.len() as u32;
                let bytes = written.buffer.as_ptr();
                let overlapped = &raw mut written.overlapped;
                let result =
                    WriteFile(connections[from].handle, bytes, length, ptr::null_mut(), overlapped);
                assert!(result != 0 || GetLastError() == ERROR_IO_PENDING);
                for _ in 0..2 {
                    let (_, operation, status) = dequeue(port, &mut connections);
                    assert!(status == 0);
                    black_box(&(*operation).buffer);
                }
            }
        }
    });
}
