//! Reads and writes on datagram sockets.

mod support;

use std::net::UdpSocket;
use std::os::windows::io::AsRawSocket;

use completion_port::{Associated, ErrorKind, IoBuf, Iocp, OperationKind, Pending};
use support::restless::Restless;
use support::{complete, complete_all, datagram_pair, few, nothing_more, pattern, port};

/// A pair whose second socket is associated, with handle context 7.
fn served(port: &Iocp) -> (UdpSocket, Associated<UdpSocket>) {
    let (peer, socket) = datagram_pair();
    (peer, port.add_handle(socket, 7).unwrap())
}

/// Asserts that the next completion is that of a read cut to `kept`.
#[track_caller]
fn assert_truncated(port: &Iocp, mut pending: Pending<Vec<u8>>, kept: &[u8]) {
    let completion = complete(port);
    assert_eq!(completion.context, 1);
    assert_eq!(completion.bytes_transferred as usize, kept.len());
    let error = completion.error_status.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTruncated);
    assert_eq!(error.raw_os_error(), Some(10040));
    assert_eq!(error.ntstatus(), Some(0x8000_0005));
    assert_eq!(error.call(), Some("WSARecv"));
    assert_eq!(pending.result(), Some(Err(error)));
    assert_eq!(pending.take_buffer().unwrap(), kept);
    nothing_more(port);
}

/// What was started, unless a datagram that was there already was cut, and no
/// packet comes of it: "Any other error code indicates that the overlapped
/// operation was not successfully initiated and no completion indication will
/// occur"
/// (<https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv>).
#[track_caller]
fn started<B, R>(read: Result<Pending<B>, completion_port::Rejected<R>>) -> Option<Pending<B>> {
    match read {
        Ok(pending) => Some(pending),
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
            support::nothing_to_see("a datagram that was there is cut without a completion");
            None
        }
    }
}

#[test]
fn a_read_gets_one_datagram() {
    let port = port();
    let (peer, socket) = served(&port);
    port.initiate_read(&socket, 1, Vec::with_capacity(64)).unwrap();
    nothing_more(&port);
    peer.send(b"hello").unwrap();
    let mut completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (1, 7));
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
    assert_eq!(completion.operation.kind(), OperationKind::Read);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    nothing_more(&port);
}

#[test]
fn a_write_sends_one_datagram() {
    let port = port();
    let (peer, socket) = served(&port);
    port.initiate_write(&socket, 2, "hello").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (2, 7));
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
    let mut buffer = [0; 64];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    nothing_more(&port);
}

#[test]
fn the_bounds_of_messages_are_kept() {
    let port = port();
    let (peer, socket) = served(&port);
    let messages: [&'static [u8]; 4] = [b"one", b"", b"three", b"4"];
    for message in messages {
        peer.send(message).unwrap();
    }
    for message in messages {
        let mut pending = port.initiate_read(&socket, 1, Vec::with_capacity(64)).unwrap();
        let completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(completion.bytes_transferred as usize, message.len());
        assert_eq!(pending.take_buffer().unwrap(), message);
    }
    for message in messages {
        port.initiate_write(&socket, 1, message).unwrap();
        assert_eq!(complete(&port).bytes_transferred as usize, message.len());
    }
    let mut buffer = [0; 64];
    for message in messages {
        let length = peer.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], message);
    }
    nothing_more(&port);
}

#[test]
fn reads_in_flight_get_a_datagram_each_in_order() {
    const COUNT: usize = few(50);
    let port = port();
    let (peer, socket) = served(&port);
    let mut pendings: Vec<Pending<Vec<u8>>> = (0..COUNT)
        .map(|i| port.initiate_read(&socket, i, Vec::with_capacity(100)).unwrap())
        .collect();
    for i in 0..COUNT {
        peer.send(&pattern(i)).unwrap();
    }
    for completion in complete_all(&port, COUNT) {
        assert_eq!(completion.error_status, Ok(()));
        let i = completion.context;
        assert_eq!(completion.bytes_transferred as usize, i);
        assert_eq!(pendings[i].take_buffer().unwrap(), pattern(i));
    }
    nothing_more(&port);
}

