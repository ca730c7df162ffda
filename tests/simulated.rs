//! What a kernel may do at any time, but seldom does: the simulated kernel does
//! it when it is told to.
#![cfg(simulated_kernel)] // other kernels cannot be told

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{
    AsRawHandle, AsRawSocket, FromRawSocket, IntoRawSocket, OwnedSocket, RawSocket,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::{
    Associated, Batch, Driver, ErrorKind, IoBuf, IoBufMut, Iocp, Rejected, Started, op,
    unconnected_stream,
};
use simulated_kernel::{
    Behaviour, Chance, FOREVER, PROCESSORS, behave, close_elsewhere, concurrency, deliver,
    dequeues, heed_cancels, queued, scribble, waiting,
};
use support::{
    PATIENCE, close_raw_socket, complete, complete_all, datagram_pair, eventually, few,
    nothing_more, overlapped_file, own_address, pipe_pair, port, port_of, post_raw, shrink_buffers,
    stream_pair, temp_file,
};
use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

const READ: usize = 1;
const WRITE: usize = 2;

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 7).unwrap())
}

/// Both ways of completing: within the call, and later.
fn both(test: impl Fn(fn(&mut Behaviour))) {
    test(|kernel| kernel.inline = Chance::Always);
    test(|kernel| kernel.inline = Chance::Never);
}

#[test]
fn more_bytes_than_were_asked_for_fill_the_buffer_and_no_more() {
    both(|inline| {
        let _behaving = behave(|kernel| {
            inline(kernel);
            kernel.over_report = 100;
        });
        let port = port();
        let (mut client, server) = served(&port);
        client.write_all(&[7; 16]).unwrap();
        let mut buffer = Vec::with_capacity(20);
        buffer.extend_from_slice(b"abcd");
        port.initiate_read(&server, READ, buffer).unwrap();
        let buffer: Vec<u8> = complete(&port).operation.take_buffer().unwrap();
        assert_eq!(buffer, [&b"abcd"[..], &[7; 16]].concat());

        port.initiate_write(&server, WRITE, b"hello").unwrap();
        let buffer: &[u8; 5] = complete(&port).operation.take_buffer().unwrap();
        assert_eq!(buffer, b"hello");
        drop(client);
    });
}

#[test]
fn an_operation_can_be_over_before_its_start_returns() {
    both(|inline| {
        let _behaving = behave(|kernel| {
            inline(kernel);
            kernel.dequeued_first = Chance::Always;
        });
        let port = port();
        let (mut client, server) = served(&port);
        // On a busy machine the other thread may be too late.
        for _ in 0..few(10) {
            client.write_all(b"hello").unwrap();
            thread::scope(|scope| {
                let dequeuing = scope.spawn(|| {
                    let mut read = complete(&port);
                    assert_eq!(read.context, READ);
                    let taken = read.operation.take_buffer::<Vec<u8>>();
                    assert_eq!(complete(&port).context, WRITE);
                    taken
                });
                let mut pending = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
                eventually("dequeued", || pending.is_completed());
                assert_eq!(pending.result().unwrap().unwrap(), 5);
                assert!(!pending.cancel().unwrap());
                let taken = pending.take_buffer();
                drop(port.initiate_write(&server, WRITE, vec![1, 2, 3]).unwrap());
                // Both try, and one of them has it.
                let mut buffers = taken.into_iter().chain(dequeuing.join().unwrap());
                assert_eq!(buffers.next().unwrap(), b"hello");
                assert!(buffers.next().is_none());
            });
        }
        nothing_more(&port);
    });
}

#[test]
fn a_result_is_there_once_its_packet_is_dequeued_and_not_before() {
    for written_at_dequeue in [Chance::Always, Chance::Never] {
        both(|inline| {
            let _behaving = behave(|kernel| {
                inline(kernel);
                kernel.written_at_dequeue = written_at_dequeue;
            });
            let port = port();
            let (mut client, server) = served(&port);
            client.write_all(b"hello").unwrap();
            let mut read = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
            let mut write = port.initiate_write(&server, WRITE, vec![1, 2]).unwrap();
            eventually("both are queued", || queued(port.as_raw_handle()) == 2);
            assert!(!read.is_completed() && read.result().is_none());
            assert!(read.take_buffer().is_none() && write.take_buffer().is_none());
            assert!(!read.cancel().unwrap(), "it is over");
            complete_all(&port, 2);
            assert_eq!(read.take_buffer().unwrap(), b"hello");
            assert_eq!(write.take_buffer().unwrap(), [1, 2]);
        });
    }
}

#[test]
fn a_read_with_a_warning_is_a_completion_with_its_bytes() {
    const STATUS_BUFFER_OVERFLOW: u32 = 0x8000_0005;
    both(|inline| {
        let port = port();
        let (mut client, stream) = served(&port);
        let (pipe, other_end) = pipe_pair(true);
        let (pipe, other_end) =
            (port.add_handle(pipe, 7).unwrap(), port.add_handle(other_end, 8).unwrap());
        client.write_all(b"hello").unwrap();
        port.initiate_write(&other_end, WRITE, "hello, world").unwrap();
        complete(&port);
        let _behaving = behave(|kernel| {
            inline(kernel);
            kernel.dequeued_first = Chance::Sometimes;
            kernel.warn.push_back(STATUS_BUFFER_OVERFLOW);
        });
        port.initiate_read(&stream, READ, Vec::with_capacity(8)).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::MessageTruncated);
        assert_eq!(completion.bytes_transferred, 5);
        assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
        // A message that is longer than the buffer needs no telling.
        port.initiate_read(&pipe, READ, Vec::with_capacity(5)).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.error_status.unwrap_err().ntstatus(), Some(STATUS_BUFFER_OVERFLOW));
        assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
        port.initiate_read(&pipe, READ, Vec::with_capacity(8)).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b", world");
        nothing_more(&port);
    });
}

const STATUS_TIMEOUT: u32 = 0x0000_0102;

#[test]
fn a_time_out_on_a_socket_is_an_error_though_its_status_has_the_severity_of_a_success() {
    let port = port();
    let (mut client, server) = served(&port);
    for (has_data, is_tracked) in [(false, true), (false, false), (true, true), (true, false)] {
        let _behaving = behave(|kernel| {
            kernel.inline = Chance::Never;
            let statuses = if has_data { &mut kernel.warn } else { &mut kernel.fail };
            statuses.push_back(STATUS_TIMEOUT);
        });
        client.write_all(b"hello").unwrap();
        let pending = port.initiate_read(&server, READ, Vec::with_capacity(5)).unwrap();
        let pending = is_tracked.then_some(pending);
        let mut completion = complete(&port);
        let error = completion.error_status.unwrap_err();
        assert_eq!((error.kind(), error.ntstatus()), (ErrorKind::TimedOut, Some(STATUS_TIMEOUT)));
        assert!(pending.is_none_or(|pending| pending.result() == Some(Err(error))));
        let data = if has_data { &b"hello"[..] } else { b"" };
        assert_eq!(completion.bytes_transferred as usize, data.len());
        assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), data);
    }
    nothing_more(&port);
}

/// As serial ports end reads. (A pipe stands for the device: it is read by
/// `ReadFile`, too, and an empty message is a read of nothing.)
#[test]
fn the_time_out_of_a_device_is_a_success_with_data_and_an_error_without() {
    both(|inline| {
        for is_tracked in [true, false] {
            let port = port();
            let (device, line) = pipe_pair(true);
            let (device, line) =
                (port.add_handle(device, 7).unwrap(), port.add_handle(line, 8).unwrap());
            for sent in ["partial", ""] {
                port.initiate_write(&line, WRITE, sent).unwrap();
                complete(&port);
                let _behaving = behave(|kernel| {
                    inline(kernel);
                    kernel.warn.push_back(STATUS_TIMEOUT);
                });
                let pending = port.initiate_read(&device, READ, Vec::with_capacity(64)).unwrap();
                let pending = is_tracked.then_some(pending);
                let mut completion = complete(&port);
                let result = completion.result();
                match result.clone() {
                    Ok(bytes) => assert_eq!((bytes, sent), (7, "partial")),
                    Err(error) => {
                        assert_eq!((error.kind(), sent), (ErrorKind::TimedOut, ""));
                        assert_eq!(error.raw_os_error(), Some(win32::ERROR_TIMEOUT as i32));
                    }
                }
                assert!(pending.is_none_or(|pending| pending.result() == Some(result)));
                let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
                assert_eq!(buffer, sent.as_bytes());
                nothing_more(&port);
            }
        }
    });
}

#[test]
fn the_time_out_of_a_device_that_skips_the_port_is_a_success_at_once() {
    let port = port();
    let (device, line) = pipe_pair(false);
    let device = port.add_handle(device, 7).unwrap().skip_on_success().unwrap();
    let line = port.add_handle(line, 8).unwrap();
    port.initiate_write(&line, WRITE, "partial").unwrap();
    complete(&port);
    let _behaving = behave(|kernel| kernel.warn.push_back(STATUS_TIMEOUT));
    let started = port.initiate_read(&device, READ, Vec::with_capacity(64)).unwrap();
    let mut completion = started.completed().expect("the data is there");
    assert_eq!(completion.result(), Ok(7));
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"partial");
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own RtlNtStatusToDosError does not know the status")]
fn a_device_that_is_unplugged_is_told_by_its_kind() {
    // STATUS_DEVICE_NOT_CONNECTED, STATUS_DEVICE_REMOVED, STATUS_NO_SUCH_DEVICE.
    let losses = [(0xC000_009D, 1167), (0xC000_02B6, 1617), (0xC000_000E, 433)];
    for (status, code) in losses {
        let port = port();
        let (device, line) = pipe_pair(false);
        let (device, line) =
            (port.add_handle(device, 7).unwrap(), port.add_handle(line, 8).unwrap());
        port.initiate_write(&line, WRITE, "x").unwrap();
        complete(&port);
        let _behaving = behave(|kernel| {
            kernel.inline = Chance::Never;
            kernel.fail.push_back(status);
        });
        port.initiate_read(&device, READ, Vec::with_capacity(8)).unwrap();
        let later = complete(&port).error_status.unwrap_err();
        let _behaving = behave(|kernel| kernel.refuse.push_back(code));
        let at_once = port.initiate_read(&device, READ, [0; 8]).unwrap_err().error;
        for error in [later, at_once] {
            assert_eq!(error.kind(), ErrorKind::DeviceRemoved);
            assert_eq!(error.raw_os_error(), Some(code as i32));
        }
    }
}

