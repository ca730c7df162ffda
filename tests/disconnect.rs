//! Ending connections, and using their sockets again.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::OwnedSocket;

use completion_port::{Associated, ErrorKind, Iocp, op};
use support::{complete, nothing_more, port, stream_pair};

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 1).unwrap())
}

#[test]
fn the_peer_of_a_disconnected_socket_has_everything_and_finds_the_end() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_write(&server, 2, "the last words").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    port.initiate(&server, 3, op::Disconnect::new()).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context, completion.error_status), (3, Ok(())));
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert_eq!(received, "the last words");
    let rejected = port.initiate_write(&server, 2, "more").unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::BrokenPipe);
    nothing_more(&port);
}

#[test]
fn what_is_not_connected_is_not_disconnected() {
    let port = port();
    let to = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stream = completion_port::unconnected_stream(to).unwrap();
    let stream = port.add_handle(stream, 1).unwrap();
    let rejected = port.initiate(&stream, 2, op::Disconnect::new()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::NotConnected);
    let rejected = port.initiate(&stream, 2, op::Disconnect::new().for_reuse()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::NotConnected);

    let datagrams = OwnedSocket::from(support::datagram_pair().0);
    let datagrams = port.add_handle(datagrams, 1).unwrap();
    let rejected = port.initiate(&datagrams, 2, op::Disconnect::new()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    nothing_more(&port);
}

/// Wine says of one that it pends, and queues no packet.
#[test]
fn a_handle_that_skips_the_port_is_not_disconnected() {
    let port = port();
    let (_client, server) = served(&port);
    let server = server.skip_on_success().unwrap();
    let rejected = port.initiate(&server, 2, op::Disconnect::new()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
}

/// Disconnects a connection for reuse, as its peer does.
fn disconnect(port: &Iocp, stream: &Associated<TcpStream>, peer: TcpStream) -> op::Reusable {
    drop(peer);
    port.initiate(stream, 2, op::Disconnect::new().for_reuse()).unwrap();
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    completion.operation.output().unwrap()
}

/// Wine 10 says of a reused socket that it is connected.
#[test]
fn a_socket_that_was_disconnected_for_reuse_connects_again() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let stream = completion_port::unconnected_stream(to).unwrap();
    let stream = port.add_handle(stream, 1).unwrap();
    let mut reusable: Option<op::Reusable> = None;
    for _ in 0..3 {
        match reusable {
            None => drop(port.initiate(&stream, 2, op::Connect::new(to)).unwrap()),
            Some(reusable) => {
                let connect = op::Connect::new(to).reusing(reusable);
                if let Err(rejected) = port.initiate(&stream, 2, connect) {
                    assert!(support::is_wine(), "{rejected}");
                    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyConnected);
                    return;
                }
            }
        }
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        port.initiate_write(&stream, 3, "hello").unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        let mut received = [0; 5];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"hello");
        reusable = Some(disconnect(&port, &stream, peer));
        // It is of no other use meanwhile.
        let read = port.initiate_read(&stream, 4, Vec::with_capacity(8));
        if !support::is_wine() {
            assert_eq!(read.unwrap_err().error.kind(), ErrorKind::NotConnected);
        } else if read.is_ok() {
            complete(&port);
        }
    }
}

#[test]
fn a_connection_is_accepted_into_a_socket_that_was_disconnected_for_reuse() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let listener = port.add_handle(listener, 7).unwrap();
    let (client, server) = served(&port);
    let mut reusable = disconnect(&port, &server, client);
    let mut stream = server;
    for _ in 0..3 {
        let accept = op::Accept::reusing(stream, reusable);
        port.initiate(&listener, 2, accept).unwrap();
        let mut client = TcpStream::connect(to).unwrap();
        let mut completion = complete(&port);
        stream = completion.operation.output::<Associated<TcpStream>>().unwrap();
        assert_eq!(stream.context(), 1);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(stream.get_ref().peer_addr().unwrap(), client.local_addr().unwrap());
        client.write_all(b"hello").unwrap();
        port.initiate_read(&stream, 3, Vec::with_capacity(8)).unwrap();
        let buffer: Vec<u8> = complete(&port).operation.take_buffer().unwrap();
        if support::is_wine() {
            // It remembers that the connection before has ended.
            return assert_eq!(buffer, b"");
        }
        assert_eq!(buffer, b"hello");
        reusable = disconnect(&port, &stream, client);
    }
    nothing_more(&port);
}

