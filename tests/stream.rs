//! Reads and writes on stream sockets.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::windows::io::{AsRawSocket, OwnedSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use completion_port::{
    Associated, Batch, ErrorKind, Inline, IoBuf, Iocp, OperationKind, Pending, Started,
    unconnected_stream,
};
use support::{
    complete, complete_all, eventually, few, is_windows, nothing_more, nothing_to_see, pattern,
    pattern_from, port, port_of, reset, stream_pair, stream_pair_on,
};

/// A connection whose server side is associated, with handle context 7.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 7).unwrap())
}

/// Reads from an associated stream until it has `length` bytes.
fn read_exactly(port: &Iocp, stream: &Associated<TcpStream>, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        port.initiate_read(stream, 0, Vec::with_capacity(length - all.len())).unwrap();
        let mut completion = complete(port);
        completion.error_status.unwrap();
        let part: Vec<u8> = completion.operation.take_buffer().unwrap();
        assert_eq!(part.len(), completion.bytes_transferred as usize);
        assert!(!part.is_empty(), "the stream ended after {} bytes", all.len());
        all.extend(part);
    }
    all
}

#[test]
fn a_read_gets_what_the_peer_wrote() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_read(&server, 456, Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.context, 456);
    assert_eq!(completion.handle_context, 7);
    assert_eq!(completion.bytes_transferred, 5);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.kind(), OperationKind::Read);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    nothing_more(&port);
}

#[test]
fn a_write_reaches_the_peer_and_returns_its_buffer() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_write(&server, 9, b"hello".to_vec()).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.context, 9);
    assert_eq!(completion.handle_context, 7);
    assert_eq!(completion.bytes_transferred, 5);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.kind(), OperationKind::Write);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    let mut received = [0; 5];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"hello");
    nothing_more(&port);
}

#[test]
fn data_that_is_there_before_the_read_completes_it_once() {
    let port = port();
    let (mut client, server) = served(&port);
    client.write_all(b"early").unwrap();
    let mut pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 5);
    assert_eq!(pending.take_buffer().unwrap(), b"early");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn transfers_of_every_size_arrive_whole() {
    let port = port();
    let (client, server) = stream_pair();
    let (client, server) =
        (port.add_handle(client, 1).unwrap(), port.add_handle(server, 2).unwrap());
    for size in [1, 2, 3, 7, 255, 256, 257, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20] {
        let mut reading = port.initiate_read(&server, 2, Vec::with_capacity(size)).unwrap();
        let mut writing = port.initiate_write(&client, 1, pattern(size)).unwrap();
        let (mut received, mut written) = (Vec::new(), false);
        while received.len() < size || !written {
            let completion = complete(&port);
            completion.error_status.unwrap();
            assert_eq!(completion.context, completion.handle_context);
            if completion.context == 1 {
                assert_eq!(completion.bytes_transferred as usize, size);
                assert_eq!(writing.take_buffer().unwrap(), pattern(size));
                written = true;
            } else {
                received.extend(reading.take_buffer().unwrap());
                if received.len() < size {
                    let rest = Vec::with_capacity(size - received.len());
                    reading = port.initiate_read(&server, 2, rest).unwrap();
                }
            }
        }
        assert!(received == pattern(size), "{size} bytes arrived changed");
    }
    nothing_more(&port);
}

#[test]
fn a_read_returns_what_is_there_rather_than_wait_for_more() {
    let port = port();
    let (mut client, server) = served(&port);
    for part in [&b"one"[..], b"four", b"!"] {
        let mut pending = port.initiate_read(&server, 0, Vec::with_capacity(4096)).unwrap();
        client.write_all(part).unwrap();
        assert_eq!(complete(&port).bytes_transferred as usize, part.len());
        assert_eq!(pending.take_buffer().unwrap(), part);
    }
}

#[test]
fn a_small_buffer_leaves_the_rest_for_the_next_read() {
    let port = port();
    let (mut client, server) = served(&port);
    client.write_all(b"abcdefgh").unwrap();
    for expected in [b"abc", b"def"] {
        let mut pending = port.initiate_read(&server, 0, [0; 3]).unwrap();
        assert_eq!(complete(&port).bytes_transferred, 3);
        assert_eq!(&pending.take_buffer().unwrap(), expected);
    }
    let mut pending = port.initiate_read(&server, 0, [b'.'; 3]).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 2);
    assert_eq!(&pending.take_buffer().unwrap(), b"gh.");
}