#[test]
fn a_client_that_goes_away_as_the_accept_is_started_is_told_by_its_kind() {
    let port = port();
    let listener = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 9).unwrap();
    let lost = [ws::WSAECONNRESET, ws::WSAECONNABORTED, ws::WSAENOTCONN];
    let lost = lost.map(|code| code as u32).into_iter().chain([win32::ERROR_NETNAME_DELETED]);
    for code in lost {
        let _behaving = behave(|kernel| kernel.refuse.push_back(code));
        let rejected = port.initiate_accept(&listener, 4).unwrap_err();
        assert_eq!(rejected.returned, 4);
        let kind = rejected.error.kind();
        assert!(
            matches!(kind, ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted),
            "{kind} ({code})"
        );
    }
    // The next one is accepted.
    port.initiate_accept(&listener, 5).unwrap();
    let _client = TcpStream::connect(listener.get_ref().local_addr().unwrap()).unwrap();
    let mut completion = complete(&port);
    assert_eq!((completion.context, completion.error_status), (5, Ok(())));
    assert!(completion.operation.take_accepted().is_some());
    nothing_more(&port);
}

#[test]
fn an_accept_whose_socket_is_closed_elsewhere_ends_and_leaves_the_listener_well() {
    let port = port();
    let listener = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 9).unwrap();
    // The next socket gets the lowest value that is free.
    let next = UdpSocket::bind("127.0.0.1:0").unwrap().as_raw_socket();
    port.initiate_accept(&listener, 4).unwrap();
    close_raw_socket(next);
    let mut completion = complete(&port);
    let kind = completion.error_status.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Cancelled | ErrorKind::ConnectionAborted), "{kind}");
    assert!(completion.operation.take_accepted().is_none());
    port.initiate_accept(&listener, 5).unwrap();
    let _client = TcpStream::connect(listener.get_ref().local_addr().unwrap()).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    nothing_more(&port);
}

#[test]
fn a_connect_to_no_address_in_particular_is_refused() {
    let port = port();
    for (made_for, peer) in [
        ("127.0.0.1:1", "0.0.0.0:1"),
        ("[::1]:1", "[::]:1"),
        // For IPv6 only.
        ("[::1]:1", "[::ffff:127.0.0.1]:1"),
    ] {
        let stream = unconnected_stream(made_for.parse().unwrap()).unwrap();
        let stream = port.add_handle(stream, 9).unwrap();
        let rejected = port.initiate_connect(&stream, 4, peer.parse().unwrap()).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::AddressNotAvailable, "{peer}");
    }
    nothing_more(&port);
}

#[test]
fn the_last_thread_to_wait_is_served_first() {
    let port = port();
    let serve = |name| {
        assert_eq!(complete(&port).context, name);
    };
    thread::scope(|scope| {
        scope.spawn(|| serve(1));
        eventually("one waits", || waiting(port.as_raw_handle()) == 1);
        scope.spawn(|| serve(2));
        eventually("both wait", || waiting(port.as_raw_handle()) == 2);
        for name in [2, 1] {
            port.post(name, 0, 0).unwrap();
            eventually("dequeued", || queued(port.as_raw_handle()) == 0);
        }
    });
}

#[test]
fn a_port_runs_as_many_threads_as_it_is_told() {
    for threads in [1, 3, 1000] {
        let port = Iocp::with_concurrency(threads).unwrap();
        assert_eq!(concurrency(port.as_raw_handle()), threads as usize);
    }
    assert_eq!(concurrency(port().as_raw_handle()), PROCESSORS);
}

#[test]
fn a_port_that_is_closed_twice_has_one_packet_that_wakes_its_threads() {
    let port = port();
    port.close();
    port.clone().close();
    assert_eq!(queued(port.as_raw_handle()), 1);
    for _ in 0..3 {
        assert!(port.get_completion().unwrap_err().is_closed());
        assert_eq!(queued(port.as_raw_handle()), 1);
    }
}

#[test]
fn a_port_that_runs_one_thread_runs_another_when_that_one_blocks() {
    let port = Iocp::with_concurrency(1).unwrap();
    port.post(1, 0, 0).unwrap();
    assert_eq!(complete(&port).context, 1);
    // From here on this thread is the one that runs.
    thread::scope(|scope| {
        let other = scope.spawn(|| complete(&port).context);
        eventually("it waits", || waiting(port.as_raw_handle()) == 1);
        port.post(2, 0, 0).unwrap();
        assert_eq!(other.join().unwrap(), 2);
    });
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert!(port.get_completion().unwrap_err().is_closed()));
        }
        eventually("all wait", || waiting(port.as_raw_handle()) == 3);
        port.close();
    });
}

#[test]
fn a_port_that_is_closed_elsewhere_wakes_every_thread() {
    let port = port();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let error = port.get_completion().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Closed);
                assert_eq!(error.raw_os_error(), Some(win32::ERROR_ABANDONED_WAIT_0 as i32));
            });
        }
        eventually("both wait", || waiting(port.as_raw_handle()) == 2);
        close_elsewhere(port.as_raw_handle());
    });
    assert_eq!(port.get_completion().unwrap_err().kind(), ErrorKind::InvalidHandle);
    assert_eq!(port.post(1, 0, 0).unwrap_err().error.kind(), ErrorKind::InvalidHandle);
}

#[test]
fn a_handle_that_is_closed_elsewhere_ends_its_operations() {
    const STATUS_LOCAL_DISCONNECT: u32 = 0xC000_013B;
    const STATUS_HANDLES_CLOSED: u32 = 0x8000_000A;
    let kinds = [
        (win32::STATUS_CANCELLED as u32, ErrorKind::Cancelled),
        (STATUS_LOCAL_DISCONNECT, ErrorKind::ConnectionAborted),
        (STATUS_HANDLES_CLOSED, ErrorKind::Cancelled),
    ];
    for (status, kind) in kinds {
        let _behaving = behave(|kernel| kernel.close_status = status);
        let port = port();
        let (_client, server) = served(&port);
        let mut pending = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
        close_raw_socket(server.as_raw_socket());
        assert_eq!(complete(&port).error_status.unwrap_err().kind(), kind);
        assert_eq!(pending.take_buffer().unwrap().capacity(), 8);
        let rejected = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap_err();
        assert_eq!(rejected.error.raw_os_error(), Some(ws::WSAENOTSOCK));
        assert!(server.cancel_all().is_err());
        // Nobody has the value yet.
        let _ = server.into_inner().into_raw_socket();
        nothing_more(&port);
    }
    let port = port();
    let (pipe, _other_end) = pipe_pair(false);
    let pipe = port.add_handle(pipe, 7).unwrap();
    port.initiate_read(&pipe, READ, Vec::with_capacity(8)).unwrap();
    close_elsewhere(pipe.as_raw_handle());
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    let rejected = port.initiate_write(&pipe, WRITE, "x").unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidHandle);
    nothing_more(&port);
}

/// It was made, but can no longer be told what it is.
#[test]
fn a_connection_whose_socket_is_closed_before_its_packet_is_dequeued_is_aborted() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let stream = port.add_handle(unconnected_stream(peer).unwrap(), 9).unwrap();
    port.initiate_connect(&stream, 4, peer).unwrap();
    eventually("it is connected", || queued(port.as_raw_handle()) == 1);
    drop(stream);
    let completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (4, 9));
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    nothing_more(&port);
}

/// Its value may be another socket's by then.
#[test]
fn a_connection_has_nothing_of_a_listener_that_has_the_value_of_its_own() {
    for gives_away in [false, true] {
        let port = port();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (value, address) = (listener.as_raw_socket(), listener.local_addr().unwrap());
        let listener = port.add_handle(listener, 9).unwrap();
        port.initiate_accept(&listener, 4).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        eventually("it is accepted", || queued(port.as_raw_handle()) == 1);
        if gives_away {
            drop(listener.into_inner());
        } else {
            drop(listener);
        }
        let recycled = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(recycled.as_raw_socket(), value);
        let mut completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        let accepted = completion.operation.take_accepted().unwrap();
        assert_eq!(accepted.peer_addr().unwrap_err().raw_os_error(), Some(ws::WSAENOTCONN));
        nothing_more(&port);
    }
}

/// Nobody has told the port: the library has been lied to.
#[test]
fn a_connection_whose_listener_is_closed_elsewhere_is_aborted() {
    let port = port();
    let listener = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 9).unwrap();
    let mut pending = port.initiate_accept(&listener, 4).unwrap();
    let _client = TcpStream::connect(listener.get_ref().local_addr().unwrap()).unwrap();
    eventually("it is accepted", || queued(port.as_raw_handle()) == 1);
    close_raw_socket(listener.as_raw_socket());
    let mut completion = complete(&port);
    let error = completion.error_status.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(pending.result(), Some(Err(error)));
    assert!(pending.take_accepted().or(completion.operation.take_accepted()).is_none());
    nothing_more(&port);
    // Nobody has the value yet.
    let _ = listener.into_inner().into_raw_socket();
}

#[test]
fn a_connection_of_a_socket_that_was_given_away_is_made() {
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let stream = port.add_handle(unconnected_stream(peer).unwrap(), 9).unwrap();
    port.initiate_connect(&stream, 4, peer).unwrap();
    let mut stream = stream.into_inner();
    assert_eq!(complete(&port).error_status, Ok(()));
    stream.write_all(b"hello").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    nothing_more(&port);
}

/// A receive that is pending at the close would reset the connection.
#[test]
fn a_stream_is_closed_once_nothing_is_in_flight_on_it() {
    let _behaving = behave(|kernel| {
        kernel.close_resets = true;
        kernel.slow_cancels = 3;
    });
    let port = port();
    let (mut client, server) = served(&port);
    port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
    port.initiate_write(&server, WRITE, "farewell").unwrap();
    assert_eq!(complete(&port).context, WRITE);
    drop(server);
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert_eq!(received, "farewell");
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
}

#[test]
fn closing_a_handle_whose_driver_does_not_cancel_does_not_wait_for_it() {
    let _behaving = behave(|kernel| kernel.ignore_cancels = FOREVER);
    let port = port();
    let (_client, server) = served(&port);
    port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
    drop(server);
    nothing_more(&port);
    heed_cancels();
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
}

#[test]
fn a_pipe_that_does_not_tell_what_it_is_does_not_skip_the_port() {
    let port = port();
    let (pipe, _other_end) = pipe_pair(false);
    let pipe = port.add_handle(pipe, 7).unwrap();
    let behaving = behave(|kernel| kernel.untold = true);
    let Rejected { error, returned: pipe } = pipe.skip_on_success().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    drop(behaving);
    drop(pipe.skip_on_success().unwrap());
}

