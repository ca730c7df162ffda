//! Several buffers in one operation, and the flags of receives and sends.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use completion_port::{Associated, CompletionStatus, ErrorKind, Iocp, Mode, Started, op};
use op::{Fills, Sends};
use support::{complete, few, nothing_more, pattern, port, stream_pair};

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 1).unwrap())
}

/// What a successful operation returns, and how many bytes it has transferred.
#[track_caller]
fn output<T: 'static>(port: &Iocp) -> (T, u32) {
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    (completion.operation.output().unwrap(), completion.bytes_transferred)
}

#[test]
fn buffers_of_different_types_are_filled_in_order() {
    let port = port();
    let (mut client, server) = served(&port);
    client.write_all(b"abcdefghij").unwrap();
    let two = ([0_u8; 3], Vec::with_capacity(2));
    port.initiate(&server, 2, op::ReadVectored::new(two)).unwrap();
    assert_eq!(output::<([u8; 3], Vec<u8>)>(&port), ((*b"abc", b"de".to_vec()), 5));
    let three = (vec![0_u8].into_boxed_slice(), [0_u8; 2], Vec::with_capacity(64));
    port.initiate(&server, 2, op::ReadVectored::new(three)).unwrap();
    let ((a, b, c), bytes) = output::<(Box<[u8]>, [u8; 2], Vec<u8>)>(&port);
    assert_eq!((&*a, &b, &c[..], bytes), (&b"f"[..], b"gh", &b"ij"[..], 5));
}

#[test]
fn buffers_of_different_types_are_sent_in_order() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate(&server, 2, op::WriteVectored::new(("ab", vec![b'c']))).unwrap();
    assert_eq!(output::<(&str, Vec<u8>)>(&port), (("ab", b"c".to_vec()), 3));
    let four = ("d", String::from("ef"), [b'g'; 2], std::sync::Arc::<[u8]>::from(*b"h"));
    port.initiate(&server, 2, op::WriteVectored::new(four)).unwrap();
    assert_eq!(output::<(&str, String, [u8; 2], std::sync::Arc<[u8]>)>(&port).1, 6);
    let mut received = [0; 9];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"abcdefggh");
}

#[test]
fn what_is_refused_comes_back_in_its_parts() {
    let port = port();
    let (_client, server) = served(&port);
    let elsewhere = support::port();
    let read = op::ReadVectored::new(([1_u8; 2], vec![2_u8], [3_u8; 1]));
    let rejected = elsewhere.initiate(&server, 2, read).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    let (Fills(a), (Fills(b), Fills(c))) = rejected.returned.1;
    assert_eq!((a, b, c), ([1; 2], vec![2], [3]));
}

/// Sends one byte a buffer, and says how many have been sent in one call.
fn send_many<const N: usize>() {
    let port = port();
    let (mut client, server) = served(&port);
    let sent = pattern(N);
    let buffers: [[u8; 1]; N] = std::array::from_fn(|i| [sent[i]]);
    port.initiate(&server, 2, op::WriteVectored::new(buffers)).unwrap();
    let (buffers, bytes) = output::<[[u8; 1]; N]>(&port);
    assert_eq!((buffers.as_flattened(), bytes as usize), (&sent[..], N));
    let mut received = vec![0; N];
    client.read_exact(&mut received).unwrap();
    assert_eq!(received, sent, "{N}");

    client.write_all(&sent).unwrap();
    port.initiate(&server, 2, op::ReadVectored::new([[0; 1]; N]).wait_for_all()).unwrap();
    let (buffers, bytes) = output::<[[u8; 1]; N]>(&port);
    assert_eq!(&buffers.as_flattened()[..bytes as usize], &sent[..bytes as usize]);
}

#[test]
fn no_buffer_is_left_out_however_many_there_are() {
    send_many::<1>();
    send_many::<64>();
    send_many::<65>();
    send_many::<{ few(1024) }>();
}

#[test]
fn a_peek_leaves_in_the_socket_what_it_sees() {
    let port = port();
    let (mut client, server) = served(&port);
    let peek = || op::Read::new(Vec::with_capacity(3)).peek();
    // One that waits, and one that need not.
    let pending = port.initiate(&server, 2, peek()).unwrap();
    client.write_all(b"hello").unwrap();
    assert_eq!(output::<Vec<u8>>(&port), (b"hel".to_vec(), 3));
    drop(pending);
    let vectored = op::ReadVectored::new([Vec::with_capacity(1), Vec::with_capacity(3)]).peek();
    port.initiate(&server, 2, vectored).unwrap();
    assert_eq!(output::<[Vec<u8>; 2]>(&port), ([b"h".to_vec(), b"ell".to_vec()], 4));
    port.initiate(&server, 2, op::Read::new(Vec::with_capacity(8))).unwrap();
    assert_eq!(output::<Vec<u8>>(&port), (b"hello".to_vec(), 5));
    nothing_more(&port);
}