#[test]
fn a_read_appends_to_what_a_vector_holds() {
    let port = port();
    let (mut client, server) = served(&port);
    let mut buffer = Vec::with_capacity(64);
    buffer.extend(b"so far: ");
    let start = buffer.as_ptr();
    let mut pending = port.initiate_read(&server, 0, buffer).unwrap();
    client.write_all(b"more").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 4);
    let buffer = pending.take_buffer().unwrap();
    assert_eq!(buffer, b"so far: more");
    assert_eq!(buffer.as_ptr(), start, "the same memory comes back");
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_read_overwrites_fixed_buffers_and_slices_from_their_start() {
    let port = port();
    let (mut client, server) = served(&port);

    let mut array = port.initiate_read(&server, 0, *b"........").unwrap();
    client.write_all(b"one").unwrap();
    complete(&port);
    assert_eq!(&array.take_buffer().unwrap(), b"one.....");

    let boxed: Box<[u8]> = (*b"........").into();
    let mut boxed = port.initiate_read(&server, 0, boxed).unwrap();
    client.write_all(b"two").unwrap();
    complete(&port);
    assert_eq!(&*boxed.take_buffer().unwrap(), b"two.....");

    let middle = b"........".to_vec().slice(2..5);
    let mut middle = port.initiate_read(&server, 0, middle).unwrap();
    client.write_all(b"three").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 3);
    let middle = middle.take_buffer().unwrap();
    assert_eq!(middle.as_ref(), b"thr");
    assert_eq!(middle.into_inner(), b"..thr...");

    let leaked: &'static mut [u8] = Box::leak(Box::new(*b"...."));
    let mut leaked = port.initiate_read(&server, 0, leaked).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 2);
    assert_eq!(leaked.take_buffer().unwrap(), b"ee..");
}

#[test]
fn every_kind_of_bytes_can_be_written() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_write(&server, 0, b"vector,".to_vec()).unwrap();
    port.initiate_write(&server, 0, String::from("string,")).unwrap();
    port.initiate_write(&server, 0, "str,").unwrap();
    port.initiate_write(&server, 0, b"bytes,").unwrap();
    port.initiate_write(&server, 0, *b"array,").unwrap();
    port.initiate_write(&server, 0, Box::<[u8]>::from(*b"boxed,")).unwrap();
    port.initiate_write(&server, 0, Arc::<[u8]>::from(*b"shared,")).unwrap();
    port.initiate_write(&server, 0, Arc::<str>::from("shared str,")).unwrap();
    port.initiate_write(&server, 0, "a slice, not".slice(2..7)).unwrap();
    let expected = b"vector,string,str,bytes,array,boxed,shared,shared str,slice";
    for completion in complete_all(&port, 9) {
        completion.error_status.unwrap();
    }
    let mut received = vec![0; expected.len()];
    client.read_exact(&mut received).unwrap();
    assert_eq!(received, expected);
}

#[test]
fn reads_in_flight_are_filled_in_the_order_of_their_starts() {
    let port = port();
    let (mut client, server) = served(&port);
    let mut pendings: Vec<Pending<[u8; 1]>> =
        (0..32).map(|i| port.initiate_read(&server, i, [0]).unwrap()).collect();
    client.write_all(&pattern(32)).unwrap();
    complete_all(&port, 32);
    let received: Vec<u8> = pendings.iter_mut().map(|p| p.take_buffer().unwrap()[0]).collect();
    assert_eq!(received, pattern(32));
}

