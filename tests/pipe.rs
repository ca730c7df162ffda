//! Named pipes of bytes and of messages, and the pipes of child processes.
#![cfg(windows)]

mod support;

use std::io::{Read, Write};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::Stdio;
use std::sync::mpsc;
use std::{io, ptr, thread};

use completion_port::{Associated, CompletionStatus, ErrorKind, IoBuf, Iocp, OperationKind};
use support::{
    BlockingPipe, PATIENCE, assert_ended_by_drop, child, complete, complete_all, few, is_windows,
    nothing_more, pattern, pattern_from, pipe_pair, port,
};
use windows_sys::Win32::System::Pipes::{
    CreatePipe, DisconnectNamedPipe, PIPE_NOWAIT, PIPE_READMODE_BYTE, SetNamedPipeHandleState,
};

const BYTES: bool = false;
const MESSAGES: bool = true;

type Pipe = Associated<OwnedHandle>;

/// Both ends on the port: the server's with context 1, the client's with 2.
fn pair(port: &Iocp, message: bool) -> (Pipe, Pipe) {
    let (server, client) = pipe_pair(message);
    (port.add_handle(server, 1).unwrap(), port.add_handle(client, 2).unwrap())
}

const READ: usize = 100;
const WRITE: usize = 200;

fn start_read(port: &Iocp, pipe: &Pipe, capacity: usize) {
    port.initiate_read(pipe, READ, Vec::with_capacity(capacity)).unwrap();
}

/// Writes `bytes`, and waits until that has completed. Nothing else may be in
/// flight that it could complete.
fn write(port: &Iocp, pipe: &Pipe, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    port.initiate_write(pipe, WRITE, bytes.to_vec()).unwrap();
    let completion = complete(port);
    assert_eq!(completion.context, WRITE);
    assert_eq!(completion.operation.kind(), OperationKind::Write);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.bytes_transferred as usize, bytes.len());
}

/// What a read with this much room gives.
#[track_caller]
fn read(port: &Iocp, pipe: &Pipe, capacity: usize) -> Vec<u8> {
    start_read(port, pipe, capacity);
    received(complete(port))
}

/// The bytes of a successful read's completion.
#[track_caller]
fn received(mut completion: CompletionStatus) -> Vec<u8> {
    assert_eq!(completion.context, READ);
    assert_eq!(completion.operation.kind(), OperationKind::Read);
    assert_eq!(completion.error_status, Ok(()));
    let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
    assert_eq!(buffer.len(), completion.bytes_transferred as usize);
    buffer
}

/// The bytes of the completion of a read whose message did not fit.
#[track_caller]
fn received_in_part(mut completion: CompletionStatus) -> Vec<u8> {
    assert_eq!(completion.context, READ);
    let error = completion.error_status.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MoreData);
    assert_eq!(error.raw_os_error(), Some(234));
    assert_eq!(error.ntstatus(), Some(0x8000_0005));
    let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
    assert_eq!(buffer.len(), completion.bytes_transferred as usize);
    buffer
}

/// Completions of a read and of a write, in this order.
fn read_and_write(port: &Iocp) -> (CompletionStatus, CompletionStatus) {
    let mut both = complete_all(port, 2);
    both.sort_by_key(|completion| completion.context);
    let (write, read) = (both.pop().unwrap(), both.pop().unwrap());
    assert_eq!((read.context, write.context), (READ, WRITE));
    (read, write)
}

#[test]
fn bytes_go_both_ways() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    write(&port, &server, "to the client");
    assert_eq!(read(&port, &client, 64), b"to the client");
    write(&port, &client, "to the server");
    assert_eq!(read(&port, &server, 64), b"to the server");
    nothing_more(&port);
}

#[test]
fn a_read_that_comes_first_waits_for_bytes() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    start_read(&port, &server, 64);
    nothing_more(&port);
    port.initiate_write(&client, WRITE, "hello").unwrap();
    let (read, write) = read_and_write(&port);
    assert_eq!((read.handle_context, write.handle_context), (1, 2));
    assert_eq!(received(read), b"hello");
    assert_eq!(write.bytes_transferred, 5);
    nothing_more(&port);
}