#[test]
fn a_datagram_that_is_cut_keeps_its_bytes_when_the_read_came_first() {
    let port = port();
    let (peer, socket) = served(&port);
    let pending = port.initiate_read(&socket, 1, Vec::with_capacity(4)).unwrap();
    peer.send(b"too long").unwrap();
    assert_truncated(&port, pending, b"too ");
}

#[test]
fn a_datagram_that_is_cut_keeps_its_bytes_when_it_came_first() {
    let port = port();
    let (peer, socket) = served(&port);
    peer.send(b"too long").unwrap();
    let read = port.initiate_read(&socket, 1, Vec::with_capacity(4));
    let Some(pending) = started(read) else { return };
    assert_truncated(&port, pending, b"too ");
}

#[test]
fn a_cut_datagram_comes_with_its_bytes_from_the_completion_too() {
    let port = port();
    let (peer, socket) = served(&port);
    peer.send(b"too long").unwrap();
    let read = port.initiate_read(&socket, 1, b"buffer".to_vec().slice(1..4));
    if started(read).is_none() {
        return;
    }
    let mut completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::MessageTruncated);
    assert_eq!(completion.bytes_transferred, 3);
    let buffer: completion_port::Slice<Vec<u8>> = completion.operation.take_buffer().unwrap();
    assert_eq!(buffer.into_inner(), b"btooer");
    nothing_more(&port);
}

#[test]
fn the_rest_of_a_cut_datagram_is_lost_and_the_next_is_whole() {
    let port = port();
    let (peer, socket) = served(&port);
    for _ in 0..few(100) {
        peer.send(b"too long").unwrap();
        peer.send(b"next").unwrap();
        if let Some(pending) = started(port.initiate_read(&socket, 1, Vec::with_capacity(3))) {
            assert_truncated(&port, pending, b"too");
        }
        let mut pending = port.initiate_read(&socket, 2, Vec::with_capacity(64)).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        assert_eq!(pending.take_buffer().unwrap(), b"next");
        nothing_more(&port);
    }
}

#[test]
fn a_datagram_that_just_fits_is_whole() {
    let port = port();
    let (peer, socket) = served(&port);
    peer.send(b"fits").unwrap();
    let mut pending = port.initiate_read(&socket, 1, [0; 4]).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 4));
    assert_eq!(&pending.take_buffer().unwrap(), b"fits");
}

#[test]
fn an_empty_datagram_completes_a_read_and_is_no_error() {
    let port = port();
    let (peer, socket) = served(&port);
    // First the read, then the datagram.
    port.initiate_read(&socket, 1, Vec::with_capacity(64)).unwrap();
    nothing_more(&port);
    peer.send(b"").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
    // And the other way round.
    peer.send(b"").unwrap();
    port.initiate_read(&socket, 2, Vec::with_capacity(64)).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
    nothing_more(&port);
}

#[test]
fn an_empty_write_sends_an_empty_datagram() {
    let port = port();
    let (peer, socket) = served(&port);
    port.initiate_write(&socket, 1, Vec::new()).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
    assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 0);
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_message_too_long_to_be_sent_is_refused_and_comes_back() {
    let port = port();
    let (_peer, socket) = served(&port);
    let message = pattern(70_000);
    let start = message.as_ptr();
    let rejected = port.initiate_write(&socket, 5, message).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
    let (context, message) = rejected.returned;
    assert_eq!((context, message.as_ptr(), message.len()), (5, start, 70_000));
    nothing_more(&port);
}

