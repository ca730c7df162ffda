//! Accepting and making connections.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::AsRawSocket;
use std::ptr;

use completion_port::{
    Associated, ErrorKind, Iocp, OperationKind, Pending, Started, unconnected_stream,
};
use support::{
    complete, complete_all, dequeue_raw, few, nothing_more, overlapped_file, pipe_pair, port,
    port_of, post_raw, reset, temp_file,
};
use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE_FLAG_INHERIT};
use windows_sys::Win32::Networking::WinSock as ws;

/// A listening socket on the port, with handle context 3, and its address.
fn listening(port: &Iocp) -> (Associated<TcpListener>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (port.add_handle(listener, 3).unwrap(), address)
}

/// A socket of the port's that is not connected, with handle context 4.
fn connecting(port: &Iocp, peer: SocketAddr) -> Associated<TcpStream> {
    port.add_handle(unconnected_stream(peer).unwrap(), 4).unwrap()
}

/// An address of this machine's on which nobody listens: one that is bound,
/// so that no other test gets it, by a socket which does not listen.
fn nobody() -> (TcpStream, SocketAddr) {
    let socket = unconnected_stream("127.0.0.1:0".parse().unwrap()).unwrap();
    bind_to_loopback(&socket);
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn bind_to_loopback(socket: &TcpStream) {
    let address = ws::SOCKADDR_IN {
        sin_family: ws::AF_INET,
        sin_port: 0,
        sin_addr: ws::IN_ADDR {
            S_un: ws::IN_ADDR_0 { S_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        },
        sin_zero: [0; 8],
    };
    // SAFETY: The address is read for its length before the call returns.
    let bound = unsafe {
        ws::bind(
            socket.as_raw_socket() as ws::SOCKET,
            (&raw const address).cast(),
            size_of_val(&address) as i32,
        )
    };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
}

/// Sends a few bytes each way.
fn converse(mut one: &TcpStream, mut other: &TcpStream) {
    let mut buffer = [0; 4];
    one.write_all(b"ping").unwrap();
    other.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
    other.write_all(b"pong").unwrap();
    one.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
}

#[test]
fn an_accept_yields_the_connection_with_its_addresses() {
    let port = port();
    let (listener, address) = listening(&port);
    port.initiate_accept(&listener, 11).unwrap();
    nothing_more(&port);
    let client = TcpStream::connect(address).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!((completion.context, completion.handle_context), (11, 3));
    assert_eq!(completion.bytes_transferred, 0);
    assert_eq!(completion.operation.kind(), OperationKind::Accept);
    let accepted = completion.operation.take_accepted().unwrap();
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
    assert_eq!(accepted.local_addr().unwrap(), address);
    converse(&client, &accepted);
    nothing_more(&port);
}

#[test]
fn an_accepted_connection_is_like_any_other() {
    let port = port();
    let (listener, address) = listening(&port);
    port.initiate_accept(&listener, 0).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let accepted = complete(&port).operation.take_accepted().unwrap();
    accepted.set_nodelay(true).unwrap();
    assert!(accepted.nodelay().unwrap());
    converse(&accepted.try_clone().unwrap(), &client);
    accepted.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    client.write_all(b"still").unwrap();
    (&accepted).read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn a_client_that_came_before_the_accept_is_accepted() {
    let port = port();
    let (listener, address) = listening(&port);
    let client = TcpStream::connect(address).unwrap();
    port.initiate_accept(&listener, 0).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    let accepted = completion.operation.take_accepted().unwrap();
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
    nothing_more(&port);
}

#[test]
fn data_that_the_client_sent_first_is_not_lost() {
    let port = port();
    let (listener, address) = listening(&port);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"first").unwrap();
    port.initiate_accept(&listener, 0).unwrap();
    let mut accepted = complete(&port).operation.take_accepted().unwrap();
    let mut first = [0; 5];
    accepted.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
}

#[test]
fn accepts_in_flight_each_take_a_client_of_their_own() {
    const COUNT: usize = few(20);
    let port = port();
    let (listener, address) = listening(&port);
    for i in 0..COUNT {
        port.initiate_accept(&listener, i).unwrap();
    }
    let clients: Vec<_> = (0..COUNT).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut contexts = Vec::new();
    let mut peers = Vec::new();
    for mut completion in complete_all(&port, COUNT) {
        assert_eq!(completion.error_status, Ok(()));
        contexts.push(completion.context);
        let accepted = completion.operation.take_accepted().unwrap();
        let peer = accepted.peer_addr().unwrap();
        peers.push(peer);
        let client = clients.iter().find(|client| client.local_addr().unwrap() == peer).unwrap();
        converse(client, &accepted);
    }
    contexts.sort_unstable();
    assert!(contexts.into_iter().eq(0..COUNT));
    peers.sort_unstable();
    peers.dedup();
    assert_eq!(peers.len(), COUNT, "two accepts got the same client");
    nothing_more(&port);
}

#[test]
fn a_listener_serves_many_clients_one_after_the_other() {
    let port = port();
    let (listener, address) = listening(&port);
    port.initiate_accept(&listener, 0).unwrap();
    for i in 0..few(100) {
        let client = TcpStream::connect(address).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.context, i);
        port.initiate_accept(&listener, i + 1).unwrap();
        converse(&client, &completion.operation.take_accepted().unwrap());
    }
}

#[test]
fn an_accepted_connection_can_be_added_to_the_port() {
    let port = port();
    let (listener, address) = listening(&port);
    port.initiate_accept(&listener, 0).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let accepted = complete(&port).operation.take_accepted().unwrap();
    let accepted = port.add_handle(accepted, 99).unwrap();
    port.initiate_read(&accepted, 1, Vec::with_capacity(16)).unwrap();
    client.write_all(b"echo").unwrap();
    let mut completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (1, 99));
    let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
    port.initiate_write(&accepted, 2, buffer).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"echo");
}

