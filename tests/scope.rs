//! Operations on borrowed buffers.
#![cfg(windows)]

mod support;

use std::io::{Read, Write};
use std::mem;
use std::net::TcpStream;
use std::os::windows::io::OwnedHandle;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::{Associated, Batch, ErrorKind, Iocp, OperationKind};
use support::ledger::Ledger;
use support::{
    BlockingPipe, PATIENCE, assert_ended_by_drop, complete, complete_all, eventually, few,
    nothing_more, overlapped_file, pattern, pattern_from, pipe_pair, port, port_of, post_raw,
    stream_pair, temp_file,
};

type Pipe = Associated<OwnedHandle>;

/// A pipe end on the port, and the other end for blocking writes.
fn quiet_pipe<C: Send>(port: &Iocp<C>) -> (Pipe, BlockingPipe) {
    let (server, client) = pipe_pair(false);
    (port.add_handle(server, 9).unwrap(), client.into())
}

fn quiet_stream<C: Send>(port: &Iocp<C>) -> (Associated<TcpStream>, TcpStream) {
    let (stream, peer) = stream_pair();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (port.add_handle(stream, 8).unwrap(), peer)
}

#[test]
fn a_borrowed_array_is_read_into() {
    let port = port();
    let (stream, mut peer) = quiet_stream(&port);
    peer.write_all(b"hello").unwrap();
    let mut buffer = [b'.'; 8];
    let count = port.scope(|scope| {
        scope.initiate_read(&stream, 456, &mut buffer).unwrap();
        let completion = complete(&port);
        assert_eq!((completion.context, completion.handle_context), (456, 8));
        assert_eq!(completion.operation.kind(), OperationKind::Read);
        completion.error_status.unwrap();
        completion.bytes_transferred
    });
    assert_eq!((buffer, count), (*b"hello...", 5));
}

#[test]
fn a_part_of_a_borrowed_vector_is_overwritten() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    peer.write_all(b"hello").unwrap();
    let mut buffer = b"0123456789".to_vec();
    port.scope(|scope| {
        scope.initiate_read(&pipe, 1, &mut buffer[3..6]).unwrap();
        assert_eq!(complete(&port).bytes_transferred, 3);
    });
    assert_eq!(buffer, b"012hel6789");
}

#[test]
fn borrowed_bytes_are_written_to_a_socket() {
    let port = port();
    let (stream, mut peer) = quiet_stream(&port);
    let text = String::from("hello world");
    port.scope(|scope| {
        scope.initiate_write(&stream, 1, text.as_bytes()).unwrap();
        scope.initiate_write(&stream, 2, &text.as_bytes()[5..]).unwrap();
        for completion in complete_all(&port, 2) {
            assert_eq!(completion.operation.kind(), OperationKind::Write);
            completion.error_status.unwrap();
        }
        // Both borrow the same text, which may be read meanwhile.
        assert_eq!(text.len(), 11);
    });
    let mut found = [0; 17];
    peer.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"hello world world");
}

#[test]
fn a_file_is_written_and_read_at_offsets() {
    let port = port();
    let temp = temp_file("scope", "0123456789");
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 3).unwrap();
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        scope.initiate_write_at(&file, 1, b"hello", 8).unwrap();
        assert_eq!(complete(&port).bytes_transferred, 5);
        scope.initiate_read_at(&file, 2, &mut buffer, 7).unwrap();
        assert_eq!(complete(&port).bytes_transferred, 6);
    });
    assert_eq!(&buffer, b"7hello..");
    drop(file);
    assert_eq!(temp.contents(), b"01234567hello");
}

