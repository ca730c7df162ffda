//! Calls that fail at once, or warn: whether a packet comes, and whether the
//! thread's last NTSTATUS says why.

use std::io;

use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_NO_BUFFERING;

use crate::kernel::{
    LENGTH, Operation, Port, Raw, Temporary, datagrams, new_socket, overlapped, pipes,
};
use crate::{Answer, Question};

const NO_PACKET: &str = "no packet";
const PACKET: &str = "a packet";
const NEXT: &str = "no: the packet may be taken for the next one of its cell";
const HANGS: &str = "no: it never completes";
const NOT_ASKED: &str = "nothing: it lets no such handle skip";
const EITHER: &str = "yes";

pub const QUESTIONS: &[Question] = &[
    Question {
        ask: "a receive cuts a datagram that is there",
        answer: || cut_datagram(false),
        assumes: PACKET,
        otherwise: HANGS,
    },
    Question {
        ask: "the same, skip-on-success",
        answer: || cut_datagram(true),
        assumes: NOT_ASKED,
        otherwise: EITHER,
    },
    Question {
        ask: "a read takes a part of a message that is there",
        answer: || part_of_message(false),
        assumes: PACKET,
        otherwise: HANGS,
    },
    Question {
        ask: "the same, skip-on-success",
        answer: || part_of_message(true),
        assumes: NOT_ASKED,
        otherwise: EITHER,
    },
    Question {
        ask: "a datagram of 70,000 bytes is sent",
        answer: || long_datagram(false),
        assumes: "no packet, and refuses what is longer than `SO_MAX_MSG_SIZE` itself",
        otherwise: NEXT,
    },
    Question {
        ask: "the same, skip-on-success",
        answer: || long_datagram(true),
        assumes: NOT_ASKED,
        otherwise: EITHER,
    },
    Question {
        ask: "a read at the end of a file",
        answer: || end_of_file(false, 0),
        assumes: "38 at once without a packet, or a packet",
        otherwise: NEXT,
    },
    Question {
        ask: "the same, skip-on-success",
        answer: || end_of_file(true, 0),
        assumes: "38 at once without a packet, or a packet",
        otherwise: NEXT,
    },
    Question {
        ask: "the same, unbuffered",
        answer: || end_of_file(false, FILE_FLAG_NO_BUFFERING),
        assumes: "as without the flag",
        otherwise: "yes, but 87 is told as an error",
    },
    Question {
        ask: "a read of a pipe whose other end is closed",
        answer: || broken_pipe(false, false),
        assumes: "109 at once without a packet, or a packet",
        otherwise: NEXT,
    },
    Question {
        ask: "the same, skip-on-success",
        answer: || broken_pipe(false, true),
        assumes: "109 at once without a packet, or a packet",
        otherwise: NEXT,
    },
    Question {
        ask: "a write to a pipe whose other end is closed",
        answer: || broken_pipe(true, false),
        assumes: NO_PACKET,
        otherwise: NEXT,
    },
    Question {
        ask: "a read of a file that may only be written",
        answer: || without_rights(false),
        assumes: NO_PACKET,
        otherwise: NEXT,
    },
    Question {
        ask: "a write of a file that may only be read",
        answer: || without_rights(true),
        assumes: NO_PACKET,
        otherwise: NEXT,
    },
    Question {
        ask: "a read of a Unix FIFO that nobody writes to",
        answer: fifo,
        assumes: "a packet: files are Wine's to read then",
        otherwise: EITHER,
    },
    Question {
        ask: "a read of a Unix file that cannot be read",
        answer: || unix(r"\\?\unix\proc\self\mem"),
        assumes: "a packet: files are Wine's to read then",
        otherwise: EITHER,
    },
    Question {
        ask: "a receive on a socket that is not connected",
        answer: || unconnected(false),
        assumes: NO_PACKET,
        otherwise: NEXT,
    },
    Question {
        ask: "a send on a socket that is not connected",
        answer: || unconnected(true),
        assumes: NO_PACKET,
        otherwise: NEXT,
    },
];

fn cut_datagram(skips: bool) -> Answer {
    let (peer, socket) = datagrams()?;
    let port = Port::with(&socket, skips)?;
    peer.send(&[b'x'; 2 * LENGTH])?;
    // It is there when it can be seen.
    socket.peek(&mut [0; 4 * LENGTH])?;
    Ok(port.tell(&Operation::new().receive(&socket)))
}

fn part_of_message(skips: bool) -> Answer {
    let (server, client) = pipes(true)?;
    let port = Port::with(&server, skips)?;
    write(&client)?;
    Ok(port.tell(&Operation::of(LENGTH / 2).read(&server)))
}

/// Writes [`LENGTH`] bytes to a pipe, and waits until they are there.
fn write(pipe: &impl Raw) -> io::Result<()> {
    let port = Port::with(pipe, false)?;
    if !Operation::new().write(pipe).is_started() || port.packet().is_none() {
        return Err(io::Error::other("the pipe cannot be written to"));
    }
    Ok(())
}

fn long_datagram(skips: bool) -> Answer {
    let (_peer, socket) = datagrams()?;
    let port = Port::with(&socket, skips)?;
    Ok(port.tell(&Operation::of(70_000).send(&socket)))
}

fn end_of_file(skips: bool, flags: u32) -> Answer {
    let temporary = Temporary::new(4096)?;
    let file = overlapped(true, false, flags).open(&temporary.0)?;
    let port = Port::with(&file, skips)?;
    Ok(port.tell(&Operation::of(4096).at(4096).read(&file)))
}

fn broken_pipe(writes: bool, skips: bool) -> Answer {
    let (server, client) = pipes(false)?;
    let port = Port::with(&server, skips)?;
    drop(client);
    let operation = Operation::new();
    let started = if writes { operation.write(&server) } else { operation.read(&server) };
    Ok(port.tell(&started))
}

fn without_rights(writes: bool) -> Answer {
    let temporary = Temporary::new(4096)?;
    let file = overlapped(writes, !writes, 0).open(&temporary.0)?;
    let port = Port::with(&file, false)?;
    let operation = Operation::new();
    let started = if writes { operation.write(&file) } else { operation.read(&file) };
    Ok(port.tell(&started))
}

fn fifo() -> Answer {
    unix(&std::env::var("COMPLETION_PORT_FACTS_FIFO").map_err(|_| "this is not Unix")?)
}

fn unix(path: &str) -> Answer {
    let file = overlapped(true, false, 0).open(path).map_err(|_| "this is not Unix")?;
    let port = Port::with(&file, false)?;
    Ok(port.tell(&Operation::new().read(&file)))
}

fn unconnected(writes: bool) -> Answer {
    let socket = new_socket(ws::AF_INET)?;
    let port = Port::with(&socket, false)?;
    let operation = Operation::new();
    let started = if writes { operation.send(&socket) } else { operation.receive(&socket) };
    Ok(port.tell(&started))
}
