//! What a kernel may do at any time, but seldom does: the simulated kernel does
//! it when it is told to.
#![cfg(simulated_kernel)] // other kernels cannot be told

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{AsRawHandle, AsRawSocket, IntoRawSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::{Associated, Batch, ErrorKind, Iocp, Started, unconnected_stream};
use simulated_kernel::{
    Behaviour, Chance, FOREVER, PROCESSORS, behave, close_elsewhere, concurrency, deliver,
    dequeues, heed_cancels, queued, scribble, waiting,
};
use support::{
    PATIENCE, close_raw_socket, complete, complete_all, eventually, few, nothing_more, own_address,
    pipe_pair, port, port_of, post_raw, shrink_buffers, stream_pair,
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

#[test]
fn a_time_out_is_an_error_though_its_status_has_the_severity_of_a_success() {
    const STATUS_TIMEOUT: u32 = 0x0000_0102;
    let port = port();
    let (mut client, server) = served(&port);
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Never;
        kernel.fail.extend([STATUS_TIMEOUT; 2]);
    });
    for is_tracked in [true, false] {
        client.write_all(b"hello").unwrap();
        let pending = port.initiate_read(&server, READ, Vec::with_capacity(5)).unwrap();
        let pending = is_tracked.then_some(pending);
        let error = complete(&port).error_status.unwrap_err();
        assert_eq!((error.kind(), error.ntstatus()), (ErrorKind::TimedOut, Some(STATUS_TIMEOUT)));
        assert!(pending.is_none_or(|pending| pending.result() == Some(Err(error))));
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

#[test]
fn a_connection_whose_listener_is_closed_before_its_packet_is_dequeued_is_aborted() {
    let port = port();
    let listener = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 9).unwrap();
    let mut pending = port.initiate_accept(&listener, 4).unwrap();
    let _client = TcpStream::connect(listener.get_ref().local_addr().unwrap()).unwrap();
    eventually("it is accepted", || queued(port.as_raw_handle()) == 1);
    drop(listener);
    let mut completion = complete(&port);
    let error = completion.error_status.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(pending.result(), Some(Err(error)));
    assert!(pending.take_accepted().or(completion.operation.take_accepted()).is_none());
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
    let port: Iocp<String> = Iocp::builder().build().unwrap();
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
    const LOOKS: usize = few(20);
    for others in [0, 1, few(30)] {
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
            eventually("the scope has looked a few times", || {
                dequeues(port.as_raw_handle()) > LOOKS * (others + 1)
            });
            heed_cancels();
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

/// The call fails with a code that errors have, too, of which no packet comes.
#[test]
fn the_packet_of_a_device_that_warns_at_once_is_not_seen_and_completes_nothing_else() {
    const STATUS_DEVICE_BUSY: u32 = 0x8000_0011;
    let file = support::temp_file("warns", "hello");
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let device = port.add_handle(support::overlapped_file(file.path(), true, false), 1).unwrap();
    let _behaving = behave(|kernel| {
        kernel.inline = Chance::Always;
        kernel.written_at_dequeue = Chance::Never;
        kernel.warn.push_back(STATUS_DEVICE_BUSY);
    });
    let rejected = port.initiate_read_at(&device, READ, Vec::with_capacity(8), 0).unwrap_err();
    assert_eq!(rejected.error.raw_os_error(), Some(win32::ERROR_BUSY as i32));
    assert_eq!((rejected.returned.0, rejected.returned.1.capacity()), (READ, 8));
    // Until it has come, nobody else has its memory.
    let rejected = port.post(3, 0, 0).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    thread::scope(|scope| {
        // A thread that waits for ever finds the packet, and goes on waiting.
        let other = scope.spawn(|| port.get_completion().unwrap().context);
        eventually("its place is free", || port.post(4, 0, 0).is_ok());
        assert_eq!(other.join().unwrap(), 4);
    });
    port.initiate_read_at(&device, READ, Vec::with_capacity(8), 0).unwrap();
    let buffer = complete(&port).operation.take_buffer::<Vec<u8>>().unwrap();
    assert_eq!(buffer, b"hello");
    nothing_more(&port);
}
