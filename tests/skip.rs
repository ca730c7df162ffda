//! Operations that complete at once and hand their completions to their
//! starter.
#![cfg(windows)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket, OwnedHandle};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use completion_port::{
    Associated, Batch, CompletionStatus, ErrorKind, Inline, Iocp, Mode, OperationKind, Rejected,
    Started,
};
use support::{
    BlockingPipe, PATIENCE, assert_ended_by_drop, complete, datagram_pair, eventually, few,
    nothing_more, nothing_to_see, overlapped_file, pattern, pattern_from, pipe_pair, port,
    stream_pair, temp_file,
};
use windows_sys::Win32::Storage::FileSystem::SetFileCompletionNotificationModes;
use windows_sys::Win32::System::WindowsProgramming::FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;

/// A socket that skips the port, and its peer for blocking calls.
fn skipping_stream(port: &Iocp, key: usize) -> (Associated<TcpStream, Inline>, TcpStream) {
    let (stream, peer) = stream_pair();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (port.add_handle(stream, key).unwrap().skip_on_success().unwrap(), peer)
}

/// What the system leaves open, and the tests below need.
const AT_ONCE: &str = "a small write to an idle connection waits";

/// Whether a write of one byte completes at once. One that does not has to be
/// dequeued.
fn writes_at_once(port: &Iocp, stream: &Associated<TcpStream, Inline>, context: usize) -> bool {
    let started = port.initiate_write(stream, context, "x").unwrap();
    matches!(started, Started::Completed(_))
}

/// The one completion of an operation, wherever it comes from, and whether it
/// came at once.
#[track_caller]
fn finish<B>(port: &Iocp, started: Started<B>) -> (CompletionStatus, bool) {
    let completion = match started {
        Started::Completed(completion) => (completion, true),
        Started::Pending(_) => (complete(port), false),
    };
    nothing_more(port);
    completion
}

#[test]
fn a_write_that_completes_at_once_is_handed_over_and_not_queued() {
    let port = port();
    let (stream, mut peer) = skipping_stream(&port, 8);
    let started = port.initiate_write(&stream, 456, b"hello".to_vec()).unwrap();
    let Started::Completed(mut completion) = started else { return nothing_to_see(AT_ONCE) };
    assert_eq!((completion.context, completion.handle_context), (456, 8));
    assert_eq!(completion.bytes_transferred, 5);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.kind(), OperationKind::Write);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    nothing_more(&port);
    let mut found = [0; 5];
    peer.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"hello");
}

#[test]
fn a_read_that_completes_at_once_is_handed_over_with_its_bytes() {
    let port = port();
    let (stream, mut peer) = skipping_stream(&port, 8);
    peer.write_all(b"hello").unwrap();
    // They may still be under way to this end.
    stream.get_ref().peek(&mut [0; 1]).unwrap();
    let started = port.initiate_read(&stream, 456, Vec::with_capacity(64)).unwrap();
    let Started::Completed(mut completion) = started else {
        return nothing_to_see("a read of what is there waits");
    };
    assert_eq!((completion.context, completion.handle_context), (456, 8));
    assert_eq!(completion.bytes_transferred, 5);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.kind(), OperationKind::Read);
    let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
    assert_eq!((buffer.as_slice(), buffer.capacity()), (&b"hello"[..], 64));
    nothing_more(&port);
}

#[test]
fn a_read_that_waits_comes_through_the_port() {
    let port = port();
    let (stream, mut peer) = skipping_stream(&port, 8);
    let started = port.initiate_read(&stream, 456, Vec::with_capacity(64)).unwrap();
    let Started::Pending(mut pending) = started else { panic!("a read of nothing completes") };
    nothing_more(&port);
    peer.write_all(b"hello").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context, completion.bytes_transferred), (456, 5));
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
    nothing_more(&port);
}

#[test]
fn a_cancelled_read_comes_through_the_port() {
    let port = port();
    let (stream, _peer) = skipping_stream(&port, 8);
    let started = port.initiate_read(&stream, 456, Vec::with_capacity(64)).unwrap();
    let Started::Pending(pending) = started else { panic!("a read of nothing completes") };
    assert_eq!(pending.cancel(), Ok(true));
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    nothing_more(&port);
}

