//! Cancelling operations, by request and by closing what they are on.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::windows::io::{AsRawHandle, AsRawSocket, IntoRawHandle, IntoRawSocket};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use completion_port::{Associated, CompletionStatus, ErrorKind, Iocp, Pending, Started};
use support::{
    assert_ended_by_drop, assert_peer_closed, close_raw, close_raw_socket, complete, complete_all,
    few, is_windows, nothing_more, overlapped_file, pattern, pipe_pair, port, reset, stream_pair,
    temp_file,
};

/// A connection whose server side is associated, with handle context 7.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 7).unwrap())
}

/// Asserts that the next completion is that of a cancelled operation.
#[track_caller]
fn assert_cancelled(port: &Iocp, context: usize) {
    let completion = complete(port);
    assert_eq!(completion.context, context);
    assert_eq!(completion.bytes_transferred, 0);
    let error = completion.error_status.unwrap_err();
    assert!(error.is_cancelled(), "{error}");
}

/// Asserts that a completion is that of a socket's operation that the drop of its
/// handle has ended. It was cancelled; but the close comes right behind, and on
/// Windows may be what it ends with.
#[track_caller]
fn assert_socket_was_dropped(completion: &CompletionStatus) {
    assert_eq!((completion.handle_context, completion.bytes_transferred), (7, 0));
    let error = completion.error_status.as_ref().unwrap_err();
    assert!(error.is_cancelled() || is_windows() && is_close(error.kind()), "{error}");
}

/// What may become of an operation whose socket is closed: of the statuses that
/// are known of it, some mean a cancel, and others an aborted or, as Win32 code
/// 64 has it, a reset connection.
fn is_close(kind: ErrorKind) -> bool {
    use ErrorKind::{Cancelled, ConnectionAborted, ConnectionReset};
    matches!(kind, Cancelled | ConnectionAborted | ConnectionReset)
}

#[test]
fn a_cancelled_read_completes_as_cancelled_with_its_buffer() {
    let port = port();
    let (_client, server) = served(&port);
    let mut buffer = Vec::with_capacity(64);
    buffer.extend(b"kept");
    let mut pending = port.initiate_read(&server, 5, buffer).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    assert!(!pending.is_completed(), "the packet has not been dequeued");
    let completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (5, 7));
    assert_eq!(completion.bytes_transferred, 0);
    let error = completion.error_status.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.raw_os_error(), Some(995));
    assert_eq!(error.ntstatus(), Some(0xC000_0120));
    assert_eq!(error.call(), Some("WSARecv"));
    assert_eq!(pending.result(), Some(Err(error)));
    assert_eq!(pending.take_buffer().unwrap(), b"kept");
    nothing_more(&port);
}

#[test]
fn the_result_of_a_completion_is_its_bytes_or_its_error() {
    let port = port();
    let (_client, server) = served(&port);
    port.initiate_write(&server, 4, "hello").unwrap();
    assert_eq!(complete(&port).result(), Ok(5));
    let pending = port.initiate_read(&server, 5, Vec::with_capacity(64)).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    let completion = complete(&port);
    assert!(completion.result().unwrap_err().is_cancelled());
    assert_eq!(completion.result().map(drop), completion.error_status);
}

#[test]
fn the_buffer_of_a_cancelled_read_comes_back_from_the_completion() {
    let port = port();
    let (_client, server) = served(&port);
    let buffer = Vec::with_capacity(64);
    let start: *const u8 = buffer.as_ptr();
    let mut pending = port.initiate_read(&server, 1, buffer).unwrap();
    pending.cancel().unwrap();
    let mut completion = complete(&port);
    let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
    assert_eq!((buffer.as_ptr(), buffer.len(), buffer.capacity()), (start, 0, 64));
    assert_eq!(pending.take_buffer(), None);
}

#[test]
fn a_cancelled_read_completes_as_cancelled_though_nobody_tracks_it() {
    let port = port();
    let (_client, server) = served(&port);
    drop(port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap());
    assert_eq!(server.cancel_all(), Ok(true));
    assert_cancelled(&port, 1);
}

#[test]
fn the_stream_is_as_before_after_a_cancelled_read() {
    let port = port();
    let (mut client, server) = served(&port);
    for _ in 0..few(20) {
        let pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
        assert_eq!(pending.cancel(), Ok(true));
        assert_cancelled(&port, 1);
        client.write_all(b"data").unwrap();
        let mut pending = port.initiate_read(&server, 2, Vec::with_capacity(64)).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        assert_eq!(pending.take_buffer().unwrap(), b"data");
    }
    nothing_more(&port);
}