#[test]
fn writes_in_flight_keep_the_order_of_their_starts() {
    const COUNT: usize = few(100);
    let port = port();
    let (mut client, server) = served(&port);
    let mut sent = 0;
    for i in 0..COUNT {
        let length = 1 + i * 37 % 2000;
        port.initiate_write(&server, length, pattern_from(sent, length)).unwrap();
        sent += length;
    }
    let mut received = vec![0; sent];
    client.read_exact(&mut received).unwrap();
    assert!(received == pattern(sent), "the bytes are out of order");
    for completion in complete_all(&port, COUNT) {
        completion.error_status.unwrap();
        assert_eq!(completion.bytes_transferred as usize, completion.context);
    }
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn both_directions_move_at_the_same_time() {
    const TOTAL: usize = 2 << 20;
    const CHUNK: usize = 64 << 10;
    let port = port();
    let (client, server) = stream_pair();
    let ends = [port.add_handle(client, 0).unwrap(), port.add_handle(server, 1).unwrap()];
    let mut sent = [0; 2];
    let mut received = [Vec::new(), Vec::new()];
    for (i, end) in ends.iter().enumerate() {
        port.initiate_write(end, i, pattern_from(i, CHUNK)).unwrap();
        port.initiate_read(end, i, Vec::with_capacity(CHUNK)).unwrap();
    }
    while sent != [TOTAL; 2] || received.iter().any(|all| all.len() < TOTAL) {
        let mut completion = complete(&port);
        completion.error_status.unwrap();
        let i = completion.context;
        assert_eq!(completion.handle_context, i);
        if completion.operation.kind() == OperationKind::Write {
            assert_eq!(completion.bytes_transferred as usize, CHUNK);
            sent[i] += CHUNK;
            if sent[i] < TOTAL {
                port.initiate_write(&ends[i], i, pattern_from(i + sent[i], CHUNK)).unwrap();
            }
        } else {
            let part: Vec<u8> = completion.operation.take_buffer().unwrap();
            assert!(!part.is_empty());
            received[i].extend(part);
            if received[i].len() < TOTAL {
                port.initiate_read(&ends[i], i, Vec::with_capacity(CHUNK)).unwrap();
            }
        }
    }
    assert!(received[0] == pattern_from(1, TOTAL), "bytes from the server are changed");
    assert!(received[1] == pattern_from(0, TOTAL), "bytes from the client are changed");
    nothing_more(&port);
}

#[test]
fn the_end_of_a_stream_is_a_success_with_no_bytes_each_time() {
    let port = port();
    let (client, server) = served(&port);
    let mut pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    drop(client);
    for _ in 0..3 {
        let completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(completion.bytes_transferred, 0);
        assert_eq!(pending.result(), Some(Ok(0)));
        assert_eq!(pending.take_buffer().unwrap(), b"");
        pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    }
}

#[test]
fn what_was_sent_before_the_end_arrives_before_it() {
    let port = port();
    let (mut client, server) = served(&port);
    client.write_all(b"last words").unwrap();
    drop(client);
    assert_eq!(read_exactly(&port, &server, 10), b"last words");
    port.initiate_read(&server, 0, [0; 8]).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
}

#[test]
fn a_peer_that_has_shut_down_its_sending_side_can_still_be_written_to() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_read(&server, 1, [0; 8]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
    port.initiate_write(&server, 2, "answer").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
}

#[test]
fn shutting_down_the_sending_side_ends_the_peers_stream_and_leaves_reads_alone() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    server.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    nothing_more(&port);
    client.write_all(b"still").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));

    let rejected = port.initiate_write(&server, 2, "too late").unwrap_err();
    assert_eq!(rejected.returned, (2, "too late"));
    assert_eq!(rejected.error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(rejected.error.call(), Some("WSASend"));
    nothing_more(&port);
}

/// A shutdown is about calls to come: "subsequent calls to the recv function on
/// the socket will be disallowed".
#[test]
fn a_read_in_flight_outlives_a_shutdown_and_is_ended_by_a_cancel() {
    for how in [Shutdown::Read, Shutdown::Both] {
        let port = port();
        let (_client, server) = served(&port);
        port.initiate_read(&server, 1, Vec::with_capacity(8)).unwrap();
        server.get_ref().shutdown(how).unwrap();
        nothing_more(&port);
        assert_eq!(server.cancel_all(), Ok(true));
        assert!(complete(&port).error_status.unwrap_err().is_cancelled());
        let rejected = port.initiate_read(&server, 2, [0; 8]).map(drop).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::BrokenPipe);
        nothing_more(&port);
    }
}

#[test]
fn an_empty_write_completes_and_sends_nothing() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_write(&server, 1, Vec::new()).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
    port.initiate_write(&server, 2, "x").unwrap();
    assert_eq!(complete(&port).context, 2);
    drop(server);
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"x");
    nothing_more(&port);
}

/// Starts more writes of a megabyte than the buffers of both ends can grow to
/// hold, numbered from 0. (A single write of any size may be taken whole.)
fn overfill(port: &Iocp, stream: &Associated<TcpStream>) -> Vec<Pending<Vec<u8>>> {
    let writes = 0..OVERFILL;
    writes.map(|i| port.initiate_write(stream, i, pattern_from(i, 1 << 20)).unwrap()).collect()
}