#[test]
fn an_accepted_connection_can_be_added_to_another_port() {
    let (listening_port, working_port) = (port(), port());
    let (listener, address) = listening(&listening_port);
    listening_port.initiate_accept(&listener, 0).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let accepted = complete(&listening_port).operation.take_accepted().unwrap();
    let accepted = working_port.add_handle(accepted, 5).unwrap();
    working_port.initiate_read(&accepted, 1, [0; 4]).unwrap();
    client.write_all(b"four").unwrap();
    assert_eq!(complete(&working_port).handle_context, 5);
    nothing_more(&listening_port);
}

#[test]
fn the_connection_is_taken_once_from_the_pending() {
    let port = port();
    let (listener, address) = listening(&port);
    let mut pending = port.initiate_accept(&listener, 0).unwrap();
    assert!(pending.take_accepted().is_none(), "nobody has come");
    let client = TcpStream::connect(address).unwrap();
    assert!(pending.take_accepted().is_none(), "the packet has not been dequeued");
    let mut completion = complete(&port);
    let accepted = pending.take_accepted().unwrap();
    assert!(pending.take_accepted().is_none());
    assert!(completion.operation.take_accepted().is_none());
    converse(&client, &accepted);
}

#[test]
fn the_connection_is_taken_once_from_the_completion() {
    let port = port();
    let (listener, address) = listening(&port);
    let mut pending = port.initiate_accept(&listener, 0).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let mut completion = complete(&port);
    assert_eq!(pending.result(), Some(Ok(0)));
    let accepted = completion.operation.take_accepted().unwrap();
    assert!(completion.operation.take_accepted().is_none());
    assert!(pending.take_accepted().is_none());
    converse(&client, &accepted);
}

#[test]
fn a_buffer_asked_of_an_accept_leaves_the_connection_there() {
    let port = port();
    let (listener, address) = listening(&port);
    port.initiate_accept(&listener, 0).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>(), None);
    converse(&client, &completion.operation.take_accepted().unwrap());
}

#[test]
fn a_connection_that_nobody_takes_is_closed() {
    let port = port();
    let (listener, address) = listening(&port);
    port.initiate_accept(&listener, 0).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    drop(completion);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the end of the stream");
}

#[test]
fn a_connection_stays_open_while_the_pending_has_it() {
    let port = port();
    let (listener, address) = listening(&port);
    let mut pending = port.initiate_accept(&listener, 0).unwrap();
    let client = TcpStream::connect(address).unwrap();
    drop(complete(&port));
    converse(&client, &pending.take_accepted().unwrap());

    let pending = port.initiate_accept(&listener, 0).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    complete(&port);
    drop(pending);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the end of the stream");
}