#[test]
fn the_end_of_a_stream_is_a_success_with_no_bytes() {
    let port = port();
    let (stream, peer) = skipping_stream(&port, 8);
    drop(peer);
    for _ in 0..3 {
        let started = port.initiate_read(&stream, 1, Vec::with_capacity(64)).unwrap();
        let (completion, _) = finish(&port, started);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(completion.bytes_transferred, 0);
    }
}

#[test]
fn every_operation_on_a_socket_has_one_completion() {
    const ROUNDS: usize = few(3000);
    let port = port();
    let (one, other) = stream_pair();
    let one = port.add_handle(one, 1).unwrap().skip_on_success().unwrap();
    let other = port.add_handle(other, 2).unwrap().skip_on_success().unwrap();
    let (mut at_once, mut queued) = (0, 0);
    let mut count = |inline| if inline { at_once += 1 } else { queued += 1 };
    for i in 0..ROUNDS {
        // Every other read is started before there is anything to read.
        let early = (i % 2 == 0)
            .then(|| port.initiate_read(&other, 2 * i, Vec::with_capacity(64)).unwrap());
        let written = port.initiate_write(&one, 2 * i + 1, pattern_from(i, 20)).unwrap();
        let reading = match early {
            Some(reading) => reading,
            None => port.initiate_read(&other, 2 * i, Vec::with_capacity(64)).unwrap(),
        };
        let mut outcomes = Vec::new();
        let mut missing = 0;
        for started in [written.map_to_completion(), reading.map_to_completion()] {
            match started {
                Some(completion) => {
                    count(true);
                    outcomes.push(completion);
                }
                None => missing += 1,
            }
        }
        for _ in 0..missing {
            count(false);
            outcomes.push(complete(&port));
        }
        nothing_more(&port);
        outcomes.sort_by_key(|completion| completion.context);
        let [mut read, write] = <[_; 2]>::try_from(outcomes).unwrap();
        assert_eq!((read.context, write.context), (2 * i, 2 * i + 1));
        assert_eq!((read.handle_context, write.handle_context), (2, 1));
        assert_eq!((read.bytes_transferred, write.bytes_transferred), (20, 20));
        assert_eq!(read.operation.take_buffer::<Vec<u8>>().unwrap(), pattern_from(i, 20));
    }
    assert_eq!(at_once + queued, 2 * ROUNDS);
    // Both ways were taken, or this has shown little.
    if at_once < ROUNDS / 2 || queued < ROUNDS / 2 {
        nothing_to_see(&format!("{at_once} at once, {queued} queued"));
    }
}

trait ToCompletion {
    /// The completion, if the operation is over; otherwise it will come
    /// through the port.
    fn map_to_completion(self) -> Option<CompletionStatus>;
}

impl<B> ToCompletion for Started<B> {
    fn map_to_completion(self) -> Option<CompletionStatus> {
        match self {
            Started::Completed(completion) => Some(completion),
            Started::Pending(_) => None,
        }
    }
}

#[test]
fn many_operations_are_never_delivered_twice_or_lost() {
    const WRITES: usize = few(20_000);
    let port = port();
    let (stream, mut peer) = skipping_stream(&port, 8);
    let queued = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let seen: Vec<_> = (0..WRITES).map(|_| AtomicBool::new(false)).collect();
    let note = |completion: CompletionStatus| {
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(completion.bytes_transferred, 3);
        let twice = seen[completion.context].swap(true, Ordering::SeqCst);
        assert!(!twice, "operation {} has two completions", completion.context);
    };
    thread::scope(|threads| {
        threads.spawn(|| {
            let mut received = 0;
            let mut buffer = vec![0; 65536];
            while received < 3 * WRITES {
                received += peer.read(&mut buffer).unwrap();
            }
        });
        threads.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let step = Duration::from_millis(20);
                if let Some(completion) = port.get_completion_timeout(step).unwrap() {
                    note(completion);
                    queued.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let mut pending = 0;
        for i in 0..WRITES {
            match port.initiate_write(&stream, i, "abc").unwrap() {
                Started::Completed(completion) => note(completion),
                Started::Pending(_) => pending += 1,
            }
        }
        eventually("all pending ones are dequeued", || queued.load(Ordering::SeqCst) == pending);
        done.store(true, Ordering::SeqCst);
    });
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst)));
    nothing_more(&port);
}