#[test]
fn a_read_at_the_end_of_an_unbuffered_file_has_found_the_end() {
    let port = port();
    let temp = temp_file("unbuffered", "0123456789");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 7).unwrap();
    let behaving = behave(|kernel| kernel.unbuffered = true);
    for offset in [10, 512, u64::MAX] {
        let mut pending =
            port.initiate_read_at(&file, READ, Vec::with_capacity(512), offset).unwrap();
        assert_eq!(complete(&port).result(), Ok(0), "{offset}");
        assert_eq!(pending.take_buffer().unwrap(), b"");
    }
    port.initiate_read_at(&file, READ, Vec::with_capacity(512), 0).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 10);
    drop(behaving);
    // A parameter that is invalid for another reason.
    for (unbuffered, offset) in [(true, 0), (false, 10)] {
        let _behaving = behave(|kernel| {
            kernel.unbuffered = unbuffered;
            kernel.refuse = [win32::ERROR_INVALID_PARAMETER].into();
        });
        let buffer = Vec::with_capacity(512);
        let rejected = port.initiate_read_at(&file, READ, buffer, offset).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    }
    nothing_more(&port);
}

#[test]
fn a_socket_of_another_family_neither_accepts_nor_connects() {
    let port = port();
    drop(stream_pair()); // starts Winsock
    let _behaving = behave(|kernel| kernel.has_unix = true);
    let flags = ws::WSA_FLAG_OVERLAPPED | ws::WSA_FLAG_NO_HANDLE_INHERIT;
    // SAFETY: Writes no memory.
    let socket =
        unsafe { ws::WSASocketW(ws::AF_UNIX.into(), ws::SOCK_STREAM, 0, ptr::null(), 0, flags) };
    assert_ne!(socket, ws::INVALID_SOCKET);
    // SAFETY: The socket is new and nobody else's.
    let socket = unsafe { OwnedSocket::from_raw_socket(socket as RawSocket) };
    let socket = port.add_handle(socket, 7).unwrap();
    let peer = "127.0.0.1:1".parse().unwrap();
    for rejected in [
        port.initiate_accept(&socket, 5).unwrap_err(),
        port.initiate_connect(&socket, 5, peer).unwrap_err(),
    ] {
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        assert!(rejected.error.to_string().contains("IPv6"), "{}", rejected.error);
        assert_eq!(rejected.returned, 5);
    }
    nothing_more(&port);
}

#[test]
fn writes_that_wait_for_room_are_cancelled_with_their_buffers() {
    let port = port();
    let (client, server) = stream_pair();
    shrink_buffers(&server);
    shrink_buffers(&client);
    let server = port.add_handle(server, 7).unwrap();
    let (pipe, _other_end) = pipe_pair(false);
    let pipe = port.add_handle(pipe, 8).unwrap();
    for _ in 0..3 {
        port.initiate_write(&server, WRITE, vec![1; 10_000]).unwrap();
        port.initiate_write(&pipe, WRITE, vec![2; 70_000]).unwrap();
    }
    nothing_more(&port);
    server.cancel_all().unwrap();
    pipe.cancel_all().unwrap();
    for mut completion in complete_all(&port, 6) {
        assert!(completion.error_status.unwrap_err().is_cancelled());
        let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
        let expected =
            if completion.handle_context == 7 { vec![1; 10_000] } else { vec![2; 70_000] };
        assert!(buffer == expected);
    }
    nothing_more(&port);
}

#[test]
fn a_cancel_that_comes_too_late_delivers_the_data() {
    let port = port();
    let (mut client, server) = served(&port);
    let behaving = behave(|kernel| kernel.ignore_cancels = FOREVER);
    let pending = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
    assert!(pending.cancel().unwrap());
    client.write_all(b"hello").unwrap();
    let mut completion = complete(&port);
    completion.error_status.unwrap();
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    assert!(!pending.cancel().unwrap());
    drop(behaving);
    nothing_more(&port);
}

#[test]
fn a_cancel_that_is_ignored_for_a_while_cancels_in_the_end() {
    let _behaving = behave(|kernel| kernel.ignore_cancels = FOREVER);
    let port = port();
    let (_client, server) = served(&port);
    let mut pending = port.initiate_read(&server, READ, vec![0; 8].into_boxed_slice()).unwrap();
    assert!(pending.cancel().unwrap());
    assert!(pending.cancel().unwrap());
    nothing_more(&port);
    assert!(!pending.is_completed());
    heed_cancels();
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    assert_eq!(pending.take_buffer().unwrap().len(), 8);
}

#[test]
fn what_the_kernel_refuses_comes_back() {
    let port = port();
    let (client, server) = served(&port);
    let listener = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 8).unwrap();
    let peer = listener.get_ref().local_addr().unwrap();
    let fresh = port.add_handle(unconnected_stream(peer).unwrap(), 9).unwrap();
    let _behaving = behave(|kernel| kernel.refuse.extend([ws::WSAENOBUFS as u32; 5]));

    let rejected = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!((rejected.returned.0, rejected.returned.1.capacity()), (READ, 8));
    let rejected = port.initiate_write(&server, WRITE, vec![1; 100]).unwrap_err();
    assert_eq!(rejected.returned, (WRITE, vec![1; 100]));
    assert_eq!(port.initiate_accept(&listener, 3).unwrap_err().returned, 3);
    assert_eq!(port.initiate_connect(&fresh, 4, peer).unwrap_err().returned, 4);
    let mut buffer = [0; 8];
    port.scope(|scope| {
        assert_eq!(scope.initiate_read(&server, 5, &mut buffer).unwrap_err().returned, 5);
    });
    nothing_more(&port);
    drop(client);
}

#[test]
fn what_fails_after_it_started_completes_with_the_error_and_the_buffer() {
    const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;
    let port = port();
    let (mut client, server) = served(&port);
    client.write_all(b"hello").unwrap();
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Never;
        kernel.fail.extend([STATUS_INSUFFICIENT_RESOURCES; 2]);
    });
    port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
    let mut completion = complete(&port);
    let error = completion.error_status.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(completion.bytes_transferred, 0);
    assert!(completion.operation.take_buffer::<Vec<u8>>().unwrap().is_empty());
    port.initiate_write(&server, WRITE, "hello").unwrap();
    assert!(complete(&port).error_status.is_err());
    nothing_more(&port);
}

#[test]
fn a_post_without_room_gives_its_context_back_and_takes_up_no_place() {
    let port: Iocp<String> = Iocp::builder().max_operations(1).build().unwrap();
    let _behaving = behave(|kernel| kernel.refuse_posts = 1);
    let rejected = port.post("hello".into(), 0, 0).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
    port.post(rejected.returned, 0, 0).unwrap();
    assert_eq!(complete(&port).context, "hello");
}

#[test]
fn an_operation_without_memory_gives_its_context_back_and_the_next_may_have_some() {
    let port = Iocp::<String>::typed().unwrap();
    let _behaving = behave(|kernel| kernel.refuse_memory = 1);
    let rejected = port.post("hello".into(), 0, 0).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(rejected.error.call(), Some("VirtualAlloc"));
    port.post(rejected.returned, 0, 0).unwrap();
    assert_eq!(complete(&port).context, "hello");
}

#[test]
fn the_address_of_a_post_that_was_refused_is_foreign() {
    let port = port();
    let address = own_address(&port);
    let refusing = behave(|kernel| kernel.refuse_posts = 1);
    assert_eq!(port.post(1, 0, 0).unwrap_err().returned, 1);
    drop(refusing);
    post_raw(&port, 3, 4, address);
    let packet = port.get_completion_timeout(PATIENCE).unwrap_err().foreign_packet();
    assert_eq!(packet.map(|packet| packet.overlapped), Some(address));
    nothing_more(&port);
}

#[test]
fn closing_wakes_every_thread_though_posts_are_refused() {
    let port = port();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert!(port.get_completion().unwrap_err().is_closed()));
        }
        let _behaving = behave(|kernel| kernel.refuse_posts = 3);
        port.close();
    });
}

#[test]
fn a_port_that_is_being_closed_says_so_before_every_thread_is_woken() {
    let port = port();
    thread::scope(|scope| {
        let refusing = behave(|kernel| kernel.refuse_posts = u32::MAX);
        scope.spawn(|| port.close());
        eventually("the port is closed", || port.is_closed());
        let answer = port.try_get_completion();
        drop(refusing);
        assert!(answer.unwrap_err().is_closed());
    });
}

#[test]
fn what_a_scope_puts_back_is_not_lost_though_posts_are_refused() {
    let port = port();
    let (_client, server) = served(&port);
    port.post(WRITE, 6, 5).unwrap();
    let _behaving = behave(|kernel| kernel.refuse_posts = 3);
    let mut buffer = [0; 8];
    port.scope(|scope| {
        scope.initiate_read(&server, READ, &mut buffer).unwrap();
    });
    let posted = complete(&port);
    assert_eq!((posted.context, posted.bytes_transferred, posted.handle_context), (WRITE, 5, 6));
    nothing_more(&port);
}

#[test]
fn a_scope_that_waits_neither_spins_nor_changes_an_order_whatever_is_queued() {
    struct HeedsCancels;

    impl Drop for HeedsCancels {
        fn drop(&mut self) {
            heed_cancels();
        }
    }

    const LOOKS: usize = few(20);
    for others in [0, 1, if cfg!(miri) { 2 } else { 30 }] {
        let _behaving = behave(|kernel| kernel.ignore_cancels = FOREVER);
        let port = port();
        let (_client, server) = served(&port);
        for i in 0..others {
            port.post(i, 0, 0).unwrap();
        }
        let begin = Instant::now();
        thread::scope(|threads| {
            threads.spawn(|| {
                let mut buffer = [0; 8];
                port.scope(|scope| drop(scope.initiate_read(&server, READ, &mut buffer).unwrap()));
            });
            // Also if that takes too long: the thread would be waited for.
            let _heeds = HeedsCancels;
            eventually("the scope has looked a few times", || {
                dequeues(port.as_raw_handle()) > LOOKS * (others + 1)
            });
        });
        // Each look is followed by a pause.
        let least = Duration::from_millis(LOOKS as u64 - 1);
        assert!(begin.elapsed() >= least, "{others} others: {:?}", begin.elapsed());
        for i in 0..others {
            assert_eq!(complete(&port).context, i);
        }
        nothing_more(&port);
    }
}