#[test]
fn a_pipe_of_bytes_has_no_boundaries() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    write(&port, &client, "one");
    write(&port, &client, "two");
    write(&port, &client, "three");
    assert_eq!(read(&port, &server, 4), b"onet");
    assert_eq!(read(&port, &server, 64), b"wothree");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_pipe_of_bytes_carries_much_in_order() {
    const LENGTH: usize = 500_000;
    let port = port();
    let (server, client) = pair(&port, BYTES);
    // More than the pipe's own buffer holds: the write waits for the reads.
    port.initiate_write(&client, WRITE, pattern(LENGTH)).unwrap();
    let mut found = Vec::new();
    let mut written = false;
    start_read(&port, &server, 7000);
    while found.len() < LENGTH || !written {
        let completion = complete(&port);
        if completion.context == WRITE {
            assert_eq!(completion.bytes_transferred as usize, LENGTH);
            written = true;
            continue;
        }
        found.extend(received(completion));
        if found.len() < LENGTH {
            start_read(&port, &server, 7000);
        }
    }
    assert!(found == pattern(LENGTH));
    nothing_more(&port);
}

#[test]
fn several_reads_in_flight_are_filled_in_the_order_of_their_start() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    let mut reads: Vec<_> =
        (0..5).map(|_| port.initiate_read(&server, READ, Vec::with_capacity(3)).unwrap()).collect();
    port.initiate_write(&client, WRITE, "aaabbbcccdddeee").unwrap();
    complete_all(&port, 6);
    for (pending, expected) in reads.iter_mut().zip(["aaa", "bbb", "ccc", "ddd", "eee"]) {
        assert_eq!(pending.take_buffer().unwrap(), expected.as_bytes());
    }
}

#[test]
fn an_offset_on_a_pipe_means_nothing() {
    for kind in [BYTES, MESSAGES] {
        let port = port();
        let (server, client) = pair(&port, kind);
        let buffer = Vec::with_capacity(5);
        let mut pending = port.initiate_read_at(&server, READ, buffer, 1 << 40).unwrap();
        port.initiate_write_at(&client, WRITE, "hello", u64::MAX).unwrap();
        for done in complete_all(&port, 2) {
            done.error_status.unwrap();
        }
        assert_eq!(pending.take_buffer().unwrap(), b"hello");
        nothing_more(&port);
    }
}

#[test]
fn messages_keep_their_boundaries() {
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    write(&port, &client, "one");
    write(&port, &client, "two");
    write(&port, &server, "back");
    assert_eq!(read(&port, &server, 64), b"one");
    assert_eq!(read(&port, &server, 64), b"two");
    assert_eq!(read(&port, &client, 64), b"back");
    nothing_more(&port);
}