const OVERFILL: usize = 24;

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn writes_in_flight_at_a_shutdown_arrive_before_the_end() {
    let port = port();
    let (mut client, server) = served(&port);
    let pendings = overfill(&port, &server);
    assert!(!pendings[OVERFILL - 1].is_completed());
    server.get_ref().shutdown(Shutdown::Write).unwrap();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all.len()
    });
    for completion in complete_all(&port, OVERFILL) {
        assert_eq!(completion.result(), Ok(1 << 20));
    }
    assert_eq!(reader.join().unwrap(), OVERFILL << 20);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn writes_that_do_not_fit_wait_until_the_peer_reads() {
    let port = port();
    let (mut client, server) = served(&port);
    let mut pendings = overfill(&port, &server);
    let mut completions = Vec::new();
    while let Some(completion) = port.try_get_completion().unwrap() {
        completions.push(completion);
    }
    if completions.len() == OVERFILL {
        return nothing_to_see("all was taken, though nobody has read anything");
    }
    assert!(!pendings[OVERFILL - 1].is_completed());
    assert!(pendings[OVERFILL - 1].take_buffer().is_none());
    let reader = thread::spawn(move || {
        let mut received = vec![0; 1 << 20];
        for i in 0..OVERFILL {
            client.read_exact(&mut received).unwrap();
            assert!(received == pattern_from(i, 1 << 20), "the bytes arrived changed");
        }
    });
    completions.extend(complete_all(&port, OVERFILL - completions.len()));
    if is_windows() {
        // "The packets are queued in FIFO order. [...] However, they may be
        // dequeued in a different order"
        // (https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports).
        completions.sort_by_key(|completion| completion.context);
    }
    for (i, completion) in completions.into_iter().enumerate() {
        assert_eq!(completion.context, i);
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 1 << 20));
        assert_eq!(pendings[i].take_buffer().unwrap().len(), 1 << 20);
    }
    reader.join().unwrap();
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn writes_in_flight_fail_when_the_peer_resets() {
    let port = port();
    let (client, server) = served(&port);
    let mut pendings = overfill(&port, &server);
    reset(client);
    let mut completions = complete_all(&port, OVERFILL);
    completions.sort_by_key(|completion| completion.context);
    let last = completions.pop().unwrap();
    assert_eq!(last.context, OVERFILL - 1);
    let Err(error) = last.error_status else {
        return nothing_to_see("all was taken before the reset");
    };
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    assert_eq!(error.call(), Some("WSASend"));
    assert!(error.ntstatus().is_some());
    assert_eq!(last.bytes_transferred, 0);
    assert!(pendings[OVERFILL - 1].take_buffer().unwrap() == pattern_from(OVERFILL - 1, 1 << 20));
    nothing_more(&port);
}

#[test]
fn a_reset_is_an_error_that_keeps_its_status_and_never_the_end() {
    let port = port();
    let (client, server) = served(&port);
    port.initiate_read(&server, 1, b"before".to_vec().slice(..)).unwrap();
    reset(client);
    let mut completion = complete(&port);
    let error = completion.error_status.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(error.raw_os_error(), Some(10054));
    assert_eq!(error.call(), Some("WSARecv"));
    // STATUS_CONNECTION_RESET, _DISCONNECTED, or STATUS_REMOTE_DISCONNECT.
    let status = error.ntstatus().unwrap();
    assert!([0xC000_020D, 0xC000_020C, 0xC000_013C].contains(&status), "{status:#x}");
    assert!(!error.is_cancelled());
    assert_eq!(completion.bytes_transferred, 0);
    let buffer: completion_port::Slice<Vec<u8>> = completion.operation.take_buffer().unwrap();
    assert_eq!(buffer.into_inner(), b"before");
    nothing_more(&port);
}