#[test]
fn a_scope_waits_for_what_ignores_a_cancel_for_a_while_though_a_context_panics() {
    struct Context(#[expect(dead_code, reason = "it is counted")] Arc<()>, bool);

    impl Drop for Context {
        fn drop(&mut self) {
            assert!(!self.1, "a context");
        }
    }

    let _behaving = behave(|kernel| kernel.ignore_cancels = 10);
    let port = port_of();
    let [mut one, mut two] = [[0; 8]; 2];
    let counted = Arc::new(());
    let (client, server) = stream_pair();
    let quiet = port.add_handle(server, 7).unwrap();
    let (mut sends, server) = stream_pair();
    let server = port.add_handle(server, 7).unwrap();
    sends.write_all(b"hello").unwrap();
    let scope = catch_unwind(AssertUnwindSafe(|| {
        port.scope(|scope| {
            let read = |handle, panics, buffer| {
                let context = Context(Arc::clone(&counted), panics);
                drop(scope.initiate_read(handle, context, buffer).map_err(|_| ()).unwrap());
            };
            read(&server, true, &mut one);
            read(&quiet, false, &mut two);
        });
    }));
    assert_eq!(scope.unwrap_err().downcast_ref(), Some(&"a context"));
    assert_eq!(Arc::strong_count(&counted), 1, "an operation is in flight");
    assert_eq!((&one, two), (b"hello\0\0\0", [0; 8]));
    drop(client);
}

#[test]
fn a_port_is_not_at_its_end_while_a_scope_has_a_packet_in_hand() {
    let ways: [fn(&Iocp) -> Option<usize>; 4] = [
        |port| port.get_completion().ok().map(|completion| completion.context),
        |port| port.try_get_completion().ok()?.map(|completion| completion.context),
        |port| {
            let mut batch = Batch::with_capacity(4);
            port.get_completions(&mut batch, None).ok()?;
            Some(batch.next()?.ok()?.context)
        },
        |port| {
            let mut batch = Batch::with_capacity(4);
            port.get_completions(&mut batch, Some(Duration::ZERO)).ok()?;
            Some(batch.next()?.ok()?.context)
        },
    ];
    for way in ways {
        let _behaving = behave(|kernel| kernel.ignore_cancels = FOREVER);
        let port = port();
        let (_client, server) = served(&port);
        let mut buffer = [0; 8];
        thread::scope(|threads| {
            let other = port.scope(|scope| {
                scope.initiate_read(&server, READ, &mut buffer).unwrap();
                port.post(WRITE, 0, 0).unwrap();
                port.close();
                // What the scope takes, it cannot put back for a while.
                std::mem::forget(behave(|kernel| kernel.refuse_posts = 50));
                threads.spawn(|| {
                    eventually("the scope has a packet", || queued(port.as_raw_handle()) < 2);
                    let found = way(&port);
                    heed_cancels();
                    found
                })
            });
            assert_eq!(other.join().unwrap(), Some(WRITE));
        });
        assert!(port.get_completion().unwrap_err().is_closed());
    }
}

#[test]
fn an_end_found_at_once_without_room_for_its_packet_gives_everything_back() {
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.fail_late = Chance::Never;
    });
    let port = port();
    let (server, client) = pipe_pair(false);
    let server = port.add_handle(server, 7).unwrap();
    drop(client);
    let reset = behave(|kernel| kernel.refuse_posts = 2);
    let rejected = port.initiate_read(&server, READ, vec![1, 2]).err();
    // A full vector is refused by the library.
    assert_eq!(rejected.unwrap().returned, (READ, vec![1, 2]));
    let rejected = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!((rejected.returned.0, rejected.returned.1.capacity()), (READ, 8));
    let mut buffer = [0; 8];
    port.scope(|scope| {
        assert_eq!(scope.initiate_read(&server, 5, &mut buffer).unwrap_err().returned, 5);
    });
    drop(reset);
    nothing_more(&port);
}

#[test]
fn the_calls_own_count_is_used_where_the_packet_is_skipped() {
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.leave_pending = Chance::Always;
    });
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 7).unwrap().skip_on_success().unwrap();
    client.write_all(b"hello").unwrap();
    match port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap() {
        Started::Completed(mut completion) => {
            completion.error_status.unwrap();
            assert_eq!((completion.context, completion.bytes_transferred), (READ, 5));
            assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
        }
        Started::Pending(_) => panic!("the data is there"),
    }
    nothing_more(&port);
}

#[test]
fn a_socket_of_a_layered_provider_is_not_let_into_the_mode_that_skips() {
    let _behaving = behave(|kernel| kernel.layered = true);
    let port = port();
    let (mut client, server) = stream_pair();
    let rejected = port.add_handle(server, 7).unwrap().skip_on_success().unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    client.write_all(b"x").unwrap();
    let mut pending = port.initiate_read(&rejected.returned, READ, [0; 1]).unwrap();
    complete(&port).error_status.unwrap();
    assert_eq!(pending.take_buffer(), Some(*b"x"));
    nothing_more(&port);
}

/// A provider that queues the packets of inline successes all the same. Where
/// that is known of one, its sockets are not let into the mode.
fn queues_what_is_skipped(kernel: &mut Behaviour) {
    kernel.inline = Chance::Always;
    kernel.queue_skipped = true;
}

#[test]
fn packets_that_should_have_been_skipped_are_foreign() {
    let _behaving = behave(queues_what_is_skipped);
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 7).unwrap().skip_on_success().unwrap();
    client.write_all(b"hellohello").unwrap();
    let start = || match port.initiate_read(&server, READ, Vec::with_capacity(5)).unwrap() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => panic!("the data is there"),
    };
    let stray = || {
        let packet = port.get_completion().unwrap_err().foreign_packet().unwrap();
        assert_eq!((packet.completion_key, packet.bytes_transferred), (7, 5));
    };
    // Its cell is the completion's.
    let mut completion = start();
    stray();
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    // Its cell is free.
    drop(start());
    stray();
    nothing_more(&port);
}

#[test]
fn a_packet_that_should_have_been_skipped_does_not_complete_the_next_operation() {
    for keeps in [false, true] {
        let _behaving = behave(queues_what_is_skipped);
        let port = port();
        let (mut client, server) = stream_pair();
        let server = port.add_handle(server, 7).unwrap().skip_on_success().unwrap();
        client.write_all(b"hello").unwrap();
        drop(port.initiate_read(&server, READ, Vec::with_capacity(5)).unwrap());
        // It gets the same cell.
        let started = port.initiate_read(&server, READ + 1, Vec::with_capacity(5)).unwrap();
        let Started::Pending(pending) = started else { panic!("there is nothing to read") };
        let pending = keeps.then_some(pending);
        let packet = port.get_completion().unwrap_err().foreign_packet().unwrap();
        assert_eq!((packet.completion_key, packet.bytes_transferred), (7, 5));
        assert!(pending.as_ref().is_none_or(|pending| !pending.is_completed()));
        client.write_all(b"next").unwrap();
        let mut completion = complete(&port);
        assert_eq!((completion.context, completion.bytes_transferred), (READ + 1, 4));
        assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"next");
        nothing_more(&port);
    }
}

#[test]
fn memory_that_the_kernel_keeps_outlives_the_port() {
    let _behaving = behave(|kernel| {
        kernel.ignore_cancels = FOREVER;
        kernel.inline = Chance::Never;
    });
    let port = port();
    let (client, server) = served(&port);
    let pending = port.initiate_read(&server, READ, Vec::with_capacity(64)).unwrap();
    port.initiate_read(&server, READ, vec![0; 64].into_boxed_slice()).unwrap();
    drop(server);
    // Gives up waiting after a second.
    drop(port);
    assert_eq!(scribble(), 2);
    assert!(!pending.is_completed());
    drop(pending);
    // The peer goes on, and so may the kernel.
    drop(client);
    assert_eq!(scribble(), 2);
}

#[test]
fn a_port_that_is_dropped_waits_for_a_cancel_that_is_ignored_for_a_while() {
    let _behaving = behave(|kernel| kernel.ignore_cancels = 3);
    let port = port();
    let (_client, server) = served(&port);
    let mut pending = port.initiate_read(&server, READ, vec![0; 16].into_boxed_slice()).unwrap();
    drop(server);
    // Dequeues twice in vain.
    drop(port);
    assert_eq!(scribble(), 0);
    assert!(pending.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(pending.take_buffer().unwrap().len(), 16);
}

#[test]
fn a_scope_waits_for_a_cancel_that_is_ignored_for_a_while() {
    let _behaving = behave(|kernel| kernel.ignore_cancels = 3);
    let port = port();
    let (_client, server) = served(&port);
    let mut buffer = [1; 16];
    port.scope(|scope| {
        scope.initiate_read(&server, READ, &mut buffer).unwrap();
    });
    buffer.fill(2);
    assert_eq!(buffer, [2; 16]);
    nothing_more(&port);
}

#[test]
fn packets_of_others_are_told_apart_wherever_they_point() {
    let port = port();
    let (mut client, server) = served(&port);
    let pending = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
    // A duplicate's operation arrives at the port of the file object.
    let mut overlapped = Box::new(OVERLAPPED::default());
    let mut bytes = Box::new([0u8; 4]);
    let duplicate = server.get_ref().try_clone().unwrap();
    let buffer = ws::WSABUF { len: 4, buf: bytes.as_mut_ptr() };
    let address = &raw mut *overlapped;
    // SAFETY: Everything lives until the packet is dequeued.
    let started = unsafe {
        ws::WSARecv(
            duplicate.as_raw_socket() as ws::SOCKET,
            &raw const buffer,
            1,
            std::ptr::null_mut(),
            &raw mut FLAGS,
            address,
            None,
        )
    };
    assert_ne!(started, 0, "there is a read before it");
    client.write_all(b"helloyou").unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap().len(), 8);
    drop(pending);
    client.write_all(b"four").unwrap();
    let foreign = port.get_completion().unwrap_err();
    let packet = foreign.foreign_packet().unwrap();
    assert_eq!((packet.completion_key, packet.bytes_transferred), (7, 4));
    assert_eq!(packet.overlapped, address.addr());
    assert_eq!(*bytes, *b"four");

    for overlapped in [0, 1, 128, usize::MAX, address.addr()] {
        post_raw(&port, 5, 6, overlapped);
        let foreign = port.get_completion().unwrap_err();
        assert_eq!(foreign.foreign_packet().unwrap().overlapped, overlapped);
    }
    nothing_more(&port);
}

static mut FLAGS: u32 = 0;

#[test]
fn packets_of_others_that_failed_are_told_apart_too() {
    let port = port();
    let (_client, server) = served(&port);
    let pending = port.initiate_read(&server, READ, Vec::with_capacity(8)).unwrap();
    let failed = win32::STATUS_CANCELLED as u32;
    for overlapped in [1, 0x1000, usize::MAX] {
        deliver(port.as_raw_handle(), 5, 7, overlapped, failed);
        let packet = port.get_completion().unwrap_err().foreign_packet().unwrap();
        assert_eq!(
            (packet.completion_key, packet.bytes_transferred, packet.overlapped),
            (7, 5, overlapped)
        );
        deliver(port.as_raw_handle(), 5, 7, overlapped, failed);
        let mut batch = Batch::with_capacity(4);
        assert_eq!(port.get_completions(&mut batch, None).unwrap(), 1);
        let packet = batch.next().unwrap().unwrap_err().foreign_packet().unwrap();
        assert_eq!(packet.overlapped, overlapped);
    }
    assert!(!pending.is_completed());
    drop(server);
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
}