#[test]
fn the_end_of_a_file_or_pipe_is_a_success_with_no_bytes() {
    let port = port();
    let temp = temp_file("scope-end", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    let (pipe, peer) = quiet_pipe(&port);
    drop(peer);
    let (mut from_file, mut from_pipe) = ([b'.'; 8], [b'.'; 8]);
    port.scope(|scope| {
        let of_file = scope.initiate_read_at(&file, 1, &mut from_file, 5).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        assert_eq!(of_file.result(), Some(Ok(0)));
        // Found at once, and delivered through the port all the same.
        let of_pipe = scope.initiate_read(&pipe, 2, &mut from_pipe).unwrap();
        let completion = complete(&port);
        assert_eq!((completion.context, completion.error_status), (2, Ok(())));
        assert_eq!(of_pipe.result(), Some(Ok(0)));
    });
    assert_eq!((from_file, from_pipe), ([b'.'; 8], [b'.'; 8]));
    nothing_more(&port);
}

#[test]
fn the_buffer_comes_back_from_the_pending_within_the_scope() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        let mut pending = scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
        assert!(!pending.is_completed());
        assert!(pending.take_buffer().is_none());
        assert!(pending.result().is_none());
        peer.write_all(b"hello").unwrap();
        let mut completion = complete(&port);
        // Only the `Pending` knows for how long it is borrowed.
        assert!(completion.operation.take_buffer::<&'static mut [u8]>().is_none());
        assert_eq!(pending.result(), Some(Ok(5)));
        let again = pending.take_buffer().unwrap();
        assert_eq!(again, b"hello...");
        assert!(pending.take_buffer().is_none());
        // And is used once more, in the same scope.
        scope.initiate_read(&pipe, 2, &mut again[5..]).unwrap();
        peer.write_all(b"!!!").unwrap();
        complete(&port);
    });
    assert_eq!(&buffer, b"hello!!!");
}

#[test]
fn bytes_being_written_come_back_from_the_pending() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let text = String::from("hello");
    port.scope(|scope| {
        let mut pending = scope.initiate_write(&pipe, 1, text.as_bytes()).unwrap();
        complete(&port);
        assert_eq!(pending.take_buffer(), Some(text.as_bytes()));
    });
    let mut found = [0; 5];
    peer.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"hello");
}

#[test]
fn what_is_in_flight_at_the_end_of_the_scope_is_cancelled_and_touches_the_buffer_no_more() {
    let port = port();
    let (pipe, mut pipe_peer) = quiet_pipe(&port);
    let (stream, mut stream_peer) = quiet_stream(&port);
    let mut buffers = [[b'.'; 8]; 2];
    port.scope(|scope| {
        let [from_pipe, from_stream] = &mut buffers;
        scope.initiate_read(&pipe, 1, from_pipe).unwrap();
        scope.initiate_read(&stream, 2, from_stream).unwrap();
    });
    // No completion is left behind.
    nothing_more(&port);
    pipe_peer.write_all(b"later").unwrap();
    stream_peer.write_all(b"later").unwrap();
    // The bytes go to whoever reads next.
    port.initiate_read(&pipe, 3, [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<[u8; 5]>(), Some(*b"later"));
    port.initiate_read(&stream, 4, [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<[u8; 5]>(), Some(*b"later"));
    assert_eq!(buffers, [[b'.'; 8]; 2]);
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_forgotten_pending_is_waited_for_as_well() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        mem::forget(scope.initiate_read(&pipe, 1, &mut buffer).unwrap());
    });
    peer.write_all(b"later").unwrap();
    nothing_more(&port);
    assert_eq!(buffer, [b'.'; 8]);
    port.initiate_read(&pipe, 3, [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<[u8; 5]>(), Some(*b"later"));
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_forgotten_completion_does_not_keep_the_scope_open() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
        peer.write_all(b"hello").unwrap();
        mem::forget(complete(&port));
    });
    assert_eq!(&buffer, b"hello...");
}

