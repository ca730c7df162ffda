//! Waiting until there is something to receive.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::os::windows::io::OwnedSocket;
use std::thread;

use completion_port::{Associated, ErrorKind, Iocp, OperationKind, Started, op};
use support::{complete, nothing_more, port, stream_pair};

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 1).unwrap())
}

#[test]
fn it_completes_once_there_is_something_and_receives_nothing() {
    let port = port();
    let (mut client, server) = served(&port);
    for late in [true, false] {
        if !late {
            client.write_all(b"hello").unwrap();
        }
        let pending = port.initiate(&server, 2, op::Readable::new()).unwrap();
        if late {
            nothing_more(&port);
            assert!(!pending.is_completed());
            client.write_all(b"hello").unwrap();
        }
        let mut completion = complete(&port);
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
        assert_eq!(completion.operation.kind(), OperationKind::Read);
        assert_eq!(completion.operation.output::<()>(), Ok(()));
        port.initiate_read(&server, 3, Vec::with_capacity(64)).unwrap();
        assert_eq!(complete(&port).operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    }
    nothing_more(&port);
}

#[test]
fn it_completes_at_the_end_of_a_stream_and_at_a_reset() {
    let port = port();
    let (client, server) = served(&port);
    port.initiate(&server, 2, op::Readable::new()).unwrap();
    drop(client);
    assert_eq!(complete(&port).error_status, Ok(()));
    port.initiate_read(&server, 3, Vec::with_capacity(64)).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 0);

    let (client, server) = served(&port);
    port.initiate(&server, 2, op::Readable::new()).unwrap();
    support::reset(client);
    let _ = complete(&port).error_status;
    let read = port.initiate_read(&server, 3, Vec::with_capacity(64));
    let error = match read {
        Ok(_) => complete(&port).error_status.unwrap_err(),
        Err(rejected) => rejected.error,
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    nothing_more(&port);
}

#[test]
fn it_is_cancelled_like_any_other() {
    let port = port();
    let (mut client, server) = served(&port);
    let pending = port.initiate(&server, 2, op::Readable::new()).unwrap();
    assert!(pending.cancel().unwrap());
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    client.write_all(b"hello").unwrap();
    port.initiate_read(&server, 3, Vec::with_capacity(64)).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 5);
}

#[test]
fn on_a_handle_that_skips_the_port_it_completes_at_once() {
    let port = port();
    let (mut client, server) = served(&port);
    let server = server.skip_on_success().unwrap();
    let started = port.initiate(&server, 2, op::Readable::new()).unwrap();
    assert!(matches!(started, Started::Pending(_)));
    client.write_all(b"hello").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    match port.initiate(&server, 2, op::Readable::new()).unwrap() {
        Started::Completed(completion) => assert_eq!(completion.bytes_transferred, 0),
        Started::Pending(_) => assert_eq!(complete(&port).error_status, Ok(())),
    }
    nothing_more(&port);
}

#[test]
fn a_socket_of_datagrams_loses_none_because_it_is_refused() {
    let port = port();
    let (one, other) = support::datagram_pair();
    let one = port.add_handle(OwnedSocket::from(one), 1).unwrap();
    other.send(b"hello").unwrap();
    let rejected = port.initiate(&one, 2, op::Readable::new()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.error.to_string(), "this operation needs a stream socket");
    port.initiate_read(&one, 3, Vec::with_capacity(64)).unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

/// On Wine, it ends with the thread; on Windows, it goes on.
#[test]
fn it_outlives_the_thread_that_has_started_it_or_ends_with_it() {
    let port = port();
    let (mut client, server) = served(&port);
    thread::scope(|scope| {
        let start = || drop(port.initiate(&server, 2, op::Readable::new()).unwrap());
        scope.spawn(start).join().unwrap();
    });
    client.write_all(b"hello").unwrap();
    let completion = complete(&port);
    assert!(completion.error_status.is_ok() || support::is_wine());
    nothing_more(&port);
}