#[test]
fn cancelling_a_completed_operation_does_nothing() {
    let port = port();
    let (mut client, server) = served(&port);
    let mut pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    // There is another one that it must not hit.
    port.initiate_read(&server, 2, Vec::with_capacity(64)).unwrap();
    assert_eq!(pending.cancel(), Ok(false));
    nothing_more(&port);
    assert_eq!(pending.result(), Some(Ok(5)));
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
    assert_eq!(pending.cancel(), Ok(false));
    client.write_all(b"again").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
}

#[test]
fn a_cancel_that_lost_the_race_delivers_its_data() {
    let port = port();
    let (mut client, server) = served(&port);
    for _ in 0..few(50) {
        // What is there when the read starts has completed it before the cancel.
        client.write_all(b"hello").unwrap();
        server.get_ref().peek(&mut [0; 8]).unwrap();
        let mut pending = port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
        assert_eq!(pending.cancel(), Ok(false));
        let completion = complete(&port);
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
        assert_eq!(pending.take_buffer().unwrap(), b"hello");
        nothing_more(&port);
    }
}

#[test]
fn cancelling_twice_completes_once() {
    let port = port();
    let (_client, server) = served(&port);
    let pending = port.initiate_read(&server, 1, [0; 8]).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    // The first request may have been carried out or not.
    pending.cancel().unwrap();
    assert_cancelled(&port, 1);
    assert_eq!(pending.cancel(), Ok(false));
    nothing_more(&port);
}

#[test]
fn an_operation_can_be_cancelled_from_another_thread() {
    let port = port();
    let (_client, server) = served(&port);
    let pending = port.initiate_read(&server, 1, [0; 8]).unwrap();
    let pending = thread::spawn(move || {
        assert_eq!(pending.cancel(), Ok(true));
        pending
    });
    assert_cancelled(&port, 1);
    assert_eq!(pending.join().unwrap().take_buffer(), Some([0; 8]));
    nothing_more(&port);
}

/// Ends the thread before anything else is done: a scope alone does not wait
/// until the system has let go of its threads.
fn in_a_thread_that_ends(body: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(body).join()).unwrap();
}

#[test]
fn an_operation_outlives_the_thread_that_started_it() {
    let port = port();
    let (mut client, server) = served(&port);
    in_a_thread_that_ends(|| drop(port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap()));
    nothing_more(&port);
    client.write_all(b"hello").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 5));
}

/// Wine loses the result of an operation that completes while the thread that
/// started it is about to end: a packet comes, but the status says "pending"
/// and the data is still in the stream. That must not look like its end.
#[test]
fn a_thread_that_ends_early_does_not_end_the_stream() {
    let port = port();
    for _ in 0..few(300) {
        let (mut client, server) = served(&port);
        let mut pending = thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let (port, server) = (&port, &server);
            scope.spawn(move || {
                let pending = port.initiate_read(server, 1, Vec::with_capacity(64)).unwrap();
                sender.send(pending).unwrap();
            });
            receiver.recv().unwrap()
        });
        client.write_all(b"hello").unwrap();
        let completion = complete(&port);
        let part = pending.take_buffer().unwrap();
        assert_eq!(part.len(), completion.bytes_transferred as usize);
        if completion.error_status.is_ok() {
            assert_eq!(part, b"hello");
        } else {
            let mut pending = port.initiate_read(&server, 2, Vec::with_capacity(64)).unwrap();
            assert_eq!(complete(&port).error_status, Ok(()));
            assert_eq!(pending.take_buffer().unwrap(), b"hello");
        }
    }
    nothing_more(&port);
}

