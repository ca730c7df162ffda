//! Operations that succeed, and skip-on-success.

use std::io::{Read, Write};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::windows::io::OwnedHandle;
use std::ptr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use windows_sys::Wdk::Storage::FileSystem::{
    FileIoCompletionNotificationInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::{
    GetQueuedCompletionStatusEx, IO_STATUS_BLOCK, OVERLAPPED, OVERLAPPED_ENTRY,
};

use crate::kernel::{
    Operation, Port, Raw, Started, Temporary, bind, extension, new_socket, overlapped, pipes,
    set_option, skip, sockaddr, streams, synchronous_pipes,
};
use crate::{Answer, Question};

const TWICE: &str = "no: it may complete twice";
const HANGS: &str = "no: it never completes";
const EITHER: &str = "yes";
const NOTHING: &str = "nothing";
const NO_PACKET: &str = "no packet if it succeeds at once";

pub const QUESTIONS: &[Question] = &[
    Question {
        ask: "a receive of what is there",
        answer: || receive(Receives::WithoutSkipping),
        assumes: "a packet",
        otherwise: HANGS,
    },
    Question {
        ask: "the same, skip-on-success, accepted by std",
        answer: || receive(Receives::OnItself),
        assumes: NO_PACKET,
        otherwise: TWICE,
    },
    Question {
        ask: "the same, on a duplicate of the skipping socket",
        answer: || receive(Receives::OnDuplicate),
        assumes: NO_PACKET,
        otherwise: TWICE,
    },
    Question {
        ask: "the same, on a socket of whose duplicate this was asked",
        answer: || receive(Receives::AskedOfDuplicate),
        assumes: NO_PACKET,
        otherwise: TWICE,
    },
    Question {
        ask: "a write to a pipe, skip-on-success",
        answer: || {
            let (server, _client) = pipes(false)?;
            let port = Port::with(&server, true)?;
            Ok(port.tell(&Operation::new().write(&server)))
        },
        assumes: NO_PACKET,
        otherwise: TWICE,
    },
    Question {
        ask: "a read of a file, skip-on-success",
        answer: || {
            let temporary = Temporary::new(4096)?;
            let file = overlapped(true, false, 0).open(&temporary.0)?;
            let port = Port::with(&file, true)?;
            Ok(port.tell(&Operation::new().read(&file)))
        },
        assumes: NO_PACKET,
        otherwise: TWICE,
    },
    Question {
        ask: "a read of a pipe of bytes that waits, and a write of no bytes at the other end",
        answer: empty_write,
        assumes: "it waits on: a read of 0 bytes is the end",
        otherwise: "yes, but it is told as the end",
    },
    Question {
        ask: "a receive that pends, skip-on-success",
        answer: || {
            let (mut client, server) = streams()?;
            let port = Port::with(&server, true)?;
            let started = Operation::new().receive(&server);
            client.write_all(b"data")?;
            Ok(port.tell(&started))
        },
        assumes: "a packet",
        otherwise: HANGS,
    },
    Question {
        ask: "`Internal` of what pended and is over, but not dequeued",
        answer: internal_before_the_packet,
        assumes: NOTHING,
        otherwise: EITHER,
    },
    Question {
        ask: "the modes of a skipping socket, asked of it (`FileIoCompletionNotificationInformation`)",
        answer: query_modes,
        assumes: NOTHING,
        otherwise: EITHER,
    },
    Question {
        ask: "`GetQueuedCompletionStatusEx` for no entries",
        answer: dequeue_none,
        assumes: "nothing: it always has room for one",
        otherwise: EITHER,
    },
    Question {
        ask: "a synchronous pipe that another thread reads is associated",
        answer: associate_while_reading,
        assumes: "87, at once",
        otherwise: "yes, but `add_handle` may wait for the read",
    },
    Question {
        ask: "`ConnectEx` on an IPv6 socket, of an IPv4-mapped address",
        answer: || connect_mapped(false),
        assumes: NOTHING,
        otherwise: EITHER,
    },
    Question {
        ask: "the same, `IPV6_V6ONLY` off",
        answer: || connect_mapped(true),
        assumes: "it connects",
        otherwise: "yes, but it cannot connect",
    },
    Question {
        ask: "`SO_REUSE_UNICASTPORT` before the bind",
        answer: || {
            let socket = new_socket(ws::AF_INET)?;
            let on = 1i32.to_ne_bytes();
            set_option(&socket, ws::SOL_SOCKET, ws::SO_REUSE_UNICASTPORT, &on)?;
            Ok("is set".to_owned())
        },
        assumes: "it may be unknown",
        otherwise: EITHER,
    },
    Question {
        ask: "`DisconnectEx` for reuse",
        answer: || disconnect(false).map(|(_, told)| told),
        assumes: "nothing: it has no such operation yet",
        otherwise: EITHER,
    },
    Question {
        ask: "the same, skip-on-success",
        answer: || disconnect(true).map(|(_, told)| told),
        assumes: "nothing: it has no such operation yet",
        otherwise: EITHER,
    },
    Question {
        ask: "`ConnectEx` after `DisconnectEx`",
        answer: reconnect,
        assumes: "nothing: it has no such operation yet",
        otherwise: EITHER,
    },
];

#[derive(Clone, Copy)]
enum Receives {
    WithoutSkipping,
    OnItself,
    OnDuplicate,
    AskedOfDuplicate,
}

fn receive(how: Receives) -> Answer {
    let (mut client, server) = streams()?;
    let duplicate = server.try_clone()?;
    let port = Port::with(&server, false)?;
    match how {
        Receives::WithoutSkipping => {}
        Receives::OnItself | Receives::OnDuplicate => skip(&server)?,
        Receives::AskedOfDuplicate => skip(&duplicate)?,
    }
    client.write_all(b"data")?;
    server.peek(&mut [0; 8])?;
    let on = if matches!(how, Receives::OnDuplicate) { &duplicate } else { &server };
    Ok(port.tell(&Operation::new().receive(on)))
}

fn empty_write() -> Answer {
    let (server, client) = pipes(false)?;
    let port = Port::with(&server, false)?;
    let started = Operation::new().read(&server);
    let _port = Port::with(&client, false)?;
    Operation::of(0).write(&client);
    Ok(port.tell(&started))
}

fn internal_before_the_packet() -> Answer {
    let (mut client, server) = streams()?;
    let port = Port::with(&server, false)?;
    let operation = Operation::new();
    let started = operation.receive(&server);
    client.write_all(b"data")?;
    // Long enough for a packet that nobody takes.
    thread::sleep(Duration::from_millis(500));
    let internal = operation.internal().unwrap_or_default();
    Ok(format!("{started}; then {internal:#010x}; {}", port.packet()))
}

fn query_modes() -> Answer {
    let (_client, server) = streams()?;
    skip(&server)?;
    let (mut block, mut flags) = (IO_STATUS_BLOCK::default(), 0u32);
    // SAFETY: Both out-parameters are locals.
    let status = unsafe {
        NtQueryInformationFile(
            server.raw(),
            &raw mut block,
            (&raw mut flags).cast(),
            size_of::<u32>() as u32,
            FileIoCompletionNotificationInformation,
        )
    };
    Ok(if status < 0 { format!("fails with {status:#010x}") } else { format!("{flags}") })
}

fn dequeue_none() -> Answer {
    let port = Port::new()?;
    let (mut entry, mut count) = (OVERLAPPED_ENTRY::default(), 0);
    let operation = Operation::new();
    // SAFETY: The out-parameters are locals, the first of no entries.
    let started = operation.start(|| unsafe {
        GetQueuedCompletionStatusEx(port.raw(), &raw mut entry, 0, &raw mut count, 0, 0) != 0
    });
    Ok(if started.code == 0 {
        "succeeds".to_owned()
    } else {
        format!("fails with {}", started.code)
    })
}

fn associate_while_reading() -> Answer {
    let (mut reader, _writer) = synchronous_pipes()?;
    let handle = OwnedHandle::from(reader.try_clone()?);
    thread::spawn(move || reader.read(&mut [0]));
    // Long enough to be in the read.
    thread::sleep(Duration::from_millis(300));
    let (told, result) = mpsc::channel();
    thread::spawn(move || {
        let added = Port::new().and_then(|port| port.add(&handle));
        // The question may be over.
        let _ = told.send(added.map_err(|error| error.raw_os_error().unwrap_or_default()));
        mem::forget(handle);
    });
    Ok(match result.recv_timeout(Duration::from_secs(2)) {
        Ok(Ok(())) => "is associated".to_owned(),
        Ok(Err(code)) => format!("fails at once with {code}"),
        Err(_) => "waits for the read".to_owned(),
    })
}

type ConnectEx = unsafe extern "system" fn(
    ws::SOCKET,
    *const ws::SOCKADDR,
    i32,
    *const u8,
    u32,
    *mut u32,
    *mut OVERLAPPED,
) -> i32;

type DisconnectEx = unsafe extern "system" fn(ws::SOCKET, *mut OVERLAPPED, u32, u32) -> i32;

fn connect(socket: &impl Raw, to: SocketAddr) -> Result<Started, &'static str> {
    let function = extension(socket, ws::WSAID_CONNECTEX).ok_or("there is no ConnectEx")?;
    // SAFETY: The provider gave this address for ConnectEx.
    let connect = unsafe { mem::transmute::<*const (), ConnectEx>(function) };
    let operation = Operation::new();
    let ((address, length), mut count) = (sockaddr(to), 0);
    // SAFETY: The address is read before the call returns, and the OVERLAPPED
    // never freed.
    let mut call = || unsafe {
        let address = (&raw const address).cast();
        let overlapped = operation.overlapped();
        connect(socket.raw().addr(), address, length, ptr::null(), 0, &raw mut count, overlapped)
    };
    Ok(operation.start(|| call() != 0))
}

