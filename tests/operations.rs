//! Operations as values, and one that is not the crate's.
#![allow(clippy::undocumented_unsafe_blocks, reason = "a sketch")]

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use completion_port::{
    Associated, Error, ErrorKind, IoBuf, Operation, Outcome, Pending, Started, op,
};
use op::{Call, Called, Calls, Codes, Keeps, Region, Sends, Starter};
use support::{complete, nothing_more, port, port_of};

#[cfg(not(simulated_kernel))]
fn datagrams() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[cfg(not(simulated_kernel))]
#[test]
fn an_unconnected_socket_echoes_to_whoever_sends() {
    let port = port();
    let server = port.add_handle(datagrams(), 1).unwrap();
    let to = server.get_ref().local_addr().unwrap();
    for message in ["hello", "", "again"] {
        let client = datagrams();
        let mut pending =
            port.initiate(&server, 2, op::ReceiveFrom::new(Vec::with_capacity(64))).unwrap();
        assert_eq!(pending.take(), None);
        client.send_to(message.as_bytes(), to).unwrap();
        let (datagram, bytes) =
            complete(&port).into_output::<op::Datagram<Vec<u8>>>().map_err(Error::from).unwrap();
        assert_eq!(datagram.buffer, message.as_bytes());
        assert_eq!(bytes as usize, message.len());
        let from = datagram.from.unwrap();
        assert_eq!(from, client.local_addr().unwrap());

        port.initiate(&server, 3, op::SendTo::new(datagram.buffer, from)).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        assert!(completion.operation.take_buffer::<Vec<u8>>().is_some());
        let mut buffer = [0; 64];
        let (length, echo) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], echo), (message.as_bytes(), to));
    }
    nothing_more(&port);
}

#[cfg(not(simulated_kernel))]
#[test]
fn ipv6_senders_are_told_too() {
    let port = port();
    let Ok(server) = UdpSocket::bind("[::1]:0") else { return };
    let to = server.local_addr().unwrap();
    let server = port.add_handle(server, 1).unwrap();
    let client = UdpSocket::bind("[::1]:0").unwrap();
    port.initiate(&server, 2, op::ReceiveFrom::new(Vec::with_capacity(64))).unwrap();
    client.send_to(b"six", to).unwrap();
    let (datagram, _) = complete(&port).into_output::<op::Datagram<Vec<u8>>>().unwrap();
    assert_eq!(datagram.from, Some(client.local_addr().unwrap()));
}

#[cfg(not(simulated_kernel))]
#[test]
fn a_cancelled_receive_returns_its_buffer_and_no_sender() {
    let port = port();
    let server = port.add_handle(datagrams(), 1).unwrap();
    let pending = port.initiate(&server, 2, op::ReceiveFrom::new(vec![7_u8; 3].clone())).unwrap();
    drop(pending);
    assert!(server.cancel_all().unwrap());
    let failed = complete(&port).into_output::<op::Datagram<Vec<u8>>>().unwrap_err();
    assert!(failed.error.is_cancelled());
    let datagram = failed.returned.unwrap();
    assert_eq!((datagram.buffer.len(), datagram.from), (3, None));
}

#[cfg(not(simulated_kernel))]
#[test]
fn several_buffers_are_filled_in_order() {
    let port = port();
    let (mut client, server) = support::stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    std::io::Write::write_all(&mut client, b"abcdefg").unwrap();
    let buffers = [Vec::with_capacity(2), Vec::with_capacity(3), Vec::with_capacity(64)];
    let capacities = buffers.each_ref().map(Vec::capacity);
    assert_eq!(capacities, [2, 3, 64]);
    port.initiate(&server, 2, op::ReadVectored::new(buffers)).unwrap();
    let (buffers, bytes) = complete(&port).into_output::<[Vec<u8>; 3]>().unwrap();
    assert_eq!((buffers, bytes), ([b"ab".to_vec(), b"cde".to_vec(), b"fg".to_vec()], 7));
}

