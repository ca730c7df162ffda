//! Closing a port: everybody learns of it, and nothing is lost.
#![cfg(windows)]

mod support;

use std::io::Write;
use std::os::windows::io::OwnedHandle;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use completion_port::{Associated, Batch, Iocp};
use support::{
    BlockingPipe, PATIENCE, complete, eventually, few, nothing_more, overlapped_file, pipe_pair,
    port, port_of, temp_file,
};

/// A pipe end on the port, and the other end for blocking writes.
fn quiet_pipe<C: Send>(port: &Iocp<C>) -> (Associated<OwnedHandle>, BlockingPipe) {
    let (server, client) = pipe_pair(false);
    (port.add_handle(server, 9).unwrap(), client.into())
}

#[test]
fn all_threads_that_wait_are_woken() {
    const THREADS: usize = 8;
    let port = port();
    let ready = Barrier::new(THREADS + 1);
    thread::scope(|threads| {
        let waiters: Vec<_> = (0..THREADS)
            .map(|i| {
                let (port, ready) = (&port, &ready);
                threads.spawn(move || {
                    ready.wait();
                    // In every way that waits.
                    match i % 4 {
                        0 | 1 => port.get_completion().map(drop),
                        2 => port.get_completion_timeout(PATIENCE).map(drop),
                        _ => port.get_completions(&mut Batch::with_capacity(4), None).map(drop),
                    }
                })
            })
            .collect();
        ready.wait();
        port.close();
        for waiter in waiters {
            assert!(waiter.join().unwrap().unwrap_err().is_closed());
        }
    });
}

#[test]
fn threads_that_have_waited_long_are_woken() {
    let port = port();
    thread::scope(|threads| {
        let waiters: Vec<_> = (0..8).map(|_| threads.spawn(|| port.get_completion())).collect();
        // They are in the wait by now, or as good as.
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(2));
            assert!(!waiters.iter().any(thread::ScopedJoinHandle::is_finished));
        }
        port.close();
        for waiter in waiters {
            assert!(waiter.join().unwrap().unwrap_err().is_closed());
        }
    });
}

#[test]
fn what_is_queued_comes_before_closed() {
    let port = port();
    for i in 0..few(100) {
        port.post(i, 0, 0).unwrap();
    }
    port.close();
    for i in 0..few(100) {
        assert_eq!(port.get_completion().unwrap().context, i);
    }
    for _ in 0..10 {
        assert!(port.get_completion().unwrap_err().is_closed());
    }
}

#[test]
fn closed_is_closed_in_every_way_to_dequeue() {
    let port = port();
    port.close();
    let mut batch = Batch::with_capacity(4);
    for _ in 0..3 {
        assert!(port.get_completion().unwrap_err().is_closed());
        assert!(port.try_get_completion().unwrap_err().is_closed());
        assert!(port.get_completion_timeout(Duration::ZERO).unwrap_err().is_closed());
        assert!(port.get_completion_timeout(PATIENCE).unwrap_err().is_closed());
        assert!(port.get_completion_timeout(Duration::MAX).unwrap_err().is_closed());
        assert!(port.get_completions(&mut batch, None).unwrap_err().is_closed());
        assert!(port.get_completions(&mut batch, Some(Duration::ZERO)).unwrap_err().is_closed());
        assert!(port.get_completions(&mut batch, Some(PATIENCE)).unwrap_err().is_closed());
        assert!(batch.is_empty());
    }
}

#[test]
fn what_is_queued_comes_before_closed_in_every_way_to_dequeue() {
    let port = port();
    for i in 0..6 {
        port.post(i, 0, 0).unwrap();
    }
    port.close();
    let mut batch = Batch::with_capacity(2);
    assert_eq!(port.get_completion().unwrap().context, 0);
    assert_eq!(port.try_get_completion().unwrap().unwrap().context, 1);
    assert_eq!(port.get_completion_timeout(PATIENCE).unwrap().unwrap().context, 2);
    assert_eq!(port.get_completions(&mut batch, None), Ok(2));
    assert_eq!(batch.by_ref().map(|c| c.unwrap().context).collect::<Vec<_>>(), [3, 4]);
    // The last one and the end in one look.
    assert_eq!(port.get_completions(&mut batch, None), Ok(1));
    assert_eq!(batch.next().unwrap().unwrap().context, 5);
    assert!(port.get_completions(&mut batch, None).unwrap_err().is_closed());
}