#[test]
fn a_vector_gets_nothing_from_a_read_that_failed() {
    let port = port();
    let (client, server) = served(&port);
    let mut buffer = Vec::with_capacity(64);
    buffer.extend(b"kept");
    let mut pending = port.initiate_read(&server, 1, buffer).unwrap();
    reset(client);
    complete(&port).error_status.unwrap_err();
    assert_eq!(pending.result().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(pending.take_buffer().unwrap(), b"kept");
}

/// Wine looks twice for what became of a connection, and under load often loses
/// the reset in between: so it is tried until one has been seen.
#[test]
fn a_read_after_a_reset_fails() {
    const ROUNDS: usize = 300;
    let port = port();
    let seen = (0..ROUNDS).any(|_| {
        let (client, server) = served(&port);
        reset(client);
        let result = match port.initiate_read(&server, 1, [0; 8]) {
            Ok(_) => complete(&port).error_status,
            Err(rejected) => {
                assert_eq!(rejected.returned, (1, [0; 8]));
                Err(rejected.error)
            }
        };
        result.is_err_and(|error| {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        })
    });
    assert!(seen, "none of {ROUNDS} resets was seen");
    nothing_more(&port);
}

#[test]
fn writes_to_a_peer_that_is_gone_fail_in_the_end() {
    let port = port();
    let (client, server) = served(&port);
    drop(client);
    let mut error = None;
    eventually("a write fails", || {
        error = match port.initiate_write(&server, 1, *b"anybody?") {
            Ok(_) => complete(&port).error_status.err(),
            Err(rejected) => {
                assert_eq!(rejected.returned, (1, *b"anybody?"));
                Some(rejected.error)
            }
        };
        error.is_some()
    });
    let error = error.unwrap();
    // Which of these depends on how far the news of the close has come.
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    nothing_more(&port);
}

#[test]
fn many_reads_in_flight_on_one_socket_complete_once_each() {
    const COUNT: usize = few(1000);
    let port = port();
    let (mut client, server) = served(&port);
    let mut pendings: Vec<Pending<[u8; 2]>> =
        (0..COUNT).map(|i| port.initiate_read(&server, i, [0; 2]).unwrap()).collect();
    nothing_more(&port);
    // Two bytes at a time: no read finds one of them alone.
    for i in 0..COUNT {
        client.write_all(&(i as u16).to_be_bytes()).unwrap();
    }
    let mut seen = vec![false; COUNT];
    for completion in complete_all(&port, COUNT) {
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 2));
        assert!(!std::mem::replace(&mut seen[completion.context], true), "completed twice");
        let value = u16::from_be_bytes(pendings[completion.context].take_buffer().unwrap());
        assert_eq!(usize::from(value), completion.context);
    }
    nothing_more(&port);
}

#[test]
fn many_connections_share_a_port() {
    const COUNT: usize = few(1000);
    let port = port();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for i in 0..COUNT {
        clients.push(TcpStream::connect(address).unwrap());
        servers.push(port.add_handle(listener.accept().unwrap().0, i).unwrap());
        port.initiate_read(&servers[i], !i, [0; 8]).unwrap();
    }
    nothing_more(&port);
    // In an order that is not the one they were started in.
    for i in 0..COUNT {
        let i = i * 7 % COUNT;
        clients[i].write_all(&(i as u64).to_le_bytes()).unwrap();
    }
    let mut seen = vec![false; COUNT];
    for mut completion in complete_all(&port, COUNT) {
        completion.error_status.unwrap();
        let i = completion.handle_context;
        assert_eq!(completion.context, !i);
        let buffer: [u8; 8] = completion.operation.take_buffer().unwrap();
        assert_eq!(u64::from_le_bytes(buffer), i as u64);
        assert!(!std::mem::replace(&mut seen[i], true), "completed twice");
    }
    nothing_more(&port);
}