#[cfg(not(simulated_kernel))]
#[test]
fn several_borrowed_buffers_are_filled_in_a_scope() {
    let port = port();
    let (mut client, server) = support::stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    std::io::Write::write_all(&mut client, b"abcdefg").unwrap();
    let (mut first, mut second) = ([0; 3], [0; 64]);
    port.scope(|scope| {
        let parts = [&mut first[..], &mut second[..]];
        let mut pending = scope.initiate(&server, 2, op::ReadVectored::new(parts)).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.bytes_transferred, 7);
        assert!(completion.operation.take::<[&'static mut [u8]; 2]>().is_none());
        let [first, second] = pending.take().unwrap();
        assert_eq!((&*first, &second[..4]), (&b"abc"[..], &b"defg"[..]));
    });
    assert_eq!((&first, &second[..4]), (b"abc", &b"defg"[..]));
}

#[cfg(not(simulated_kernel))]
#[test]
fn a_pipe_server_serves_a_client_that_comes_later_or_was_faster() {
    let port = port();
    for early in [false, true] {
        let (server, name) = pipe_server();
        let server = port.add_handle(server, 1).unwrap();
        let open = || std::fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let mut client = early.then(open);
        let pending = port.initiate(&server, 2, op::ConnectPipe::new()).unwrap();
        let mut client = client.take().unwrap_or_else(open);
        let completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()), "{early}");
        assert_eq!((completion.context, completion.handle_context), (2, 1));
        drop(pending);
        std::io::Write::write_all(&mut client, b"hello").unwrap();
        port.initiate(&server, 3, op::Read::new(Vec::with_capacity(64))).unwrap();
        let (buffer, _) = complete(&port).into_output::<Vec<u8>>().unwrap();
        assert_eq!(buffer, b"hello");

        // What a driver is asked: how much is there to read.
        std::io::Write::write_all(&mut client, b"world!").unwrap();
        const FSCTL_PIPE_PEEK: u32 = 0x0011_400C;
        let peek = unsafe { op::DeviceControl::new(FSCTL_PIPE_PEEK, [0_u8; 0], [0_u8; 64]) };
        port.initiate(&server, 4, peek).unwrap();
        let ((_, output), bytes) = complete(&port).into_output::<([u8; 0], [u8; 64])>().unwrap();
        assert_eq!(bytes, 16 + 6);
        assert_eq!(u32::from_ne_bytes(output[4..8].try_into().unwrap()), 6);
        assert_eq!(&output[16..22], b"world!");
        nothing_more(&port);
    }
}

#[cfg(not(simulated_kernel))]
#[test]
fn output_that_has_no_room_is_cut_and_has_its_packet() {
    let port = port();
    let (server, name) = pipe_server();
    let server = port.add_handle(server, 1).unwrap();
    let mut client = std::fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
    std::io::Write::write_all(&mut client, b"world!").unwrap();
    let peek = unsafe { op::DeviceControl::new(0x0011_400C, [0_u8; 0], [0_u8; 20]) };
    match port.initiate(&server, 4, peek) {
        Ok(_) => {
            let completion = complete(&port);
            println!("{completion:?}");
        }
        Err(rejected) => println!("rejected: {rejected}"),
    }
    nothing_more(&port);
}

#[cfg(not(simulated_kernel))]
fn pipe_server() -> (std::os::windows::io::OwnedHandle, String) {
    use std::os::windows::io::FromRawHandle;
    use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX};
    use windows_sys::Win32::System::Pipes::CreateNamedPipeW;
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!(r"\\.\pipe\operations-{}-{count}", std::process::id());
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
    let pipe =
        unsafe { CreateNamedPipeW(wide.as_ptr(), mode, 0, 1, 512, 512, 0, std::ptr::null()) };
    assert!(!pipe.is_null() && pipe.addr() != usize::MAX);
    (unsafe { std::os::windows::io::OwnedHandle::from_raw_handle(pipe.cast()) }, name)
}

