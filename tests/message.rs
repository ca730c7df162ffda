//! Datagrams with control data.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::windows::io::OwnedSocket;

use completion_port::{Associated, ErrorKind, Iocp, op};
use op::{Ecn, Fills, PacketInfo, Sends};
use support::{complete, nothing_more, pattern, port};

type Message = op::Message<Vec<u8>>;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A socket that is associated with the port, and its address.
fn bound(port: &Iocp, address: &str) -> (Associated<UdpSocket>, SocketAddr) {
    let socket = port.add_handle(UdpSocket::bind(address).unwrap(), 1).unwrap();
    let address = socket.get_ref().local_addr().unwrap();
    (socket, address)
}

fn receive(room: usize) -> op::ReceiveMessage<Vec<u8>> {
    op::ReceiveMessage::new(Vec::with_capacity(room))
}

/// The message that comes next.
#[track_caller]
fn message(port: &Iocp) -> Message {
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    let message: Message = completion.operation.output().unwrap();
    assert_eq!(message.buffer.len(), completion.bytes_transferred as usize);
    message
}

#[test]
fn a_message_tells_who_has_sent_it_and_where_it_arrived() {
    let port = port();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (server, to) = bound(&port, "0.0.0.0:0");
    server.receive_packet_info(true).unwrap();
    for late in [true, false] {
        let send = || client.send_to(b"hello", (LOOPBACK, to.port())).unwrap();
        if !late {
            send();
        }
        port.initiate(&server, 2, receive(64)).unwrap();
        if late {
            send();
        }
        let message = message(&port);
        assert_eq!(message.buffer, b"hello");
        assert_eq!(message.from, Some(client.local_addr().unwrap()));
        assert_eq!(message.control.packet_info().unwrap().address, LOOPBACK);
        assert!(!message.is_truncated() && !message.is_control_truncated());
        assert_eq!(message.control.coalesced_size(), None);
    }
    server.receive_packet_info(false).unwrap();
    client.send_to(b"hello", (LOOPBACK, to.port())).unwrap();
    port.initiate(&server, 2, receive(64)).unwrap();
    assert_eq!(message(&port).control.packet_info(), None);
    nothing_more(&port);
}

#[test]
fn ipv6_messages_tell_it_too() {
    let port = port();
    let Ok(server) = UdpSocket::bind("[::1]:0") else { return support::skipped_without("IPv6") };
    let to = server.local_addr().unwrap();
    let server = port.add_handle(server, 1).unwrap();
    server.receive_packet_info(true).unwrap();
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.send_to(b"six", to).unwrap();
    port.initiate(&server, 2, receive(64)).unwrap();
    let message = message(&port);
    assert_eq!(message.from, Some(client.local_addr().unwrap()));
    assert_eq!(message.control.packet_info().unwrap().address, to.ip());
}

#[test]
fn a_cut_message_says_so_and_has_all_else() {
    let port = port();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (server, to) = bound(&port, "127.0.0.1:0");
    for late in [true, false] {
        let send = || client.send_to(b"hello, world", to).unwrap();
        if !late {
            send();
        }
        port.initiate(&server, 2, receive(5)).unwrap();
        if late {
            send();
        }
        let message = message(&port);
        assert_eq!(message.buffer, b"hello");
        assert_eq!(message.from, Some(client.local_addr().unwrap()));
        assert!(message.is_truncated() && !message.is_control_truncated());
    }
    nothing_more(&port);
}

#[test]
fn a_message_of_exactly_the_buffers_length_is_not_cut() {
    let port = port();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (server, to) = bound(&port, "127.0.0.1:0");
    for length in [5, 0] {
        client.send_to(&pattern(length), to).unwrap();
        port.initiate(&server, 2, receive(5)).unwrap();
        let message = message(&port);
        assert_eq!((message.buffer.len(), message.is_truncated()), (length, false));
    }
}

#[test]
fn a_message_that_was_cancelled_returns_its_buffer_alone() {
    let port = port();
    let (server, _) = bound(&port, "127.0.0.1:0");
    server.receive_packet_info(true).unwrap();
    port.initiate(&server, 2, op::ReceiveMessage::new([7; 3])).unwrap();
    assert!(server.cancel_all().unwrap());
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    let message: op::Message<[u8; 3]> = completion.operation.output().unwrap();
    assert_eq!((message.buffer, message.from), ([7; 3], None));
    assert_eq!(message.control.iter().count(), 0);
}

#[test]
fn a_borrowed_buffer_receives_a_message_in_a_scope() {
    let port = port();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (server, to) = bound(&port, "127.0.0.1:0");
    let mut buffer = [0; 8];
    port.scope(|scope| {
        let receive = op::ReceiveMessage::new(&mut buffer[..]).control_room::<0>();
        let mut pending = scope.initiate(&server, 2, receive).unwrap();
        client.send_to(b"hello", to).unwrap();
        assert_eq!(complete(&port).bytes_transferred, 5);
        assert_eq!(pending.take().unwrap().from, Some(client.local_addr().unwrap()));
    });
    assert_eq!(&buffer, b"hello\0\0\0");
}

#[test]
fn a_message_is_sent_from_an_address_of_the_programs_choice() {
    let port = port();
    let (client, from) = bound(&port, "0.0.0.0:0");
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let send = op::SendMessage::new(b"hello", server.local_addr().unwrap());
    port.initiate(&client, 2, send.from(LOOPBACK, 0)).unwrap();
    let mut completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
    assert_eq!(completion.operation.output::<&[u8; 5]>(), Ok(b"hello"));
    let mut buffer = [0; 8];
    let (length, peer) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], peer), (&b"hello"[..], (LOOPBACK, from.port()).into()));
}

