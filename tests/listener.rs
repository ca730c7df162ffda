//! Listeners that keep accepts in flight.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::OwnedSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use completion_port::listener::{Accepted, Connection, Listener, Options};
use completion_port::{Associated, CompletionStatus, ErrorKind, Iocp, unconnected_stream};
use support::{
    assert_peer_closed, complete, complete_all, dequeue_raw, few, nothing_more, port, port_of,
    post_raw, reset,
};

/// The context of accepts.
const ACCEPT: usize = 7;

/// The options of a listener of which it does not matter how many accepts it has.
fn few_accepts() -> Options {
    Options::new().accepts(2)
}

fn socket(port: &Iocp) -> Associated<TcpListener> {
    port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 3).unwrap()
}

fn listen(port: &Iocp, options: Options) -> Listener {
    listen_on(port, socket(port), options)
}

fn listen_on(port: &Iocp, socket: Associated<TcpListener>, options: Options) -> Listener {
    options.listen(port, socket, || ACCEPT).unwrap()
}

fn connect(listener: &Listener) -> TcpStream {
    TcpStream::connect(listener.local_addr()).unwrap()
}

/// The next completion, which is that of an accept.
#[track_caller]
fn complete_accept(port: &Iocp) -> CompletionStatus {
    let completion = complete(port);
    assert_eq!((completion.context, completion.handle_context), (ACCEPT, 3));
    completion
}

/// The next connection.
#[track_caller]
fn accept(port: &Iocp, listener: &Listener) -> Accepted {
    listener.accepted(&mut complete_accept(port)).unwrap()
}

/// What the next accept, which fails, fails with.
#[track_caller]
fn accept_in_vain(port: &Iocp, listener: &Listener) -> ErrorKind {
    listener.accepted(&mut complete_accept(port)).unwrap_err().kind()
}

/// Sends a few bytes each way.
#[track_caller]
fn converse(port: &Iocp, connection: &Connection, mut client: &TcpStream) {
    client.write_all(b"ping").unwrap();
    port.initiate_read(&connection.stream, 21, [0; 4]).unwrap();
    let mut completion = complete(port);
    assert_eq!((completion.context, completion.error_status), (21, Ok(())));
    assert_eq!(completion.operation.take_buffer::<[u8; 4]>().unwrap(), *b"ping");
    port.initiate_write(&connection.stream, 22, "pong").unwrap();
    let completion = complete(port);
    assert_eq!((completion.context, completion.error_status), (22, Ok(())));
    let mut buffer = [0; 4];
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
}

/// The other end of a connection.
#[track_caller]
fn client_of<'a>(connection: &Connection, clients: &'a [TcpStream]) -> &'a TcpStream {
    let is_its = |client: &&TcpStream| client.local_addr().unwrap() == connection.peer;
    clients.iter().find(is_its).expect("a client")
}

/// Takes what a stopped listener still owes: the connections.
fn drain(port: &Iocp, listener: &Listener, mut left: usize) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    while left > 0 {
        left -= 1;
        match listener.accepted(&mut complete_accept(port)) {
            Ok(connection) => accepted.push(connection),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
    assert_eq!(listener.in_flight(), 0);
    nothing_more(port);
    accepted
}

#[test]
fn a_listener_keeps_its_accepts_in_flight() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(4));
    assert_eq!(listener.in_flight(), 4);
    let mut connections = Vec::new();
    for round in 1..=few(4) {
        let client = connect(&listener);
        let accepted = accept(&port, &listener);
        assert_eq!((listener.in_flight(), listener.connections()), (4, round));
        assert!(accepted.data.is_empty());
        let connection = accepted.associate(&port, 5).unwrap();
        assert_eq!(connection.stream.context(), 5);
        assert_eq!(connection.peer, client.local_addr().unwrap());
        assert_eq!(connection.local, listener.local_addr());
        converse(&port, &connection, &client);
        connections.push((connection, client));
    }
    assert!(listener.take_error().is_none());
    nothing_more(&port);
    connections.clear();
    assert_eq!((listener.in_flight(), listener.connections()), (4, 0));
}

#[test]
fn clients_that_come_together_are_each_accepted_once() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(3));
    let clients: Vec<_> = (0..few(20)).map(|_| connect(&listener)).collect();
    let mut peers: Vec<_> = clients.iter().map(|_| accept(&port, &listener).peer).collect();
    let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    peers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(peers, expected);
    nothing_more(&port);
}