#[test]
fn what_makes_no_sense_is_refused_at_run_time_where_the_type_does_not_tell() {
    use std::os::windows::io::OwnedSocket;
    let port = port();
    let (client, server) = support::stream_pair();
    let client = port.add_handle(OwnedSocket::from(client), 1).unwrap();
    let error = port.initiate(&client, 2, op::Accept::new()).unwrap_err().error;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let rejected = port.initiate(&client, 2, op::ReceiveFrom::new(vec![1, 2, 3])).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (2, vec![1, 2, 3]));
    let _ = server;
}

/// A context that owns its handle.
struct Connection {
    stream: Associated<std::net::TcpStream>,
    received: Vec<u8>,
}

#[test]
fn a_context_may_own_the_handle() {
    let port = port_of::<Connection>();
    let (mut client, server) = support::stream_pair();
    let stream = port.add_handle(server, 1).unwrap();
    let mut connection = Connection { stream, received: Vec::new() };
    for byte in 0..10 {
        let buffer = Vec::with_capacity(1);
        let pending =
            port.initiate_with(connection, |it| &it.stream, op::Read::new(buffer)).unwrap();
        std::io::Write::write_all(&mut client, &[byte]).unwrap();
        let mut completion = complete(&port);
        drop(pending);
        connection = completion.context;
        connection.received.append(&mut completion.operation.take_buffer().unwrap());
    }
    assert_eq!(connection.received, (0..10).collect::<Vec<u8>>());
    // Dropped with its own operation in flight, and never dequeued.
    port.initiate_with(connection, |it| &it.stream, op::Read::new(Vec::with_capacity(1))).unwrap();
    drop(port);
}

#[test]
fn a_completion_that_comes_while_another_thread_starts_takes_the_handle_along() {
    let port = port_of::<Connection>();
    for _ in 0..support::few(200) {
        let (mut client, server) = support::stream_pair();
        let stream = port.add_handle(server, 1).unwrap();
        std::io::Write::write_all(&mut client, b"x").unwrap();
        let connection = Connection { stream, received: Vec::new() };
        std::thread::scope(|scope| {
            // Drops the context, and closes the handle, as soon as it can.
            scope.spawn(|| drop(complete(&port)));
            let operation = op::Read::new(Vec::with_capacity(1));
            port.initiate_with(connection, |it| &it.stream, operation).unwrap();
        });
    }
}

/// Counts how often it is dropped, and looks at what it borrows when it is.
struct Watched<'a>(&'a [u8], Arc<AtomicUsize>);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.1.fetch_add(usize::from(self.0[0] == 7), Ordering::Relaxed);
    }
}

/// An operation that is not the crate's: a send that keeps something, and returns
/// how much of it was sent.
struct SendAndKeep<'a>(&'a [u8], Watched<'a>);

static WSA_SEND: Call = Call {
    name: "WSASend",
    codes: Codes::Winsock,
    over: &[],
    leaves_packet: &[],
    asks_driver: false,
    ends: &[],
    means: &[],
};

impl<'a> Operation for SendAndKeep<'a> {
    const CALLS: Calls = Calls::socket(&WSA_SEND);
    type On = op::on::Stream;
    type Memory = (Sends<&'a [u8]>, Keeps<Watched<'a>>);
    type Arguments = u32;
    type Output = u32;
    type Given = ();

    fn split(self) -> (u32, Self::Memory) {
        (0, (Sends(self.0), Keeps(self.1)))
    }

