//! Cancelling and closing.

use std::io::{Read, Write};
use std::mem;
use std::net::{Ipv4Addr, TcpListener};
use std::ptr;
use std::thread;

use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_NOTIFY_CHANGE_FILE_NAME, ReadDirectoryChangesW,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use crate::kernel::{
    LENGTH, Operation, Port, Raw, datagrams, extension, new_socket, overlapped, pipes, streams,
};
use crate::{Answer, Question};

const ONE: &str = "one packet, with any error";
const NEVER: &str = "no: it never completes";
const LOST: &str = "yes, but data is lost";
const NOT_FOUND: &str = "1168";
const SAYS: &str = "yes, but `cancel` says that there was something to cancel";

pub const QUESTIONS: &[Question] = &[
    Question {
        ask: "a stream is closed with a receive pending: what does the peer read of 4 bytes sent \
              before?",
        answer: || close_while_receiving(false, false),
        assumes: "nothing: it cancels first",
        otherwise: LOST,
    },
    Question {
        ask: "the same, cancelled and closed at once",
        answer: || close_while_receiving(true, false),
        assumes: "all",
        otherwise: LOST,
    },
    Question {
        ask: "the same, cancelled, and closed after its packet",
        answer: || close_while_receiving(true, true),
        assumes: "all",
        otherwise: LOST,
    },
    Question {
        ask: "a receive whose stream is closed",
        answer: || {
            let (_client, server) = streams()?;
            closed(server, |operation, stream| operation.receive(stream).is_started())
        },
        assumes: ONE,
        otherwise: NEVER,
    },
    Question {
        ask: "the same, cancelled first",
        answer: || {
            let (_client, server) = streams()?;
            closed(server, |operation, stream| {
                operation.receive(stream).is_started() && operation.cancel(stream) == "success"
            })
        },
        assumes: ONE,
        otherwise: NEVER,
    },
    Question {
        ask: "the same, while a duplicate is open",
        answer: || {
            let (_client, server) = streams()?;
            let _duplicate = server.try_clone()?;
            closed(server, |operation, stream| operation.receive(stream).is_started())
        },
        assumes: "nothing: it cancels first",
        otherwise: "yes",
    },
    Question {
        ask: "a receive whose datagram socket is closed",
        answer: || {
            let (_peer, socket) = datagrams()?;
            closed(socket, |operation, socket| operation.receive(socket).is_started())
        },
        assumes: ONE,
        otherwise: NEVER,
    },
    Question {
        ask: "an accept whose listener is closed",
        answer: closed_listener,
        assumes: ONE,
        otherwise: NEVER,
    },
    Question {
        ask: "a read whose pipe is closed",
        answer: || {
            let (server, _client) = pipes(false)?;
            closed(server, |operation, pipe| operation.read(pipe).is_started())
        },
        assumes: ONE,
        otherwise: NEVER,
    },
    Question {
        ask: "a watch whose directory is closed",
        answer: closed_directory,
        assumes: ONE,
        otherwise: NEVER,
    },
    Question {
        ask: "a receive whose thread ends, then data",
        answer: thread_ends,
        assumes: "a packet with the data",
        otherwise: "yes: it is told as cancelled",
    },
    Question {
        ask: "a cancel of what is over, but not dequeued",
        answer: cancel_after_completion,
        assumes: NOT_FOUND,
        otherwise: SAYS,
    },
    Question {
        ask: "a cancel of what was never started",
        answer: || {
            let (_client, server) = streams()?;
            let _port = Port::with(&server, false)?;
            // Something else is pending.
            if !Operation::new().receive(&server).is_started() {
                return Err("the receive fails".into());
            }
            Ok(Operation::new().cancel(&server).to_owned())
        },
        assumes: NOT_FOUND,
        otherwise: SAYS,
    },
    Question {
        ask: "a cancel of what was posted",
        answer: || {
            let (_client, server) = streams()?;
            let port = Port::with(&server, false)?;
            let operation = Operation::new();
            port.post(&operation)?;
            Ok(operation.cancel(&server).to_owned())
        },
        assumes: NOT_FOUND,
        otherwise: SAYS,
    },
];