#[test]
fn a_message_that_fits_exactly_is_whole() {
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    write(&port, &client, "exact");
    assert_eq!(read(&port, &server, 5), b"exact");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own RtlNtStatusToDosError does not know the status")]
fn the_rest_of_a_message_that_was_there_already_comes_with_the_next_reads() {
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    write(&port, &client, "a long message");
    write(&port, &client, "next");
    start_read(&port, &server, 4);
    assert_eq!(received_in_part(complete(&port)), b"a lo");
    // The call failed, and yet there is one packet, not none and not two.
    nothing_more(&port);
    start_read(&port, &server, 6);
    assert_eq!(received_in_part(complete(&port)), b"ng mes");
    nothing_more(&port);
    assert_eq!(read(&port, &server, 64), b"sage");
    assert_eq!(read(&port, &server, 64), b"next");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own RtlNtStatusToDosError does not know the status")]
fn the_rest_of_a_message_that_was_waited_for_comes_with_the_next_read() {
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    let mut pending = port.initiate_read(&server, READ, Vec::with_capacity(4)).unwrap();
    port.initiate_write(&client, WRITE, "a long message").unwrap();
    // Whether the write completes before all is read is the system's choice.
    let first = complete(&port);
    let read_first = first.context == READ;
    let read_completion = if read_first { first } else { complete(&port) };
    assert_eq!(pending.result().unwrap().unwrap_err().kind(), ErrorKind::MoreData);
    assert_eq!(read_completion.bytes_transferred, 4);
    assert_eq!(pending.take_buffer().unwrap(), b"a lo");
    start_read(&port, &server, 64);
    let rest = if read_first {
        let (rest, write) = read_and_write(&port);
        assert_eq!(write.error_status, Ok(()));
        rest
    } else {
        complete(&port)
    };
    assert_eq!(received(rest), b"ng message");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own RtlNtStatusToDosError does not know the status")]
fn every_cut_of_a_message_has_one_completion() {
    const LENGTH: usize = 1000;
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    for room in [1, 7, 100, 999, 1000, 1001] {
        write(&port, &client, pattern(LENGTH));
        let mut found = Vec::new();
        loop {
            start_read(&port, &server, room);
            let completion = complete(&port);
            nothing_more(&port);
            if completion.error_status.is_ok() {
                found.extend(received(completion));
                break;
            }
            let part = received_in_part(completion);
            assert_eq!(part.len(), room);
            found.extend(part);
        }
        assert_eq!(found, pattern(LENGTH));
    }
}

#[test]
fn an_empty_message_arrives_as_a_success_with_no_bytes() {
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    write(&port, &client, "");
    write(&port, &client, "after");
    assert_eq!(read(&port, &server, 64), b"");
    assert_eq!(read(&port, &server, 64), b"after");
    nothing_more(&port);
}

#[test]
fn an_empty_message_completes_a_read_that_waits() {
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    start_read(&port, &server, 64);
    port.initiate_write(&client, WRITE, "").unwrap();
    let (read, write) = read_and_write(&port);
    assert_eq!(received(read), b"");
    assert_eq!(write.error_status, Ok(()));
    nothing_more(&port);
}

#[test]
fn an_empty_message_is_told_from_the_end() {
    for waits in [false, true] {
        let port = port();
        let (server, client) = pair(&port, MESSAGES);
        let mut client = Some(client);
        for ends in [false, true] {
            let mut act = || match client.take_if(|_| ends) {
                Some(client) => drop(client),
                None => _ = port.initiate_write(client.as_ref().unwrap(), WRITE, "").unwrap(),
            };
            if !waits {
                act();
            }
            let read = port.initiate_read(&server, READ, Vec::with_capacity(64)).unwrap();
            if waits {
                assert!(!read.is_at_end());
                act();
            }
            let completions = complete_all(&port, if ends { 1 } else { 2 });
            let completion = completions.iter().find(|it| it.context == READ).unwrap();
            assert_eq!(completion.result(), Ok(0));
            assert_eq!([completion.operation.is_at_end(), read.is_at_end()], [ends; 2]);
        }
    }
}

/// On Windows it may end a read: "If the `lpNumberOfBytesRead` parameter is zero
/// when `ReadFile` returns TRUE on a pipe, the other end of the pipe called the
/// `WriteFile` function with `nNumberOfBytesToWrite` set to zero"
/// (<https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile>).
#[test]
fn an_empty_write_to_a_pipe_of_bytes_is_no_bytes_to_the_reader() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    port.initiate_write(&client, 1, "").unwrap();
    start_read(&port, &server, 64);
    port.initiate_write(&client, WRITE, "hello").unwrap();
    let mut reads = Vec::new();
    let mut writes = Vec::new();
    while writes.len() < 2 || reads.last().is_none_or(Vec::is_empty) {
        let completion = complete(&port);
        if completion.context == READ {
            reads.push(received(completion));
            if reads.len() == 1 && reads[0].is_empty() {
                assert!(is_windows(), "the end of a pipe that is open");
                start_read(&port, &server, 64);
            }
        } else {
            assert_eq!(completion.error_status, Ok(()));
            writes.push(completion.bytes_transferred);
        }
    }
    writes.sort_unstable();
    assert_eq!(writes, [0, 5]);
    assert_eq!(reads.last().unwrap(), b"hello");
    nothing_more(&port);
}

#[test]
fn a_read_after_the_other_end_has_closed_succeeds_with_no_bytes() {
    for message in [BYTES, MESSAGES] {
        let port = port();
        let (server, client) = pair(&port, message);
        drop(client);
        for _ in 0..2 {
            assert_eq!(read(&port, &server, 64), b"");
            nothing_more(&port);
        }
    }
}

/// Wine queues a packet for the end of a device that it has told of already, and
/// so the place of such a read waits for one; but none comes for a pipe.
#[test]
fn the_end_of_a_pipe_takes_up_no_place() {
    let port: Iocp = Iocp::builder().max_operations(2).build().unwrap();
    let (server, client) = pair(&port, BYTES);
    drop(client);
    for _ in 0..few(10) {
        assert_eq!(read(&port, &server, 64), b"");
    }
}

#[test]
fn a_read_in_flight_when_the_other_end_closes_succeeds_with_no_bytes() {
    for message in [BYTES, MESSAGES] {
        let port = port();
        let (server, client) = pair(&port, message);
        let mut pending = port.initiate_read(&server, READ, Vec::with_capacity(64)).unwrap();
        nothing_more(&port);
        drop(client);
        assert_eq!(complete(&port).error_status, Ok(()));
        assert_eq!(pending.result(), Some(Ok(0)));
        assert_eq!(pending.take_buffer().unwrap(), b"");
        nothing_more(&port);
    }
}

#[test]
fn a_server_that_closes_ends_the_clients_reads() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    start_read(&port, &client, 64);
    drop(server);
    assert_eq!(received(complete(&port)), b"");
    // The end is found at once now, and still comes through the port.
    assert_eq!(read(&port, &client, 64), b"");
    nothing_more(&port);
}

#[test]
fn what_was_written_before_the_close_is_read_before_the_end() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    write(&port, &client, "last words");
    drop(client);
    assert_eq!(read(&port, &server, 4), b"last");
    assert_eq!(read(&port, &server, 64), b" words");
    assert_eq!(read(&port, &server, 64), b"");
}