    fn start(flags: u32, lent: (Region, ()), starter: Starter<'_, Self>) -> Called<'_> {
        use windows_sys::Win32::Networking::WinSock as ws;
        let (region, ()) = lent;
        let buffer = ws::WSABUF { len: region.length(), buf: region.start() };
        unsafe {
            starter.call(|call| {
                let socket = call.handle.addr();
                let overlapped = call.overlapped.cast();
                ws::WSASend(socket, &raw const buffer, 1, call.count, flags, overlapped, None) == 0
            })
        }
    }

    fn finish(_: Self::Memory, outcome: Outcome) -> Option<u32> {
        outcome.is_ok().then(|| outcome.bytes())
    }

    fn give_back(_: Self::Memory) {}
}

#[test]
fn an_operation_of_ones_own_works_on_handles_of_both_modes() {
    let port = port();
    let dropped = Arc::new(AtomicUsize::new(0));
    let watched = || Watched(&[7], Arc::clone(&dropped));
    let (client, server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    let mut pending = port.initiate(&client, 2, SendAndKeep(b"hello", watched())).unwrap();
    let completion = complete(&port);
    assert_eq!(pending.take(), Some(5));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    drop(completion);
    let completion = {
        port.initiate(&client, 2, SendAndKeep(b"hello", watched())).unwrap();
        complete(&port)
    };
    assert_eq!(completion.into_output::<u32>().unwrap(), (5, 5));
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    let completion = match port.initiate(&server, 2, SendAndKeep(b"hi", watched())).unwrap() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => complete(&port),
    };
    assert_eq!(completion.into_output::<u32>().unwrap(), (2, 2));
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

/// What borrows is dropped before the scope ends, though completions, whose type
/// knows no lifetime, are kept longer.
#[test]
fn memory_with_a_destructor_is_dropped_in_its_scope() {
    let port = port();
    let dropped = Arc::new(AtomicUsize::new(0));
    let (client, _server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    let mut kept = Vec::new();
    {
        let bytes = vec![7_u8; 5];
        let watched = || Watched(&bytes, Arc::clone(&dropped));
        port.scope(|scope| {
            let mut pendings: Vec<Pending<u32, _>> = Vec::new();
            for round in 0..20 {
                let pending = scope.initiate(&client, 2, SendAndKeep(&bytes, watched())).unwrap();
                let mut completion = complete(&port);
                assert!(completion.operation.take::<u32>().is_none());
                if round % 3 == 0 {
                    pendings.push(pending);
                }
                if round % 2 == 0 {
                    kept.push(completion);
                }
            }
            assert_eq!(pendings[0].take(), Some(5));
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 20);
    }
    assert_eq!(kept.len(), 10);
    drop(kept);
    assert_eq!(dropped.load(Ordering::Relaxed), 20);
    assert_eq!(IoBuf::initialized(&"").1, 0);
}

#[test]
fn an_accept_in_a_scope_returns_its_connection_there_or_closes_it() {
    let port = port();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let listener = port.add_handle(listener, 1).unwrap();
    let client = std::net::TcpStream::connect(to).unwrap();
    let accepted = port.scope(|scope| {
        let mut pending = scope.initiate(&listener, 2, op::Accept::new()).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        assert!(completion.operation.take_accepted().is_none(), "the `Pending` has it");
        let _cancelled_at_the_end = scope.initiate(&listener, 3, op::Accept::new()).unwrap();
        pending.take_accepted().unwrap()
    });
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
    nothing_more(&port);
}

#[cfg(not(simulated_kernel))]
#[test]
fn a_connect_may_bring_data() {
    let port = port();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let stream = port.add_handle(completion_port::unconnected_stream(to).unwrap(), 1).unwrap();
    port.initiate(&stream, 2, op::Connect::new(to).with_data(b"head".to_vec())).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let (data, bytes) = complete(&port).into_output::<Vec<u8>>().unwrap();
    assert_eq!((data.as_slice(), bytes), (&b"head"[..], 4));
    let mut buffer = [0; 4];
    std::io::Read::read_exact(&mut accepted, &mut buffer).unwrap();
    assert_eq!(&buffer, b"head");
}