#[test]
fn a_cancel_hits_the_operation_it_is_for_and_no_other() {
    let port = port();
    let (mut client, server) = served(&port);
    let mut pendings: Vec<Pending<[u8; 1]>> =
        (0..5).map(|i| port.initiate_read(&server, i, [0]).unwrap()).collect();
    assert_eq!(pendings[2].cancel(), Ok(true));
    assert_cancelled(&port, 2);
    nothing_more(&port);
    client.write_all(b"abcd").unwrap();
    for completion in complete_all(&port, 4) {
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 1));
    }
    let received: Vec<u8> = pendings.iter_mut().map(|p| p.take_buffer().unwrap()[0]).collect();
    assert_eq!(received, b"ab\0cd");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn cancelling_a_read_leaves_the_write_alone() {
    const COUNT: usize = 24;
    let port = port();
    let (mut client, server) = served(&port);
    let read = port.initiate_read(&server, usize::MAX, [0; 8]).unwrap();
    for i in 0..COUNT {
        port.initiate_write(&server, i, pattern(1 << 20)).unwrap();
    }
    assert_eq!(read.cancel(), Ok(true));
    let reader = thread::spawn(move || {
        client.read_exact(&mut vec![0; COUNT << 20]).unwrap();
        client
    });
    for completion in complete_all(&port, COUNT + 1) {
        if completion.context == usize::MAX {
            assert!(completion.error_status.unwrap_err().is_cancelled());
        } else {
            assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 1 << 20));
        }
    }
    reader.join().unwrap();
    nothing_more(&port);
}

#[test]
fn cancelling_everything_on_a_handle_cancels_each_operation() {
    let port = port();
    let (_client, server) = served(&port);
    let (mut other_client, other) = served(&port);
    port.initiate_read(&other, 100, [0; 1]).unwrap();
    let mut pendings: Vec<Pending<[u8; 1]>> =
        (0..10).map(|i| port.initiate_read(&server, i, [i as u8]).unwrap()).collect();
    assert_eq!(server.cancel_all(), Ok(true));
    let mut contexts = Vec::new();
    for completion in complete_all(&port, 10) {
        assert!(completion.error_status.unwrap_err().is_cancelled());
        contexts.push(completion.context);
    }
    contexts.sort_unstable();
    assert!(contexts.into_iter().eq(0..10));
    for (i, pending) in pendings.iter_mut().enumerate() {
        assert_eq!(pending.take_buffer(), Some([i as u8]));
    }
    // The other handle's operation goes on.
    nothing_more(&port);
    other_client.write_all(b"x").unwrap();
    assert_eq!(complete(&port).context, 100);
}

#[test]
fn cancelling_everything_where_there_is_nothing_says_so() {
    let port = port();
    let (mut client, server) = served(&port);
    assert_eq!(server.cancel_all(), Ok(false));
    port.initiate_read(&server, 1, [0; 1]).unwrap();
    client.write_all(b"x").unwrap();
    complete(&port);
    assert_eq!(server.cancel_all(), Ok(false));
    nothing_more(&port);
}

#[test]
fn cancelling_everything_reaches_what_other_threads_started() {
    let port = port();
    let (_client, server) = served(&port);
    for i in 0..3 {
        in_a_thread_that_ends(|| drop(port.initiate_read(&server, i, [0; 1]).unwrap()));
    }
    assert_eq!(server.cancel_all(), Ok(true));
    for completion in complete_all(&port, 3) {
        assert!(completion.error_status.unwrap_err().is_cancelled());
    }
    nothing_more(&port);
}

#[test]
fn dropping_the_handle_cancels_and_the_completions_arrive() {
    let port = port();
    let (client, server) = served(&port);
    let mut pendings: Vec<Pending<[u8; 2]>> =
        (0..5).map(|i| port.initiate_read(&server, i, [i as u8; 2]).unwrap()).collect();
    drop(server);
    let mut contexts = Vec::new();
    for completion in complete_all(&port, 5) {
        assert_socket_was_dropped(&completion);
        contexts.push(completion.context);
    }
    contexts.sort_unstable();
    assert_eq!(contexts, [0, 1, 2, 3, 4]);
    for (i, pending) in pendings.iter_mut().enumerate() {
        assert_eq!(pending.take_buffer(), Some([i as u8; 2]));
    }
    assert_peer_closed(&client);
    nothing_more(&port);
}

#[test]
fn dropping_the_handle_cancels_though_a_duplicate_keeps_it_open() {
    let port = port();
    let (client, server) = stream_pair();
    let mut duplicate = server.try_clone().unwrap();
    let server = port.add_handle(server, 1).unwrap();
    port.initiate_read(&server, 1, [0; 8]).unwrap();
    drop(server);
    assert_cancelled(&port, 1);
    (&client).write_all(b"open").unwrap();
    duplicate.read_exact(&mut [0; 4]).unwrap();
    nothing_more(&port);
}

#[test]
fn a_cancel_after_the_handle_was_dropped_does_nothing() {
    let port = port();
    let (_client, server) = served(&port);
    let mut pending = port.initiate_read(&server, 1, [0; 8]).unwrap();
    drop(server);
    assert_eq!(pending.cancel(), Ok(false));
    let completion = complete(&port);
    assert_eq!(completion.context, 1);
    assert_socket_was_dropped(&completion);
    assert_eq!(pending.cancel(), Ok(false));
    assert_eq!(pending.take_buffer(), Some([0; 8]));
    nothing_more(&port);
}