#[test]
fn a_loop_over_a_handle_that_is_always_ready_comes_back_to_the_port() {
    let limit = Associated::<TcpStream>::INLINE_LIMIT as usize;
    assert_eq!(limit, 32, "as the documentation says");
    let port = port();
    let (stream, mut peer) = skipping_stream(&port, 8);
    peer.write_all(&pattern(5 * (limit + 1))).unwrap();
    let mut run = 0;
    let mut through_the_port = 0;
    for i in 0..5 * (limit + 1) {
        match port.initiate_read(&stream, i, [0_u8; 1]).unwrap() {
            Started::Completed(mut completion) => {
                run += 1;
                assert_eq!(completion.context, i);
                let buffer = completion.operation.take_buffer::<[u8; 1]>().unwrap();
                assert_eq!(buffer[..], pattern_from(i, 1));
            }
            Started::Pending(mut pending) => {
                run = 0;
                through_the_port += 1;
                let completion = complete(&port);
                assert_eq!((completion.context, completion.handle_context), (i, 8));
                assert_eq!(completion.bytes_transferred, 1);
                assert_eq!(completion.error_status, Ok(()));
                assert_eq!(pending.take_buffer().unwrap()[..], pattern_from(i, 1));
            }
        }
        assert!(run <= limit);
    }
    nothing_more(&port);
    assert!(through_the_port >= 5);
}

/// Those who just wait for the next completion do not look at the port: it is
/// the one that goes through it that ends the run.
#[test]
fn after_one_that_went_through_the_port_a_loop_goes_on_without() {
    let limit = Associated::<TcpStream>::INLINE_LIMIT as usize;
    let port = port();
    let (stream, mut peer) = skipping_stream(&port, 8);
    peer.write_all(&pattern(3 * (limit + 1))).unwrap();
    let mut at_once = 0;
    for i in 0..3 * (limit + 1) {
        match port.initiate_read(&stream, i, [0_u8; 1]).unwrap() {
            Started::Completed(_) => at_once += 1,
            Started::Pending(_) => assert_eq!(port.get_completion().unwrap().context, i),
        }
    }
    if at_once <= 2 * limit {
        nothing_to_see(&format!("{at_once} of {} at once", 3 * (limit + 1)));
    }
}

#[test]
fn a_loop_that_looks_at_the_port_each_time_is_not_sent_there() {
    let limit = Associated::<TcpStream>::INLINE_LIMIT;
    let port = port();
    let (stream, _peer) = skipping_stream(&port, 1);
    let mut batch = Batch::with_capacity(8);
    for _ in 0..3 * limit {
        if !writes_at_once(&port, &stream, 1) {
            return nothing_to_see(AT_ONCE);
        }
        assert_eq!(port.get_completions(&mut batch, Some(Duration::ZERO)).unwrap(), 0);
    }
    for _ in 0..3 * limit {
        if !writes_at_once(&port, &stream, 1) {
            return nothing_to_see(AT_ONCE);
        }
        nothing_more(&port);
    }
}

#[test]
fn the_limit_is_counted_for_each_handle() {
    let limit = Associated::<TcpStream>::INLINE_LIMIT;
    let port = port();
    let (one, _one_peer) = skipping_stream(&port, 1);
    let (other, _other_peer) = skipping_stream(&port, 2);
    if !(0..limit).all(|_| writes_at_once(&port, &one, 1)) || !writes_at_once(&port, &other, 2) {
        return nothing_to_see(AT_ONCE);
    }
    assert!(!writes_at_once(&port, &one, 3));
    assert_eq!(complete(&port).context, 3);
    if !writes_at_once(&port, &one, 4) {
        return nothing_to_see(AT_ONCE);
    }
    nothing_more(&port);
}