fn close_while_receiving(cancels: bool, dequeues: bool) -> Answer {
    let (mut client, mut server) = streams()?;
    let port = Port::with(&server, false)?;
    let operation = Operation::new();
    if !operation.receive(&server).is_started() {
        return Err("the receive fails".into());
    }
    server.write_all(b"last")?;
    if cancels {
        operation.cancel(&server);
    }
    if dequeues {
        port.packet();
    }
    drop(server);
    let packet = port.packet();
    let mut received = Vec::new();
    let end = match client.read_to_end(&mut received) {
        Ok(_) => "the end".to_owned(),
        Err(error) => format!("error {}", error.raw_os_error().unwrap_or_default()),
    };
    let then = if dequeues { String::new() } else { format!("; {packet}") };
    Ok(format!("{} bytes, then {end}{then}", received.len()))
}

/// What becomes of an operation whose handle is closed.
fn closed<H: Raw>(handle: H, start: impl FnOnce(&Operation, &H) -> bool) -> Answer {
    let port = Port::with(&handle, false)?;
    if !start(&Operation::new(), &handle) {
        return Err("the operation cannot be started".into());
    }
    drop(handle);
    Ok(port.packet().to_string())
}

fn closed_listener() -> Answer {
    type AcceptEx = unsafe extern "system" fn(
        ws::SOCKET,
        ws::SOCKET,
        *mut u8,
        u32,
        u32,
        u32,
        *mut u32,
        *mut OVERLAPPED,
    ) -> i32;

    const ADDRESS: u32 = size_of::<ws::SOCKADDR_IN>() as u32 + 16;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let accepted = new_socket(ws::AF_INET)?;
    let function = extension(&listener, ws::WSAID_ACCEPTEX).ok_or("there is no AcceptEx")?;
    // SAFETY: The provider gave this address for AcceptEx.
    let accept = unsafe { mem::transmute::<*const (), AcceptEx>(function) };
    closed(listener, |operation, listener| {
        let mut bytes = 0;
        let (listener, accepted) = (listener.raw().addr(), accepted.raw().addr());
        let (buffer, overlapped) = (operation.buffer(), operation.overlapped());
        // SAFETY: Buffer, which is a page, and OVERLAPPED are never freed.
        let mut call = || unsafe {
            accept(listener, accepted, buffer, 0, ADDRESS, ADDRESS, &raw mut bytes, overlapped)
        };
        operation.start(|| call() != 0).is_started()
    })
}

fn closed_directory() -> Answer {
    let folder = std::env::temp_dir();
    let directory = overlapped(true, false, FILE_FLAG_BACKUP_SEMANTICS).open(folder)?;
    closed(directory, |operation, directory| {
        let (directory, buffer) = (directory.raw(), operation.buffer().cast());
        let (length, changes) = (LENGTH as u32, FILE_NOTIFY_CHANGE_FILE_NAME);
        let overlapped = operation.overlapped();
        // SAFETY: Buffer and OVERLAPPED are never freed.
        let call = || unsafe {
            let count = ptr::null_mut();
            ReadDirectoryChangesW(directory, buffer, length, 0, changes, count, overlapped, None)
        };
        operation.start(|| call() != 0).is_started()
    })
}

fn thread_ends() -> Answer {
    let (mut client, server) = streams()?;
    let port = Port::with(&server, false)?;
    let receive = || Operation::new().receive(&server).is_started();
    let started = thread::scope(|scope| scope.spawn(receive).join());
    if !started.is_ok_and(|started| started) {
        return Err("the receive fails".into());
    }
    client.write_all(b"late")?;
    Ok(port.packet().to_string())
}

fn cancel_after_completion() -> Answer {
    let (mut client, server) = streams()?;
    let port = Port::with(&server, false)?;
    let operation = Operation::new();
    client.write_all(b"data")?;
    server.peek(&mut [0; 8])?;
    if !operation.receive(&server).is_started() {
        return Err("the receive fails".into());
    }
    let answer = operation.cancel(&server);
    Ok(format!("{answer}; {}", port.packet()))
}