#[test]
fn a_client_that_resets_before_its_accept_leaves_the_listener_well() {
    let port = port();
    let (listener, address) = listening(&port);
    reset(TcpStream::connect(address).unwrap());
    let client = TcpStream::connect(address).unwrap();
    let mine = client.local_addr().unwrap();
    // The system may drop such a client, accept it, or fail the accept, at once or
    // later.
    let accept = || -> completion_port::Result<TcpStream> {
        port.initiate_accept(&listener, 1).map_err(|rejected| rejected.error)?;
        let mut completion = complete(&port);
        completion.error_status?;
        Ok(completion.operation.take_accepted().unwrap())
    };
    let mut attempts = 0;
    let accepted = loop {
        match accept() {
            Ok(accepted) => {
                if accepted.peer_addr().is_ok_and(|peer| peer == mine) {
                    break accepted;
                }
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted),
                "{error}"
            ),
        }
        attempts += 1;
        assert!(attempts < 2, "one client was reset");
    };
    converse(&client, &accepted);
    nothing_more(&port);
}

#[test]
fn a_cancelled_accept_completes_as_cancelled_and_takes_no_client() {
    let port = port();
    let (listener, address) = listening(&port);
    let mut pending = port.initiate_accept(&listener, 1).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    let mut completion = complete(&port);
    let error = completion.error_status.unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(error.call(), Some("AcceptEx"));
    assert!(completion.operation.take_accepted().is_none());
    assert!(pending.take_accepted().is_none());
    // The next client is for the next accept.
    let client = TcpStream::connect(address).unwrap();
    port.initiate_accept(&listener, 2).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.context, 2);
    converse(&client, &completion.operation.take_accepted().unwrap());
    nothing_more(&port);
}

#[test]
fn dropping_the_listener_cancels_its_accepts() {
    let port = port();
    let (listener, address) = listening(&port);
    let mut pendings: Vec<Pending<TcpStream>> =
        (0..5).map(|i| port.initiate_accept(&listener, i).unwrap()).collect();
    drop(listener);
    let mut contexts = Vec::new();
    for completion in complete_all(&port, 5) {
        let error = completion.error_status.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(completion.handle_context, 3);
        contexts.push(completion.context);
    }
    contexts.sort_unstable();
    assert_eq!(contexts, [0, 1, 2, 3, 4]);
    assert!(pendings.iter_mut().all(|pending| pending.take_accepted().is_none()));
    nothing_more(&port);
    TcpStream::connect(address).unwrap_err();
}

/// What comes of a client that was accepted just before the listener closed
/// is the system's choice; that the outcome is one and consistent is not.
#[test]
fn a_listener_dropped_with_a_client_at_the_door_completes_its_accept_once() {
    for _ in 0..few(50) {
        let port = port();
        let (listener, address) = listening(&port);
        port.initiate_accept(&listener, 1).unwrap();
        let client = TcpStream::connect(address).unwrap();
        drop(listener);
        let mut completion = complete(&port);
        let accepted = completion.operation.take_accepted();
        match completion.error_status {
            Ok(()) => converse(&client, &accepted.unwrap()),
            Err(error) => {
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::Cancelled
                            | ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionReset
                    ),
                    "{error}"
                );
                assert!(accepted.is_none());
            }
        }
        nothing_more(&port);
    }
}

#[test]
fn a_client_that_was_accepted_before_the_listener_was_dropped_is_served() {
    let port = port();
    let (listener, address) = listening(&port);
    let mut pending = port.initiate_accept(&listener, 1).unwrap();
    let client = TcpStream::connect(address).unwrap();
    // The accept is over: its packet waits.
    let (bytes, key, overlapped) = dequeue_raw(&port);
    post_raw(&port, bytes, key, overlapped);
    drop(listener);
    let completion = complete(&port);
    assert_eq!((completion.context, completion.error_status), (1, Ok(())));
    let accepted = pending.take_accepted().unwrap();
    converse(&client, &accepted);
    let accepted = port.add_handle(accepted, 5).unwrap();
    port.initiate_write(&accepted, 3, "pong").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    (&client).read_exact(&mut [0; 4]).unwrap();
    nothing_more(&port);
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn child_processes_inherit_no_connections() {
    let inherited = |socket: &TcpStream| {
        let mut flags = 0;
        let handle = ptr::with_exposed_provenance_mut(socket.as_raw_socket() as usize);
        // SAFETY: The flags are a local.
        assert_ne!(unsafe { GetHandleInformation(handle, &raw mut flags) }, 0);
        flags & HANDLE_FLAG_INHERIT != 0
    };
    let port = port();
    let (listener, address) = listening(&port);
    port.initiate_accept(&listener, 1).unwrap();
    let client = unconnected_stream(address).unwrap();
    assert!(!inherited(&client));
    let _client = TcpStream::connect(address).unwrap();
    assert!(!inherited(&complete(&port).operation.take_accepted().unwrap()));
}

/// Starts an accept on a socket that does not listen.
fn accept_on_no_listener(port: &Iocp, socket: &Associated<impl Sized>) {
    let rejected = port.initiate_accept(socket, 21).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput, "{}", rejected.error);
    assert_eq!(rejected.returned, 21);
    nothing_more(port);
}