/// Wine ignores where it is to be sent from.
#[test]
fn a_message_from_an_address_that_is_not_ours_comes_back_and_the_next_goes_out() {
    let port = port();
    let (client, _) = bound(&port, "0.0.0.0:0");
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let to = server.local_addr().unwrap();
    let foreign = Ipv4Addr::new(192, 0, 2, 1).into();
    let lost = op::SendMessage::new("lost", to).from(foreign, 0);
    if let Err(rejected) = port.initiate(&client, 2, lost) {
        assert_eq!(rejected.error.call(), Some("WSASendMsg"));
        let (context, (buffer, header)) = rejected.returned;
        assert_eq!((context, buffer), (2, Sends("lost")));
        assert_eq!(header.address(), Some(to));
        let source = PacketInfo { address: foreign, interface: 0 };
        assert_eq!(header.control().packet_info(), Some(source));
    } else {
        let completion = complete(&port);
        assert!(support::is_wine() || completion.error_status.is_err());
        if completion.error_status.is_ok() {
            server.recv(&mut [0; 8]).unwrap();
        }
    }
    port.initiate(&client, 2, op::SendMessage::new("found", to)).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    let mut buffer = [0; 8];
    assert_eq!(server.recv(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"found");
}

#[test]
fn what_is_no_datagram_socket_has_no_messages() {
    let port = port();
    let (_client, server) = support::stream_pair();
    let server = port.add_handle(OwnedSocket::from(server), 1).unwrap();
    let buffer = || vec![7; 3].into_boxed_slice();
    let rejected = port.initiate(&server, 2, op::ReceiveMessage::new(buffer())).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned.1.0, Fills(buffer()));
    let send = op::SendMessage::new(buffer(), (LOOPBACK, 1).into());
    let rejected = port.initiate(&server, 2, send).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned.1.0, Sends(buffer()));
    let options = [
        server.receive_packet_info(true),
        server.receive_ecn(true),
        server.receive_coalesced(65535),
    ];
    for result in options {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_message_that_is_too_long_or_has_no_room_is_refused() {
    let port = port();
    let (socket, to) = bound(&port, "127.0.0.1:0");
    let rejected = port.initiate(&socket, 2, op::SendMessage::new(vec![0; 70_000], to));
    assert_eq!(rejected.unwrap_err().error.kind(), ErrorKind::MessageTruncated);
    let rejected = port.initiate(&socket, 2, receive(0)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    nothing_more(&port);
}

/// Wine 10 knows neither option, and says so.
#[test]
fn congestion_is_told_and_what_arrived_together_is_taken_apart() {
    let port = port();
    let (client, _) = bound(&port, "127.0.0.1:0");
    let (server, to) = bound(&port, "127.0.0.1:0");
    for asked in [server.receive_ecn(true), server.receive_coalesced(65_527)] {
        if let Err(error) = asked {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            return support::skipped_without("ECN and UDP offloads");
        }
    }
    port.initiate(&client, 2, op::SendMessage::new("marked", to).ecn(Ecn::Capable0)).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    port.initiate(&server, 3, receive(64)).unwrap();
    assert_eq!(message(&port).control.ecn(), Some(Ecn::Capable0));

    let send = op::SendMessage::new(pattern(2440), to).segment_size(1220);
    port.initiate(&client, 2, send).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    let mut received = Vec::new();
    while received.len() < 2440 {
        port.initiate(&server, 3, receive(65_527)).unwrap();
        let mut message = message(&port);
        let size = message.control.coalesced_size().unwrap_or(1220);
        assert_eq!((size, message.buffer.len() % 1220), (1220, 0));
        received.append(&mut message.buffer);
    }
    assert_eq!(received, pattern(2440));
}

#[cfg(not(simulated_kernel))] // the model has no dual-stack sockets of datagrams
#[test]
fn senders_of_either_family_are_told_one_after_the_other() {
    use socket2::{Domain, Socket, Type};
    let port = port();
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    let any: SocketAddr = "[::]:0".parse().unwrap();
    if socket.bind(&any.into()).is_err() {
        return support::skipped_without("IPv6");
    }
    let server = port.add_handle(UdpSocket::from(socket), 1).unwrap();
    server.receive_packet_info(true).unwrap();
    let number = server.get_ref().local_addr().unwrap().port();
    // A short address after a long one, and in one buffer.
    let mut buffer = Vec::with_capacity(8);
    for local in ["[::1]:0", "127.0.0.1:0", "[::1]:0"] {
        let Ok(client) = UdpSocket::bind(local) else { return support::skipped_without("IPv6") };
        let from = client.local_addr().unwrap();
        client.send_to(b"hello", (from.ip(), number)).unwrap();
        port.initiate(&server, 2, op::ReceiveMessage::new(buffer)).unwrap();
        let message = message(&port);
        let told = message.from.unwrap();
        assert_eq!((told.ip().to_canonical(), told.port()), (from.ip(), from.port()));
        // Wine tells it only to IPv6's.
        if let Some(info) = message.control.packet_info() {
            assert_eq!(info.address.to_canonical(), from.ip());
        } else {
            assert!(from.is_ipv4() && support::is_wine());
        }
        buffer = message.buffer;
        buffer.clear();
    }
}