#[test]
fn an_operation_that_is_pending_ends_a_run() {
    let limit = Associated::<TcpStream>::INLINE_LIMIT;
    let port = port();
    let (stream, _peer) = skipping_stream(&port, 1);
    if !(1..limit).all(|_| writes_at_once(&port, &stream, 1)) {
        return nothing_to_see(AT_ONCE);
    }
    // There is nothing to read.
    let read = port.initiate_read(&stream, 2, [0_u8; 1]).unwrap();
    assert!(matches!(read, Started::Pending(_)));
    if !(0..limit).all(|_| writes_at_once(&port, &stream, 1)) {
        return nothing_to_see(AT_ONCE);
    }
    assert!(!writes_at_once(&port, &stream, 3));
    assert_eq!(complete(&port).context, 3);
}

#[test]
fn a_busy_connection_does_not_starve_what_comes_through_the_port() {
    const ROUNDS: usize = few(200);
    let port = port();
    let (busy, mut peer) = skipping_stream(&port, 1);
    peer.write_all(&[b'b'; ROUNDS + 1]).unwrap();
    let mut batch = Batch::with_capacity(4);
    batch.push(port.initiate_read(&busy, 1, [0_u8; 1]).unwrap());
    for round in 0..ROUNDS {
        port.post(2, 0, 0).unwrap();
        // The post has come by the next look, though a read is always done.
        port.get_completions(&mut batch, Some(PATIENCE)).unwrap();
        let mut found = Vec::new();
        while let Some(completion) = batch.next() {
            let completion = completion.unwrap();
            found.push(completion.context);
            if completion.context == 1 {
                assert_eq!(completion.bytes_transferred, 1);
                batch.push(port.initiate_read(&busy, 1, [0_u8; 1]).unwrap());
            }
        }
        // One that went through the port may be late, and then comes with the
        // next.
        assert!(found.contains(&2), "{found:?} in round {round}");
        assert!(found.len() <= 3, "{found:?} in round {round}");
    }
}

#[test]
fn files_may_complete_at_once_and_never_twice() {
    let port = port();
    let temp = temp_file("skip", pattern(10_000));
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 3).unwrap();
    let file = file.skip_on_success().unwrap();
    for i in 0..few(200) {
        let offset = 49 * i as u64;
        let started = port.initiate_read_at(&file, i, Vec::with_capacity(49), offset).unwrap();
        // Whether it does is the system's choice; Wine's files never do.
        let (mut completion, _) = finish(&port, started);
        assert_eq!((completion.context, completion.handle_context), (i, 3));
        let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
        assert_eq!(buffer, pattern_from(49 * i, 49));
        let started = port.initiate_write_at(&file, i, buffer, offset).unwrap();
        let (completion, _) = finish(&port, started);
        assert_eq!((completion.context, completion.bytes_transferred), (i, 49));
    }
    for _ in 0..3 {
        let started = port.initiate_read_at(&file, 9, Vec::with_capacity(49), 10_000).unwrap();
        let (completion, _) = finish(&port, started);
        assert_eq!((completion.bytes_transferred, completion.error_status), (0, Ok(())));
    }
}

/// Both ends of a pipe of bytes, skipping the port.
fn skipping_pipe(
    port: &Iocp,
) -> (Associated<OwnedHandle, Inline>, Associated<OwnedHandle, Inline>) {
    let (server, client) = pipe_pair(false);
    (
        port.add_handle(server, 1).unwrap().skip_on_success().unwrap(),
        port.add_handle(client, 2).unwrap().skip_on_success().unwrap(),
    )
}