#[test]
fn a_completion_that_outlives_its_scope_has_no_buffer() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    let mut completion = port.scope(|scope| {
        scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
        peer.write_all(b"hello").unwrap();
        complete(&port)
    });
    buffer[0] = b'J';
    assert_eq!(completion.bytes_transferred, 5);
    assert!(completion.operation.take_buffer::<&'static mut [u8]>().is_none());
    assert!(completion.operation.take_buffer::<&'static [u8]>().is_none());
    drop(completion);
    assert_eq!(&buffer, b"Jello...");
}

#[test]
fn a_batch_that_outlives_its_scope_keeps_nothing_borrowed() {
    let ledger = Ledger::new(2);
    let port = port_of();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut batch = Batch::with_capacity(4);
    let mut buffers = vec![[b'.'; 4]; 2];
    port.scope(|scope| {
        for (i, buffer) in buffers.iter_mut().enumerate() {
            scope.initiate_read(&pipe, ledger.entry(i), buffer).unwrap();
        }
        peer.write_all(b"oneX").unwrap();
        assert_eq!(port.get_completions(&mut batch, Some(PATIENCE)), Ok(1));
    });
    // The second was cancelled and dropped; the first waits in the batch.
    assert_eq!(ledger.drops(), [0, 1]);
    assert_eq!(buffers, [*b"oneX", *b"...."]);
    // It goes back to its owner before the batch does.
    drop(buffers);
    let completion = batch.next().unwrap().unwrap();
    assert_eq!((completion.context.index, completion.bytes_transferred), (0, 4));
}

#[test]
fn a_panic_in_the_body_cancels_and_goes_on_with_the_buffer_intact() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    let caught = catch_unwind(AssertUnwindSafe(|| {
        port.scope(|scope| {
            scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
            panic!("on purpose");
        })
    }));
    let message = *caught.unwrap_err().downcast_ref::<&str>().unwrap();
    assert_eq!(message, "on purpose");
    nothing_more(&port);
    peer.write_all(b"later").unwrap();
    port.initiate_read(&pipe, 3, [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<[u8; 5]>(), Some(*b"later"));
    assert_eq!(buffer, [b'.'; 8]);
}

/// A context whose destructor panics if it says so.
struct Panics(bool);

/// What its panic carries: nothing, as it is never freed if it is not the first.
struct OfADestructor;

impl Drop for Panics {
    fn drop(&mut self) {
        if self.0 {
            resume_unwind(Box::new(OfADestructor));
        }
    }
}

#[test]
fn a_panic_in_the_body_goes_on_though_destructors_panic_at_the_end_of_the_scope() {
    let port = port_of();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffers = [[b'.'; 8]; 3];
    let caught = catch_unwind(AssertUnwindSafe(|| {
        port.scope(|scope| {
            for buffer in &mut buffers {
                scope.initiate_read(&pipe, Panics(true), buffer).unwrap();
            }
            panic!("on purpose");
        })
    }));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "on purpose");
    nothing_more(&port);
    peer.write_all(b"later").unwrap();
    port.initiate_read(&pipe, Panics(false), [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<[u8; 5]>(), Some(*b"later"));
    assert_eq!(buffers, [[b'.'; 8]; 3]);
}

#[test]
fn a_panic_in_a_destructor_at_the_end_of_the_scope_waits_for_the_other_operations() {
    let port = port_of();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffers = [[b'.'; 8]; 5];
    let caught = catch_unwind(AssertUnwindSafe(|| {
        port.scope(|scope| {
            for (i, buffer) in buffers.iter_mut().enumerate() {
                scope.initiate_read(&pipe, Panics(i == 1 || i == 3), buffer).unwrap();
            }
        });
    }));
    assert!(caught.unwrap_err().is::<OfADestructor>());
    nothing_more(&port);
    peer.write_all(b"later").unwrap();
    port.initiate_read(&pipe, Panics(false), [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer::<[u8; 5]>(), Some(*b"later"));
    assert_eq!(buffers, [[b'.'; 8]; 5]);
}

#[test]
fn a_scope_within_a_scope_ends_its_own_operations_only() {
    let port = port();
    let (outer_pipe, mut outer_peer) = quiet_pipe(&port);
    let (inner_pipe, _inner_peer) = quiet_pipe(&port);
    let (mut outer_buffer, mut inner_buffer) = ([b'.'; 8], [b'.'; 8]);
    port.scope(|outer| {
        let pending = outer.initiate_read(&outer_pipe, 1, &mut outer_buffer).unwrap();
        port.scope(|inner| {
            inner.initiate_read(&inner_pipe, 2, &mut inner_buffer).unwrap();
        });
        inner_buffer[0] = b'!';
        assert!(!pending.is_completed());
        outer_peer.write_all(b"hello").unwrap();
        assert_eq!(complete(&port).context, 1);
    });
    assert_eq!((&outer_buffer, &inner_buffer), (b"hello...", b"!......."));
}

/// As long as the scope lasts, the places of its operations are its own.
#[test]
fn an_operation_in_the_place_of_one_that_is_over_is_not_the_scopes() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let (other_pipe, mut other_peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    let mut others = Vec::new();
    port.scope(|scope| {
        peer.write_all(b"hello").unwrap();
        drop(scope.initiate_read(&pipe, 1, &mut buffer).unwrap());
        assert_eq!(complete(&port).context, 1);
        for context in 2..10 {
            others.push(port.initiate_read(&other_pipe, context, [0; 1]).unwrap());
        }
    });
    other_peer.write_all(b"12345678").unwrap();
    for completion in complete_all(&port, others.len()) {
        completion.error_status.unwrap();
    }
}

#[test]
fn scopes_of_two_ports_nest() {
    let (port_one, port_other) = (port(), port());
    let (pipe_one, mut peer_one) = quiet_pipe(&port_one);
    let (pipe_other, mut peer_other) = quiet_pipe(&port_other);
    let (mut buffer_one, mut buffer_other) = ([b'.'; 8], [b'.'; 8]);
    port_one.scope(|one| {
        port_other.scope(|other| {
            one.initiate_read(&pipe_one, 1, &mut buffer_one).unwrap();
            other.initiate_read(&pipe_other, 2, &mut buffer_other).unwrap();
            let wrong = one.initiate_write(&pipe_other, 3, &[]).unwrap_err();
            assert_eq!(wrong.error.kind(), ErrorKind::WrongPort);
            assert_eq!(wrong.returned, 3);
            peer_one.write_all(b"one").unwrap();
            assert_eq!(complete(&port_one).context, 1);
        });
        nothing_more(&port_one);
        nothing_more(&port_other);
    });
    assert_eq!((&buffer_one, &buffer_other), (b"one.....", b"........"));
    peer_other.write_all(b"later").unwrap();
}

#[test]
fn a_scope_ends_while_other_threads_dequeue() {
    const ROUNDS: usize = few(100);
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    let stop = AtomicBool::new(false);
    let dequeued = AtomicUsize::new(0);
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let step = Duration::from_millis(20);
                    if let Some(completion) = port.get_completion_timeout(step).unwrap() {
                        assert!(completion.error_status.unwrap_err().is_cancelled());
                        dequeued.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for i in 0..ROUNDS {
            let mut buffers = [[b'.'; 8]; 5];
            port.scope(|scope| {
                for buffer in &mut buffers {
                    scope.initiate_read(&pipe, i, buffer).unwrap();
                }
            });
            assert_eq!(buffers, [[b'.'; 8]; 5]);
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(dequeued.load(Ordering::SeqCst) <= 5 * ROUNDS);
    nothing_more(&port);
}

#[test]
fn completions_of_others_that_a_scope_finds_are_not_lost_or_doubled() {
    const OTHERS: usize = if cfg!(miri) { 20 } else { 200 };
    let port = port();
    let temp = temp_file("others", pattern(OTHERS * 8));
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    let (pipe, _peer) = quiet_pipe(&port);
    let mut buffers = [[b'.'; 8]; 10];
    port.scope(|scope| {
        let mut buffers = buffers.iter_mut();
        for i in 0..OTHERS {
            port.post(i, 7, 11).unwrap();
            port.initiate_read_at(&file, OTHERS + i, [0; 8], 8 * i as u64).unwrap();
            if i % (OTHERS / 10) == 0 {
                let buffer = buffers.next().unwrap();
                scope.initiate_read(&pipe, usize::MAX, buffer).unwrap();
            }
        }
    });
    assert_eq!(buffers, [[b'.'; 8]; 10]);
    let mut seen = [false; 2 * OTHERS];
    for mut completion in complete_all(&port, 2 * OTHERS) {
        let i = completion.context;
        assert!(!mem::replace(&mut seen[i], true), "{i} twice");
        assert_eq!(completion.error_status, Ok(()));
        if i < OTHERS {
            assert_eq!((completion.handle_context, completion.bytes_transferred), (7, 11));
        } else {
            assert_eq!((completion.handle_context, completion.bytes_transferred), (3, 8));
            let buffer = completion.operation.take_buffer::<[u8; 8]>().unwrap();
            assert_eq!(buffer.to_vec(), pattern_from(8 * (i - OTHERS), 8));
        }
    }
    nothing_more(&port);
}

#[test]
fn a_failed_completion_of_another_operation_is_still_a_failure_after_a_scope_has_found_it() {
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    let (other, _other_peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    let mut pending = port.scope(|scope| {
        let pending = port.initiate_read(&other, 1, [7; 8]).unwrap();
        assert_eq!(pending.cancel(), Ok(true));
        scope.initiate_read(&pipe, 2, &mut buffer).unwrap();
        pending
    });
    let completion = complete(&port);
    assert_eq!(completion.context, 1);
    let error = completion.error_status.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.ntstatus(), Some(0xC000_0120));
    assert_eq!(pending.take_buffer(), Some([7; 8]));
    nothing_more(&port);
}

#[test]
fn packets_of_strangers_that_a_scope_finds_are_not_lost() {
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        post_raw(&port, 1, 2, 0);
        post_raw(&port, 3, 4, 5);
        scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
        post_raw(&port, 6, 7, usize::MAX);
    });
    let mut found: Vec<_> = (0..3)
        .map(|_| {
            let packet = port.get_completion().unwrap_err().foreign_packet().unwrap();
            (packet.bytes_transferred, packet.completion_key, packet.overlapped)
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(1, 2, 0), (3, 4, 5), (6, 7, usize::MAX)]);
    nothing_more(&port);
}

#[test]
fn a_scope_on_a_closed_port_starts_nothing() {
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    port.close();
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        let rejected = scope.initiate_read(&pipe, 1, &mut buffer).unwrap_err();
        assert!(rejected.error.is_closed());
        assert_eq!(rejected.returned, 1);
        let rejected = scope.initiate_write(&pipe, 2, b"hello").unwrap_err();
        assert!(rejected.error.is_closed());
        assert_eq!(rejected.returned, 2);
    });
    assert_eq!(buffer, [b'.'; 8]);
}

