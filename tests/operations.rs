//! Operations as values, and one that is not the crate's.
#![allow(clippy::undocumented_unsafe_blocks, reason = "a sketch")]

mod support;

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use completion_port::{
    Associated, CompletionStatus, Error, ErrorKind, Operation, Pending, Started, op,
};
use op::{Facts, FactsOn, Fills, Finish, Keeps, Object, Region, Sends, Starter, Submitted};
use support::{BlockingPipe, complete, nothing_more, pipe_client, pipe_server, port, port_of};

/// What a successful operation returns, and how many bytes it has transferred.
#[track_caller]
fn output<T: 'static>(mut completion: CompletionStatus) -> (T, u32) {
    assert_eq!(completion.error_status, Ok(()));
    (completion.operation.output().unwrap(), completion.bytes_transferred)
}

fn datagrams() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

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
        let (datagram, bytes) = output::<op::Datagram<Vec<u8>>>(complete(&port));
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

#[test]
fn ipv6_senders_are_told_too() {
    let port = port();
    let Ok(server) = UdpSocket::bind("[::1]:0") else { return };
    let to = server.local_addr().unwrap();
    let server = port.add_handle(server, 1).unwrap();
    let client = UdpSocket::bind("[::1]:0").unwrap();
    port.initiate(&server, 2, op::ReceiveFrom::new(Vec::with_capacity(64))).unwrap();
    client.send_to(b"six", to).unwrap();
    let (datagram, _) = output::<op::Datagram<Vec<u8>>>(complete(&port));
    assert_eq!(datagram.from, Some(client.local_addr().unwrap()));
}

#[test]
fn a_cancelled_receive_returns_its_buffer_and_no_sender() {
    let port = port();
    let server = port.add_handle(datagrams(), 1).unwrap();
    let pending = port.initiate(&server, 2, op::ReceiveFrom::new(vec![7_u8; 3].clone())).unwrap();
    drop(pending);
    assert!(server.cancel_all().unwrap());
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    let datagram: op::Datagram<Vec<u8>> = completion.operation.output().unwrap();
    assert_eq!((datagram.buffer.len(), datagram.from), (3, None));
}

#[test]
fn several_buffers_are_filled_in_order() {
    let port = port();
    let (mut client, server) = support::stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    client.write_all(b"abcdefg").unwrap();
    let buffers = [Vec::with_capacity(2), Vec::with_capacity(3), Vec::with_capacity(64)];
    let capacities = buffers.each_ref().map(Vec::capacity);
    assert_eq!(capacities, [2, 3, 64]);
    port.initiate(&server, 2, op::ReadVectored::new(buffers)).unwrap();
    let (buffers, bytes) = output::<[Vec<u8>; 3]>(complete(&port));
    assert_eq!((buffers, bytes), ([b"ab".to_vec(), b"cde".to_vec(), b"fg".to_vec()], 7));
}

#[test]
fn several_borrowed_buffers_are_filled_in_a_scope() {
    let port = port();
    let (mut client, server) = support::stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    client.write_all(b"abcdefg").unwrap();
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

#[test]
fn a_pipe_server_serves_a_client_that_comes_later_or_was_faster() {
    let port = port();
    for early in [false, true] {
        let name = pipe_name();
        let server = port.add_handle(pipe_server(&name, false), 1).unwrap();
        let open = || BlockingPipe::from(pipe_client(&name, false).unwrap());
        let mut client = early.then(open);
        let pending = port.initiate(&server, 2, op::ConnectPipe::new()).unwrap();
        let mut client = client.take().unwrap_or_else(open);
        let completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()), "{early}");
        assert_eq!((completion.context, completion.handle_context), (2, 1));
        drop(pending);
        client.write_all(b"hello").unwrap();
        port.initiate(&server, 3, op::Read::new(Vec::with_capacity(64))).unwrap();
        let (buffer, _) = output::<Vec<u8>>(complete(&port));
        assert_eq!(buffer, b"hello");

        // What a driver is asked: how much is there to read.
        client.write_all(b"world!").unwrap();
        let peek = op::DeviceControl::new(PEEK, [0_u8; 0], [0_u8; 64]);
        port.initiate(&server, 4, peek).unwrap();
        let ((_, output), bytes) = output::<([u8; 0], [u8; 64])>(complete(&port));
        assert_eq!(bytes, 16 + 6);
        assert_eq!(u32::from_ne_bytes(output[4..8].try_into().unwrap()), 6);
        assert_eq!(&output[16..22], b"world!");
        nothing_more(&port);
    }
}