#[test]
fn dropping_a_pending_does_not_cancel() {
    let port = port();
    let (mut client, server) = served(&port);
    drop(port.initiate_read(&server, 1, Vec::with_capacity(8)).unwrap());
    nothing_more(&port);
    client.write_all(b"hello").unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

/// A read, a cancel and a write of one byte, all at once, again and again:
/// each read completes once, either as cancelled or with its byte, and no byte
/// is lost, doubled or out of order.
#[test]
fn a_cancel_racing_with_data_ends_in_one_of_two_ways() {
    const ROUNDS: usize = few(2000);
    let port = port();
    let (mut client, server) = served(&port);
    let start = Barrier::new(2);
    let (cancels, cancelling) = mpsc::channel::<Pending<[u8; 1]>>();
    let (returns, returned) = mpsc::channel();
    let mut received = Vec::new();
    let mut cancelled = 0;
    thread::scope(|scope| {
        let start = &start;
        scope.spawn(move || {
            for pending in cancelling {
                start.wait();
                let asked = pending.cancel().unwrap();
                returns.send((pending, asked)).unwrap();
            }
        });
        for round in 0..ROUNDS {
            let pending = port.initiate_read(&server, round, [0xEE]).unwrap();
            cancels.send(pending).unwrap();
            start.wait();
            client.write_all(&[round as u8]).unwrap();
            let completion = complete(&port);
            assert_eq!(completion.context, round);
            let (mut pending, asked) = returned.recv().unwrap();
            let [byte] = pending.take_buffer().unwrap();
            match completion.error_status {
                Ok(()) => {
                    assert_eq!(completion.bytes_transferred, 1);
                    received.push(byte);
                }
                Err(error) => {
                    assert!(error.is_cancelled(), "{error}");
                    assert!(asked, "cancelled, but not asked to be");
                    assert_eq!((completion.bytes_transferred, byte), (0, 0xEE));
                    cancelled += 1;
                    // Its byte is still to come.
                    let mut pending = port.initiate_read(&server, round, [0]).unwrap();
                    let completion = complete(&port);
                    assert_eq!(completion.error_status, Ok(()));
                    assert_eq!(completion.bytes_transferred, 1);
                    received.push(pending.take_buffer().unwrap()[0]);
                }
            }
            nothing_more(&port);
        }
        drop(cancels);
    });
    println!("{cancelled} of {ROUNDS} were cancelled");
    assert!(received.into_iter().eq((0..ROUNDS).map(|round| round as u8)));
}

/// The same with every handle's operations cancelled at once, and a stream of
/// data that does not wait.
#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn cancels_in_the_middle_of_a_stream_lose_no_byte() {
    const TOTAL: usize = 200_000;
    let port = port();
    let (mut client, server) = served(&port);
    let done = AtomicBool::new(false);
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in pattern(TOTAL).chunks(97) {
                client.write_all(chunk).unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                server.cancel_all().unwrap();
                thread::yield_now();
            }
        });
        while received.len() < TOTAL {
            let mut pending = port.initiate_read(&server, 0, Vec::with_capacity(1000)).unwrap();
            let completion = complete(&port);
            let part = pending.take_buffer().unwrap();
            assert_eq!(completion.bytes_transferred as usize, part.len());
            match completion.error_status {
                Ok(()) => assert!(!part.is_empty(), "ended after {} bytes", received.len()),
                Err(error) => assert!(error.is_cancelled() && part.is_empty(), "{error}"),
            }
            received.extend(part);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(received == pattern(TOTAL));
    nothing_more(&port);
}