#[test]
fn a_port_closed_within_a_scope_still_ends_the_scopes_operations() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
        port.close();
    });
    peer.write_all(b"later").unwrap();
    assert_eq!(buffer, [b'.'; 8]);
    // The scope has not swallowed what tells the threads.
    for _ in 0..3 {
        assert!(port.get_completion().unwrap_err().is_closed());
    }
}

#[test]
fn a_thread_that_waits_learns_of_a_port_closed_in_a_scope() {
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    thread::scope(|threads| {
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    loop {
                        if let Err(error) = port.get_completion() {
                            return error.is_closed();
                        }
                    }
                })
            })
            .collect();
        let mut buffer = [b'.'; 8];
        port.scope(|scope| {
            scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
            port.close();
        });
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
    });
}

#[test]
fn a_scope_returns_what_its_body_does() {
    let port = port();
    assert_eq!(port.scope(|_| 5), 5);
    assert_eq!(port.scope(|_| String::from("text")), "text");
    let error = port.scope(|_| Err::<(), _>("no")).unwrap_err();
    assert_eq!(error, "no");
    let mut buffer = vec![1, 2, 3];
    let borrowed: &mut [u8] = port.scope(|_| &mut buffer[1..]);
    borrowed[0] = 9;
    assert_eq!(buffer, [1, 9, 3]);
}