#[test]
fn a_write_after_the_other_end_has_closed_is_a_broken_pipe() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    drop(client);
    // The system may refuse at once, or by completion.
    match port.initiate_write(&server, WRITE, "hello") {
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::BrokenPipe);
            assert_eq!(rejected.error.call(), Some("WriteFile"));
            assert_eq!(rejected.returned, (WRITE, "hello"));
        }
        Ok(mut pending) => {
            let completion = complete(&port);
            assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(pending.take_buffer(), Some("hello"));
        }
    }
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_write_in_flight_when_the_other_end_closes_is_a_broken_pipe() {
    const MUCH: usize = 1 << 20;
    let port = port();
    let (server, client) = pair(&port, BYTES);
    let mut pending = port.initiate_write(&server, WRITE, pattern(MUCH)).unwrap();
    nothing_more(&port);
    assert!(!pending.is_completed());
    drop(client);
    let completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(completion.bytes_transferred, 0);
    assert!(pending.take_buffer().unwrap() == pattern(MUCH));
    nothing_more(&port);
}

/// "Using a nonblocking-wait handle, the function returns zero immediately":
/// nothing is wrong with the pipe.
#[test]
fn a_read_of_an_empty_pipe_that_does_not_wait_would_block() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    let mode = PIPE_READMODE_BYTE | PIPE_NOWAIT;
    // SAFETY: The handle is a pipe's, and the mode is read in the call.
    let set = unsafe {
        SetNamedPipeHandleState(server.as_raw_handle(), &raw const mode, ptr::null(), ptr::null())
    };
    assert_ne!(set, 0, "{}", io::Error::last_os_error());
    for _ in 0..2 {
        let error = match port.initiate_read(&server, READ, Vec::with_capacity(8)) {
            Err(rejected) => {
                assert_eq!((rejected.returned.0, rejected.returned.1.capacity()), (READ, 8));
                rejected.error
            }
            Ok(_) => complete(&port).error_status.unwrap_err(),
        };
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::WouldBlock, Some(232)));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::WouldBlock);
        nothing_more(&port);
        write(&port, &client, "hello");
        assert_eq!(read(&port, &server, 8), b"hello");
    }
    drop(server);
    let error = match port.initiate_write(&client, WRITE, "x") {
        Err(rejected) => rejected.error,
        Ok(_) => complete(&port).error_status.unwrap_err(),
    };
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::BrokenPipe, Some(232)));
}

