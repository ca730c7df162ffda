//! Operations as values: those that have no `initiate_...` of their own, and what
//! they have in common.

mod support;

use std::io::{Read, Write};
use std::net::UdpSocket;

use completion_port::{Associated, CompletionStatus, ErrorKind, IoBuf, Iocp, Started, op};
use op::{Fills, Sends};
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
    let pending =
        port.initiate(&server, 2, op::ReceiveFrom::new(vec![7_u8; 3].into_boxed_slice())).unwrap();
    drop(pending);
    assert!(server.cancel_all().unwrap());
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    let datagram: op::Datagram<Box<[u8]>> = completion.operation.output().unwrap();
    assert_eq!((&*datagram.buffer, datagram.from), (&[7; 3][..], None));
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
        if let Err(rejected) = port.initiate(&server, 4, peek) {
            assert_peek_is_not_for_device_io_control(&rejected.error);
            continue;
        }
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
    let peek = op::DeviceControl::new(PEEK, [0_u8; 0], [0_u8; 20]);
    if let Err(rejected) = port.initiate(&server, 4, peek) {
        return assert_peek_is_not_for_device_io_control(&rejected.error);
    }
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

#[test]
#[cfg(not(simulated_kernel))] // its files know no codes
fn a_file_system_is_sent_codes_with_input_and_output() {
    // SAFETY: These use no memory but their input and output, and change no data.
    let [set_sparse, get_id, create_or_get_id] =
        [0x0009_00C4, 0x0009_009C, 0x0009_00C0].map(|code| unsafe { op::ControlCode::new(code) });
    let port = port();
    let file = support::temp_file("codes", "hello");
    let file = port.add_handle(support::overlapped_file(file.path(), true, true), 1).unwrap();
    let sparse = op::DeviceControl::new(set_sparse, [1_u8], [0_u8; 0]);
    port.initiate(&file, 2, sparse).unwrap();
    let ((input, _), bytes) = output::<([u8; 1], [u8; 0])>(complete(&port));
    assert_eq!((input, bytes), ([1], 0));
    // Wine makes none, but says one.
    let code = if support::is_windows() { create_or_get_id } else { get_id };
    port.initiate(&file, 3, op::DeviceControl::new(code, [0_u8; 0], [0_u8; 80])).unwrap();
    let ((_, id), bytes) = output::<([u8; 0], [u8; 80])>(complete(&port));
    assert_eq!((bytes, &id[64..]), (64, &[0; 16][..]));
    nothing_more(&port);
}

/// The driver of pipes need not take its codes from `DeviceIoControl`, and this is not
/// documented for that function.
#[track_caller]
fn assert_peek_is_not_for_device_io_control(error: &completion_port::Error) {
    assert!(support::is_windows(), "{error}");
}

/// `FSCTL_PIPE_PEEK`.
// SAFETY: It tells what is in a pipe, with nothing but its output.
const PEEK: op::ControlCode = unsafe { op::ControlCode::new(0x0011_400C) };

/// A buffer that is longer when it has been moved.
struct Growing {
    bytes: Vec<u8>,
    home: std::cell::Cell<usize>,
}

// SAFETY: The range stays as it is until the value is moved.
unsafe impl IoBuf for Growing {
    fn initialized(&self) -> (*const u8, usize) {
        let place = std::ptr::from_ref(self).addr();
        if self.home.get() == 0 {
            self.home.set(place);
        }
        let length = if self.home.get() == place { 3 } else { self.bytes.len() };
        (self.bytes.as_ptr(), length)
    }
}

/// Otherwise the system refuses it, and Wine queues a packet all the same.
#[test]
fn a_datagram_that_is_too_long_when_it_is_sent_is_refused() {
    let port = Iocp::builder().max_operations(1).build().unwrap();
    let (one, other) = support::datagram_pair();
    let to = other.local_addr().unwrap();
    let one = port.add_handle(one, 1).unwrap();
    let growing = || {
        let buffer = Growing { bytes: vec![0; 100_000], home: 0.into() };
        assert_eq!(buffer.initialized().1, 3);
        buffer
    };
    for round in 0..4 {
        let rejected = port.initiate_write(&one, 2, growing()).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated, "{round}");
        assert_eq!(rejected.returned.1.bytes.len(), 100_000);
        let rejected = port.initiate(&one, 2, op::SendTo::new(growing(), to)).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated, "{round}");
        let halves = [(); 2].map(|()| vec![0_u8; 50_000]);
        let rejected = port.initiate(&one, 2, op::WriteVectored::new(halves)).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated, "{round}");
        assert_eq!(rejected.returned.1.map(|Sends(half)| half.len()), [50_000; 2]);
    }
    nothing_more(&port);
}