#[test]
fn an_accept_on_an_unbound_socket_accepts_nothing() {
    let port = port();
    accept_on_no_listener(&port, &connecting(&port, "127.0.0.1:1".parse().unwrap()));
}

#[test]
fn an_accept_on_a_connected_socket_accepts_nothing() {
    let port = port();
    let (client, server) = support::stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    accept_on_no_listener(&port, &server);
    converse(&client, server.get_ref());
}

#[test]
fn an_accept_on_a_datagram_socket_accepts_nothing() {
    let port = port();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    accept_on_no_listener(&port, &port.add_handle(socket, 1).unwrap());
}

#[test]
fn files_and_pipes_neither_accept_nor_connect() {
    let port = port_of::<String>();
    let temporary = temp_file("accept", "");
    let file = port.add_handle(overlapped_file(temporary.path(), true, true), 1).unwrap();
    let (pipe, _client) = pipe_pair(false);
    let pipe = port.add_handle(pipe, 2).unwrap();
    let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
    for rejected in [
        port.initiate_accept(&file, "context".into()).unwrap_err(),
        port.initiate_accept(&pipe, "context".into()).unwrap_err(),
        port.initiate_connect(&file, "context".into(), peer).unwrap_err(),
        port.initiate_connect(&pipe, "context".into(), peer).unwrap_err(),
    ] {
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        assert_eq!(rejected.returned, "context");
    }
    nothing_more(&port);
}

#[test]
fn another_ports_sockets_neither_accept_nor_connect() {
    let (one, other) = (port(), port());
    let (listener, address) = listening(&one);
    let socket = connecting(&one, address);
    let rejected = other.initiate_accept(&listener, 5).unwrap_err();
    assert_eq!((rejected.error.kind(), rejected.returned), (ErrorKind::WrongPort, 5));
    let rejected = other.initiate_connect(&socket, 6, address).unwrap_err();
    assert_eq!((rejected.error.kind(), rejected.returned), (ErrorKind::WrongPort, 6));
}

#[test]
fn a_connect_yields_a_connection_with_its_addresses() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = connecting(&port, address);
    port.initiate_connect(&stream, 31, address).unwrap();
    let completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!((completion.context, completion.handle_context), (31, 4));
    assert_eq!(completion.bytes_transferred, 0);
    assert_eq!(completion.operation.kind(), OperationKind::Connect);
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(stream.get_ref().peer_addr().unwrap(), address);
    assert_eq!(stream.get_ref().local_addr().unwrap(), peer);
    converse(stream.get_ref(), &server);
    stream.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!((&server).read(&mut [0; 8]).unwrap(), 0);
    nothing_more(&port);
}

#[test]
fn both_ends_of_a_connection_can_be_made_on_one_port() {
    let port = port();
    let (listener, address) = listening(&port);
    let stream = connecting(&port, address);
    port.initiate_accept(&listener, 1).unwrap();
    port.initiate_connect(&stream, 2, address).unwrap();
    let mut accepted = None;
    let mut contexts = Vec::new();
    for mut completion in complete_all(&port, 2) {
        assert_eq!(completion.error_status, Ok(()));
        contexts.push(completion.context);
        accepted = accepted.or(completion.operation.take_accepted());
    }
    contexts.sort_unstable();
    assert_eq!(contexts, [1, 2]);
    let accepted = port.add_handle(accepted.unwrap(), 5).unwrap();
    port.initiate_read(&accepted, 3, Vec::with_capacity(16)).unwrap();
    port.initiate_write(&stream, 4, "hello").unwrap();
    for completion in complete_all(&port, 2) {
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
    }
    nothing_more(&port);
}