/// For many seeds: everything by chance, on three threads.
#[test]
fn races_of_data_cancels_and_drops_end_with_one_completion_each() {
    const OPERATIONS: usize = 3;
    let _behaving = behave(|kernel| {
        kernel.dequeued_first = Chance::Sometimes;
        kernel.inline = Chance::Never;
        kernel.cancel_loses = Chance::Sometimes;
    });
    let port = port();
    let (mut client, server) = served(&port);
    let completed = AtomicUsize::new(0);
    let received = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while completed.load(Ordering::Relaxed) < OPERATIONS {
                    let Ok(completion) = port.get_completion_timeout(Duration::from_millis(200))
                    else {
                        return;
                    };
                    if let Some(mut completion) = completion {
                        completed.fetch_add(1, Ordering::Relaxed);
                        let bytes = completion.bytes_transferred as usize;
                        received.fetch_add(bytes, Ordering::Relaxed);
                        if let Some(buffer) = completion.operation.take_buffer::<Vec<u8>>() {
                            assert_eq!(buffer, [9].repeat(bytes));
                        }
                    }
                }
            });
        }
        scope.spawn(|| client.write_all(&[9; 2]).unwrap());
        for index in 0..OPERATIONS {
            let mut pending = port.initiate_read(&server, index, Vec::with_capacity(1)).unwrap();
            match index % 3 {
                0 => drop(pending),
                1 => {
                    pending.cancel().unwrap();
                }
                _ => {
                    if let Some(buffer) = pending.take_buffer() {
                        assert!(buffer.len() <= 1);
                    }
                }
            }
        }
        drop(server);
    });
    assert_eq!(completed.load(Ordering::Relaxed), OPERATIONS);
    assert!(received.load(Ordering::Relaxed) <= 2);
    nothing_more(&port);
}

/// For many seeds: a handle that goes while it is used.
#[test]
fn races_of_calls_with_a_close_from_elsewhere_end_with_one_completion_each() {
    const CALLS: usize = 4;
    let _behaving = behave(|kernel| kernel.dequeued_first = Chance::Sometimes);
    let port = port();
    let (mut client, server) = served(&port);
    let socket = server.as_raw_socket();
    client.write_all(b"abc").unwrap();
    let mut started = 0;
    thread::scope(|scope| {
        scope.spawn(|| close_raw_socket(socket));
        for index in 0..CALLS {
            match port.initiate_read(&server, index, Vec::with_capacity(1)) {
                Ok(pending) => {
                    started += 1;
                    // Whatever there is left to cancel.
                    let _ = pending.cancel();
                }
                Err(rejected) => {
                    assert_eq!((rejected.returned.0, rejected.returned.1.capacity()), (index, 1));
                }
            }
        }
    });
    let _ = server.into_inner().into_raw_socket();
    for (index, mut completion) in complete_all(&port, started).into_iter().enumerate() {
        let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
        match completion.error_status {
            Ok(()) => assert_eq!(buffer, [b"abc"[index]]),
            Err(error) => assert!(error.is_cancelled() && buffer.is_empty()),
        }
    }
    nothing_more(&port);
}

/// For many seeds: a port that goes while completions come in.
#[test]
fn a_port_that_is_dropped_amid_completions_frees_what_it_can() {
    let port = port();
    let (mut client, server) = served(&port);
    let reads: Vec<_> = (0..3)
        .map(|index| port.initiate_read(&server, index, Vec::with_capacity(100)).unwrap())
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| client.write_all(b"hello").unwrap());
        scope.spawn(move || drop(server));
        scope.spawn(move || drop(port));
    });
    for mut pending in reads {
        assert!(pending.is_completed());
        assert!(pending.take_buffer().unwrap().len() <= 5);
    }
}

#[test]
fn a_refused_call_on_a_file_gives_everything_back_and_takes_up_no_place() {
    let file = support::temp_file("refused", "hello");
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let opened = port.add_handle(support::overlapped_file(file.path(), true, false), 1).unwrap();
    let _behaving = behave(|kernel| kernel.refuse.push_back(win32::ERROR_INVALID_USER_BUFFER));
    let rejected = port.initiate_read_at(&opened, READ, Vec::with_capacity(8), 0).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
    port.initiate_read_at(&opened, READ, rejected.returned.1, 0).unwrap();
    let mut completions = complete_all(&port, 1);
    assert_eq!(completions[0].operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

const STATUS_DEVICE_BUSY: u32 = 0x8000_0011;
const STATUS_BUFFER_OVERFLOW: u32 = 0x8000_0005;

/// The call fails with a code that errors have, too, of which no packet comes.
#[test]
fn a_device_that_warns_at_once_completes_the_operation() {
    let file = support::temp_file("warns", "hello");
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let device = port.add_handle(support::overlapped_file(file.path(), true, false), 1).unwrap();
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.warn.push_back(STATUS_DEVICE_BUSY);
    });
    port.initiate_read_at(&device, READ, Vec::with_capacity(8), 0).unwrap();
    let mut completion = complete(&port);
    let error = completion.error_status.unwrap_err();
    assert_eq!(error.ntstatus(), Some(STATUS_DEVICE_BUSY));
    assert_eq!(completion.bytes_transferred, 5);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    nothing_more(&port);
}

#[test]
fn a_device_that_warns_without_a_packet_has_started_nothing() {
    let file = support::temp_file("warns", "hello");
    let port: Iocp = Iocp::builder().max_operations(2).build().unwrap();
    let device = port.add_handle(support::overlapped_file(file.path(), true, false), 1).unwrap();
    // ERROR_BUSY; Miri's own table does not know the status.
    // SAFETY: A table look-up.
    let busy = unsafe { win32::RtlNtStatusToDosError(STATUS_DEVICE_BUSY as i32) };
    for _ in 0..5 {
        let _behaving = behave(|kernel| {
            kernel.inline = Chance::Always;
            kernel.warn_without_packet = true;
            kernel.warn.push_back(STATUS_DEVICE_BUSY);
        });
        let rejected = port.initiate_read_at(&device, READ, Vec::with_capacity(8), 0).unwrap_err();
        assert_eq!(rejected.error.raw_os_error(), Some(busy as i32));
        assert_eq!((rejected.returned.0, rejected.returned.1.capacity()), (READ, 8));
        // Whether a packet comes after all is known when it would have come.
        nothing_more(&port);
    }
    port.initiate_read_at(&device, READ, Vec::with_capacity(8), 0).unwrap();
    let buffer = complete(&port).operation.take_buffer::<Vec<u8>>().unwrap();
    assert_eq!(buffer, b"hello");
}

/// Whether Windows queues a packet of a datagram that is cut at once is not
/// known for certain.
#[test]
fn a_message_that_is_cut_at_once_without_a_packet_completes_all_the_same() {
    for in_scope in [false, true] {
        let port = port();
        let (client, server) = support::datagram_pair();
        let server = port.add_handle(server, 1).unwrap();
        client.send(b"hello world").unwrap();
        let mut buffer = *b"-----";
        let _behaving = behave(|kernel| {
            kernel.inline = Chance::Always;
            kernel.warn_without_packet = true;
        });
        let assert_cut = |completion: completion_port::CompletionStatus| {
            let error = completion.error_status.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MessageTruncated);
            assert_eq!((completion.context, completion.bytes_transferred), (READ, 5));
            completion.operation
        };
        if in_scope {
            port.scope(|scope| {
                scope.initiate_read(&server, READ, &mut buffer).unwrap();
                assert_cut(complete(&port));
            });
        } else {
            port.initiate_read(&server, READ, buffer).unwrap();
            buffer = assert_cut(complete(&port)).take_buffer().unwrap();
        }
        assert_eq!(&buffer, b"hello");
        nothing_more(&port);
    }
}

/// The longest message that the socket tells need not be what the system takes.
#[test]
fn a_message_that_the_system_refuses_as_too_long_comes_back() {
    let port = port();
    let (client, _server) = support::datagram_pair();
    let client = port.add_handle(client, 1).unwrap();
    let _behaving = behave(|kernel| kernel.refuse.extend([ws::WSAEMSGSIZE as u32; 8]));
    for _ in 0..8 {
        let rejected = port.initiate_write(&client, WRITE, "hello").unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
        assert_eq!(rejected.returned, (WRITE, "hello"));
    }
    nothing_more(&port);
}

/// Only of a datagram is it known that the buffer is full then.
#[test]
fn what_is_not_a_datagram_and_says_that_it_was_cut_has_no_bytes_without_a_status() {
    let file = support::temp_file("cut", "hello");
    let port = port();
    let device = port.add_handle(support::overlapped_file(file.path(), true, false), 1).unwrap();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 2).unwrap();
    client.write_all(b"hello").unwrap();
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.warn_without_packet = true;
        kernel.warn.extend([win32::STATUS_BUFFER_OVERFLOW as u32; 2]);
    });
    for rejected in [
        port.initiate_read_at(&device, READ, Vec::with_capacity(64), 0).unwrap_err(),
        port.initiate_read(&server, READ, Vec::with_capacity(64)).unwrap_err(),
    ] {
        assert!(rejected.returned.1.is_empty());
    }
    nothing_more(&port);
}

/// Wherever it is, it has other memory to be read into.
struct Halves {
    bytes: Box<[u8; 16]>,
    filled: std::ops::Range<usize>,
}

impl Halves {
    fn half(&self) -> usize {
        if ptr::from_ref(self).addr() / 128 % 2 == 0 { 0 } else { 8 }
    }
}

// SAFETY: The bytes are on the heap and initialised; where reads go depends on
// where the value is, and on nothing else.
unsafe impl completion_port::IoBuf for Halves {
    fn initialized(&self) -> (*const u8, usize) {
        let filled = &self.bytes[self.filled.clone()];
        (filled.as_ptr(), filled.len())
    }
}

// SAFETY: As above.
unsafe impl completion_port::IoBufMut for Halves {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        let filled = &mut self.bytes[self.filled.clone()];
        (filled.as_mut_ptr(), filled.len())
    }
    fn writable(&mut self) -> (*mut u8, usize) {
        let half = self.half();
        (self.bytes[half..half + 8].as_mut_ptr(), 8)
    }
    unsafe fn advance(&mut self, bytes: usize) {
        self.filled = self.half()..self.half() + bytes;
    }
}