#[test]
fn many_operations_run_in_one_scope() {
    const OPERATIONS: usize = few(1000);
    let port = port();
    let temp = temp_file("thousand", pattern(OPERATIONS * 16));
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    let mut buffer = vec![0; OPERATIONS * 16];
    port.scope(|scope| {
        for (i, part) in buffer.chunks_mut(16).enumerate() {
            scope.initiate_read_at(&file, i, part, 16 * i as u64).unwrap();
            // Some complete early, some late, some are left to the scope.
            if i % 3 == 0 {
                complete(&port).error_status.unwrap();
            }
        }
        complete_all(&port, OPERATIONS / 3);
    });
    nothing_more(&port);
    // File reads are faster than a cancel, here; where one was not, its part
    // is untouched.
    for (i, part) in buffer.chunks(16).enumerate() {
        assert!(part == pattern_from(16 * i, 16) || part == [0; 16], "part {i}");
    }
}

#[test]
fn many_operations_are_cancelled_at_the_end_of_one_scope() {
    const OPERATIONS: usize = few(1000);
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = vec![b'.'; OPERATIONS];
    let dropped = Arc::new(());
    let counting: Iocp<Arc<()>> = port_of();
    let (other, _other_peer) = quiet_pipe(&counting);
    let mut other_buffer = vec![b'.'; OPERATIONS];
    counting.scope(|counted| {
        port.scope(|scope| {
            for (mine, theirs) in buffer.chunks_mut(1).zip(other_buffer.chunks_mut(1)) {
                scope.initiate_read(&pipe, 1, mine).unwrap();
                counted.initiate_read(&other, Arc::clone(&dropped), theirs).unwrap();
            }
        });
    });
    assert_eq!(Arc::strong_count(&dropped), 1);
    peer.write_all(b"later").unwrap();
    nothing_more(&port);
    nothing_more(&counting);
    assert!(buffer.iter().chain(&other_buffer).all(|&byte| byte == b'.'));
}