#[test]
fn a_connect_to_where_nobody_listens_is_refused() {
    let port = port();
    let (_nobody, address) = nobody();
    let stream = connecting(&port, address);
    let pending = port.initiate_connect(&stream, 1, address).unwrap();
    let error = complete(&port).error_status.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(error.raw_os_error(), Some(10061));
    assert_eq!(error.ntstatus(), Some(0xC000_0236));
    assert_eq!(error.call(), Some("ConnectEx"));
    assert!(!error.is_cancelled());
    assert_eq!(pending.result(), Some(Err(error)));
    nothing_more(&port);
}

#[test]
fn a_socket_whose_connect_was_refused_can_be_tried_again() {
    let port = port();
    let (_nobody, address) = nobody();
    let stream = connecting(&port, address);
    port.initiate_connect(&stream, 1, address).unwrap();
    complete(&port).error_status.unwrap_err();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    port.initiate_connect(&stream, 2, address).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    converse(stream.get_ref(), &listener.accept().unwrap().0);
}

#[test]
fn a_connect_on_a_connected_socket_is_refused() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = connecting(&port, address);
    port.initiate_connect(&stream, 1, address).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    let rejected = port.initiate_connect(&stream, 2, address).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyConnected);
    assert_eq!(rejected.returned, 2);
    nothing_more(&port);
    converse(stream.get_ref(), &listener.accept().unwrap().0);
}

#[test]
fn a_connect_on_a_stream_that_std_connected_is_refused() {
    let port = port();
    let (client, server) = support::stream_pair();
    let address = server.local_addr().unwrap();
    let client = port.add_handle(client, 1).unwrap();
    let rejected = port.initiate_connect(&client, 2, address).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyConnected);
    assert_eq!(rejected.returned, 2);
    nothing_more(&port);
    converse(client.get_ref(), &server);
}

#[test]
fn a_bound_socket_connects_from_where_it_is_bound() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = unconnected_stream(address).unwrap();
    bind_to_loopback(&socket);
    let bound = socket.local_addr().unwrap();
    let stream = port.add_handle(socket, 1).unwrap();
    port.initiate_connect(&stream, 2, address).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, bound);
    converse(stream.get_ref(), &server);
}

#[test]
fn a_connect_to_an_address_of_another_family_is_refused() {
    let port = port();
    let stream = connecting(&port, "127.0.0.1:1".parse().unwrap());
    // At once or, on Windows, perhaps later.
    let error = match port.initiate_connect(&stream, 8, "[::1]:1".parse().unwrap()) {
        Err(rejected) => {
            assert_eq!(rejected.returned, 8);
            rejected.error
        }
        Ok(_) if support::is_windows() => complete(&port).error_status.unwrap_err(),
        Ok(_) => panic!("it is started"),
    };
    assert!(error.raw_os_error().is_some(), "{error}");
    nothing_more(&port);
}

/// More than a backlog holds. Those beyond it wait, or are refused after some
/// attempts: that is the system's choice.
#[test]
fn a_cancelled_connect_completes_once() {
    const COUNT: usize = if cfg!(simulated_kernel) { 6 } else { 200 };
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let streams: Vec<_> = (0..COUNT).map(|_| connecting(&port, address)).collect();
    let pendings: Vec<_> = streams
        .iter()
        .enumerate()
        .map(|(i, stream)| port.initiate_connect(stream, i, address).unwrap())
        .collect();
    let asked: Vec<bool> = pendings.iter().map(|pending| pending.cancel().unwrap()).collect();
    let mut cancelled = 0;
    let mut seen = [false; COUNT];
    for completion in complete_all(&port, COUNT) {
        assert!(!std::mem::replace(&mut seen[completion.context], true), "completed twice");
        match completion.error_status {
            Err(error) if error.is_cancelled() => {
                assert!(asked[completion.context], "cancelled, but not asked to be");
                cancelled += 1;
            }
            Err(error) => {
                assert!(
                    support::is_windows() && error.kind() == ErrorKind::ConnectionRefused,
                    "{error}"
                );
            }
            Ok(()) => {}
        }
    }
    nothing_more(&port);
    if cancelled == 0 && !cfg!(simulated_kernel) {
        support::nothing_to_see("every connect was over before it was cancelled");
    }
}

