//! What sockets do beside their operations.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::windows::io::OwnedSocket;

use completion_port::{Associated, ErrorKind, Iocp};
use support::{complete, nothing_more, port, stream_pair};

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 1).unwrap())
}

#[test]
fn a_connection_that_is_shut_down_for_writing_can_still_be_read() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_write(&server, 2, "request").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    // A read in flight goes on.
    port.initiate_read(&server, 3, Vec::with_capacity(16)).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut request = String::new();
    client.read_to_string(&mut request).unwrap();
    assert_eq!(request, "request");
    client.write_all(b"answer").unwrap();
    let buffer: Vec<u8> = complete(&port).operation.take_buffer().unwrap();
    assert_eq!(buffer, b"answer");
    let rejected = port.initiate_write(&server, 2, "more").unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::BrokenPipe);
    drop(client);
    port.initiate_read(&server, 3, Vec::with_capacity(16)).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
    nothing_more(&port);
}

#[test]
fn a_connection_that_is_shut_down_for_reading_starts_no_more_reads() {
    let port = port();
    let (_client, server) = served(&port);
    server.shutdown(Shutdown::Read).unwrap();
    match port.initiate_read(&server, 3, Vec::with_capacity(16)) {
        Err(rejected) => assert_eq!(rejected.error.kind(), ErrorKind::BrokenPipe),
        // Wine's reads find the end of the stream.
        Ok(_) => assert_eq!(complete(&port).bytes_transferred, 0),
    }
    port.initiate_write(&server, 2, "still").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
}

#[test]
fn a_socket_that_ignores_that_nobody_was_found_goes_on_receiving() {
    let port = port();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
    socket.ignore_unreachable().unwrap();
    socket.get_ref().send_to(b"hello", nobody).unwrap();
    port.initiate_read(&socket, 2, [0; 8]).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"world", socket.get_ref().local_addr().unwrap()).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.take_buffer(), Some(*b"world\0\0\0"));
    nothing_more(&port);
}

#[test]
fn only_sockets_of_datagrams_ignore_that_nobody_was_found() {
    let port = port();
    let (_client, server) = stream_pair();
    let server = port.add_handle(OwnedSocket::from(server), 1).unwrap();
    let error = server.ignore_unreachable().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