/// Wine says that it has all of it.
#[test]
fn output_that_has_no_room_is_cut_and_has_its_packet() {
    let port = port();
    let (server, client) = support::pipe_pair(false);
    let server = port.add_handle(server, 1).unwrap();
    BlockingPipe::from(client).write_all(b"world!").unwrap();
    port.initiate(&server, 4, op::DeviceControl::new(PEEK, [0_u8; 0], [0_u8; 20])).unwrap();
    let mut completion = complete(&port);
    if let Err(error) = completion.error_status {
        assert_eq!(error.kind(), ErrorKind::MoreData);
    }
    let (_, output) = completion.operation.output::<([u8; 0], [u8; 20])>().unwrap();
    assert_eq!(&output[16..], b"worl");
    nothing_more(&port);
}

fn pipe_name() -> String {
    format!(r"\\.\pipe\{}", support::unique("operations"))
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
    assert_eq!(rejected.returned.1.0, Fills(vec![1, 2, 3]));
    let _ = server;
}

/// `FSCTL_PIPE_PEEK`.
// SAFETY: It tells what is in a pipe, with nothing but its output.
const PEEK: op::ControlCode = unsafe { op::ControlCode::new(0x0011_400C) };

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
        client.write_all(&[byte]).unwrap();
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
        client.write_all(b"x").unwrap();
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

// SAFETY: So it is documented.
static WSA_SEND: Facts = unsafe { Facts::new("WSASend").winsock().errors_have_no_packet().skips() };

impl<'a> Operation for SendAndKeep<'a> {
    const FACTS: FactsOn = FactsOn::Sockets(&WSA_SEND);
    type On = op::on::Stream;
    type Memory = (Sends<&'a [u8]>, Keeps<Watched<'a>>);
    type Arguments = u32;
    type Output = u32;

    fn split(self, _: &Object<'_>) -> Result<(u32, Self::Memory), (Error, Self::Memory)> {
        Ok((0, (Sends(self.0), Keeps(self.1))))
    }

    fn start<'l>(
        flags: u32,
        (region, ()): (Region, ()),
        starter: Starter<'l, Self>,
    ) -> Submitted<'l> {
        use windows_sys::Win32::Networking::WinSock as ws;
        let buffer = ws::WSABUF { len: region.length(), buf: region.start().cast_mut() };
        // SAFETY: It is WSASend, which reads the region.
        unsafe {
            starter.call(|call| {
                let (socket, overlapped) = (call.handle.addr(), call.overlapped.cast());
                op::winsock_result(
                    ws::WSASend(socket, &raw const buffer, 1, call.count, flags, overlapped, None)
                        == 0,
                )
            })
        }
    }

    const FINISH: Finish<Self> =
        Finish::with(|_, outcome| outcome.is_ok().then(|| outcome.bytes()));
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
    assert_eq!(output::<u32>(completion), (5, 5));
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    let completion = match port.initiate(&server, 2, SendAndKeep(b"hi", watched())).unwrap() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => complete(&port),
    };
    assert_eq!(output::<u32>(completion), (2, 2));
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

#[test]
fn a_connect_may_bring_data() {
    let port = port();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let stream = port.add_handle(completion_port::unconnected_stream(to).unwrap(), 1).unwrap();
    port.initiate(&stream, 2, op::Connect::new(to).with_data(b"head".to_vec())).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let (data, bytes) = output::<Vec<u8>>(complete(&port));
    assert_eq!((data.as_slice(), bytes), (&b"head"[..], 4));
    let mut buffer = [0; 4];
    accepted.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"head");
}