#[test]
fn each_completion_goes_to_one_of_several_threads() {
    const COUNT: usize = few(4000);
    let port = port();
    let seen: Arc<Vec<AtomicUsize>> = Arc::new((0..COUNT).map(|_| AtomicUsize::new(0)).collect());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (port, seen) = (port.clone(), Arc::clone(&seen));
            thread::spawn(move || {
                loop {
                    match port.get_completion() {
                        Ok(completion) => {
                            completion.error_status.unwrap();
                            seen[completion.context].fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) if error.is_closed() => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    let (mut client, server) = served(&port);
    for i in 0..COUNT {
        port.initiate_write(&server, i, [i as u8]).unwrap();
    }
    let mut received = vec![0; COUNT];
    client.read_exact(&mut received).unwrap();
    assert!((0..COUNT).all(|i| received[i] == i as u8));
    port.close();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
}

/// The completion may be dequeued, and even dropped, before the call that
/// starts the operation returns; then the buffer is the `Pending`'s or the
/// completion's, and never both's or nobody's.
#[test]
fn a_completion_dequeued_before_the_start_returns_is_whole() {
    const COUNT: usize = few(20_000);
    let port = port();
    let (client, server) = stream_pair();
    let writer = port.add_handle(client, 1).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let completed = Arc::new(AtomicUsize::new(0));
    let dequeuers: Vec<_> = (0..2)
        .map(|_| {
            let (port, taken, completed) =
                (port.clone(), Arc::clone(&taken), Arc::clone(&completed));
            thread::spawn(move || {
                loop {
                    let mut completion = match port.get_completion() {
                        Ok(completion) => completion,
                        Err(error) if error.is_closed() => break,
                        Err(error) => panic!("{error}"),
                    };
                    completion.error_status.unwrap();
                    assert_eq!(completion.bytes_transferred, 8);
                    let expected = completion.context as u64;
                    if let Some(buffer) = completion.operation.take_buffer::<Box<[u8]>>() {
                        assert_eq!(*buffer, expected.to_le_bytes());
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    completed.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let reader = thread::spawn(move || {
        let mut server = server;
        let mut received = vec![0; 8 * COUNT];
        server.read_exact(&mut received).unwrap();
        received
    });
    for i in 0..COUNT {
        let expected = (i as u64).to_le_bytes();
        let buffer: Box<[u8]> = expected.into();
        let mut pending = port.initiate_write(&writer, i, buffer).unwrap();
        // A look from the starter's side, which most often comes too early.
        if pending.is_completed() {
            assert_eq!(pending.result(), Some(Ok(8)));
        }
        if let Some(buffer) = pending.take_buffer() {
            assert_eq!(*buffer, expected);
            taken.fetch_add(1, Ordering::Relaxed);
        }
    }
    let received = reader.join().unwrap();
    let values = received.chunks_exact(8).map(|chunk| chunk.try_into().unwrap());
    assert!(values.map(u64::from_le_bytes).eq(0..COUNT as u64));
    eventually("all writes complete", || completed.load(Ordering::Relaxed) == COUNT);
    port.close();
    for dequeuer in dequeuers {
        dequeuer.join().unwrap();
    }
    assert_eq!(taken.load(Ordering::Relaxed), COUNT);
}

#[test]
fn operations_can_be_started_on_one_handle_from_several_threads() {
    const EACH: usize = few(500);
    let port = port();
    let (mut client, server) = served(&port);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for starter in 0..4 {
            let (port, server, start) = (&port, &server, &start);
            scope.spawn(move || {
                start.wait();
                for i in 0..EACH {
                    port.initiate_write(server, starter * EACH + i, [starter as u8]).unwrap();
                }
            });
        }
    });
    let mut received = vec![0; 4 * EACH];
    client.read_exact(&mut received).unwrap();
    received.sort_unstable();
    assert!(received.chunks(EACH).zip(0..4).all(|(chunk, starter)| chunk == [starter; EACH]));
    let mut contexts: Vec<usize> =
        complete_all(&port, 4 * EACH).into_iter().map(|completion| completion.context).collect();
    contexts.sort_unstable();
    assert!(contexts.into_iter().eq(0..4 * EACH));
    nothing_more(&port);
}

#[test]
fn handle_and_operation_contexts_are_independent_and_arbitrary() {
    let port = port();
    let values = [0, 1, usize::MAX, usize::MAX - 1, 1 << (usize::BITS - 1), 0xDEAD_BEEF];
    for handle_context in values {
        let (_client, server) = stream_pair();
        let server = port.add_handle(server, handle_context).unwrap();
        assert_eq!(server.context(), handle_context);
        for context in values {
            port.initiate_write(&server, context, "x").unwrap();
            let completion = complete(&port);
            assert_eq!(completion.context, context);
            assert_eq!(completion.handle_context, handle_context);
        }
    }
}

#[test]
fn contexts_of_other_types_come_back_by_value() {
    let port = port_of::<Box<dyn FnOnce(u32) -> String + Send>>();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    let name = String::from("the read");
    let context = Box::new(move |bytes| format!("{name} got {bytes} bytes"));
    port.initiate_read(&server, context, Vec::with_capacity(8)).unwrap();
    client.write_all(b"abc").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context)(completion.bytes_transferred), "the read got 3 bytes");
}

#[test]
fn a_read_from_an_unconnected_socket_fails_at_once_and_returns_everything() {
    let port = port();
    let socket = unconnected_stream("127.0.0.1:1".parse().unwrap()).unwrap();
    let socket = port.add_handle(socket, 1).unwrap();
    let buffer = Vec::with_capacity(77);
    let start = buffer.as_ptr();
    let rejected = port.initiate_read(&socket, 5, buffer).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::NotConnected);
    assert_eq!(rejected.error.raw_os_error(), Some(10057));
    assert_eq!(rejected.error.call(), Some("WSARecv"));
    assert_eq!(rejected.error.ntstatus(), None);
    let (context, buffer) = rejected.returned;
    assert_eq!(context, 5);
    assert_eq!((buffer.as_ptr(), buffer.len(), buffer.capacity()), (start, 0, 77));
    nothing_more(&port);
}

#[test]
fn a_write_to_an_unconnected_socket_fails_at_once_and_returns_everything() {
    let port = port();
    let socket = unconnected_stream("127.0.0.1:1".parse().unwrap()).unwrap();
    let socket = port.add_handle(socket, 1).unwrap();
    let rejected = port.initiate_write(&socket, 5, String::from("hello")).unwrap_err();
    // Wine says 10054 where Windows says 10057.
    assert!(
        matches!(rejected.error.kind(), ErrorKind::NotConnected | ErrorKind::ConnectionReset),
        "{}",
        rejected.error
    );
    assert_eq!(rejected.returned, (5, String::from("hello")));
    nothing_more(&port);
}

#[test]
fn one_thread_dequeues_in_the_order_of_completion() {
    let port = port();
    let (mut client, server) = served(&port);
    for i in 0..50 {
        port.post(1000 + i, 0, 0).unwrap();
        port.initiate_write(&server, i, "x").unwrap();
        // It fits, so it is over before the next one starts.
        client.read_exact(&mut [0]).unwrap();
    }
    let (posts, mut writes): (Vec<usize>, Vec<usize>) = complete_all(&port, 100)
        .into_iter()
        .map(|completion| completion.context)
        .partition(|context| *context >= 1000);
    assert!(posts.into_iter().eq(1000..1050));
    if is_windows() {
        // One may be over later, with the peer's acknowledgement.
        writes.sort_unstable();
    }
    assert!(writes.into_iter().eq(0..50));
}

#[test]
fn an_operation_is_over_when_its_packet_is_dequeued_and_not_before() {
    let port = port();
    let (mut client, server) = served(&port);
    client.write_all(b"hello").unwrap();
    let mut pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    // The data is in the buffer by now, or soon will be.
    assert!(!pending.is_completed());
    assert_eq!(pending.result(), None);
    assert_eq!(pending.take_buffer(), None);
    let mut completion = complete(&port);
    assert!(pending.is_completed());
    assert_eq!(pending.result(), Some(Ok(5)));
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
    assert_eq!(pending.take_buffer(), None);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>(), None);
    assert_eq!(pending.result(), Some(Ok(5)), "the result stays");
}

#[test]
fn a_buffer_asked_for_by_another_type_stays_to_be_taken() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.operation.take_buffer::<String>(), None);
    assert_eq!(completion.operation.take_buffer::<[u8; 64]>(), None);
    assert!(completion.operation.take_accepted().is_none());
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>(), None);
}

#[test]
fn a_dropped_completion_leaves_its_buffer_to_the_pending() {
    let port = port();
    let (mut client, server) = served(&port);
    let mut pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    drop(complete(&port));
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn buffers_of_a_megabyte_cross_in_one_write() {
    let port = port();
    let (mut client, server) = served(&port);
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    });
    port.initiate_write(&server, 1, pattern(5 << 20)).unwrap();
    let completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.bytes_transferred, 5 << 20);
    drop((completion, server));
    assert!(reader.join().unwrap() == pattern(5 << 20));
}