#[test]
fn an_accepted_connection_knows_its_addresses_and_can_be_shut_down() {
    let port = port();
    let listener = Listener::new(&port, socket(&port), || ACCEPT).unwrap();
    let mut client = connect(&listener);
    let accepted = accept(&port, &listener);
    accepted.get_ref().set_nodelay(true).unwrap();
    assert_eq!(accepted.get_ref().peer_addr().unwrap(), accepted.peer);
    assert_eq!(accepted.get_ref().local_addr().unwrap(), accepted.local);
    let connection = accepted.associate(&port, 0).unwrap();
    connection.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_listener_on_ipv6_tells_addresses_in_full() {
    for first_data in [0, 16] {
        let Ok(socket) = TcpListener::bind("[::1]:0") else {
            return support::skipped_without("IPv6");
        };
        let port = port();
        let socket = port.add_handle(socket, 3).unwrap();
        let listener = listen_on(&port, socket, few_accepts().first_data(first_data));
        let mut client = connect(&listener);
        client.write_all(b"first").unwrap();
        let accepted = accept(&port, &listener);
        assert_eq!(accepted.peer, client.local_addr().unwrap());
        assert_eq!(accepted.local, listener.local_addr());
        assert!(accepted.peer.is_ipv6());
    }
}

#[test]
#[cfg(not(simulated_kernel))] // its sockets are of one family
fn a_client_of_the_other_family_has_its_address_in_ipv6_form() {
    use socket2::{Domain, Socket, Type};
    let any: SocketAddr = "[::]:0".parse().unwrap();
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    if socket.bind(&any.into()).is_err() {
        return support::skipped_without("IPv6");
    }
    socket.listen(8).unwrap();
    let port = port();
    let socket = port.add_handle(TcpListener::from(socket), 3).unwrap();
    let listener = listen_on(&port, socket, few_accepts());
    let address = (Ipv4Addr::LOCALHOST, listener.local_addr().port());
    let client = TcpStream::connect(address).unwrap();
    let accepted = accept(&port, &listener);
    let mapped = |address: SocketAddr| {
        SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), address.port()))
    };
    assert_eq!(accepted.peer, mapped(client.local_addr().unwrap()));
    assert_eq!(accepted.local, mapped(address.into()));
    converse(&port, &accepted.associate(&port, 1).unwrap(), &client);
}

#[test]
fn connections_can_go_to_another_port_each() {
    let port = port();
    let others = [port_of::<String>(), port_of::<String>()];
    let listener = listen(&port, few_accepts());
    let mut connections = Vec::new();
    for other in &others {
        let client = connect(&listener);
        let connection = accept(&port, &listener).associate(other, 9).unwrap();
        connections.push((connection, client));
    }
    for (other, (connection, client)) in others.iter().zip(&connections) {
        other.initiate_read(&connection.stream, "read".to_owned(), [0; 4]).unwrap();
        (&*client).write_all(b"four").unwrap();
        let completion = complete(other);
        assert_eq!((completion.context.as_str(), completion.handle_context), ("read", 9));
    }
    nothing_more(&port);
}

#[test]
fn a_connection_that_a_port_refuses_comes_back() {
    let port = port();
    let listener = listen(&port, few_accepts());
    let client = connect(&listener);
    let accepted = accept(&port, &listener);
    let closed = support::port();
    closed.close();
    let rejected = accepted.associate(&closed, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Closed);
    let connection = rejected.returned.associate(&port, 1).unwrap();
    converse(&port, &connection, &client);
}