fn disconnect(server: &Pipe) {
    // SAFETY: The handle is a pipe server's, and open.
    let done = unsafe { DisconnectNamedPipe(server.as_raw_handle()) };
    assert_ne!(done, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_client_that_was_disconnected_is_not_connected() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    disconnect(&server);
    match port.initiate_read(&client, READ, Vec::with_capacity(64)) {
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::NotConnected);
            assert_eq!(rejected.returned.0, READ);
        }
        Ok(_) => {
            assert_eq!(complete(&port).error_status.unwrap_err().kind(), ErrorKind::NotConnected);
        }
    }
    match port.initiate_write(&client, WRITE, "hello") {
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::NotConnected);
            assert_eq!(rejected.returned, (WRITE, "hello"));
        }
        Ok(_) => {
            assert_eq!(complete(&port).error_status.unwrap_err().kind(), ErrorKind::NotConnected);
        }
    }
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own RtlNtStatusToDosError does not know the status")]
fn a_read_in_flight_when_the_server_disconnects_is_not_connected() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    let mut pending = port.initiate_read(&client, READ, Vec::with_capacity(64)).unwrap();
    disconnect(&server);
    let completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(completion.bytes_transferred, 0);
    let buffer = pending.take_buffer().unwrap();
    assert_eq!((buffer.len(), buffer.capacity()), (0, 64));
    nothing_more(&port);
}

#[test]
fn a_cancelled_read_gives_its_buffer_back_and_the_pipe_goes_on() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    let mut pending = port.initiate_read(&server, READ, Vec::with_capacity(64)).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    let completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    assert_eq!(completion.bytes_transferred, 0);
    let buffer = pending.take_buffer().unwrap();
    assert_eq!((buffer.len(), buffer.capacity()), (0, 64));
    write(&port, &client, "hello");
    assert_eq!(read(&port, &server, 64), b"hello");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_cancelled_write_is_a_completion_with_its_buffer() {
    const MUCH: usize = 1 << 20;
    let port = port();
    let (server, _client) = pair(&port, BYTES);
    let pending = port.initiate_write(&server, WRITE, pattern(MUCH)).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    assert!(completion.operation.take_buffer::<Vec<u8>>().unwrap() == pattern(MUCH));
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn cancel_all_cancels_reads_and_writes_of_this_end_only() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    let reads: Vec<_> =
        (0..3).map(|_| port.initiate_read(&server, READ, vec![0].slice(..)).unwrap()).collect();
    let other_end = port.initiate_read(&client, READ, Vec::with_capacity(64)).unwrap();
    assert_eq!(server.cancel_all(), Ok(true));
    for completion in complete_all(&port, 3) {
        assert_eq!(completion.handle_context, 1);
        assert!(completion.error_status.unwrap_err().is_cancelled());
    }
    assert!(reads.iter().all(completion_port::Pending::is_completed));
    assert!(!other_end.is_completed());
    assert_eq!(server.cancel_all(), Ok(false));
    nothing_more(&port);
    port.initiate_write(&server, WRITE, "hello").unwrap();
    let (read, _) = read_and_write(&port);
    assert_eq!(received(read), b"hello");
}