#[test]
fn a_cancel_racing_with_the_dequeue_is_harmless() {
    const ROUNDS: usize = few(1000);
    let port = port();
    let (mut client, server) = served(&port);
    let dequeuer = thread::spawn({
        let port = port.clone();
        move || {
            let mut contexts = Vec::new();
            while contexts.len() < ROUNDS {
                let completion = complete(&port);
                match completion.error_status {
                    Ok(()) => assert_eq!(completion.bytes_transferred, 1),
                    Err(error) => assert!(error.is_cancelled(), "{error}"),
                }
                contexts.push(completion.context);
            }
            contexts
        }
    });
    let mut data = 0;
    for round in 0..ROUNDS {
        let mut pending = port.initiate_read(&server, round, [0]).unwrap();
        client.write_all(b"x").unwrap();
        pending.cancel().unwrap();
        support::eventually("the read completes", || pending.is_completed());
        data += usize::from(pending.take_buffer().unwrap() == *b"x");
    }
    let mut contexts = dequeuer.join().unwrap();
    contexts.sort_unstable();
    assert!(contexts.into_iter().eq(0..ROUNDS));
    // What the cancelled reads left is still in the stream.
    drop(client);
    let mut rest = Vec::new();
    loop {
        let mut pending = port.initiate_read(&server, 0, Vec::with_capacity(ROUNDS)).unwrap();
        let completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        if completion.bytes_transferred == 0 {
            break;
        }
        rest.extend(pending.take_buffer().unwrap());
    }
    assert_eq!(data + rest.len(), ROUNDS);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn writes_in_flight_are_cancelled_too() {
    const COUNT: usize = 24;
    let port = port();
    let (_client, server) = served(&port);
    let mut pendings: Vec<Pending<Vec<u8>>> = (0..COUNT)
        .map(|i| port.initiate_write(&server, i, vec![i as u8; 1 << 20]).unwrap())
        .collect();
    let asked = server.cancel_all().unwrap();
    let mut ended = 0;
    for completion in complete_all(&port, COUNT) {
        let buffer = pendings[completion.context].take_buffer().unwrap();
        assert!(buffer == vec![completion.context as u8; 1 << 20]);
        // Some may have been taken whole, and one in part, before. Nothing
        // promises that a stream survives the latter.
        if let Err(error) = completion.error_status {
            assert!(error.is_cancelled() || is_windows() && is_close(error.kind()), "{error}");
            assert_eq!(error.call(), Some("WSASend"));
            ended += 1;
        }
    }
    assert!(asked || ended == 0, "nobody has cancelled them");
    nothing_more(&port);
    if ended == 0 {
        support::nothing_to_see("all was taken, though nobody has read anything");
    }
}

#[test]
fn reads_from_pipes_are_cancelled() {
    let port = port();
    for message in [false, true] {
        let (server, _client) = pipe_pair(message);
        let server = port.add_handle(server, 1).unwrap();
        let mut pending = port.initiate_read(&server, 1, [0; 8]).unwrap();
        assert_eq!(pending.cancel(), Ok(true));
        let error = complete(&port).error_status.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(error.raw_os_error(), Some(995));
        assert_eq!(error.call(), Some("ReadFile"));
        assert_eq!(pending.take_buffer(), Some([0; 8]));
    }
    nothing_more(&port);
}

#[test]
fn dropping_a_pipe_completes_its_reads() {
    let port = port();
    let (server, _client) = pipe_pair(false);
    let server = port.add_handle(server, 1).unwrap();
    let mut pending = port.initiate_read(&server, 1, [0; 8]).unwrap();
    drop(server);
    assert_ended_by_drop(&complete(&port));
    assert_eq!(pending.take_buffer(), Some([0; 8]));
    nothing_more(&port);
}

#[test]
fn cancelling_a_file_operation_that_is_over_leaves_its_result() {
    let port = port();
    let temporary = temp_file("cancel", "contents");
    let file = port.add_handle(overlapped_file(temporary.path(), true, false), 1).unwrap();
    let mut pending = port.initiate_read_at(&file, 1, Vec::with_capacity(64), 0).unwrap();
    pending.cancel().unwrap();
    match complete(&port).error_status {
        Ok(()) => assert_eq!(pending.take_buffer().unwrap(), b"contents"),
        Err(error) => assert!(error.is_cancelled(), "{error}"),
    }
    assert_eq!(file.cancel_all(), Ok(false));
    nothing_more(&port);
}

#[test]
fn a_reset_an_end_and_a_refusal_are_not_cancels() {
    let port = port();
    let (client, server) = served(&port);
    let pending = port.initiate_read(&server, 1, [0; 8]).unwrap();
    reset(client);
    assert!(!complete(&port).error_status.unwrap_err().is_cancelled());
    assert!(!pending.result().unwrap().unwrap_err().is_cancelled());

    let (client, server) = served(&port);
    port.initiate_read(&server, 2, [0; 8]).unwrap();
    drop(client);
    assert_eq!(complete(&port).error_status, Ok(()));

    let (_client, server) = served(&port);
    server.get_ref().shutdown(Shutdown::Write).unwrap();
    assert!(!port.initiate_write(&server, 3, "x").unwrap_err().error.is_cancelled());
}

#[test]
fn an_operation_on_a_skipping_handle_can_be_cancelled() {
    let port = port();
    let (_client, server) = served(&port);
    let server = server.skip_on_success().unwrap();
    let Started::Pending(mut pending) = port.initiate_read(&server, 1, [0; 8]).unwrap() else {
        panic!("there is nothing to read");
    };
    assert_eq!(pending.cancel(), Ok(true));
    // It pended, so a packet comes in this mode too.
    assert_cancelled(&port, 1);
    assert_eq!(pending.take_buffer(), Some([0; 8]));
    nothing_more(&port);
}

/// A socket that its owner closes under an operation completes it once: as
/// cancelled under Wine, and on Windows perhaps as aborted or reset.
#[test]
fn a_socket_closed_by_its_owner_completes_what_is_in_flight() {
    let port = port();
    let (_client, server) = stream_pair();
    let raw = server.into_raw_socket();
    // SAFETY: The value is not used after the socket is closed, except to be
    // dropped, which does nothing.
    let associated = unsafe { port.add_raw_handle(raw, 7) }.unwrap();
    let mut pending = port.initiate_read(&associated, 1, [1; 8]).unwrap();
    drop(associated);
    nothing_more(&port);
    close_raw_socket(raw);
    let completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (1, 7));
    let error = completion.error_status.unwrap_err();
    assert!(is_close(error.kind()), "{error}");
    assert_eq!(pending.take_buffer(), Some([1; 8]));
    assert_eq!(pending.cancel(), Ok(false));
    nothing_more(&port);
}