fn connect_mapped(dual_stack: bool) -> Answer {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let socket = new_socket(ws::AF_INET6)?;
    if dual_stack {
        set_option(&socket, ws::IPPROTO_IPV6, ws::IPV6_V6ONLY, &0i32.to_ne_bytes())?;
    }
    bind(&socket, "[::]:0".parse()?)?;
    let port = Port::with(&socket, false)?;
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let started = connect(&socket, (mapped, listener.local_addr()?.port()).into())?;
    Ok(format!("{started}; {}", port.packet()))
}

fn disconnect(skips: bool) -> Result<(impl Raw + use<>, String), Box<dyn std::error::Error>> {
    let (client, _server) = streams()?;
    let port = Port::with(&client, skips)?;
    let function = extension(&client, ws::WSAID_DISCONNECTEX).ok_or("there is no DisconnectEx")?;
    // SAFETY: The provider gave this address for DisconnectEx.
    let disconnect = unsafe { mem::transmute::<*const (), DisconnectEx>(function) };
    let (operation, socket) = (Operation::new(), client.raw().addr());
    // SAFETY: The OVERLAPPED is never freed.
    let call = || unsafe { disconnect(socket, operation.overlapped(), ws::TF_REUSE_SOCKET, 0) };
    let told = port.tell(&operation.start(|| call() != 0));
    Ok((client, told))
}

fn reconnect() -> Answer {
    let (client, _) = disconnect(false)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(connect(&client, listener.local_addr()?)?.to_string())
}