#[test]
fn several_buffers_are_sent_in_order_and_as_one_datagram() {
    let port = port();
    let (mut client, server) = support::stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    port.initiate(&server, 2, op::WriteVectored::new(["ab", "", "cde"])).unwrap();
    let (buffers, bytes) = output::<[&str; 3]>(complete(&port));
    assert_eq!((buffers, bytes), (["ab", "", "cde"], 5));
    let mut received = [0; 5];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"abcde");

    let (one, other) = support::datagram_pair();
    let one = port.add_handle(one, 1).unwrap();
    port.initiate(&one, 2, op::WriteVectored::new(["ab", "cde"])).unwrap();
    assert_eq!(output::<[&str; 2]>(complete(&port)).1, 5);
    let mut received = [0; 64];
    assert_eq!(other.recv(&mut received).unwrap(), 5);
    assert_eq!(&received[..5], b"abcde");
}

#[test]
fn a_socket_has_no_offset_and_a_file_needs_one() {
    let port = port();
    let (client, _server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    let read = op::Read::new(vec![7; 3].into_boxed_slice()).at(0);
    let rejected = port.initiate(&client, 2, read).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(*rejected.returned.1.0, [7; 3]);

    let file = support::temp_file("offset", "hello");
    let opened = port.add_handle(support::overlapped_file(file.path(), true, true), 1).unwrap();
    let rejected = port.initiate(&opened, 2, op::Write::new("HELLO")).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (2, Sends("HELLO")));
    port.initiate(&opened, 2, op::Write::new("LL").at(2)).unwrap();
    assert_eq!(output::<&str>(complete(&port)), ("LL", 2));
    port.initiate(&opened, 2, op::Read::new(Vec::with_capacity(8)).at(1)).unwrap();
    assert_eq!(output::<Vec<u8>>(complete(&port)), (b"eLLo".to_vec(), 4));
}

#[test]
fn a_refusal_of_the_handle_gives_every_part_of_the_memory_back() {
    let (port, other) = (port(), port());
    let socket = port.add_handle(datagrams(), 1).unwrap();
    let to = socket.get_ref().local_addr().unwrap();
    let rejected = other.initiate(&socket, 2, op::SendTo::new("hello", to)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    assert_eq!(rejected.returned, (2, Sends("hello")));
    port.close();
    let read = op::ReadVectored::new([vec![1, 2].into_boxed_slice(), vec![3].into_boxed_slice()]);
    let rejected = port.initiate(&socket, 2, read).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Closed);
    assert_eq!(rejected.returned.1.map(|Fills(buffer)| buffer.to_vec()), [vec![1, 2], vec![3]]);
}

#[test]
fn an_output_of_another_type_stays_and_the_error_says_what_it_is() {
    let port = port();
    let (client, _server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    port.initiate(&client, 2, op::Write::new(String::from("hello"))).unwrap();
    let mut completion = complete(&port);
    let error = completion.operation.output::<Vec<u8>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("returns alloc::string::String, not alloc::vec::Vec<u8>"));
    assert_eq!(completion.operation.output::<String>(), Ok(String::from("hello")));
    let error = completion.operation.output::<String>().unwrap_err();
    assert!(error.to_string().contains("taken already"), "{error}");

    // What is borrowed comes back in the scope alone.
    let bytes = *b"hello";
    port.scope(|scope| {
        let mut pending = scope.initiate_write(&client, 2, &bytes).unwrap();
        let mut completion = complete(&port);
        let error = completion.operation.output::<&'static [u8]>().unwrap_err();
        assert!(error.to_string().contains("`Pending`"), "{error}");
        assert_eq!(pending.take_buffer(), Some(&bytes[..]));
    });
}

#[test]
fn a_context_may_own_a_handle_that_skips_the_port() {
    let port = port_of::<(Associated<std::net::TcpStream, completion_port::Inline>, u32)>();
    let (mut client, server) = support::stream_pair();
    let stream = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    let mut context = (stream, 0);
    // So many that some go through the port all the same.
    for round in 0..support::few(100) as u32 {
        let started = port.initiate_with(context, |it| &it.0, op::Write::new("x")).unwrap();
        let completion = match started {
            Started::Completed(completion) => completion,
            Started::Pending(_) => complete(&port),
        };
        assert_eq!(completion.error_status, Ok(()));
        context = completion.context;
        assert_eq!(context.1, round);
        context.1 += 1;
        client.read_exact(&mut [0]).unwrap();
    }
    // Pending, with the handle in the cell.
    let read = op::Read::new(Vec::with_capacity(8));
    let Started::Pending(_) = port.initiate_with(context, |it| &it.0, read).unwrap() else {
        panic!("there is nothing to read");
    };
    client.write_all(b"y").unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<Vec<u8>>().unwrap(), b"y");
    nothing_more(&port);
}

#[test]
fn what_is_not_known_of_a_skipping_handle_is_not_started_on_one() {
    let port = port();
    let (server, _client) = support::pipe_pair(false);
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    let peek = op::DeviceControl::new(PEEK, [1_u8; 2], [2_u8; 64]);
    let rejected = port.initiate(&server, 2, peek).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    let (Sends(input), op::Overwrites(output)) = rejected.returned.1;
    assert_eq!((input, output), ([1; 2], [2; 64]));
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
