//! The sockets of the crate `socket2`.
#![cfg(feature = "socket2")]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use completion_port::{ErrorKind, op};
use socket2::{Domain, Socket, Type};
use support::{complete, complete_all, nothing_more, port};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn bound(of: Type) -> Socket {
    let socket = Socket::new(Domain::IPV4, of, None).unwrap();
    socket.bind(&LOOPBACK.into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

#[test]
fn a_socket_is_associated_borrowed_and_returned() {
    let port = port();
    let listener = bound(Type::STREAM);
    listener.listen(8).unwrap();
    let listener = port.add_handle(listener, 1).unwrap();
    let stream = port.add_handle(bound(Type::STREAM), 2).unwrap();
    port.initiate_accept(&listener, 3).unwrap();
    port.initiate_connect(&stream, 4, address(listener.get_ref())).unwrap();
    let mut accepted: Option<TcpStream> = None;
    for mut completion in complete_all(&port, 2) {
        completion.error_status.unwrap();
        accepted = accepted.or(completion.operation.take());
    }
    let accepted = port.add_handle(Socket::from(accepted.unwrap()), 5).unwrap();
    stream.get_ref().set_tcp_nodelay(true).unwrap();
    port.initiate(&stream, 6, op::WriteVectored::new(["hel", "lo"])).unwrap();
    complete(&port).error_status.unwrap();
    port.initiate_read(&accepted, 7, [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer(), Some(*b"hello"));
    let socket: Socket = stream.into_inner();
    assert!(socket.tcp_nodelay().unwrap());
    nothing_more(&port);
}

#[test]
fn what_a_socket_is_decides_what_can_be_started_on_it() {
    let port = port();
    let socket = port.add_handle(bound(Type::DGRAM), 1).unwrap();
    let to = address(socket.get_ref());
    port.initiate(&socket, 2, op::SendTo::new("hello", to)).unwrap();
    complete(&port).error_status.unwrap();
    port.initiate(&socket, 3, op::ReceiveFrom::new([0; 5])).unwrap();
    let datagram: op::Datagram<[u8; 5]> = complete(&port).operation.output().unwrap();
    assert_eq!((&datagram.buffer, datagram.from), (b"hello", Some(to)));
    let rejected = port.initiate_accept(&socket, 4).unwrap_err();
    assert!(
        [ErrorKind::Unsupported, ErrorKind::InvalidInput].contains(&rejected.error.kind()),
        "{}",
        rejected.error
    );
}