#[test]
fn connections_are_made_and_accepted_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return support::skipped_without("IPv6");
    };
    let port = port();
    let address = listener.local_addr().unwrap();
    let listener = port.add_handle(listener, 1).unwrap();
    let stream = connecting(&port, address);
    port.initiate_accept(&listener, 1).unwrap();
    port.initiate_connect(&stream, 2, address).unwrap();
    let mut accepted = None;
    for mut completion in complete_all(&port, 2) {
        assert_eq!(completion.error_status, Ok(()));
        accepted = accepted.or(completion.operation.take_accepted());
    }
    let accepted = accepted.unwrap();
    assert_eq!(accepted.peer_addr().unwrap(), stream.get_ref().local_addr().unwrap());
    assert_eq!(stream.get_ref().peer_addr().unwrap(), address);
    assert!(accepted.peer_addr().unwrap().is_ipv6());
    converse(&accepted, stream.get_ref());
}

#[test]
fn an_ipv4_address_in_ipv6_form_is_reached_by_a_socket_that_was_made_for_it() {
    let port = port();
    let (listener, address) = listening(&port);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), address.port()));
    let Ok(stream) = unconnected_stream(peer) else {
        return support::skipped_without("IPv6");
    };
    let stream = port.add_handle(stream, 4).unwrap();
    port.initiate_accept(&listener, 1).unwrap();
    port.initiate_connect(&stream, 2, peer).unwrap();
    let mut accepted = None;
    for mut completion in complete_all(&port, 2) {
        assert_eq!(completion.error_status, Ok(()));
        accepted = accepted.or(completion.operation.take_accepted());
    }
    assert_eq!(stream.get_ref().peer_addr().unwrap(), peer);
    let accepted = accepted.unwrap();
    assert!(accepted.peer_addr().unwrap().is_ipv4());
    converse(&accepted, stream.get_ref());
}

/// The value of an option that is a number, if the system knows the option.
fn option(socket: &impl AsRawSocket, option: i32) -> Option<u32> {
    let (mut value, mut length) = (0_u32, 4);
    // SAFETY: The value is a local of the given length.
    let result = unsafe {
        ws::getsockopt(
            socket.as_raw_socket() as ws::SOCKET,
            ws::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(value)
}

/// Otherwise a machine runs out of them after some 16,000 connections.
#[test]
fn connections_share_local_ports_where_the_system_can() {
    let port = port();
    let (_listener, address) = listening(&port);
    let stream = connecting(&port, address);
    let before = option(stream.get_ref(), ws::SO_REUSE_UNICASTPORT);
    port.initiate_connect(&stream, 1, address).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    // Wine does not know the option.
    let shares = option(stream.get_ref(), ws::SO_REUSE_UNICASTPORT);
    assert_eq!(shares, before.map(|_| 1));
}

#[test]
fn accepts_and_connects_work_on_handles_that_skip_the_port() {
    let port = port();
    let (listener, address) = listening(&port);
    let listener = listener.skip_on_success().unwrap();
    let stream = connecting(&port, address).skip_on_success().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let mut accept = match port.initiate_accept(&listener, 1).unwrap() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => complete(&port),
    };
    assert_eq!((accept.context, accept.error_status), (1, Ok(())));
    converse(&client, &accept.operation.take_accepted().unwrap());
    nothing_more(&port);

    let connect = match port.initiate_connect(&stream, 2, address).unwrap() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => complete(&port),
    };
    assert_eq!((connect.context, connect.error_status), (2, Ok(())));
    nothing_more(&port);

    let Started::Completed(mut accept) = port.initiate_accept(&listener, 3).unwrap() else {
        let mut accept = complete(&port);
        return converse(stream.get_ref(), &accept.operation.take_accepted().unwrap());
    };
    converse(stream.get_ref(), &accept.operation.take_accepted().unwrap());
}

#[test]
fn many_connects_in_flight_complete_once_each() {
    const COUNT: usize = few(100);
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let streams: Vec<_> = (0..COUNT).map(|_| connecting(&port, address)).collect();
    for (i, stream) in streams.iter().enumerate() {
        port.initiate_connect(stream, i, address).unwrap();
    }
    let mut contexts: Vec<usize> = complete_all(&port, COUNT)
        .into_iter()
        .map(|completion| {
            completion.error_status.unwrap();
            completion.context
        })
        .collect();
    contexts.sort_unstable();
    assert!(contexts.into_iter().eq(0..COUNT));
    nothing_more(&port);
}