#[test]
fn a_pipe_dropped_with_operations_in_flight_cancels_them() {
    let port = port();
    let (server, client) = pair(&port, BYTES);
    for _ in 0..5 {
        start_read(&port, &server, 64);
    }
    drop(server);
    for completion in complete_all(&port, 5) {
        assert_ended_by_drop(&completion);
        assert_eq!(completion.handle_context, 1);
    }
    nothing_more(&port);
    assert_eq!(read(&port, &client, 64), b"");
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_message_larger_than_the_pipes_buffer_goes_through() {
    const LENGTH: usize = 200_000;
    let port = port();
    let (server, client) = pair(&port, MESSAGES);
    port.initiate_write(&client, WRITE, pattern(LENGTH)).unwrap();
    start_read(&port, &server, LENGTH);
    let (read, write) = read_and_write(&port);
    assert!(received(read) == pattern(LENGTH));
    assert_eq!(write.bytes_transferred as usize, LENGTH);
    nothing_more(&port);
}

#[test]
fn both_ends_read_and_write_at_once() {
    const ROUNDS: usize = few(50);
    let port = port();
    let (server, client) = pair(&port, BYTES);
    for round in 0..ROUNDS {
        let from_server = port.initiate_read(&client, 1, [0; 100]).unwrap();
        let from_client = port.initiate_read(&server, 2, [0; 100]).unwrap();
        port.initiate_write(&server, 3, pattern_from(round, 100)).unwrap();
        port.initiate_write(&client, 4, pattern_from(round + 1000, 100)).unwrap();
        let mut contexts: Vec<_> =
            complete_all(&port, 4).into_iter().map(|completion| completion.context).collect();
        contexts.sort_unstable();
        assert_eq!(contexts, [1, 2, 3, 4]);
        let (mut from_server, mut from_client) = (from_server, from_client);
        assert_eq!(from_server.take_buffer().unwrap().to_vec(), pattern_from(round, 100));
        assert_eq!(from_client.take_buffer().unwrap().to_vec(), pattern_from(round + 1000, 100));
    }
    nothing_more(&port);
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn an_anonymous_pipe_is_refused_and_comes_back_working() {
    let (mut reader, mut writer) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: Both handles are locals.
    let made = unsafe { CreatePipe(&raw mut reader, &raw mut writer, ptr::null(), 0) };
    assert_ne!(made, 0, "{}", io::Error::last_os_error());
    // SAFETY: Both are new, and nobody else's.
    let (reader, writer) =
        unsafe { (OwnedHandle::from_raw_handle(reader), OwnedHandle::from_raw_handle(writer)) };
    let port = port();
    let rejected = port.add_handle(reader, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::NotOverlapped);
    assert_eq!(rejected.error.call(), Some("CreateIoCompletionPort"));
    let mut reader = std::fs::File::from(rejected.returned);
    let rejected = port.add_handle(writer, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::NotOverlapped);
    io::Write::write_all(&mut std::fs::File::from(rejected.returned), b"hello").unwrap();
    let mut found = String::new();
    reader.read_to_string(&mut found).unwrap();
    assert_eq!(found, "hello");
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn the_output_of_a_child_process_is_read_to_its_end() {
    const NAME: &str = "the_output_of_a_child_process_is_read_to_its_end";
    const TEXT: &str = "words from the child process";
    if child::is_child(NAME) {
        println!("{TEXT}");
        return;
    }
    let mut process =
        child::command(NAME).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let port = port();
    let output = port.add_handle(process.stdout.take().unwrap(), 5).unwrap();
    let mut found = Vec::new();
    loop {
        found.reserve(64);
        let mut pending = port.initiate_read(&output, READ, found).unwrap();
        let completion = complete(&port);
        assert_eq!(completion.handle_context, 5);
        completion.error_status.unwrap();
        found = pending.take_buffer().unwrap();
        if completion.bytes_transferred == 0 {
            break;
        }
    }
    let found = String::from_utf8_lossy(&found);
    assert!(found.contains(TEXT), "{found}");
    assert!(process.wait().unwrap().success());
}

/// Such a read waits for the event of the file object.
#[test]
fn a_pipe_that_has_skipped_the_port_can_be_read_with_calls_that_block() {
    const ROUNDS: u8 = few(50) as u8;
    let port = port();
    let (server, client) = pipe_pair(BYTES);
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    let mut server = BlockingPipe::from(server.into_inner());
    let mut client = BlockingPipe::from(client);
    let (sender, receiver) = mpsc::channel();
    // Joined only at the end, so that a read that hangs fails the test.
    let reading = thread::spawn(move || {
        for _ in 0..ROUNDS {
            let mut byte = [0];
            server.read_exact(&mut byte).unwrap();
            sender.send(byte[0]).unwrap();
        }
    });
    for round in 0..ROUNDS {
        client.write_all(&[round]).unwrap();
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(round));
    }
    reading.join().unwrap();
    nothing_more(&port);
}