#[test]
fn streams_work_over_ipv6() {
    let Ok((mut client, server)) = stream_pair_on("[::1]:0") else {
        return support::skipped_without("IPv6");
    };
    let port = port();
    let server = port.add_handle(server, 1).unwrap();
    client.write_all(b"six").unwrap();
    assert_eq!(read_exactly(&port, &server, 3), b"six");
    port.initiate_write(&server, 2, "sixty").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 5);
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"sixty");
}

#[test]
fn any_type_that_owns_a_socket_can_be_added() {
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(OwnedSocket::from(server), 1).unwrap();
    port.initiate_read(&server, 2, Vec::with_capacity(8)).unwrap();
    client.write_all(b"owned").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 5);
}

#[test]
fn a_socket_value_of_the_winapi_crate_can_be_added() {
    let port = port();
    let (mut client, server) = stream_pair();
    let value: winapi::um::winsock2::SOCKET = server.as_raw_socket() as _;
    // SAFETY: The socket is closed after the association, and used by nobody
    // else.
    let associated = unsafe { port.add_raw_handle(value, 1) }.unwrap();
    port.initiate_read(&associated, 2, Vec::with_capacity(8)).unwrap();
    client.write_all(b"raw").unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"raw");
    drop(associated);
    // It was not closed with the association.
    client.write_all(b"more").unwrap();
    let mut more = [0; 4];
    (&server).read_exact(&mut more).unwrap();
    assert_eq!(&more, b"more");
    nothing_more(&port);
}

