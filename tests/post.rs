//! Packets of the program's own.
#![cfg(windows)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use completion_port::{Batch, ErrorKind, Iocp, OperationKind};
use support::{
    complete, complete_all, few, nothing_more, overlapped_file, port, port_of, temp_file,
};

#[test]
fn the_three_values_of_a_post_come_back() {
    let port = port();
    for context in [0, 1, usize::MAX] {
        for handle_context in [0, 1, usize::MAX] {
            for bytes in [0, 1, u32::MAX] {
                port.post(context, handle_context, bytes).unwrap();
                let completion = complete(&port);
                assert_eq!(completion.context, context);
                assert_eq!(completion.handle_context, handle_context);
                assert_eq!(completion.bytes_transferred, bytes);
                assert_eq!(completion.error_status, Ok(()));
            }
        }
    }
    nothing_more(&port);
}

#[test]
fn a_post_is_of_its_own_kind_and_has_no_buffer() {
    let port = port();
    port.post(1, 2, 3).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.operation.kind(), OperationKind::Post);
    assert!(completion.operation.take_buffer::<Vec<u8>>().is_none());
    assert!(completion.operation.take_accepted().is_none());
}

#[test]
fn posts_of_one_thread_come_in_order() {
    let port = port();
    for i in 0..few(1000) {
        port.post(i, 0, 0).unwrap();
    }
    for i in 0..few(1000) {
        assert_eq!(complete(&port).context, i);
    }
    nothing_more(&port);
}

#[test]
fn a_post_wakes_a_thread_that_waits() {
    let port = port();
    thread::scope(|threads| {
        let waiter = threads.spawn(|| port.get_completion().unwrap().context);
        port.post(42, 0, 0).unwrap();
        assert_eq!(waiter.join().unwrap(), 42);
    });
}

#[test]
fn one_post_for_each_thread_wakes_them_all() {
    const THREADS: usize = 8;
    let port = port();
    thread::scope(|threads| {
        let waiters: Vec<_> = (0..THREADS)
            .map(|_| threads.spawn(|| port.get_completion().unwrap().context))
            .collect();
        for i in 0..THREADS {
            port.post(i, 0, 0).unwrap();
        }
        let mut woken: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        woken.sort_unstable();
        assert_eq!(woken, (0..THREADS).collect::<Vec<_>>());
    });
}

#[test]
fn posts_of_many_threads_reach_many_threads_once_each() {
    const POSTERS: usize = 4;
    const EACH: usize = few(5000);
    let port = port();
    let seen: Vec<_> = (0..POSTERS * EACH).map(|_| AtomicUsize::new(0)).collect();
    let left = AtomicUsize::new(POSTERS * EACH);
    thread::scope(|threads| {
        for poster in 0..POSTERS {
            let port = port.clone();
            threads.spawn(move || {
                for i in 0..EACH {
                    port.post(poster * EACH + i, poster, i as u32).unwrap();
                }
            });
        }
        for _ in 0..4 {
            threads.spawn(|| {
                while let Ok(completion) = port.get_completion() {
                    let (poster, i) = (completion.context / EACH, completion.context % EACH);
                    assert_eq!(completion.handle_context, poster);
                    assert_eq!(completion.bytes_transferred as usize, i);
                    seen[completion.context].fetch_add(1, Ordering::SeqCst);
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        port.close();
                    }
                }
            });
        }
    });
    assert!(seen.iter().all(|count| count.load(Ordering::SeqCst) == 1));
}

#[test]
fn threads_post_to_each_other_and_themselves() {
    const ROUNDS: usize = few(2000);
    let (there, back) = (port(), port());
    thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..ROUNDS {
                let completion = there.get_completion().unwrap();
                back.post(completion.context + 1, 0, 0).unwrap();
            }
        });
        for i in 0..ROUNDS {
            there.post(i, 0, 0).unwrap();
            assert_eq!(complete(&back).context, i + 1);
        }
    });
    nothing_more(&there);
    nothing_more(&back);
}