#[test]
fn a_pipe_closed_by_its_owner_completes_what_is_in_flight() {
    let port = port();
    let (server, _client) = pipe_pair(false);
    let raw = server.into_raw_handle();
    // SAFETY: The value is not used after the pipe is closed, except to be
    // dropped, which does nothing.
    let associated = unsafe { port.add_raw_handle(raw, 7) }.unwrap();
    let mut pending = port.initiate_read(&associated, 1, [1; 8]).unwrap();
    drop(associated);
    nothing_more(&port);
    close_raw(raw);
    let completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (1, 7));
    assert_eq!(completion.bytes_transferred, 0);
    // Cancelled or, on the pipe's own terms, ended.
    if let Err(error) = completion.error_status {
        assert!(error.is_cancelled(), "{error}");
    }
    assert_eq!(pending.take_buffer(), Some([1; 8]));
    nothing_more(&port);
}

#[test]
fn dropping_the_association_of_a_raw_handle_cancels_nothing() {
    let port = port();
    let (mut client, server) = stream_pair();
    // SAFETY: The socket outlives the association.
    let associated = unsafe { port.add_raw_handle(server.as_raw_socket(), 7) }.unwrap();
    let mut pending = port.initiate_read(&associated, 1, Vec::with_capacity(8)).unwrap();
    assert_eq!(associated.as_raw_handle().addr(), server.as_raw_socket() as usize);
    drop(associated);
    nothing_more(&port);
    client.write_all(b"on").unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    assert_eq!(pending.take_buffer().unwrap(), b"on");
}

#[test]
fn a_raw_handle_cancels_like_any_other_when_asked() {
    let port = port();
    let (_client, server) = stream_pair();
    // SAFETY: The socket outlives the association.
    let associated = unsafe { port.add_raw_handle(server.as_raw_socket(), 7) }.unwrap();
    port.initiate_read(&associated, 1, [0; 8]).unwrap();
    let pending = port.initiate_read(&associated, 2, [0; 8]).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    assert_cancelled(&port, 2);
    assert_eq!(associated.cancel_all(), Ok(true));
    assert_cancelled(&port, 1);
    nothing_more(&port);
}

#[test]
fn closing_the_port_cancels_nothing_and_its_operations_can_be_cancelled() {
    let port = port();
    let (_client, server) = served(&port);
    let pending = port.initiate_read(&server, 1, [0; 8]).unwrap();
    port.close();
    assert!(port.try_get_completion().unwrap_err().is_closed());
    assert!(!pending.is_completed());
    assert_eq!(pending.cancel(), Ok(true));
    support::eventually("the cancelled read arrives", || match port.try_get_completion() {
        Ok(completion) => completion.unwrap().error_status.unwrap_err().is_cancelled(),
        Err(error) => {
            assert!(error.is_closed(), "{error}");
            false
        }
    });
}