#[test]
fn a_buffer_is_told_what_was_read_before_it_is_moved() {
    let file = support::temp_file("halves", "hello wo");
    let port = port();
    let (client, server) = support::datagram_pair();
    let server = port.add_handle(server, 1).unwrap();
    let device = port.add_handle(support::overlapped_file(file.path(), true, false), 1).unwrap();
    let device = device.skip_on_success().unwrap();
    let buffer = || Halves { bytes: Box::new([b'.'; 16]), filled: 0..0 };
    let assert_read = |mut completion: completion_port::CompletionStatus| {
        let buffer: Halves = completion.operation.take_buffer().unwrap();
        assert_eq!(&buffer.bytes[buffer.filled.clone()], b"hello wo");
    };
    let (_silent, other) = served(&port);
    for _ in 0..4 {
        // So that each round has another place in the port.
        port.initiate_read(&other, 9, [0; 4]).unwrap();
        client.send(b"hello world").unwrap();
        let behaving = behave(|kernel| {
            kernel.inline = Chance::Always;
            kernel.warn_without_packet = true;
        });
        port.initiate_read(&server, READ, buffer()).unwrap();
        assert_read(complete(&port));
        drop(behaving);
        let _behaving = behave(|kernel| {
            kernel.inline = Chance::Always;
            kernel.warn.push_back(STATUS_DEVICE_BUSY);
        });
        let started = port.initiate_read_at(&device, READ, buffer(), 0).unwrap();
        assert_read(started.completed().expect("the handle skips the port"));
    }
}

/// Each failure may leave a packet, as far as the code alone tells.
#[test]
fn a_device_that_is_not_ready_uses_up_no_operations() {
    let file = support::temp_file("not-ready", "hello");
    let port: Iocp = Iocp::builder().max_operations(4).build().unwrap();
    let device = port.add_handle(support::overlapped_file(file.path(), true, false), 1).unwrap();
    let _behaving = behave(|kernel| kernel.refuse.extend([win32::ERROR_NOT_READY; 6]));
    for _ in 0..6 {
        let rejected = port.initiate_read_at(&device, READ, [0; 4], 0).unwrap_err();
        assert_eq!(rejected.error.raw_os_error(), Some(win32::ERROR_NOT_READY as i32));
    }
    for _ in 0..4 {
        port.post(3, 0, 0).unwrap();
    }
    drop(complete_all(&port, 4));
}

/// A provider that says that an operation is over and queues its packet all the
/// same, and a thread that dequeues it before the call returns.
#[test]
fn an_operation_that_is_over_at_once_is_completed_once_whoever_is_first() {
    for dequeued_first in [Chance::Never, Chance::Always] {
        for leave_pending in [Chance::Never, Chance::Always] {
            let _behaving = behave(|kernel| {
                kernel.inline = Chance::Always;
                kernel.queue_skipped = true;
                kernel.dequeued_first = dequeued_first;
                kernel.leave_pending = leave_pending;
            });
            let port: Iocp<Box<u64>> = support::port_of();
            let (_client, server) = stream_pair();
            let server = port.add_handle(server, 7).unwrap().skip_on_success().unwrap();
            thread::scope(|scope| {
                let dequeuing = scope.spawn(|| match port.get_completion() {
                    Ok(completion) => Some(completion.context),
                    Err(error) => {
                        error.foreign_packet().unwrap();
                        None
                    }
                });
                let started = port.initiate_write(&server, Box::new(17), vec![1, 2, 3]).unwrap();
                let at_once = started.completed().map(|completion| completion.context);
                let queued = dequeuing.join().unwrap();
                assert_eq!(at_once.is_some(), queued.is_none());
                assert_eq!(at_once.or(queued).map(|context| *context), Some(17));
            });
        }
    }
}

/// Anybody can post a packet with the address of an operation; on a sound system
/// none but the operation's own comes with its result.
#[test]
fn a_forged_packet_takes_nothing_from_the_operation_whose_address_it_has() {
    for tracked in [false, true] {
        for written_at_dequeue in [Chance::Never, Chance::Always] {
            for status in [0, win32::STATUS_CANCELLED as u32, STATUS_DEVICE_BUSY] {
                let _behaving = behave(|kernel| kernel.written_at_dequeue = written_at_dequeue);
                let port = port();
                let address = own_address(&port);
                let (mut client, server) = stream_pair();
                let server = port.add_handle(server, 7).unwrap();
                let pending = port.initiate_read(&server, READ, vec![0; 8].into_boxed_slice());
                let pending = tracked.then_some(pending.unwrap());
                let forge =
                    || simulated_kernel::deliver(port.as_raw_handle(), 8, 9, address, status);
                let foreign = || port.get_completion().unwrap_err().foreign_packet().unwrap();
                forge();
                assert_eq!(foreign().overlapped, address);
                client.write_all(b"hello").unwrap();
                let mut completion = complete(&port);
                assert_eq!(completion.result(), Ok(5));
                forge();
                assert_eq!(foreign().overlapped, address);
                let buffer: Box<[u8]> = completion.operation.take_buffer().unwrap();
                assert_eq!(&buffer[..5], b"hello");
                drop(pending);
                nothing_more(&port);
            }
        }
    }
}

#[test]
fn of_a_packet_and_a_forged_one_dequeued_together_one_completes_the_operation() {
    for round in 0..support::few(200) {
        let port = port();
        let address = own_address(&port);
        let (mut client, server) = stream_pair();
        let server = port.add_handle(server, 7).unwrap();
        let pending = port.initiate_read(&server, round, [0; 8]).unwrap();
        let pending = (round % 2 == 0).then_some(pending);
        thread::scope(|scope| {
            let dequeue = || match port.get_completion() {
                Ok(completion) => Some(completion.context),
                Err(error) => error.foreign_packet().map_or_else(|| panic!("{error}"), |_| None),
            };
            let threads = [scope.spawn(dequeue), scope.spawn(dequeue)];
            client.write_all(b"hello").unwrap();
            post_raw(&port, 1, 2, address);
            let found: Vec<_> = threads.into_iter().filter_map(|t| t.join().unwrap()).collect();
            assert_eq!(found, [round]);
        });
        drop(pending);
    }
}

/// Packets of Wine's, and of drivers that break the rules, come late: after a call that
/// said that there would be none.
#[test]
fn a_buffer_that_panics_after_a_warning_leaves_no_place_to_a_late_packet() {
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 7).unwrap().skip_on_success().unwrap();
    client.write_all(b"hello").unwrap();
    let _behaviour = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.queue_skipped = true;
        kernel.warn.push_back(STATUS_BUFFER_OVERFLOW);
    });
    let read = || port.initiate_read(&server, 1, Panics(Vec::with_capacity(8))).map(drop);
    assert!(catch_unwind(AssertUnwindSafe(|| read().map_err(drop))).is_err());
    port.post(2, 55, 0).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (2, 55));
    nothing_more(&port);
}

/// A buffer that panics when it is told what was read.
struct Panics(Vec<u8>);

// SAFETY: As for a vector.
unsafe impl IoBuf for Panics {
    fn initialized(&self) -> (*const u8, usize) {
        self.0.initialized()
    }
}

// SAFETY: As for a vector.
unsafe impl IoBufMut for Panics {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.0.initialized_mut()
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.0.writable()
    }

    unsafe fn advance(&mut self, _: usize) {
        panic!("told")
    }
}

#[test]
fn a_cut_datagram_says_so_and_has_its_bytes_though_the_port_is_full() {
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let (client, server) = datagram_pair();
    let server = port.add_handle(server, 1).unwrap();
    client.send(b"hello world").unwrap();
    let _behaviour = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.warn_without_packet = true;
    });
    let rejected = port.initiate_read(&server, 1, Vec::with_capacity(5)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
    assert_eq!(rejected.returned.1, b"hello");
}

/// A scope looks through the queue, and puts back what is others'.
#[test]
#[cfg_attr(miri, ignore = "65,535 packets take it too long")]
fn a_late_packet_is_not_seen_though_a_scope_has_turned_it_and_its_marker_round() {
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 7).unwrap().skip_on_success().unwrap();
    let (_quiet_client, quiet) = stream_pair();
    let quiet = port.add_handle(quiet, 8).unwrap();
    client.write_all(b"hello").unwrap();
    // As many as a scope takes at a time: what is behind them stays where it is.
    let posts = (1 << 16) - 1;
    (0..posts).for_each(|_| port.post(1, 55, 0).unwrap());
    let _behaviour = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.queue_skipped = true;
        kernel.ignore_cancels = FOREVER;
        kernel.warn.push_back(STATUS_BUFFER_OVERFLOW);
    });
    let started = port.initiate_read(&server, 2, Vec::with_capacity(8)).unwrap();
    assert!(started.completed().is_some());
    thread::scope(|threads| {
        threads.spawn(|| {
            let mut buffer = [0; 8];
            port.scope(|scope| drop(scope.initiate_read(&quiet, 3, &mut buffer).unwrap()));
        });
        eventually("a look through the queue", || dequeues(port.as_raw_handle()) >= posts);
        eventually("all are back", || queued(port.as_raw_handle()) > posts);
        // The marker, if it is the first now. The scope pauses longer than it has looked.
        assert_eq!(complete(&port).handle_context, 55);
        heed_cancels();
    });
    for _ in 1..posts {
        let completion = complete(&port);
        assert_eq!(completion.handle_context, 55, "context {}", completion.context);
    }
    nothing_more(&port);
}

#[test]
fn a_call_that_failed_takes_up_no_place_though_its_marker_was_refused_at_first() {
    let file = temp_file("refused-marker", "hello");
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let device = port.add_handle(overlapped_file(file.path(), true, false), 1).unwrap();
    let behaviour = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.warn_without_packet = true;
        kernel.warn.push_back(STATUS_DEVICE_BUSY);
        kernel.refuse_posts = 1;
    });
    drop(port.initiate_read_at(&device, 1, Vec::with_capacity(8), 0).unwrap_err());
    drop(behaviour);
    nothing_more(&port);
    port.post(1, 2, 3).expect("nothing is in flight");
    assert_eq!(complete(&port).context, 1);
}

/// Statuses of drivers' own can be anything.
#[test]
fn any_status_of_a_driver_ends_the_operation() {
    let port = port();
    let (mut client, server) = served(&port);
    for status in [u32::MAX, 0xE000_0103, 0xC000_0103, 0xE000_0000] {
        let _behaviour = behave(|kernel| {
            kernel.inline = Chance::Never;
            kernel.fail.push_back(status);
        });
        drop(port.initiate_read(&server, 1, vec![0; 8].into_boxed_slice()).unwrap());
        client.write_all(b"hello").unwrap();
        let error = complete(&port).error_status.unwrap_err();
        assert_eq!(error.ntstatus(), Some(status));
    }
}

#[test]
fn a_receive_goes_on_when_nobody_was_found() {
    both(|inline| {
        let _behaving = behave(inline);
        let port = port();
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
        socket.get_ref().send_to(b"hello", nobody).unwrap();
        let rejected = port.initiate_read(&socket, READ, [0; 8]).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ConnectionReset);

        socket.ignore_unreachable().unwrap();
        socket.get_ref().send_to(b"hello", nobody).unwrap();
        port.initiate_read(&socket, READ, [0; 8]).unwrap();
        assert!(socket.cancel_all().unwrap());
        assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    });
}