/// Far more than it takes, if each takes the time of one.
#[test]
fn a_hundred_thousand_operations_are_left_to_the_end_of_one_scope() {
    const OPERATIONS: usize = few(100_000);
    let port = port();
    let temp = temp_file("many", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    let mut buffer = vec![b'.'; OPERATIONS];
    let start = port.scope(|scope| {
        for byte in buffer.chunks_mut(1) {
            drop(scope.initiate_read_at(&file, 1, byte, 0).unwrap());
        }
        Instant::now()
    });
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    nothing_more(&port);
}

#[test]
fn what_others_have_queued_keeps_its_order() {
    const OTHERS: usize = few(1000);
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    let mut buffers = [[b'.'; 8]; 4];
    port.scope(|scope| {
        let mut buffers = buffers.iter_mut();
        for i in 0..OTHERS {
            port.post(i, 0, 0).unwrap();
            if i % OTHERS.div_ceil(4) == 0 {
                let pending = scope.initiate_read(&pipe, usize::MAX, buffers.next().unwrap());
                assert_eq!(pending.unwrap().cancel(), Ok(true));
            }
        }
    });
    for i in 0..OTHERS {
        assert_eq!(complete(&port).context, i);
    }
    nothing_more(&port);
}

#[test]
fn scopes_on_several_threads_share_a_port() {
    const THREADS: usize = 3;
    const ROUNDS: usize = few(30);
    let port = port();
    let temp = temp_file("scopes", pattern(4096));
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    thread::scope(|threads| {
        for thread in 0..THREADS {
            let (port, file) = (&port, &file);
            threads.spawn(move || {
                let (pipe, _peer) = quiet_pipe(port);
                for round in 0..ROUNDS {
                    let offset = 100 * thread + round;
                    let (mut read, mut waits) = ([0; 64], [b'.'; 64]);
                    port.scope(|scope| {
                        let done =
                            scope.initiate_read_at(file, thread, &mut read, offset as u64).unwrap();
                        scope.initiate_read(&pipe, thread, &mut waits).unwrap();
                        // Whoever dequeues it.
                        eventually("the read is done", || {
                            drop(port.try_get_completion().unwrap());
                            done.is_completed()
                        });
                        assert_eq!(done.result(), Some(Ok(64)));
                    });
                    assert_eq!(read.to_vec(), pattern_from(offset, 64));
                    assert_eq!(waits, [b'.'; 64]);
                }
            });
        }
    });
    nothing_more(&port);
}

#[test]
fn threads_within_a_scope_use_what_it_reads() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    let sum: u32 = port.scope(|scope| {
        let mut pending = scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
        thread::scope(|threads| {
            threads.spawn(|| peer.write_all(&[1, 2, 3]).unwrap());
            threads.spawn(|| assert_eq!(complete(&port).bytes_transferred, 3));
        });
        // The `Pending` goes to another thread, with the buffer.
        thread::scope(|threads| {
            let take = move || {
                let buffer = pending.take_buffer().unwrap();
                buffer[..3].iter().map(|&byte| u32::from(byte)).sum()
            };
            threads.spawn(take).join().unwrap()
        })
    });
    assert_eq!(sum, 6);
}

#[test]
fn an_operation_of_a_scope_is_cancelled_by_its_pending() {
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        let mut pending = scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
        assert_eq!(pending.cancel(), Ok(true));
        let completion = complete(&port);
        assert!(completion.error_status.unwrap_err().is_cancelled());
        assert_eq!(completion.bytes_transferred, 0);
        assert!(pending.result().unwrap().unwrap_err().is_cancelled());
        assert_eq!(pending.take_buffer().unwrap(), b"........");
        assert_eq!(pending.cancel(), Ok(false));
    });
}