#[test]
fn a_datagram_can_be_peeked_at() {
    let port = port();
    let (one, other) = support::datagram_pair();
    let one = port.add_handle(one, 1).unwrap();
    other.send(b"hello").unwrap();
    for read in [op::Read::new(Vec::with_capacity(8)).peek(), op::Read::new(Vec::with_capacity(8))]
    {
        port.initiate(&one, 2, read).unwrap();
        assert_eq!(output::<Vec<u8>>(&port), (b"hello".to_vec(), 5));
    }
}

/// Peeks at the same byte again and again, until the other connection has been served.
fn peek_beside<M: Mode>(
    port: &Iocp,
    stream: &Associated<TcpStream, M>,
    started: impl Fn(M::Started<Vec<u8>, usize>) -> Option<CompletionStatus>,
) {
    let (mut client, other) = served(port);
    port.initiate(&other, 3, op::Read::new(Vec::with_capacity(8))).unwrap();
    client.write_all(b"x").unwrap();
    let mut rounds = 0;
    loop {
        let peek = op::Read::new(Vec::with_capacity(8)).peek();
        let peeked = started(port.initiate(stream, 2, peek).unwrap());
        if peeked.unwrap_or_else(|| complete(port)).context == 3 {
            break;
        }
        rounds += 1;
        assert!(rounds < 10_000, "the other connection starves");
    }
}

#[test]
fn a_loop_of_peeks_does_not_starve_others() {
    let port = port();
    for skips in [false, true] {
        let (mut client, server) = served(&port);
        client.write_all(b"y").unwrap();
        if skips {
            let server = server.skip_on_success().unwrap();
            peek_beside(&port, &server, |started| match started {
                Started::Completed(completion) => Some(completion),
                Started::Pending(_) => None,
            });
        } else {
            peek_beside(&port, &server, |_| None);
        }
        // Its last packet, if there is one.
        drop(port.try_get_completion());
    }
}

/// Wine completes with what is there.
#[test]
fn a_receive_may_wait_until_its_buffer_is_full() {
    let port = port();
    let (mut client, server) = served(&port);
    client.write_all(b"hel").unwrap();
    port.initiate(&server, 2, op::Read::new(Vec::with_capacity(5)).wait_for_all()).unwrap();
    if !support::is_wine() {
        nothing_more(&port);
    }
    client.write_all(b"lo").unwrap();
    let (buffer, bytes) = output::<Vec<u8>>(&port);
    assert_eq!(&buffer[..], &b"hello"[..bytes as usize]);
    if support::is_wine() {
        return;
    }
    assert_eq!(bytes, 5);
    // The end of the stream is no reason to wait.
    port.initiate(&server, 2, op::Read::new(Vec::with_capacity(5)).wait_for_all()).unwrap();
    client.write_all(b"end").unwrap();
    drop(client);
    assert_eq!(output::<Vec<u8>>(&port), (b"end".to_vec(), 3));
}

/// The model of the kernel has none, and says so.
#[test]
fn out_of_band_data_overtakes_what_was_sent_before() {
    let port = port();
    let (client, server) = stream_pair();
    let (client, server) =
        (port.add_handle(client, 1).unwrap(), port.add_handle(server, 1).unwrap());
    let sent = port.initiate(&client, 2, op::Write::new("!").out_of_band());
    if cfg!(simulated_kernel) {
        let rejected = sent.unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        assert_eq!(rejected.returned, (2, Sends("!")));
        let read = op::Read::new(vec![7_u8; 1].into_boxed_slice()).out_of_band();
        let rejected = port.initiate(&server, 2, read).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        return;
    }
    assert_eq!(output::<&str>(&port), ("!", 1));
    port.initiate(&server, 2, op::Read::new(Vec::with_capacity(8)).out_of_band()).unwrap();
    assert_eq!(output::<Vec<u8>>(&port), (b"!".to_vec(), 1));
}

#[test]
fn flags_are_refused_where_they_have_no_meaning() {
    let port = port();
    let file = support::temp_file("flags", "hello");
    let file = port.add_handle(support::overlapped_file(file.path(), true, true), 1).unwrap();
    let buffer = || vec![7_u8; 3].into_boxed_slice();
    let rejected = port.initiate(&file, 2, op::Read::new(buffer()).at(0).peek()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (2, Fills(buffer())));
    let write = op::Write::new("x").at(0).out_of_band();
    let rejected = port.initiate(&file, 2, write).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);

    let datagrams = port.add_handle(support::datagram_pair().0, 1).unwrap();
    for read in [op::Read::new(buffer()).wait_for_all(), op::Read::new(buffer()).out_of_band()] {
        let rejected = port.initiate(&datagrams, 2, read).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    }
    let write = op::WriteVectored::new(["x"; 2]).out_of_band();
    let rejected = port.initiate(&datagrams, 2, write).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (2, [Sends("x"), Sends("x")]));

    let (_client, server) = served(&port);
    let read = op::ReadVectored::new([buffer()]).wait_for_all().peek();
    let rejected = port.initiate(&server, 2, read).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    assert_eq!(rejected.returned, (2, [Fills(buffer())]));
    nothing_more(&port);
}