/// A datagram cut or not, with its control data cut or not: each is told by itself.
#[test]
fn what_was_cut_of_a_message_is_told_apart() {
    fn check<const ROOM: usize>(datagram_is_cut: bool, control_is_cut: bool, late: bool) {
        let port = port();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
        let to = server.get_ref().local_addr().unwrap();
        server.receive_packet_info(true).unwrap();
        let send = || client.send_to(b"hello", to).unwrap();
        if !late {
            send();
        }
        let buffer = Vec::with_capacity(if datagram_is_cut { 4 } else { 5 });
        let receive = op::ReceiveMessage::new(buffer).control_room::<ROOM>();
        port.initiate(&server, READ, receive).unwrap();
        if late {
            send();
        }
        let mut completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        let message: op::Message<Vec<u8>, ROOM> = completion.operation.output().unwrap();
        let bytes = if datagram_is_cut { &b"hell"[..] } else { b"hello" };
        assert_eq!(
            (&message.buffer[..], completion.bytes_transferred as usize),
            (bytes, bytes.len())
        );
        assert_eq!(message.from, Some(client.local_addr().unwrap()));
        assert_eq!(message.is_truncated(), datagram_is_cut);
        assert_eq!(message.is_control_truncated(), control_is_cut);
        let arrived = message.control.packet_info().map(|info| info.address);
        assert_eq!(arrived, (!control_is_cut).then_some(to.ip()));
        nothing_more(&port);
    }
    both(|inline| {
        for written_at_dequeue in [Chance::Always, Chance::Never] {
            let _behaving = behave(|kernel| {
                inline(kernel);
                kernel.written_at_dequeue = written_at_dequeue;
            });
            for (late, cut) in [(false, false), (false, true), (true, false), (true, true)] {
                check::<160>(cut, false, late);
                check::<0>(cut, true, late);
                check::<8>(cut, true, late);
            }
        }
    });
}

/// It may be its control data that was cut, and the buffer not full.
#[test]
fn a_message_that_is_cut_at_once_without_a_status_is_refused_as_cut() {
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.warn_without_packet = true;
    });
    let port = port();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
    client.send_to(b"hello", server.get_ref().local_addr().unwrap()).unwrap();
    let receive = op::ReceiveMessage::new(Vec::with_capacity(4));
    let rejected = port.initiate(&server, READ, receive).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
    nothing_more(&port);
}

#[test]
fn datagrams_that_arrive_as_one_may_not_tell_how_long_each_is() {
    both(|inline| {
        for untold in [false, true] {
            let _behaving = behave(|kernel| {
                inline(kernel);
                kernel.untold_segments = untold;
            });
            let port = port();
            let client = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
            let server = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
            let to = server.get_ref().local_addr().unwrap();
            for coalesces in [true, false] {
                server.receive_coalesced(if coalesces { 65_527 } else { 0 }).unwrap();
                let send = op::SendMessage::new([7; 2440], to).segment_size(1220);
                port.initiate(&client, WRITE, send).unwrap();
                assert_eq!(complete(&port).error_status, Ok(()));
                for _ in 0..if coalesces { 1 } else { 2 } {
                    let receive = op::ReceiveMessage::new(Vec::with_capacity(4096));
                    port.initiate(&server, READ, receive).unwrap();
                    let mut completion = complete(&port);
                    let message: op::Message<Vec<u8>> = completion.operation.output().unwrap();
                    assert_eq!(message.buffer.len(), if coalesces { 2440 } else { 1220 });
                    let size = (coalesces && !untold).then_some(1220);
                    assert_eq!(message.control.coalesced_size(), size);
                }
            }
        }
    });
}

#[test]
fn a_message_may_be_refused_fail_late_or_report_more_than_there_is() {
    both(|inline| {
        let _behaving = behave(|kernel| {
            inline(kernel);
            kernel.refuse = [ws::WSAENOBUFS as u32, ws::WSAENOBUFS as u32].into();
        });
        let port = port();
        let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
        let to = socket.get_ref().local_addr().unwrap();
        let receive = || op::ReceiveMessage::new(Vec::with_capacity(8));
        let rejected = port.initiate(&socket, READ, receive()).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(rejected.returned.1.0.0.capacity(), 8);
        let send = || op::SendMessage::new("12345678", to).ecn(op::Ecn::Capable1);
        let rejected = port.initiate(&socket, WRITE, send()).unwrap_err();
        assert_eq!(rejected.error.call(), Some("WSASendMsg"));
        assert_eq!(rejected.returned.1.1.address(), Some(to));
        assert_eq!(rejected.returned.1.1.control().ecn(), Some(op::Ecn::Capable1));

        let _behaving = behave(|kernel| kernel.over_report = 100);
        port.initiate(&socket, WRITE, send()).unwrap();
        assert_eq!(complete(&port).operation.output(), Ok("12345678"));
        port.initiate(&socket, READ, receive()).unwrap();
        let message: op::Message<Vec<u8>> = complete(&port).operation.output().unwrap();
        assert_eq!(message.buffer, b"12345678");
    });
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Never;
        kernel.fail = [win32::STATUS_INSUFFICIENT_RESOURCES as u32].into();
    });
    let port = port();
    let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
    socket.receive_packet_info(true).unwrap();
    port.initiate(&socket, READ, op::ReceiveMessage::new([7; 4])).unwrap();
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(&[1; 4], socket.get_ref().local_addr().unwrap())
        .unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    let message: op::Message<[u8; 4]> = completion.operation.output().unwrap();
    assert_eq!((message.from, message.control.iter().count()), (None, 0));
}

/// The memory of messages is the kernel's until it says so.
#[test]
fn a_message_in_flight_may_be_written_to_after_its_socket_is_closed() {
    let behaving = behave(|kernel| kernel.ignore_cancels = FOREVER);
    let port = port();
    let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).unwrap();
    drop(
        port.initiate(&socket, READ, op::ReceiveMessage::new(vec![0; 8].into_boxed_slice()))
            .unwrap(),
    );
    drop(socket);
    assert_eq!(scribble(), 1);
    heed_cancels();
    assert!(complete(&port).error_status.is_err());
    drop(behaving);
}

#[test]
fn a_socket_whose_disconnect_has_failed_is_not_to_be_reused() {
    let behaving = behave(|kernel| {
        kernel.inline = Chance::Never;
        kernel.refuse = [ws::WSAENOBUFS as u32].into();
        kernel.fail = [win32::STATUS_INSUFFICIENT_RESOURCES as u32].into();
    });
    let port = port();
    let (client, server) = served(&port);
    let disconnect = || op::Disconnect::new().for_reuse();
    let rejected = port.initiate(&server, 1, disconnect()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
    port.initiate(&server, 1, disconnect()).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    assert!(completion.operation.take::<op::Reusable>().is_none());
    drop((client, behaving));
}

#[test]
fn a_transmission_may_be_refused_fail_late_or_report_more_than_there_is() {
    type Transmitted = op::Transmitted<Arc<std::fs::File>, &'static str, &'static str>;
    let temp = temp_file("transmit", "hello");
    let file = Arc::new(overlapped_file(temp.path(), true, false));
    let transmit = || op::TransmitFile::new(Arc::clone(&file), 0, 5).head("head").tail("tail");
    both(|inline| {
        let _behaving = behave(|kernel| {
            inline(kernel);
            kernel.refuse = [ws::WSAENOBUFS as u32].into();
            kernel.over_report = 100;
        });
        let port = port();
        let (mut client, server) = served(&port);
        let rejected = port.initiate(&server, WRITE, transmit()).unwrap_err();
        assert_eq!(rejected.error.call(), Some("TransmitFile"));
        let (op::Keeps((it, length)), (_, (head, tail))) = rejected.returned.1;
        assert!(Arc::ptr_eq(&it, &file));
        assert_eq!((length, head.0, tail.0), (5, "head", "tail"));

        port.initiate(&server, WRITE, transmit()).unwrap();
        let it: Transmitted = complete(&port).operation.output().unwrap();
        assert_eq!((it.head, it.tail, it.missing), ("head", "tail", 0));
        let mut received = [0; 13];
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"headhellotail");
    });
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Never;
        kernel.fail = [win32::STATUS_INSUFFICIENT_RESOURCES as u32].into();
    });
    let port = port();
    let (_client, server) = served(&port);
    port.initiate(&server, WRITE, transmit()).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    let it: Transmitted = completion.operation.output().unwrap();
    assert_eq!((it.head, it.tail, it.missing), ("head", "tail", 13));
    drop((it, server));
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn packets_may_be_refused_fail_late_or_report_more_than_there_is() {
    type Range = op::FileRange<Arc<std::fs::File>>;
    type Transmitted = op::TransmittedPackets<(&'static str, Range, Range)>;
    let temp = temp_file("packets", "hello");
    let file = Arc::new(overlapped_file(temp.path(), true, false));
    let range = |length| op::FileRange::new(Arc::clone(&file), 0, length);
    let transmit = || op::TransmitPackets::new(("head", range(5), range(0)));
    both(|inline| {
        let _behaving = behave(|kernel| {
            inline(kernel);
            kernel.refuse = [ws::WSAENOBUFS as u32].into();
            kernel.over_report = 100;
        });
        let port = port();
        let (mut client, server) = served(&port);
        let rejected = port.initiate(&server, WRITE, transmit()).unwrap_err();
        assert_eq!(rejected.error.call(), Some("TransmitPackets"));
        let (_, (op::Sends(head), (op::Keeps(range), _))) = rejected.returned.1;
        assert!(head == "head" && Arc::ptr_eq(&range.file, &file));

        port.initiate(&server, WRITE, transmit()).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.bytes_transferred, 109);
        let it: Transmitted = completion.operation.output().unwrap();
        assert_eq!((it.elements.0, it.missing), ("head", 0));
        let mut received = [0; 9];
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"headhello");
    });
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Never;
        kernel.fail = [win32::STATUS_INSUFFICIENT_RESOURCES as u32].into();
    });
    let port = port();
    let (_client, server) = served(&port);
    port.initiate(&server, WRITE, transmit()).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    let it: Transmitted = completion.operation.output().unwrap();
    assert_eq!((it.elements.0, it.missing), ("head", 9));
    drop((it, server));
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn a_provider_without_a_function_is_told_by_name() {
    let _behaving = behave(|kernel| kernel.layered = true);
    let port = port();
    let (_client, server) = served(&port);
    let rejected = port.initiate(&server, WRITE, op::TransmitPackets::new("!")).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert!(rejected.error.to_string().contains("provider"), "{rejected}");
    assert_eq!(rejected.returned.1.1, op::Sends("!"));
}

