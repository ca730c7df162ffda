//! Handles that leave their port, or move to another.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::windows::io::AsRawSocket;

use completion_port::{Associated, ErrorKind, Iocp, Mode, Rejected, Started};
use support::{complete, nothing_more, overlapped_file, pipe_pair, port, port_of, stream_pair};
use support::{skipped_without, temp_file};

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 1).unwrap())
}

/// What has come of a move, or the handle at its old port where the system cannot do it.
#[track_caller]
fn done<T, H>(moved: Result<T, Rejected<H>>) -> Result<T, H> {
    moved.map_err(|rejected| {
        assert!(support::is_wine(), "{rejected}");
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        assert!(rejected.error.to_string().contains("Windows 8.1"), "{rejected}");
        skipped_without("handles that can leave their port");
        rejected.returned
    })
}

/// Asserts that something is read, through the port.
#[track_caller]
fn reads<M: Mode>(
    port: &Iocp,
    client: &mut TcpStream,
    server: &Associated<TcpStream, M>,
    context: usize,
) {
    client.write_all(b"hello").unwrap();
    let started = port.initiate_read(server, 2, Vec::with_capacity(64)).unwrap();
    let mut completion = match started.into() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => complete(port),
    };
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.handle_context, context);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    nothing_more(port);
}

#[test]
fn a_handle_that_has_left_is_added_to_any_port() {
    let (port, other) = (port(), port_of::<usize>());
    let (mut client, server) = served(&port);
    reads(&port, &mut client, &server, 1);
    let mut server = match done(port.remove_handle(server)) {
        Ok(server) => server,
        Err(server) => return reads(&port, &mut client, &server, 1),
    };
    for (port, context) in [(&other, 7), (&port, 8), (&other, 9)] {
        let added = port.add_handle(server, context).unwrap();
        reads(port, &mut client, &added, context);
        server = port.remove_handle(added).unwrap();
    }
    // It can be used where nobody knows of ports.
    client.write_all(b"there").unwrap();
    let mut buffer = [0; 5];
    server.read_exact(&mut buffer).unwrap();
    server.write_all(b"back").unwrap();
    assert_eq!(&buffer, b"there");
    nothing_more(&port);
    nothing_more(&other);
}

#[test]
fn a_handle_that_has_moved_completes_at_its_new_port_alone() {
    let (port, other) = (port(), port_of::<usize>());
    let (mut client, server) = served(&port);
    let server = match done(port.move_handle(server, &other, 7)) {
        Ok(server) => server,
        Err(server) => return reads(&port, &mut client, &server, 1),
    };
    assert_eq!(server.context(), 7);
    reads(&other, &mut client, &server, 7);
    nothing_more(&port);
    let rejected = port.initiate_read(&server, 2, Vec::with_capacity(8)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    let rejected = port.move_handle(server, &port, 8).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    let rejected = port.remove_handle(rejected.returned).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    reads(&other, &mut client, &rejected.returned, 7);

    // To and fro, and to where it is.
    let mut server = rejected.returned;
    for round in 0..support::few(100) {
        server = other.move_handle(server, &port, round).unwrap();
        server = port.move_handle(server, &port, round + 1).unwrap();
        reads(&port, &mut client, &server, round + 1);
        server = port.move_handle(server, &other, round).unwrap();
        reads(&other, &mut client, &server, round);
    }
}

#[test]
fn what_is_in_flight_keeps_a_handle_at_its_port() {
    let (port, other) = (port(), port_of::<usize>());
    let (mut client, server) = served(&port);
    let (_quiet, elsewhere) = served(&port);
    port.initiate_read(&elsewhere, 3, Vec::with_capacity(8)).unwrap();
    port.initiate_read(&server, 2, Vec::with_capacity(64)).unwrap();
    let keeps = |server| {
        let rejected = port.remove_handle(server).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        let rejected = port.move_handle(rejected.returned, &other, 7).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert!(rejected.error.to_string().contains("in flight"), "{rejected}");
        assert_eq!(rejected.returned.context(), 1);
        rejected.returned
    };
    let server = keeps(server);
    client.write_all(b"hello").unwrap();
    // It has completed, and nobody has been told.
    let server = keeps(server);
    let mut completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (2, 1));
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");

    // What is in flight on others does not matter, nor does what was cancelled and dequeued.
    port.initiate_read(&server, 2, Vec::with_capacity(64)).unwrap();
    server.cancel_all().unwrap();
    let server = keeps(server);
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    match done(port.move_handle(server, &other, 7)) {
        Ok(server) => reads(&other, &mut client, &server, 7),
        Err(server) => reads(&port, &mut client, &server, 1),
    }
    nothing_more(&port);
    drop(elsewhere);
    assert!(complete(&port).error_status.is_err());
}

#[test]
fn a_handle_is_moved_by_its_own_port_alone() {
    let (port, other) = (port(), port_of::<usize>());
    let (mut client, server) = served(&port);
    let rejected = other.remove_handle(server).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    let rejected = other.move_handle(rejected.returned, &other, 7).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    reads(&port, &mut client, &rejected.returned, 1);
}

#[test]
fn a_handle_does_not_move_to_a_port_that_is_closed() {
    let (port, other) = (port(), port_of::<usize>());
    let (mut client, server) = served(&port);
    other.close();
    let rejected = port.move_handle(server, &other, 7).unwrap_err();
    assert!(rejected.error.is_closed());
    reads(&port, &mut client, &rejected.returned, 1);
}

#[test]
fn a_handle_that_skips_the_port_skips_the_other() {
    let (port, other) = (port(), port_of::<usize>());
    let (mut client, server) = served(&port);
    let server = server.skip_on_success().unwrap();
    let server = match done(port.move_handle(server, &other, 7)) {
        Ok(server) => server,
        Err(server) => return reads(&port, &mut client, &server, 1),
    };
    reads(&other, &mut client, &server, 7);
    let server = other.remove_handle(server).unwrap();
    let rejected = port.add_handle(server, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
}

#[test]
fn files_and_pipes_move_too_and_dropping_them_closes_them() {
    let (port, other) = (port(), port_of::<usize>());
    let temp = temp_file("leave", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 1).unwrap();
    let Ok(file) = done(port.move_handle(file, &other, 7)) else { return };
    other.initiate_read_at(&file, 2, Vec::with_capacity(8), 0).unwrap();
    assert_eq!(complete(&other).operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");

    let (server, client) = pipe_pair(false);
    let (server, client) = (port.add_handle(server, 1).unwrap(), port.add_handle(client, 2));
    let server = port.move_handle(server, &other, 7).unwrap();
    let client = client.unwrap();
    other.initiate_read(&server, 2, Vec::with_capacity(8)).unwrap();
    port.initiate_write(&client, 3, "there").unwrap();
    assert_eq!(complete(&port).context, 3);
    assert_eq!(complete(&other).operation.take_buffer::<Vec<u8>>().unwrap(), b"there");
    other.initiate_read(&server, 2, Vec::with_capacity(8)).unwrap();
    drop(server);
    assert!(complete(&other).error_status.unwrap_err().is_cancelled());
    nothing_more(&port);
}

#[test]
fn a_socket_that_has_left_is_the_same() {
    let port = port();
    let (client, server) = served(&port);
    let value = server.as_raw_socket();
    let Ok(server) = done(port.remove_handle(server)) else { return };
    assert_eq!(server.as_raw_socket(), value);
    assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
    drop(server);
    support::assert_peer_closed(&client);
}