#[test]
fn what_a_batch_holds_is_kept_when_the_port_closes() {
    let port = port();
    for i in 0..2 {
        port.post(i, 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(4);
    assert_eq!(port.get_completions(&mut batch, None), Ok(2));
    assert_eq!(batch.next().unwrap().unwrap().context, 0);
    port.close();
    assert_eq!(port.get_completions(&mut batch, None), Ok(1));
    assert_eq!(batch.next().unwrap().unwrap().context, 1);
    assert!(port.get_completions(&mut batch, None).unwrap_err().is_closed());
}

#[test]
fn closing_twice_is_closing_once() {
    let port = port();
    port.post(1, 0, 0).unwrap();
    port.close();
    port.clone().close();
    port.close();
    assert_eq!(complete(&port).context, 1);
    assert!(port.get_completion().unwrap_err().is_closed());
    assert!(port.get_completion().unwrap_err().is_closed());
}

#[test]
fn a_port_is_closed_from_another_thread() {
    let port = port();
    assert!(!port.is_closed());
    let clone = port.clone();
    let closer = thread::spawn(move || clone.close());
    // Does not return before.
    assert!(port.get_completion().unwrap_err().is_closed());
    assert!(port.is_closed());
    closer.join().unwrap();
}

#[test]
fn every_clone_knows_that_the_port_is_closed() {
    let port = port();
    let clones = vec![port.clone(); 3];
    assert!(clones.iter().all(|clone| !clone.is_closed()));
    clones[1].close();
    assert!(clones.iter().all(Iocp::is_closed));
    assert!(port.is_closed());
    assert!(port.clone().is_closed());
}

#[test]
fn a_closed_port_takes_no_handles_operations_or_posts_and_gives_all_back() {
    let port = port_of::<String>();
    let temp = temp_file("closed", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 3).unwrap();
    let (pipe, _peer) = quiet_pipe(&port);
    let another = overlapped_file(temp.path(), true, false);
    port.close();

    let rejected = port.add_handle(another, 1).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.error.raw_os_error(), None);
    // It was not associated: another port takes it.
    let other = support::port();
    let another = other.add_handle(rejected.returned, 1).unwrap();
    other.initiate_read_at(&another, 1, Vec::with_capacity(8), 0).unwrap();
    assert_eq!(complete(&other).bytes_transferred, 5);

    let rejected = port.initiate_read(&pipe, "a".into(), [7_u8; 4]).map(drop).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, ("a".into(), [7; 4]));
    let rejected = port.initiate_write(&pipe, "b".into(), "text").map(drop).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, ("b".into(), "text"));
    let rejected = port.initiate_read_at(&file, "c".into(), [7_u8; 4], 0).map(drop).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, ("c".into(), [7; 4]));
    let rejected = port.initiate_write_at(&file, "d".into(), "text", 0).map(drop).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, ("d".into(), "text"));
    let rejected = port.post("e".into(), 0, 0).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, "e");
    assert_eq!(temp.contents(), b"hello");
}

#[test]
fn operations_in_flight_complete_after_the_close() {
    let port = port();
    let (pipe, mut peer) = quiet_pipe(&port);
    let mut kept = port.initiate_read(&pipe, 5, Vec::with_capacity(5)).unwrap();
    port.initiate_read(&pipe, 6, Vec::with_capacity(5)).unwrap();
    port.close();
    assert!(port.get_completion().unwrap_err().is_closed());
    peer.write_all(b"helloworld").unwrap();
    let mut found = Vec::new();
    eventually("both reads are dequeued", || {
        match port.get_completion() {
            Ok(mut completion) => {
                completion.error_status.unwrap();
                if completion.context == 6 {
                    let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
                    assert_eq!(buffer, b"world");
                }
                found.push(completion.context);
            }
            Err(error) => assert!(error.is_closed()),
        }
        found.len() == 2
    });
    assert_eq!(found, [5, 6]);
    assert_eq!(kept.take_buffer().unwrap(), b"hello");
    assert!(port.get_completion().unwrap_err().is_closed());
}