#[test]
fn a_full_listener_accepts_again_when_a_connection_has_ended() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(2).max_connections(3));
    let clients: Vec<_> = (0..5).map(|_| connect(&listener)).collect();
    let mut open = Vec::new();
    for in_flight in [2, 1, 0] {
        open.push(accept(&port, &listener).associate(&port, 1).unwrap());
        assert_eq!(listener.in_flight(), in_flight);
    }
    nothing_more(&port);
    assert_eq!(listener.refill(), Ok(0));
    // One is closed by the way that asks for no cancel.
    let connection = open.remove(0);
    let client = client_of(&connection, &clients);
    connection.close();
    assert_peer_closed(client);
    assert_eq!(listener.in_flight(), 1);
    open.push(accept(&port, &listener).associate(&port, 1).unwrap());
    nothing_more(&port);
    // The permit counts, not the socket.
    let Connection { stream, permit, .. } = open.remove(0);
    drop(stream);
    assert_eq!((listener.in_flight(), listener.connections()), (0, 3));
    drop(permit);
    open.push(accept(&port, &listener).associate(&port, 1).unwrap());
    assert_eq!((listener.in_flight(), listener.connections()), (0, 3));
    for connection in &open {
        converse(&port, connection, client_of(connection, &clients));
    }
}

#[test]
fn a_client_that_resets_in_the_backlog_leaves_the_listener_well() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(1));
    let first = connect(&listener);
    reset(connect(&listener));
    let client = connect(&listener);
    let first_connection = accept(&port, &listener).associate(&port, 1).unwrap();
    // The system may drop such a client, accept it, or fail the accept, at once or later.
    let accepted = loop {
        match listener.accepted(&mut complete_accept(&port)) {
            Ok(accepted) if accepted.peer == client.local_addr().unwrap() => break accepted,
            Ok(_) => {}
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted),
                "{error}"
            ),
        }
        assert_eq!(listener.in_flight(), 1);
    };
    let connection = accepted.associate(&port, 1).unwrap();
    converse(&port, &connection, &client);
    converse(&port, &first_connection, &first);
    assert_eq!((listener.in_flight(), listener.connections()), (1, 2));
    assert!(listener.take_error().is_none());
    nothing_more(&port);
}

#[test]
fn a_stopped_listener_tells_what_it_owes_and_refuses_clients() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(5));
    let client = connect(&listener);
    let connection = accept(&port, &listener).associate(&port, 1).unwrap();
    assert_eq!(listener.stop(), 5);
    assert_eq!(listener.stop(), 5, "nothing has been handed over");
    assert!(drain(&port, &listener, 5).is_empty());
    assert_eq!(listener.stop(), 0);
    TcpStream::connect(listener.local_addr()).unwrap_err();
    assert_eq!(listener.refill(), Ok(0));
    // What it has accepted goes on.
    converse(&port, &connection, &client);
    drop(connection);
    assert_eq!((listener.in_flight(), listener.connections()), (0, 0));
    nothing_more(&port);
}

#[test]
fn a_listener_that_is_full_is_closed_as_it_is_stopped() {
    let port = port();
    let listener = listen(&port, few_accepts().max_connections(1));
    let _client = connect(&listener);
    let _connection = accept(&port, &listener);
    assert_eq!(listener.stop(), 0);
    TcpStream::connect(listener.local_addr()).unwrap_err();
}

#[test]
fn what_was_accepted_before_the_stop_is_a_connection() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(3));
    let clients = [connect(&listener), connect(&listener)];
    // Two accepts are over: their packets wait.
    let packets: Vec<_> = clients.iter().map(|_| dequeue_raw(&port)).collect();
    for (bytes, key, overlapped) in packets {
        post_raw(&port, bytes, key, overlapped);
    }
    assert_eq!(listener.stop(), 3);
    let accepted = drain(&port, &listener, 3);
    assert_eq!(accepted.len(), 2, "a connection was lost");
    for accepted in accepted {
        assert_eq!(accepted.get_ref().peer_addr().unwrap(), accepted.peer);
        let connection = accepted.associate(&port, 1).unwrap();
        converse(&port, &connection, client_of(&connection, &clients));
    }
}

/// Whether an accept or the stop is faster is chance. A client that was accepted is served, and
/// any other finds its connection closed.
#[test]
fn clients_that_race_with_the_stop_are_served_or_closed() {
    const ROUNDS: usize = if cfg!(miri) { 2 } else { 20 };
    for _ in 0..ROUNDS {
        let port = port();
        let listener = listen(&port, Options::new().accepts(4));
        let clients: Vec<_> = std::thread::scope(|scope| {
            let address = listener.local_addr();
            let connecting = scope.spawn(move || {
                let connect = |_| TcpStream::connect(address).ok();
                (0..3).map_while(connect).collect()
            });
            listener.stop();
            connecting.join().unwrap()
        });
        let accepted = drain(&port, &listener, listener.in_flight());
        for client in &clients {
            let address = client.local_addr().unwrap();
            match accepted.iter().find(|accepted| accepted.peer == address) {
                Some(accepted) => {
                    (&*client).write_all(b"?").unwrap();
                    accepted.get_ref().read_exact(&mut [0]).unwrap();
                }
                None => assert!(
                    (&*client).read(&mut [0; 8]).map_or(true, |count| count == 0),
                    "somebody has answered"
                ),
            }
        }
    }
}