#[test]
fn pipes_of_bytes_complete_at_once_and_through_the_port_and_never_twice() {
    const ROUNDS: usize = few(1000);
    let port = port();
    let (server, client) = skipping_pipe(&port);
    let (mut at_once, mut queued) = (0, 0);
    for i in 0..ROUNDS {
        let early = (i % 2 == 0)
            .then(|| port.initiate_read(&server, 2 * i, Vec::with_capacity(64)).unwrap());
        let written = port.initiate_write(&client, 2 * i + 1, pattern_from(i, 20)).unwrap();
        let reading = match early {
            Some(reading) => reading,
            None => port.initiate_read(&server, 2 * i, Vec::with_capacity(64)).unwrap(),
        };
        let mut outcomes = Vec::new();
        let mut missing = 0;
        for started in [written.map_to_completion(), reading.map_to_completion()] {
            match started {
                Some(completion) => outcomes.push(completion),
                None => missing += 1,
            }
        }
        at_once += outcomes.len();
        queued += missing;
        outcomes.extend((0..missing).map(|_| complete(&port)));
        nothing_more(&port);
        outcomes.sort_by_key(|completion| completion.context);
        let [mut read, write] = <[_; 2]>::try_from(outcomes).unwrap();
        assert_eq!((read.context, write.context), (2 * i, 2 * i + 1));
        assert_eq!((read.bytes_transferred, write.bytes_transferred), (20, 20));
        assert_eq!(read.operation.take_buffer::<Vec<u8>>().unwrap(), pattern_from(i, 20));
    }
    if at_once == 0 || queued == 0 {
        nothing_to_see(&format!("{at_once} at once, {queued} queued"));
    }
}

#[test]
fn a_broken_pipe_ends_at_once_with_no_bytes() {
    let port = port();
    let (server, client) = skipping_pipe(&port);
    drop(client);
    for _ in 0..3 {
        let started = port.initiate_read(&server, 7, Vec::with_capacity(64)).unwrap();
        let (mut completion, _) = finish(&port, started);
        assert_eq!((completion.context, completion.handle_context), (7, 1));
        assert_eq!((completion.bytes_transferred, completion.error_status), (0, Ok(())));
        assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"");
    }
}

#[test]
fn datagram_sockets_are_refused_and_work_as_before() {
    let port = port();
    let (one, other) = datagram_pair();
    let one = port.add_handle(one, 4).unwrap();
    let rejected = one.skip_on_success().unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.error.raw_os_error(), None);
    let one = rejected.returned;
    other.send(b"hello").unwrap();
    let mut pending = port.initiate_read(&one, 1, Vec::with_capacity(64)).unwrap();
    assert_eq!((complete(&port).bytes_transferred, pending.take_buffer().unwrap().len()), (5, 5));
    nothing_more(&port);
    port.initiate_write(&one, 2, "back").unwrap();
    assert_eq!(complete(&port).context, 2);
    nothing_more(&port);
    let mut buffer = [0; 8];
    assert_eq!(other.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn message_pipes_are_refused_and_work_as_before() {
    let port = port();
    let (server, client) = pipe_pair(true);
    let server = port.add_handle(server, 1).unwrap();
    let client = port.add_handle(client, 2).unwrap();
    let rejected = server.skip_on_success().unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    let server = rejected.returned;
    assert_eq!(
        client.skip_on_success().map(drop).unwrap_err().error.kind(),
        ErrorKind::Unsupported
    );
    // The client is dropped with its error: reads end.
    port.initiate_read(&server, 1, Vec::with_capacity(64)).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.bytes_transferred, completion.error_status), (0, Ok(())));
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own RtlNtStatusToDosError does not know the status")]
fn a_message_that_was_there_already_is_cut_once_after_a_refusal() {
    let port = port();
    let (server, client) = pipe_pair(true);
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap_err().returned;
    let client = port.add_handle(client, 2).unwrap();
    port.initiate_write(&client, 1, "a long message").unwrap();
    complete(&port);
    port.initiate_read(&server, 2, Vec::with_capacity(4)).unwrap();
    let completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::MoreData);
    nothing_more(&port);
}

#[test]
fn into_inner_gives_the_socket_back_open() {
    let port = port();
    let (stream, mut peer) = skipping_stream(&port, 5);
    assert_eq!(stream.context(), 5);
    let mut stream = stream.into_inner();
    stream.write_all(b"hello").unwrap();
    let mut found = [0; 5];
    peer.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"hello");
    nothing_more(&port);
    drop(stream);
    assert_eq!(peer.read(&mut found).unwrap(), 0);
}

