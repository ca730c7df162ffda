//! Connecting from a certain address, with first data.

mod support;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use completion_port::{Associated, ErrorKind, Iocp, op, unconnected_stream};
use op::{Connect, Sends};
use support::{complete, nothing_more, port, skipped_without};

fn connecting(port: &Iocp, peer: SocketAddr) -> Associated<TcpStream> {
    port.add_handle(unconnected_stream(peer).unwrap(), 1).unwrap()
}

#[track_caller]
fn succeeds(port: &Iocp) -> u32 {
    let completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    completion.bytes_transferred
}

fn with_port(address: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), port)
}

#[test]
fn a_socket_is_connected_from_the_address_that_it_is_told_with_or_without_data() {
    let port = port();
    let mapped = IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let families = [
        (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST)),
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        (mapped, Ipv4Addr::LOCALHOST.into()),
    ];
    for (local, at) in families {
        let Ok(listener) = TcpListener::bind((at, 0)) else {
            skipped_without("IPv6");
            continue;
        };
        let peer = SocketAddr::new(local, listener.local_addr().unwrap().port());
        for with_data in [false, true] {
            let stream = connecting(&port, peer);
            let connect = Connect::new(peer).bound_to(SocketAddr::new(local, 0));
            if with_data {
                port.initiate(&stream, 2, connect.with_data("hello")).unwrap();
            } else {
                port.initiate(&stream, 2, connect).unwrap();
            }
            let (mut server, from) = listener.accept().unwrap();
            assert_eq!(succeeds(&port), if with_data { 5 } else { 0 });
            let bound = stream.get_ref().local_addr().unwrap();
            assert_eq!((bound.ip(), bound.port()), (local, from.port()));
            assert_eq!(stream.get_ref().peer_addr().unwrap(), peer);
            if with_data {
                let mut received = [0; 5];
                server.read_exact(&mut received).unwrap();
                assert_eq!(&received, b"hello");
            }
        }
    }
    nothing_more(&port);
}

#[test]
fn a_port_that_was_asked_for_is_used_and_one_that_is_taken_is_told() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stream = connecting(&port, peer);
    port.initiate(&stream, 2, Connect::new(peer).bound_to(free)).unwrap();
    succeeds(&port);
    assert_eq!(listener.accept().unwrap().1, free);

    let other = connecting(&port, peer);
    let connect = Connect::new(peer).bound_to(peer).with_data("hello");
    let rejected = port.initiate(&other, 3, connect).unwrap_err();
    assert_eq!(rejected.error.call(), Some("bind"));
    assert_eq!((rejected.returned.0, rejected.returned.1.0), (3, Sends("hello")));
    // It is not bound: it can be tried again.
    port.initiate(&other, 4, Connect::new(peer)).unwrap();
    succeeds(&port);
}

#[test]
fn a_socket_that_is_bound_connects_only_from_there() {
    let port = port();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let stream = connecting(&port, peer);
    let local = with_port(peer, 0);
    port.initiate(&stream, 2, Connect::new(nobody).bound_to(local)).unwrap();
    assert_eq!(complete(&port).error_status.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // The socket has kept its address.
    let bound = stream.get_ref().local_addr().unwrap();
    for elsewhere in [with_port(peer, bound.port() ^ 1), SocketAddr::from(([127, 0, 0, 2], 0))] {
        let connect = Connect::new(peer).bound_to(elsewhere);
        let rejected = port.initiate(&stream, 2, connect).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert!(rejected.error.to_string().contains("bound"), "{rejected}");
    }
    port.initiate(&stream, 2, Connect::new(peer).bound_to(local)).unwrap();
    succeeds(&port);
    let from = listener.accept().unwrap().1;
    // Linux, under Wine, gives a refused socket another port.
    assert!(from == bound || support::is_wine() && from.ip() == bound.ip(), "{from}");
}

#[test]
fn a_local_address_of_another_family_is_refused() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let stream = connecting(&port, peer);
    let connect = Connect::new(peer).bound_to(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    let rejected = port.initiate(&stream, 2, connect).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    assert!(rejected.error.to_string().contains("family"), "{rejected}");
    port.initiate(&stream, 2, Connect::new(peer)).unwrap();
    succeeds(&port);
}