#[test]
fn several_threads_serve_many_clients() {
    const THREADS: usize = if cfg!(miri) { 2 } else { 4 };
    const CLIENTS: usize = few(100);
    let port = port();
    let listener = listen(&port, Options::new().accepts(4).max_connections(8));
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let serve = || {
            while let Ok(mut completion) = port.get_completion() {
                let accepted = listener.accepted(&mut completion).unwrap();
                assert!(listener.in_flight() <= 4 && listener.connections() <= 8);
                accepted.get_ref().write_all(b"!").unwrap();
                if served.fetch_add(1, Ordering::SeqCst) + 1 == CLIENTS {
                    port.close();
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(serve)).collect();
        for _ in 0..CLIENTS {
            connect(&listener).read_exact(&mut [0]).unwrap();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert_eq!(listener.connections(), 0);
}

#[test]
fn first_data_arrives_with_the_connection() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(2).first_data(8));
    let mut client = connect(&listener);
    nothing_more(&port);
    client.write_all(b"hello").unwrap();
    let accepted = accept(&port, &listener);
    assert_eq!(accepted.data, b"hello");
    assert_eq!(accepted.peer, client.local_addr().unwrap());
    assert_eq!(accepted.local, listener.local_addr());
    assert_eq!(listener.in_flight(), 2);
    let connection = accepted.associate(&port, 1).unwrap();
    assert_eq!(connection.data, b"hello");
    converse(&port, &connection, &client);

    // No more than there is room for: the rest is read.
    let mut client = connect(&listener);
    client.write_all(b"hello, world").unwrap();
    let accepted = accept(&port, &listener);
    assert_eq!(accepted.data, b"hello, w");
    let mut rest = [0; 4];
    accepted.get_ref().read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"orld");
}

#[test]
fn a_client_that_ends_without_a_word_is_a_connection_without_data() {
    let port = port();
    let listener = listen(&port, few_accepts().first_data(8));
    let client = connect(&listener);
    client.shutdown(Shutdown::Write).unwrap();
    let accepted = accept(&port, &listener);
    assert!(accepted.data.is_empty());
    assert_eq!(accepted.peer, client.local_addr().unwrap());
}

#[test]
fn silent_clients_keep_others_out_until_they_are_dropped() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(2).first_data(8));
    let silent = [connect(&listener), connect(&listener)];
    let mut good = connect(&listener);
    good.write_all(b"hello").unwrap();
    nothing_more(&port);
    assert_eq!(listener.drop_silent(Duration::from_secs(3600)), 0, "they have come just now");
    assert_eq!(listener.drop_silent(Duration::ZERO), 2);
    assert_eq!(listener.in_flight(), 2);
    for client in &silent {
        assert_peer_closed(client);
    }
    let mut kinds = Vec::new();
    let accepted = loop {
        match listener.accepted(&mut complete_accept(&port)) {
            Ok(accepted) => break accepted,
            Err(error) => kinds.push(error.kind()),
        }
        assert_eq!(listener.in_flight(), 2);
    };
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == ErrorKind::TimedOut));
    assert_eq!(accepted.data, b"hello");
    converse(&port, &accepted.associate(&port, 1).unwrap(), &good);
    // Accepts that have no client yet are left alone.
    while kinds.len() < 2 {
        kinds.push(accept_in_vain(&port, &listener));
    }
    assert_eq!(listener.drop_silent(Duration::ZERO), 0);
    nothing_more(&port);
}

#[test]
fn only_listeners_for_first_data_drop_clients() {
    let port = port();
    let listener = listen(&port, few_accepts());
    let client = connect(&listener);
    let (bytes, key, overlapped) = dequeue_raw(&port);
    assert_eq!(listener.drop_silent(Duration::ZERO), 0);
    post_raw(&port, bytes, key, overlapped);
    let connection = accept(&port, &listener).associate(&port, 1).unwrap();
    converse(&port, &connection, &client);
}