#[test]
fn one_byte_more_than_the_longest_message_is_refused() {
    let port = port();
    let (peer, socket) = served(&port);
    support::make_room(&peer, 1 << 18);
    let longest = support::longest_datagram(socket.get_ref());
    let rejected = port.initiate_write(&socket, 1, vec![1; longest + 1]).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
    assert_eq!(rejected.error.call(), None, "whether a packet comes of a call is not known");
    assert_eq!(rejected.returned.1.len(), longest + 1);
    let longer = vec![1; longest + 1];
    port.scope(|scope| {
        let rejected = scope.initiate_write(&socket, 1, &longer).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
        assert_eq!((rejected.error.call(), rejected.returned), (None, 1));
    });
    nothing_more(&port);
    port.initiate_write(&socket, 2, vec![2; longest]).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), longest as u32));
    let mut buffer = vec![0; 70_000];
    assert_eq!(peer.recv(&mut buffer).unwrap(), longest);
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_large_datagram_arrives_whole() {
    let port = port();
    let (peer, socket) = served(&port);
    let mut pending = port.initiate_read(&socket, 1, Vec::with_capacity(65_536)).unwrap();
    peer.send(&pattern(60_000)).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 60_000);
    assert!(pending.take_buffer().unwrap() == pattern(60_000));
}

#[test]
fn both_ends_on_one_port_exchange_messages() {
    let port = port();
    let (one, other) = datagram_pair();
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    for i in 0..few(200) {
        port.initiate_read(&other, i, Vec::with_capacity(300)).unwrap();
        port.initiate_write(&one, i, pattern(i)).unwrap();
        for mut completion in complete_all(&port, 2) {
            completion.error_status.unwrap();
            assert_eq!(completion.context, i);
            assert_eq!(completion.bytes_transferred as usize, i);
            let reads = completion.operation.kind() == OperationKind::Read;
            assert_eq!(completion.handle_context, if reads { 2 } else { 1 });
            assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), pattern(i));
        }
    }
    nothing_more(&port);
}

#[test]
fn a_socket_that_is_only_bound_reads_from_anyone() {
    let port = port();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let socket = port.add_handle(socket, 1).unwrap();
    for message in ["from one", "from another"] {
        let mut pending = port.initiate_read(&socket, 1, Vec::with_capacity(64)).unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(message.as_bytes(), address).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        assert_eq!(pending.take_buffer().unwrap(), message.as_bytes());
    }
}

#[test]
fn a_write_to_nobody_in_particular_is_refused() {
    let port = port();
    let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
    let rejected = port.initiate_write(&socket, 4, vec![1, 2, 3]).unwrap_err();
    assert_eq!(rejected.returned, (4, vec![1, 2, 3]));
    assert!(rejected.error.raw_os_error().is_some());
    nothing_more(&port);
}

#[test]
fn an_answer_that_nobody_is_there_completes_the_read() {
    let port = port();
    let (peer, socket) = served(&port);
    drop(peer);
    port.initiate_read(&socket, 1, Vec::with_capacity(64)).unwrap();
    port.initiate_write(&socket, 2, "anybody?").unwrap();
    for _ in 0..2 {
        let Some(completion) = port.get_completion_timeout(support::PATIENCE).unwrap() else {
            // A firewall may keep the answer back.
            return support::nothing_to_see("nobody says that nobody is there");
        };
        if completion.context == 1 {
            // Winsock calls it a reset; Wine says that it was refused.
            let error = completion.error_status.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused),
                "{error}"
            );
        } else {
            assert_eq!(completion.error_status, Ok(()));
        }
    }
    nothing_more(&port);
}

#[test]
fn a_cancelled_read_takes_no_datagram() {
    let port = port();
    let (peer, socket) = served(&port);
    let mut pending = port.initiate_read(&socket, 1, Vec::with_capacity(64)).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    assert_eq!(pending.take_buffer().unwrap(), b"");
    peer.send(b"kept").unwrap();
    let mut pending = port.initiate_read(&socket, 2, Vec::with_capacity(64)).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 4);
    assert_eq!(pending.take_buffer().unwrap(), b"kept");
    nothing_more(&port);
}

#[test]
fn datagram_sockets_do_not_skip_the_port_and_go_on_without() {
    let port = port();
    let (peer, socket) = served(&port);
    let rejected = socket.skip_on_success().unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    let socket = rejected.returned;
    peer.send(b"too long").unwrap();
    let read = port.initiate_read(&socket, 1, Vec::with_capacity(3));
    let Some(pending) = started(read) else { return };
    assert_truncated(&port, pending, b"too");
}