#[test]
fn what_was_not_disconnected_for_reuse_is_refused_and_comes_back() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = port.add_handle(listener, 7).unwrap();
    let (client, server) = served(&port);
    let reusable = disconnect(&port, &server, client);
    let (_other_client, other) = served(&port);
    let accept = op::Accept::reusing(other, reusable);
    let rejected = port.initiate(&listener, 2, accept).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    assert!(rejected.error.to_string().contains("reuse"), "{rejected}");
    let (other, reusable) = rejected.returned.1.0.0.into_parts();
    assert!(other.get_ref().peer_addr().is_ok());
    // Its own socket is gone.
    drop(server);
    let rejected = port.initiate(&listener, 2, op::Accept::reusing(other, reusable)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);

    // Without reuse, the system says that it is connected.
    let (_client, plain) = served(&port);
    port.initiate(&plain, 2, op::Disconnect::new()).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    let to = listener.get_ref().local_addr().unwrap();
    let rejected = port.initiate(&plain, 2, op::Connect::new(to)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyConnected);
    nothing_more(&port);
}

#[test]
fn a_socket_is_connected_again_only_by_what_its_disconnect_has_returned() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (client, server) = served(&port);
    let reusable = disconnect(&port, &server, client);
    let rejected = port.initiate(&server, 2, op::Connect::new(to)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    assert!(rejected.error.to_string().contains("Connect::reusing"), "{}", rejected.error);

    // It is of no use for another, fresh or connected, and comes back.
    let fresh = port.add_handle(completion_port::unconnected_stream(to).unwrap(), 1).unwrap();
    let (_client, connected) = served(&port);
    let mut reusable = reusable;
    for other in [&fresh, &connected] {
        let connect = op::Connect::new(to).reusing(reusable).with_data("hello");
        let rejected = port.initiate(other, 2, connect).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert!(rejected.error.to_string().contains("reuse"), "{}", rejected.error);
        let (op::Sends(data), op::Keeps((_, it))) = rejected.returned.1;
        assert_eq!(data, "hello");
        reusable = it;
    }
    port.initiate(&fresh, 2, op::Connect::new(to)).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));

    let connect = op::Connect::new(to).reusing(reusable).with_data("hello");
    match port.initiate(&server, 2, connect) {
        Ok(_) => {
            let mut completion = complete(&port);
            assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
            assert_eq!(completion.operation.output::<&str>().unwrap(), "hello");
        }
        // It says of a reused socket that it is connected.
        Err(rejected) => {
            assert!(support::is_wine(), "{}", rejected.error);
            assert_eq!(rejected.error.kind(), ErrorKind::AlreadyConnected);
        }
    }
    nothing_more(&port);
}

/// It is told by a connect without reuse, which is refused.
#[test]
fn a_start_that_was_refused_leaves_the_socket_to_be_reused() {
    let port = Iocp::builder().max_operations(1).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let listener = port.add_handle(listener, 7).unwrap();
    let (client, server) = served(&port);
    let reusable = disconnect(&port, &server, client);
    let assert_awaits_reuse = |stream: &Associated<TcpStream>| {
        let rejected = port.initiate(stream, 2, op::Connect::new(to)).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert!(rejected.error.to_string().contains("Connect::reusing"), "{}", rejected.error);
    };
    // Nothing has room beside it.
    port.post(3, 0, 0).unwrap();
    let connect = op::Connect::new(to).reusing(reusable);
    let rejected = port.initiate(&server, 2, connect).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    let ((), op::Keeps((_, reusable))) = rejected.returned.1;
    assert_awaits_reuse(&server);
    let accept = op::Accept::reusing(server, reusable);
    let rejected = port.initiate(&listener, 2, accept).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    let (server, reusable) = rejected.returned.1.0.0.into_parts();
    assert_awaits_reuse(&server);
    assert_eq!(complete(&port).context, 3);

    // Neither does a call that fails use it up.
    #[cfg(simulated_kernel)]
    let _behaving = simulated_kernel::behave(|kernel| {
        let unreachable = windows_sys::Win32::Networking::WinSock::WSAENETUNREACH;
        kernel.refuse.push_back(unreachable as u32);
    });
    match port.initiate(&server, 2, op::Connect::new(to).reusing(reusable)) {
        Ok(_) => assert!(support::is_windows()),
        Err(_) => assert_awaits_reuse(&server),
    }
}

/// To be tried again, it needs nothing more.
#[test]
fn a_reused_socket_whose_connect_was_refused_is_tried_again() {
    let port = port();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (client, server) = served(&port);
    let reusable = disconnect(&port, &server, client);
    let connect = op::Connect::new(nobody).reusing(reusable);
    if let Err(rejected) = port.initiate(&server, 2, connect) {
        assert!(support::is_wine(), "{}", rejected.error);
        return;
    }
    assert_eq!(complete(&port).error_status.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    port.initiate(&server, 2, op::Connect::new(to)).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
}

#[test]
fn a_cancelled_accept_returns_the_socket_that_it_was_to_reuse() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = port.add_handle(listener, 7).unwrap();
    let (client, server) = served(&port);
    let reusable = disconnect(&port, &server, client);
    port.initiate(&listener, 2, op::Accept::reusing(server, reusable)).unwrap();
    assert!(listener.cancel_all().unwrap());
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    let stream: Associated<TcpStream> = completion.operation.output().unwrap();
    assert_eq!(stream.context(), 1);
    nothing_more(&port);
}