#[test]
fn a_silent_client_is_closed_when_the_listener_is_stopped() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(2).first_data(8));
    let client = connect(&listener);
    let left = listener.stop();
    assert!(drain(&port, &listener, left).is_empty());
    assert_peer_closed(&client);
}

#[test]
fn a_completion_that_nobody_passes_on_leaves_its_accept_missing() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(2));
    let client = connect(&listener);
    drop(complete_accept(&port));
    assert_eq!((listener.in_flight(), listener.connections()), (1, 0));
    assert_peer_closed(&client);
    assert_eq!(listener.refill(), Ok(1));
    assert_eq!(listener.in_flight(), 2);
}

#[test]
fn other_completions_are_refused_and_left_as_they_were() {
    let port = port();
    let listener = listen(&port, few_accepts());
    let other = socket(&port);
    port.initiate_accept(&other, ACCEPT).unwrap();
    let _client = TcpStream::connect(other.get_ref().local_addr().unwrap()).unwrap();
    let mut completion = complete(&port);
    let error = listener.accepted(&mut completion).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(completion.operation.take_accepted().is_some());

    let _client = connect(&listener);
    let mut completion = complete(&port);
    assert!(completion.operation.take_accepted().is_none());
    listener.accepted(&mut completion).unwrap();
    let error = listener.accepted(&mut completion).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_cannot_listen_comes_back() {
    let (one, other) = (port(), port());
    let refused = |port: &Iocp, socket, options: Options, kind| {
        let rejected = options.listen(port, socket, || ACCEPT).unwrap_err();
        assert_eq!(rejected.error.kind(), kind, "{rejected}");
        rejected.returned
    };
    let socket = socket(&one);
    let socket = refused(&other, socket, few_accepts(), ErrorKind::WrongPort);
    let socket = refused(&one, socket, Options::new().accepts(0), ErrorKind::InvalidInput);
    let socket = refused(&one, socket, few_accepts().max_connections(0), ErrorKind::InvalidInput);
    let stream = unconnected_stream((Ipv4Addr::LOCALHOST, 1).into()).unwrap();
    let deaf = TcpListener::from(OwnedSocket::from(stream));
    let deaf = one.add_handle(deaf, 3).unwrap();
    refused(&one, deaf, few_accepts(), ErrorKind::InvalidInput);
    one.close();
    refused(&one, socket, few_accepts(), ErrorKind::Closed);
    nothing_more(&other);
}

#[test]
fn a_listener_that_gets_some_of_its_accepts_tells_why_not_all() {
    let port = Iocp::builder().max_operations(2).build().unwrap();
    let listener = listen(&port, Options::new().accepts(3));
    let refused = || listener.take_error().map(|error| error.kind());
    assert_eq!((listener.in_flight(), refused()), (2, Some(ErrorKind::TooManyOperations)));
    let _client = connect(&listener);
    let accepted = accept(&port, &listener);
    assert_eq!((listener.in_flight(), refused()), (2, Some(ErrorKind::TooManyOperations)));
    assert_eq!(refused(), None, "it is told once");
    drop(accepted);
    assert_eq!((listener.in_flight(), refused()), (2, Some(ErrorKind::TooManyOperations)));
    assert_eq!(listener.refill().unwrap_err().kind(), ErrorKind::TooManyOperations);
    nothing_more(&port);
}

#[test]
fn why_accepts_were_missing_is_forgotten_once_they_could_be_started() {
    let port = Iocp::builder().max_operations(2).build().unwrap();
    port.post(1, 0, 0).unwrap();
    let listener = listen(&port, Options::new().accepts(2));
    let client = connect(&listener);
    drop(complete(&port));
    accept(&port, &listener);
    assert_eq!((listener.in_flight(), listener.take_error()), (2, None));
    drop(client);
}

#[test]
fn a_listener_that_gets_no_accept_at_first_is_none() {
    let port = Iocp::builder().max_operations(1).build().unwrap();
    port.post(1, 0, 0).unwrap();
    let rejected = Listener::new(&port, socket(&port), || ACCEPT).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    assert_eq!(complete(&port).context, 1);
    let listener = listen_on(&port, rejected.returned, Options::new().accepts(1));
    assert_eq!(listener.in_flight(), 1);
}

#[test]
fn a_dropped_listener_is_closed_and_its_connections_go_on() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(3).max_connections(3));
    let address: SocketAddr = listener.local_addr();
    let client = connect(&listener);
    let connection = accept(&port, &listener).associate(&port, 1).unwrap();
    drop(listener);
    TcpStream::connect(address).unwrap_err();
    for completion in complete_all(&port, 2) {
        assert!(completion.error_status.unwrap_err().is_cancelled());
    }
    converse(&port, &connection, &client);
    drop(connection);
    nothing_more(&port);
}