#[test]
fn a_raw_socket_keeps_the_bounds_of_its_messages() {
    let port = port();
    let (peer, socket) = datagram_pair();
    // SAFETY: The socket outlives the association, and nobody else uses it.
    let raw = unsafe { port.add_raw_handle(socket.as_raw_socket(), 7) }.unwrap();
    for message in [&b"one"[..], b"", b"three"] {
        peer.send(message).unwrap();
        let mut pending = port.initiate_read(&raw, 1, Vec::with_capacity(64)).unwrap();
        let completion = complete(&port);
        assert_eq!(completion.handle_context, 7);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(pending.take_buffer().unwrap(), message);
    }
    port.initiate_write(&raw, 2, "answer").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 6);
    let mut buffer = [0; 64];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 6);
    nothing_more(&port);
}

#[test]
fn a_raw_socket_says_when_a_datagram_is_cut() {
    let port = port();
    let (peer, socket) = datagram_pair();
    // SAFETY: The socket outlives the association, and nobody else uses it.
    let raw = unsafe { port.add_raw_handle(socket.as_raw_socket(), 7) }.unwrap();
    let pending = port.initiate_read(&raw, 1, Vec::with_capacity(4)).unwrap();
    peer.send(b"too long").unwrap();
    assert_truncated(&port, pending, b"too ");
    peer.send(b"too long").unwrap();
    let Some(pending) = started(port.initiate_read(&raw, 1, Vec::with_capacity(4))) else { return };
    assert_truncated(&port, pending, b"too ");
}

#[test]
fn a_raw_socket_refuses_a_message_too_long() {
    let port = port();
    let (_peer, socket) = datagram_pair();
    // SAFETY: The socket outlives the association, and nobody else uses it.
    let raw = unsafe { port.add_raw_handle(socket.as_raw_socket() as usize, 7) }.unwrap();
    let rejected = port.initiate_write(&raw, 1, vec![0; 70_000]).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
    assert_eq!(rejected.returned.1.len(), 70_000);
    nothing_more(&port);
}

#[test]
fn a_message_is_as_long_as_what_is_lent() {
    const SHORT: usize = 5;
    const LONG: usize = 100_000;
    let port = port();
    let (peer, socket) = served(&port);
    let mut scratch = [0; 64];
    for lengths in [[SHORT, LONG], [LONG, SHORT]] {
        match port.initiate_write(&socket, 1, Restless::new(lengths)) {
            Ok(_) => {
                assert_eq!(complete(&port).bytes_transferred as usize, SHORT);
                assert_eq!(peer.recv(&mut scratch).unwrap(), SHORT);
            }
            Err(rejected) => {
                assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
                assert_eq!(rejected.error.call(), None);
                assert_eq!(rejected.returned.0, 1);
            }
        }
        // A part of what it was may be more than it is.
        port.initiate_write(&socket, 2, Restless::new(lengths).slice(1..)).unwrap();
        assert_eq!(complete(&port).bytes_transferred as usize, SHORT - 1);
        assert_eq!(peer.recv(&mut scratch).unwrap(), SHORT - 1);
        nothing_more(&port);
    }
}

#[test]
fn datagrams_work_over_ipv6() {
    let (Ok(peer), Ok(socket)) = (UdpSocket::bind("[::1]:0"), UdpSocket::bind("[::1]:0")) else {
        return support::skipped_without("IPv6");
    };
    peer.connect(socket.local_addr().unwrap()).unwrap();
    socket.connect(peer.local_addr().unwrap()).unwrap();
    let port = port();
    let socket = port.add_handle(socket, 1).unwrap();
    peer.send(b"too long").unwrap();
    if let Some(pending) = started(port.initiate_read(&socket, 1, Vec::with_capacity(3))) {
        assert_truncated(&port, pending, b"too");
    }
    port.initiate_write(&socket, 2, "six").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 3);
    assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 3);
}