#[test]
fn a_handle_stays_at_its_port_where_the_system_is_old_or_busy() {
    let (port, other) = (port(), port_of::<usize>());
    let (mut client, server) = served(&port);
    let behaving = behave(|kernel| kernel.replaces_ports = false);
    let rejected = port.remove_handle(server).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert!(rejected.error.to_string().contains("Windows 8.1"), "{rejected}");
    let rejected = port.move_handle(rejected.returned, &other, 8).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    drop(behaving);

    // Other code reads through a duplicate: only the system knows.
    let foreign = Box::into_raw(Box::new(OVERLAPPED::default()));
    let buffer = Box::into_raw(Box::new([0_u8; 8]));
    let (lent, mut flags) = (ws::WSABUF { len: 8, buf: buffer.cast() }, 0);
    // SAFETY: Buffer and OVERLAPPED stay until the packet has come.
    let started = unsafe {
        let socket = rejected.returned.as_raw_socket() as ws::SOCKET;
        ws::WSARecv(socket, &raw const lent, 1, ptr::null_mut(), &raw mut flags, foreign, None)
    };
    assert_eq!(started, ws::SOCKET_ERROR);
    let rejected = port.move_handle(rejected.returned, &other, 8).unwrap_err();
    assert_eq!(rejected.error.call(), Some("NtSetInformationFile"));
    client.write_all(b"hello").unwrap();
    let error = port.get_completion().unwrap_err();
    assert_eq!(error.foreign_packet().unwrap().completion_key, 7);
    // SAFETY: The packet has come.
    drop(unsafe { (Box::from_raw(foreign), Box::from_raw(buffer)) });
    let server = port.move_handle(rejected.returned, &other, 8).unwrap();
    other.initiate_write(&server, WRITE, "!").unwrap();
    assert_eq!(complete(&other).handle_context, 8);
}

#[test]
fn an_older_system_says_that_it_has_no_unix_sockets() {
    let _behaving = behave(|kernel| kernel.has_unix = false);
    let error = completion_port::unix::listen("path").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("AF_UNIX"), "{error}");
    let error = completion_port::unix::connect("path").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// Each has a way back of its own: a packet that it posts to itself.
#[test]
fn all_instances_of_a_pipe_come_back_after_a_shortage_without_a_client() {
    const SLOTS: usize = 3;
    const CLIENT: usize = 100;
    let name = format!(r"\\.\pipe\{}", support::unique("shortage"));
    let options = completion_port::pipe::ServerOptions::new().max_instances(SLOTS as u8);
    let port = port();
    let mut slots: Vec<Option<Associated<_>>> = Vec::new();
    slots.resize_with(SLOTS, || None);
    // Creating one is refused, or waiting on it is: what it has is closed then.
    let arm = |slot: usize| {
        let server = options.create_next(&name)?;
        let server = port.add_handle(server, slot)?;
        port.initiate(&server, CLIENT, op::ConnectPipe::new())?;
        Ok::<_, completion_port::Error>(server)
    };
    let behaving = behave(|kernel| {
        kernel.refuse_pipes = SLOTS as u32;
        kernel.refuse = [win32::ERROR_NO_SYSTEM_RESOURCES; SLOTS].into();
    });
    (0..SLOTS).for_each(|slot| port.post(slot, 0, 0).unwrap());
    let mut refused = 0;
    while slots.iter().any(Option::is_none) {
        let slot = complete(&port).context;
        match arm(slot) {
            Ok(server) => slots[slot] = Some(server),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
                refused += 1;
                port.post(slot, 0, 0).unwrap();
            }
        }
    }
    assert_eq!(refused, 2 * SLOTS);
    nothing_more(&port);
    let clients: Vec<_> = (0..SLOTS).map(|_| support::pipe_client(&name, false).unwrap()).collect();
    let mut served: Vec<_> =
        complete_all(&port, SLOTS).iter().map(|completion| completion.handle_context).collect();
    served.sort_unstable();
    assert_eq!(served, [0, 1, 2]);
    drop((clients, behaving));
}

#[test]
fn a_wait_for_a_pipe_may_be_refused_or_fail_late_or_be_over_at_once() {
    let name = format!(r"\\.\pipe\{}", support::unique("wait"));
    let port = port();
    let pipes = port.add_handle(simulated_kernel::open_pipe_file_system(), 1).unwrap();
    let wait = || op::WaitForPipe::new(&name).unwrap();
    let _free = support::pipe_server(&name, false);
    both(|inline| {
        let _behaving = behave(|kernel| {
            inline(kernel);
            kernel.refuse = [win32::STATUS_INSUFFICIENT_RESOURCES as u32].into();
            kernel.over_report = 100;
        });
        let rejected = port.initiate(&pipes, 2, wait()).unwrap_err();
        // Miri's own RtlNtStatusToDosError does not know the status.
        assert!(cfg!(miri) || rejected.error.kind() == ErrorKind::ResourceExhausted);
        assert_eq!(rejected.error.call(), Some("NtFsControlFile"));
        assert!(rejected.returned.1.0.len() > 14);
        let mut pending = port.initiate(&pipes, 2, wait()).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        assert_eq!(pending.take(), Some(()));
        nothing_more(&port);
    });
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Never;
        kernel.fail = [win32::STATUS_INSUFFICIENT_RESOURCES as u32].into();
    });
    port.initiate(&pipes, 2, wait()).unwrap();
    let kind = complete(&port).error_status.unwrap_err().kind();
    assert!(cfg!(miri) || kind == ErrorKind::ResourceExhausted);
}

#[test]
fn a_read_of_a_pipe_that_fits_exactly_is_over_at_once_or_later() {
    both(|inline| {
        let _behaving = behave(inline);
        for messages in [false, true] {
            let port = port();
            let (server, client) = pipe_pair(messages);
            let (server, client) = (port.add_handle(server, 1), port.add_handle(client, 2));
            let (server, client) = (server.unwrap(), client.unwrap());
            port.initiate_write(&client, WRITE, "exact").unwrap();
            assert_eq!(complete(&port).context, WRITE);
            port.initiate_read(&server, READ, [0; 5]).unwrap();
            let mut completion = complete(&port);
            assert_eq!((completion.context, completion.bytes_transferred), (READ, 5));
            assert_eq!(&completion.operation.take_buffer::<[u8; 5]>().unwrap(), b"exact");
            nothing_more(&port);
            assert_eq!(port.in_flight(), 0);
        }
    });
}

/// Only the plain call is made, which all systems have: there is one layout.
#[test]
fn a_volume_that_tells_no_changes_is_refused_by_name() {
    let port = port();
    let directory = port.add_handle(simulated_kernel::open_directory(), 1).unwrap();
    let _behaving = behave(|kernel| kernel.refuse = [win32::ERROR_NOT_SUPPORTED].into());
    let watch = || op::WatchDirectory::new(op::Changes::with_capacity(64));
    let rejected = port.initiate(&directory, 2, watch()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.error.call(), Some("ReadDirectoryChangesW"));
    let op::Fills(changes) = rejected.returned.1;
    assert_eq!(changes.initialized().1, 64);
    // Another volume has them.
    port.initiate(&directory, 2, op::WatchDirectory::new(changes)).unwrap();
}

#[test]
fn each_provider_has_its_own_functions() {
    let port = port();
    for layered in [false, true, false, true] {
        let _behaving = behave(|kernel| kernel.layered = layered);
        let (_client, server) = served(&port);
        let started = port.initiate(&server, WRITE, op::Disconnect::new());
        if layered {
            assert_eq!(started.unwrap_err().error.kind(), ErrorKind::Unsupported);
        } else {
            started.unwrap();
            assert_eq!(complete(&port).error_status, Ok(()));
        }
    }
}

#[test]
fn what_the_program_has_cancelled_before_its_deadline_has_not_timed_out() {
    let port = port();
    let (_client, server) = served(&port);
    for asks in [true, false] {
        let behaving = behave(|kernel| kernel.slow_cancels = 1);
        let read = port.initiate_read(&server, READ, Vec::with_capacity(64)).unwrap();
        read.set_deadline(Instant::now() + Duration::from_millis(1)).unwrap();
        if asks {
            assert_eq!(read.cancel(), Ok(true));
        }
        // Behind its deadline, at which it is cancelled for the second time, or first.
        port.after(Duration::from_millis(2), 7).unwrap();
        let mut completions = vec![complete(&port)];
        if !asks {
            assert_eq!(completions[0].context, 7);
            assert_eq!(read.cancel(), Ok(true));
        }
        completions.push(complete(&port));
        completions.retain(|completion| completion.context == READ);
        let kind = if asks { ErrorKind::Cancelled } else { ErrorKind::TimedOut };
        let ended = completions.pop().unwrap();
        assert_eq!(ended.error_status.unwrap_err().kind(), kind);
        drop(behaving);
    }
}

#[test]
fn data_that_comes_before_the_cancel_of_a_deadline_takes_effect_is_delivered() {
    let port = port();
    let (mut client, server) = served(&port);
    let _behaving = behave(|kernel| {
        kernel.cancel_loses = Chance::Always;
        kernel.ignore_cancels = FOREVER;
    });
    let mut read = port.initiate_read(&server, READ, Vec::with_capacity(64)).unwrap();
    read.set_deadline(Instant::now()).unwrap();
    // Behind its deadline.
    port.after(Duration::from_millis(1), 7).unwrap();
    assert_eq!(complete(&port).context, 7);
    client.write_all(b"hello").unwrap();
    heed_cancels();
    assert_eq!(complete(&port).result(), Ok(5));
    assert_eq!(read.take_buffer().unwrap(), b"hello");
}

#[test]
fn a_thread_is_woken_though_there_is_no_memory_at_first() {
    let port = port();
    let mut parker = port.parker().unwrap();
    let unparker = parker.unparker();
    let _behaving = behave(|kernel| kernel.refuse_calls = 2);
    let mut batch = Batch::with_capacity(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            eventually("it waits", || waiting(port.as_raw_handle()) == 1);
            unparker.unpark();
        });
        assert_eq!(parker.park(&mut batch, None), Ok(0));
    });
}

#[test]
fn nobody_parks_whom_the_system_gives_no_handle() {
    let port = port();
    let _behaving = behave(|kernel| kernel.refuse_threads = 3);
    let refused = |error: completion_port::Error| {
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(error.call(), Some("OpenThread"));
    };
    refused(port.parker().map(drop).unwrap_err());
    refused(port.block_on_with(std::future::ready(()), drop).unwrap_err());
    let error = Driver::spawn(&port).map(drop).unwrap_err();
    refused(*error.into_inner().unwrap().downcast().unwrap());
    Driver::spawn(&port).unwrap().stop().unwrap();
}