/// Its operations would be over without a packet, and nobody would be told.
#[test]
fn a_handle_that_skips_the_port_already_is_refused_and_works_as_before() {
    const SKIP_SET_EVENT_ON_HANDLE: u8 = 2;
    let set_modes = |socket: &TcpStream, modes: u8| {
        let handle = ptr::with_exposed_provenance_mut(socket.as_raw_socket() as usize);
        // SAFETY: Writes no memory.
        assert_ne!(unsafe { SetFileCompletionNotificationModes(handle, modes) }, 0);
    };
    let port = port();
    let (socket, mut peer) = stream_pair();
    set_modes(&socket, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS as u8);
    let Rejected { error, returned: mut socket } = port.add_handle(socket, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("FILE_SKIP_COMPLETION_PORT_ON_SUCCESS"), "{error}");
    peer.write_all(b"hello").unwrap();
    socket.read_exact(&mut [0; 5]).unwrap();

    // The other mode is nobody's concern.
    let (socket, mut peer) = stream_pair();
    set_modes(&socket, SKIP_SET_EVENT_ON_HANDLE);
    let socket = port.add_handle(socket, 1).unwrap();
    peer.write_all(b"hello").unwrap();
    port.initiate_read(&socket, 2, [0; 5]).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 5);
}

#[test]
fn a_skipping_handle_is_cancelled_and_closed_when_it_is_dropped() {
    let port = port();
    let (server, client) = pipe_pair(false);
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    let started = port.initiate_read(&server, 1, Vec::with_capacity(8)).unwrap();
    assert!(matches!(started, Started::Pending(_)));
    drop(server);
    assert_ended_by_drop(&complete(&port));
    nothing_more(&port);
    let mut client = BlockingPipe::from(client);
    eventually("the pipe is closed", || client.write_all(b"hello").is_err());
}

#[test]
fn a_handle_that_skips_does_so_for_reads_started_before_it_did_not() {
    let port = port();
    let (stream, mut peer) = stream_pair();
    let stream = port.add_handle(stream, 8).unwrap();
    let mut early = port.initiate_read(&stream, 1, Vec::with_capacity(5)).unwrap();
    let stream = stream.skip_on_success().unwrap();
    peer.write_all(b"hello").unwrap();
    assert_eq!(complete(&port).context, 1);
    assert_eq!(early.take_buffer().unwrap(), b"hello");
    let started = port.initiate_write(&stream, 2, "x").unwrap();
    let (completion, at_once) = finish(&port, started);
    assert_eq!(completion.context, 2);
    if !at_once {
        nothing_to_see(AT_ONCE);
    }
}

#[test]
fn accepts_come_through_the_port_or_at_once() {
    let port = port();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = port.add_handle(listener, 1).unwrap().skip_on_success().unwrap();
    let mut clients = Vec::new();
    for i in 0..4 {
        // Every other one has somebody to accept already.
        if i % 2 == 0 {
            clients.push(TcpStream::connect(address).unwrap());
        }
        let started = port.initiate_accept(&listener, i).unwrap();
        if i % 2 == 1 {
            clients.push(TcpStream::connect(address).unwrap());
        }
        let (mut completion, _) = finish(&port, started);
        assert_eq!((completion.context, completion.error_status), (i, Ok(())));
        let accepted = completion.operation.take_accepted().unwrap();
        assert_eq!(accepted.peer_addr().unwrap(), clients[i].local_addr().unwrap());
    }
}

/// Reads on a handle of either kind.
fn read<M: Mode>(port: &Iocp, stream: &Associated<TcpStream, M>) -> Vec<u8> {
    let started = port.initiate_read(stream, 5, Vec::with_capacity(8)).unwrap();
    let (mut completion, _) = finish(port, started.into());
    completion.operation.take_buffer().unwrap()
}

#[test]
fn one_code_serves_handles_of_either_kind() {
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    client.write_all(b"queued").unwrap();
    assert_eq!(read(&port, &server), b"queued");
    let server = server.skip_on_success().unwrap();
    client.write_all(b"inline").unwrap();
    assert_eq!(read(&port, &server), b"inline");
}