#[test]
fn a_listener_and_its_connections_outlive_the_port() {
    let port = port();
    let listener = listen(&port, Options::new().accepts(2));
    let client = connect(&listener);
    let connection = accept(&port, &listener).associate(&port, 1).unwrap();
    drop(port);
    assert_eq!((listener.in_flight(), listener.connections()), (0, 1));
    drop(connection);
    assert_peer_closed(&client);
    assert_eq!(listener.refill(), Ok(0));
    assert_eq!(listener.stop(), 0);
}

#[test]
fn connections_in_contexts_do_not_keep_their_port() {
    struct Event(#[expect(dead_code, reason = "it is kept")] Option<Connection>);
    let port = port_of::<Event>();
    let socket = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 3).unwrap();
    let listener = Listener::new(&port, socket, || Event(None)).unwrap();
    let client = TcpStream::connect(listener.local_addr()).unwrap();
    let connection = listener.accepted(&mut complete(&port)).unwrap().associate(&port, 1).unwrap();
    port.post(Event(Some(connection)), 0, 0).unwrap();
    drop(port);
    assert_peer_closed(&client);
    assert_eq!(listener.connections(), 0);
}

/// A child process that has inherited a socket keeps its connection, and its address.
#[test]
#[cfg(not(simulated_kernel))] // it has no processes; it refuses sockets that are inherited
#[cfg(not(memcheck))] // Valgrind does not follow into processes
fn child_processes_inherit_nothing_of_a_listener() {
    use std::process::Stdio;
    const NAME: &str = "child_processes_inherit_nothing_of_a_listener";
    if support::child::is_child(NAME) {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let port = port();
    let listener = listen(&port, few_accepts());
    let address = listener.local_addr();
    let client = connect(&listener);
    let connection = accept(&port, &listener).associate(&port, 1).unwrap();
    let mut child =
        support::child::command(NAME).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(connection);
    assert_peer_closed(&client);
    let left = listener.stop();
    drain(&port, &listener, left);
    TcpListener::bind(address).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[cfg(simulated_kernel)]
mod exhaustion {
    use std::mem;

    use simulated_kernel::{Behaving, behave};
    use windows_sys::Win32::Networking::WinSock as ws;

    use super::*;

    /// How many of the refusals are left.
    fn left() -> u32 {
        let mut left = 0;
        mem::forget(behave(|kernel| left = kernel.refuse_sockets));
        left
    }

    fn without_sockets(refusals: u32) -> Behaving {
        behave(|kernel| kernel.refuse_sockets = refusals)
    }

    #[test]
    fn a_listener_that_finds_no_socket_tries_once_at_each_occasion() {
        const MANY: u32 = 50;
        let port = port();
        let listener = listen(&port, Options::new().accepts(3));
        let clients = [connect(&listener), connect(&listener), connect(&listener)];
        {
            let _behaving = without_sockets(MANY);
            let mut open = Vec::new();
            for tries in 1..=3 {
                open.push(accept(&port, &listener));
                assert_eq!(left(), MANY - tries);
                assert_eq!(listener.in_flight(), 3 - tries as usize);
                assert_eq!(
                    listener.take_error().map(|error| error.kind()),
                    Some(ErrorKind::ResourceExhausted)
                );
                assert!(listener.take_error().is_none(), "it is told once");
            }
            assert_eq!(left(), MANY - 3);
            nothing_more(&port);
            drop(open.pop());
            assert_eq!((left(), listener.in_flight()), (MANY - 4, 0));
            assert_eq!(listener.refill().unwrap_err().kind(), ErrorKind::ResourceExhausted);
            assert_eq!(left(), MANY - 5);
        }
        assert_eq!(listener.refill(), Ok(3));
        drop(clients);
        connect(&listener);
        accept(&port, &listener);
    }

    #[test]
    fn a_connection_that_ends_starts_the_accepts_that_were_refused() {
        let port = port();
        let listener = listen(&port, Options::new().accepts(2));
        let _clients = [connect(&listener), connect(&listener)];
        let _behaving = without_sockets(2);
        let connections = [accept(&port, &listener), accept(&port, &listener)];
        assert_eq!(listener.in_flight(), 0);
        drop(connections);
        assert_eq!(listener.in_flight(), 2);
    }

    #[test]
    fn a_listener_that_finds_no_socket_at_first_is_none() {
        let port = port();
        let socket = socket(&port);
        let _behaving = without_sockets(1);
        let rejected = Listener::new(&port, socket, || ACCEPT).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
        let listener = Listener::new(&port, rejected.returned, || ACCEPT).unwrap();
        assert_eq!(listener.in_flight(), 16);
    }

    #[test]
    fn an_accept_that_fails_for_want_of_memory_is_not_started_again_at_once() {
        let port = port();
        let listener = listen(&port, Options::new().accepts(1));
        {
            const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;
            let _behaving = behave(|kernel| kernel.fail.push_back(STATUS_INSUFFICIENT_RESOURCES));
            connect(&listener);
            assert_eq!(accept_in_vain(&port, &listener), ErrorKind::ResourceExhausted);
        }
        assert_eq!(listener.in_flight(), 0);
        assert_eq!(listener.refill(), Ok(1));
        connect(&listener);
        accept(&port, &listener);
    }

    #[test]
    fn clients_that_go_away_as_accepts_are_started_cost_no_accept() {
        let port = port();
        let listener = listen(&port, Options::new().accepts(2));
        connect(&listener);
        let _behaving = behave(|kernel| {
            kernel.refuse.extend([ws::WSAECONNRESET as u32, ws::WSAENOTCONN as u32]);
        });
        accept(&port, &listener);
        assert_eq!(listener.in_flight(), 2);
        assert!(listener.take_error().is_none());
    }

    #[test]
    fn a_listener_whose_clients_all_go_away_leaves_them_to_the_next_occasion() {
        const MANY: usize = 1000;
        let port = port();
        let listener = listen(&port, Options::new().accepts(2));
        connect(&listener);
        {
            let reset = std::iter::repeat_n(ws::WSAECONNRESET as u32, MANY);
            let _behaving = behave(|kernel| kernel.refuse.extend(reset));
            accept(&port, &listener);
            let mut left = 0;
            mem::forget(behave(|kernel| left = kernel.refuse.len()));
            assert!((1..MANY).contains(&left), "{left} are left");
        }
        let error = listener.take_error().map(|error| error.kind());
        assert_eq!((listener.in_flight(), error), (1, Some(ErrorKind::ConnectionReset)));
        connect(&listener);
        accept(&port, &listener);
        assert_eq!((listener.in_flight(), listener.take_error()), (2, None));
    }

    #[test]
    fn clients_that_go_away_as_they_are_accepted_cost_no_accept() {
        const STATUS_CONNECTION_RESET: u32 = 0xC000_020D;
        let port = port();
        let listener = listen(&port, Options::new().accepts(2));
        let _behaving = behave(|kernel| kernel.fail.push_back(STATUS_CONNECTION_RESET));
        connect(&listener);
        assert_eq!(accept_in_vain(&port, &listener), ErrorKind::ConnectionReset);
        assert_eq!(listener.in_flight(), 2);
    }

    #[test]
    fn clients_are_silent_for_as_long_as_the_system_says() {
        let port = port();
        let listener = listen(&port, Options::new().accepts(2).first_data(8));
        let _client = connect(&listener);
        let _behaving = behave(|kernel| kernel.connected_for = 30);
        assert_eq!(listener.drop_silent(Duration::from_secs(31)), 0);
        assert_eq!(listener.drop_silent(Duration::from_secs(30)), 1);
        assert_eq!(accept_in_vain(&port, &listener), ErrorKind::TimedOut);
        assert_eq!(listener.in_flight(), 2);
    }
}