#[test]
fn operations_in_flight_can_be_cancelled_and_collected_after_the_close() {
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    let pending = port.initiate_read(&pipe, 1, Vec::with_capacity(8)).unwrap();
    for i in 2..5 {
        port.initiate_read(&pipe, i, Vec::with_capacity(8)).unwrap();
    }
    port.close();
    assert_eq!(pending.cancel(), Ok(true));
    assert_eq!(pipe.cancel_all(), Ok(true));
    let mut batch = Batch::with_capacity(8);
    let mut found = Vec::new();
    eventually("all reads are dequeued", || {
        match port.get_completions(&mut batch, Some(PATIENCE)) {
            Ok(_) => found.extend(batch.by_ref().map(|completion| {
                let completion = completion.unwrap();
                assert!(completion.error_status.unwrap_err().is_cancelled());
                completion.context
            })),
            Err(error) => assert!(error.is_closed()),
        }
        found.len() == 4
    });
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4]);
}

#[test]
fn several_threads_empty_a_closed_port_between_them() {
    const POSTS: usize = few(2000);
    const THREADS: usize = 4;
    let port = port();
    for i in 0..POSTS {
        port.post(i, 0, 0).unwrap();
    }
    port.close();
    let seen: Vec<_> = (0..POSTS).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|threads| {
        for i in 0..THREADS {
            let (port, seen) = (&port, &seen);
            threads.spawn(move || {
                let mut batch = Batch::with_capacity(16);
                loop {
                    let done = if i % 2 == 0 {
                        port.get_completion().map(|completion| {
                            seen[completion.context].fetch_add(1, Ordering::SeqCst);
                        })
                    } else {
                        port.get_completions(&mut batch, None).map(|_| {
                            for completion in &mut batch {
                                seen[completion.unwrap().context].fetch_add(1, Ordering::SeqCst);
                            }
                        })
                    };
                    if let Err(error) = done {
                        assert!(error.is_closed());
                        break;
                    }
                }
            });
        }
    });
    // A thread may have left while another held the end in its hands; what is
    // queued is queued still.
    while let Ok(completion) = port.get_completion() {
        seen[completion.context].fetch_add(1, Ordering::SeqCst);
    }
    assert!(seen.iter().all(|count| count.load(Ordering::SeqCst) == 1));
}

#[test]
fn a_post_races_with_the_close_and_is_either_delivered_or_given_back() {
    for _ in 0..few(100) {
        let port = port();
        thread::scope(|threads| {
            let poster = threads.spawn(|| {
                let mut sent = 0;
                while port.post(sent, 0, 0).is_ok() {
                    sent += 1;
                }
                sent
            });
            let receiver = threads.spawn(|| {
                let mut received = 0;
                while let Ok(completion) = port.get_completion() {
                    assert_eq!(completion.context, received);
                    received += 1;
                    if received == 10 {
                        port.close();
                    }
                }
                received
            });
            let (sent, mut received) = (poster.join().unwrap(), receiver.join().unwrap());
            // One that was posted at the moment of the close.
            while let Ok(completion) = port.get_completion() {
                assert_eq!(completion.context, received);
                received += 1;
            }
            assert_eq!(sent, received);
        });
    }
}

#[test]
fn closing_one_port_leaves_others_open() {
    let (one, other) = (port(), port());
    one.close();
    assert!(!other.is_closed());
    other.post(1, 0, 0).unwrap();
    assert_eq!(complete(&other).context, 1);
    nothing_more(&other);
}

#[test]
fn a_closed_port_is_dropped_with_what_is_in_flight() {
    let port = port();
    let (pipe, _peer) = quiet_pipe(&port);
    let mut pending = port.initiate_read(&pipe, 1, Vec::with_capacity(8)).unwrap();
    port.post(2, 0, 0).unwrap();
    port.close();
    drop(port);
    assert!(pending.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(pending.take_buffer().unwrap(), b"");
}