#[test]
fn a_handle_dropped_within_a_scope_ends_its_operations() {
    let port = port();
    let (pipe, peer) = quiet_pipe(&port);
    let mut buffers = [[b'.'; 8]; 2];
    port.scope(|scope| {
        let [one, two] = &mut buffers;
        scope.initiate_read(&pipe, 1, one).unwrap();
        scope.initiate_read(&pipe, 2, two).unwrap();
        drop(pipe);
        assert_ended_by_drop(&complete(&port));
        // The other one is left to the end of the scope.
    });
    nothing_more(&port);
    drop(peer);
    assert_eq!(buffers, [[b'.'; 8]; 2]);
}

#[test]
fn refused_starts_give_their_context_back_and_the_buffer_after_the_scope() {
    let ledger = Ledger::new(3);
    let port = port_of();
    let temp = temp_file("refused", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        let rejected = scope.initiate_read(&file, ledger.entry(0), &mut buffer).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        assert_eq!(rejected.returned.index, 0);
        let rejected = scope.initiate_write(&file, ledger.entry(1), b"hello").unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        assert_eq!(rejected.returned.index, 1);
        // Not opened for writing: the system refuses, at once or later.
        if let Err(rejected) = scope.initiate_write_at(&file, ledger.entry(2), b"hello", 0) {
            assert_eq!(rejected.error.kind(), ErrorKind::PermissionDenied);
            assert_eq!(rejected.returned.index, 2);
        }
    });
    ledger.assert_each_dropped_once();
    assert_eq!(buffer, [b'.'; 8]);
    assert_eq!(temp.contents(), b"hello");
}

#[test]
fn too_many_operations_in_a_scope_are_refused_and_go_on_when_some_are_over() {
    let port: Iocp = Iocp::builder().max_operations(4).build().unwrap();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut buffers = [[b'.'; 1]; 4];
    port.scope(|scope| {
        for (i, buffer) in buffers.iter_mut().enumerate() {
            scope.initiate_read(&pipe, i, buffer).unwrap();
        }
        let rejected = scope.initiate_write(&pipe, 9, &[]).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
        assert_eq!(rejected.returned, 9);
        peer.write_all(b"ab").unwrap();
        complete_all(&port, 2);
    });
    assert_eq!(buffers, [*b"a", *b"b", *b".", *b"."]);
    // Those of the scope are free again.
    for i in 0..4 {
        port.initiate_read(&pipe, i, [0; 1]).unwrap();
    }
}

#[test]
fn a_long_scope_uses_the_memory_of_operations_that_are_over_again() {
    const PLACES: u32 = if cfg!(miri) { 12 } else { 100 };
    let port: Iocp = Iocp::builder().max_operations(PLACES).build().unwrap();
    let temp = temp_file("long", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    let mut buffer = [b'.'; 8];
    port.scope(|scope| {
        let mut borrowed = &mut buffer[..];
        for i in 0..3 * PLACES as usize {
            let mut pending = scope.initiate_read_at(&file, i, borrowed, 0).unwrap();
            complete(&port).error_status.unwrap();
            borrowed = pending.take_buffer().unwrap();
        }
    });
    assert_eq!(&buffer, b"hello...");
}

#[test]
fn a_read_and_a_write_that_race_with_the_end_of_the_scope_leave_a_whole_or_an_untouched_buffer() {
    let port = port();
    let (pipe, peer) = quiet_pipe(&port);
    let (go, gone) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel();
    let writer = thread::spawn(move || {
        let mut peer = peer;
        for () in gone {
            peer.write_all(b"abcdefgh").unwrap();
            done.send(()).unwrap();
        }
    });
    let mut unread = 0;
    for _ in 0..few(300) {
        let mut buffer = [b'.'; 8];
        port.scope(|scope| {
            scope.initiate_read(&pipe, 1, &mut buffer).unwrap();
            go.send(()).unwrap();
        });
        let at_the_end = buffer;
        is_done.recv().unwrap();
        assert_eq!(buffer, at_the_end, "written after the scope");
        match &buffer {
            b"abcdefgh" => {}
            b"........" => unread += 8,
            other => panic!("{other:?}"),
        }
        while unread > 0 {
            port.initiate_read(&pipe, 2, [0; 8]).unwrap();
            unread -= complete(&port).bytes_transferred;
        }
    }
    nothing_more(&port);
    drop(go);
    writer.join().unwrap();
}