#[test]
#[cfg_attr(miri, ignore = "posts thousands of packets, which takes Miri minutes")]
fn tens_of_thousands_of_posts_are_queued_at_once() {
    const POSTS: usize = 40_000;
    let port = port();
    for i in 0..POSTS {
        port.post(i, 0, i as u32).unwrap();
    }
    let mut batch = Batch::with_capacity(1024);
    let mut next = 0;
    while next < POSTS {
        assert_ne!(port.get_completions(&mut batch, Some(support::PATIENCE)), Ok(0));
        for completion in &mut batch {
            let completion = completion.unwrap();
            assert_eq!((completion.context, completion.bytes_transferred), (next, next as u32));
            next += 1;
        }
    }
    nothing_more(&port);
}

#[test]
fn posts_beyond_the_ports_limit_are_refused_until_others_are_gone() {
    let port = Iocp::builder().max_operations(10).build::<String>().unwrap();
    for round in 0..3 {
        for i in 0..10 {
            port.post(format!("{round} {i}"), 0, 0).unwrap();
        }
        let rejected = port.post("too many".into(), 1, 2).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
        assert_eq!(rejected.error.raw_os_error(), None);
        assert_eq!(rejected.returned, "too many");
        // A dequeued one makes room once it is dropped.
        let completion = complete(&port);
        assert_eq!(completion.context, format!("{round} 0"));
        assert!(port.post("held".into(), 0, 0).is_err());
        drop(completion.operation);
        port.post("now".into(), 0, 0).unwrap();
        let rest: Vec<_> =
            complete_all(&port, 10).into_iter().map(|completion| completion.context).collect();
        assert_eq!(rest[0], format!("{round} 1"));
        assert_eq!(rest[9], "now");
    }
}

#[test]
fn the_limit_counts_operations_and_posts_together() {
    let port: Iocp = Iocp::builder().max_operations(2).build().unwrap();
    let temp = temp_file("limit", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    port.post(1, 0, 0).unwrap();
    port.initiate_read_at(&file, 2, [0; 8], 0).unwrap();
    let rejected = port.initiate_read_at(&file, 3, [7; 8], 0).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    assert_eq!(rejected.returned, (3, [7; 8]));
    assert_eq!(port.post(4, 0, 0).unwrap_err().returned, 4);
    complete_all(&port, 2);
    port.initiate_read_at(&file, 5, [0; 8], 0).unwrap();
    assert_eq!(complete(&port).context, 5);
}

#[test]
fn limits_out_of_range_are_refused() {
    for operations in [0, 16_777_215, u32::MAX] {
        let error = Iocp::builder().max_operations(operations).build::<()>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let port = Iocp::builder().max_operations(1).build::<()>().unwrap();
    port.post((), 0, 0).unwrap();
    assert!(port.post((), 0, 0).is_err());
    complete(&port);
    port.post((), 0, 0).unwrap();
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_largest_limit_is_taken() {
    let port = Iocp::builder().max_operations(16_777_214).build::<usize>().unwrap();
    port.post(1, 0, 0).unwrap();
    assert_eq!(complete(&port).context, 1);
}

#[test]
fn posts_to_one_port_do_not_reach_another() {
    let (one, other) = (port(), port_of::<String>());
    one.post(1, 0, 0).unwrap();
    nothing_more(&other);
    other.post("text".into(), 0, 0).unwrap();
    assert_eq!(complete(&one).context, 1);
    assert_eq!(complete(&other).context, "text");
}

#[test]
fn a_post_from_a_clone_reaches_the_port() {
    let port = port();
    port.clone().post(5, 6, 7).unwrap();
    let completion = complete(&port.clone());
    assert_eq!((completion.context, completion.handle_context), (5, 6));
    assert_eq!(completion.bytes_transferred, 7);
}