#[test]
fn a_handle_taken_out_of_its_association_still_completes_to_the_port() {
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_read(&server, 1, Vec::with_capacity(8)).unwrap();
    let server = server.into_inner();
    nothing_more(&port);
    client.write_all(b"hello").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
    let rejected = port.add_handle(server, 2).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
}

/// A stream that skips the port, and its peer.
fn skipping(port: &Iocp) -> (TcpStream, Associated<TcpStream, Inline>) {
    let (client, server) = served(port);
    (client, server.skip_on_success().unwrap())
}

#[test]
fn skipping_the_port_gives_each_completion_once() {
    const COUNT: usize = few(100);
    let port = port();
    let (mut client, server) = skipping(&port);
    for i in 0..COUNT {
        let completion = match port.initiate_write(&server, i, "x").unwrap() {
            Started::Completed(completion) => completion,
            Started::Pending(_) => complete(&port),
        };
        assert_eq!(completion.context, i);
        assert_eq!(completion.handle_context, 7);
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 1));
        assert_eq!(completion.operation.kind(), OperationKind::Write);
        nothing_more(&port);
    }
    client.read_exact(&mut [0; COUNT]).unwrap();
}

#[test]
fn a_read_that_pends_comes_through_the_port_though_it_skips() {
    let port = port();
    let (mut client, server) = skipping(&port);
    for _ in 0..3 {
        let started = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
        let Started::Pending(mut pending) = started else { panic!("there is nothing to read") };
        client.write_all(b"late").unwrap();
        assert_eq!(complete(&port).bytes_transferred, 4);
        assert_eq!(pending.take_buffer().unwrap(), b"late");
        nothing_more(&port);
    }
}

#[test]
fn a_read_that_skips_has_its_buffer_at_once() {
    let port = port();
    let (mut client, server) = skipping(&port);
    client.write_all(b"early").unwrap();
    let mut completion = match port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => complete(&port),
    };
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"early");
    nothing_more(&port);
}

#[test]
fn a_stream_that_is_always_ready_comes_back_to_the_port_now_and_then() {
    const COUNT: usize = if cfg!(miri) { 80 } else { 200 };
    let port = port();
    let (mut client, server) = skipping(&port);
    let (mut inline, mut longest) = (0, 0);
    for i in 0..COUNT {
        match port.initiate_write(&server, i, "x").unwrap() {
            Started::Completed(_) => inline += 1,
            Started::Pending(_) => {
                assert_eq!(complete(&port).context, i);
                inline = 0;
            }
        }
        longest = longest.max(inline);
    }
    assert!(longest <= Associated::<TcpStream>::INLINE_LIMIT, "{longest} in a row");
    if longest == 0 {
        nothing_to_see("nothing was skipped");
    }
    client.read_exact(&mut [0; COUNT]).unwrap();
    nothing_more(&port);
}

#[test]
fn inline_completions_pushed_into_a_batch_come_out_of_it() {
    let port = port();
    let (mut client, server) = skipping(&port);
    let mut batch = Batch::with_capacity(8);
    for i in 0..5 {
        batch.push(port.initiate_write(&server, i, "x").unwrap());
    }
    let mut contexts = Vec::new();
    while contexts.len() < 5 {
        port.get_completions(&mut batch, Some(Duration::from_secs(30))).unwrap();
        assert!(!batch.is_empty(), "a completion is missing");
        contexts.extend((&mut batch).map(|completion| completion.unwrap().context));
    }
    contexts.sort_unstable();
    assert_eq!(contexts, [0, 1, 2, 3, 4]);
    client.read_exact(&mut [0; 5]).unwrap();
    nothing_more(&port);
}

#[test]
fn a_start_that_fails_on_a_skipping_stream_returns_everything() {
    let port = port();
    let (_client, server) = skipping(&port);
    server.get_ref().shutdown(Shutdown::Write).unwrap();
    let rejected = port.initiate_write(&server, 3, vec![1, 2, 3]).unwrap_err();
    assert_eq!(rejected.returned, (3, vec![1, 2, 3]));
    nothing_more(&port);
}

#[test]
fn an_associated_socket_is_the_one_that_was_added() {
    let port = port();
    let (_client, server) = stream_pair();
    let socket = server.as_raw_socket();
    let server = port.add_handle(server, 1).unwrap();
    assert_eq!((server.as_raw_socket(), server.get_ref().as_raw_socket()), (socket, socket));
    let server = server.skip_on_success().unwrap();
    assert_eq!(server.into_inner().as_raw_socket(), socket);
}
