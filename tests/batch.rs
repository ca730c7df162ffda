//! Completions by the batch.
#![cfg(windows)]

mod support;

use std::io::Write;
use std::iter;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use completion_port::{Batch, ErrorKind, Iocp, OperationKind, Pending, Started};
use support::ledger::Ledger;
use support::{
    PATIENCE, complete, eventually, few, nothing_more, nothing_to_see, overlapped_file, pattern,
    pattern_from, pipe_pair, port, port_of, post_raw, stream_pair, temp_file,
};
use windows_sys::Win32::System::Threading::{GetCurrentThread, QueueUserAPC};

/// The contexts that a batch holds, taken out.
fn contexts(batch: &mut Batch) -> Vec<usize> {
    batch.map(|completion| completion.unwrap().context).collect()
}

#[test]
fn packets_come_in_the_order_they_were_queued() {
    let port = port();
    for i in 0..10 {
        port.post(i, i + 100, 7).unwrap();
    }
    let mut batch = Batch::with_capacity(64);
    assert_eq!(port.get_completions(&mut batch, None), Ok(10));
    for i in 0..10 {
        let completion = batch.next().unwrap().unwrap();
        assert_eq!((completion.context, completion.handle_context), (i, i + 100));
        assert_eq!(completion.bytes_transferred, 7);
        assert_eq!(completion.operation.kind(), OperationKind::Post);
    }
    assert!(batch.next().is_none());
    nothing_more(&port);
}

#[test]
fn a_batch_never_holds_more_than_its_capacity() {
    let port = port();
    for i in 0..25 {
        port.post(i, 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(10);
    assert_eq!(batch.capacity(), 10);
    let mut found = Vec::new();
    for expected in [10, 10, 5] {
        assert_eq!(port.get_completions(&mut batch, Some(Duration::ZERO)), Ok(expected));
        assert_eq!(batch.len(), expected);
        found.extend(contexts(&mut batch));
    }
    assert_eq!(found, (0..25).collect::<Vec<_>>());
    assert_eq!(port.get_completions(&mut batch, Some(Duration::ZERO)), Ok(0));
    assert_eq!(batch.capacity(), 10);
}

#[test]
fn a_full_batch_takes_no_more_until_it_has_room() {
    let port = port();
    for i in 0..9 {
        port.post(i, 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(4);
    assert_eq!(port.get_completions(&mut batch, None), Ok(4));
    // Does not wait, though it takes nothing.
    assert_eq!(port.get_completions(&mut batch, None), Ok(4));
    let mut found = vec![batch.next().unwrap().unwrap().context];
    found.push(batch.next().unwrap().unwrap().context);
    assert_eq!(port.get_completions(&mut batch, None), Ok(4));
    found.extend(contexts(&mut batch));
    assert_eq!(port.get_completions(&mut batch, None), Ok(3));
    found.extend(contexts(&mut batch));
    assert_eq!(found, (0..9).collect::<Vec<_>>());
}

#[test]
fn what_is_queued_on_both_sides_of_the_close_marker_comes_in_order() {
    let port = port();
    let (one, mut other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap();
    let reads = [3, 4].map(|i| port.initiate_read(&one, i, Vec::with_capacity(1)).unwrap());
    port.post(1, 0, 0).unwrap();
    port.post(2, 0, 0).unwrap();
    port.close();
    other.write_all(b"ab").unwrap();
    let mut batch = Batch::with_capacity(8);
    eventually("all four are in the batch", || {
        port.get_completions(&mut batch, Some(Duration::ZERO)).unwrap() == 4
    });
    assert!(reads.iter().all(Pending::is_completed));
    assert_eq!(contexts(&mut batch), [1, 2, 3, 4]);
    assert!(port.get_completions(&mut batch, None).unwrap_err().is_closed());
}

#[test]
fn length_and_emptiness_follow_what_is_taken() {
    let port = port();
    let mut batch = Batch::with_capacity(4);
    assert!(batch.is_empty());
    assert_eq!((batch.len(), batch.size_hint()), (0, (0, Some(0))));
    for i in 0..3 {
        port.post(i, 0, 0).unwrap();
    }
    port.get_completions(&mut batch, None).unwrap();
    for left in (0..3).rev() {
        assert!(!batch.is_empty());
        batch.next().unwrap().unwrap();
        assert_eq!((batch.len(), batch.size_hint()), (left, (left, Some(left))));
    }
    assert!(batch.is_empty());
}

#[test]
fn a_batch_shows_its_room_and_what_is_in_it() {
    let port = port();
    let mut batch = Batch::with_capacity(4);
    port.post(1, 0, 0).unwrap();
    port.get_completions(&mut batch, None).unwrap();
    assert_eq!(format!("{batch:?}"), "Batch { capacity: 4, len: 1 }");
}

#[test]
fn a_batch_for_one_takes_one() {
    let port = port();
    port.post(1, 0, 0).unwrap();
    port.post(2, 0, 0).unwrap();
    let mut batch = Batch::with_capacity(1);
    assert_eq!(port.get_completions(&mut batch, None), Ok(1));
    assert_eq!(contexts(&mut batch), [1]);
    assert_eq!(complete(&port).context, 2);
}

#[test]
fn a_batch_without_room_is_refused() {
    let port = port();
    port.post(1, 0, 0).unwrap();
    let mut batch = Batch::with_capacity(0);
    let error = port.get_completions(&mut batch, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.raw_os_error(), None);
    assert_eq!(complete(&port).context, 1);
}

#[test]
fn what_was_not_taken_is_kept_and_comes_first() {
    let port = port();
    for i in 0..3 {
        port.post(i, 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(8);
    port.get_completions(&mut batch, None).unwrap();
    assert_eq!(batch.next().unwrap().unwrap().context, 0);
    // Does not wait, though there is nothing new and no limit.
    assert_eq!(port.get_completions(&mut batch, None), Ok(2));
    for i in 3..5 {
        port.post(i, 0, 0).unwrap();
    }
    assert_eq!(port.get_completions(&mut batch, None), Ok(4));
    assert_eq!(contexts(&mut batch), [1, 2, 3, 4]);
}

#[test]
fn a_failed_operation_in_a_batch_does_not_lose_the_rest() {
    let port = port();
    let (server, _client) = pipe_pair(false);
    let server = port.add_handle(server, 0).unwrap();
    let temp = temp_file("batch", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    port.post(1, 0, 0).unwrap();
    port.initiate_read(&server, 2, Vec::with_capacity(8)).unwrap().cancel().unwrap();
    port.initiate_read_at(&file, 3, Vec::with_capacity(8), 5).unwrap();
    port.initiate_read_at(&file, 4, Vec::with_capacity(8), 0).unwrap();
    port.post(5, 0, 0).unwrap();
    let mut batch = Batch::with_capacity(8);
    eventually("all five are there", || {
        port.get_completions(&mut batch, Some(Duration::ZERO)).unwrap() == 5
    });
    let mut completions: Vec<_> = batch.map(Result::unwrap).collect();
    completions.sort_by_key(|completion| completion.context);
    let results: Vec<_> = completions
        .iter()
        .map(|completion| match &completion.error_status {
            Ok(()) => Ok(completion.bytes_transferred),
            Err(error) => Err(error.kind()),
        })
        .collect();
    assert_eq!(results, [Ok(0), Err(ErrorKind::Cancelled), Ok(0), Ok(5), Ok(0)]);
    let buffer = completions[3].operation.take_buffer::<Vec<u8>>().unwrap();
    assert_eq!(buffer, b"hello");
}

#[test]
fn a_strangers_packet_in_a_batch_does_not_lose_the_rest() {
    let port = port();
    port.post(1, 0, 0).unwrap();
    post_raw(&port, 2, 3, 4);
    port.post(5, 0, 0).unwrap();
    let mut batch = Batch::with_capacity(8);
    assert_eq!(port.get_completions(&mut batch, None), Ok(3));
    assert_eq!(batch.next().unwrap().unwrap().context, 1);
    let packet = batch.next().unwrap().unwrap_err().foreign_packet().unwrap();
    assert_eq!((packet.bytes_transferred, packet.completion_key, packet.overlapped), (2, 3, 4));
    assert_eq!(batch.next().unwrap().unwrap().context, 5);
    assert!(batch.next().is_none());
}

#[test]
fn without_time_a_batch_takes_what_is_there() {
    let port = port();
    let mut batch = Batch::with_capacity(8);
    assert_eq!(port.get_completions(&mut batch, Some(Duration::ZERO)), Ok(0));
    assert!(batch.next().is_none());
    port.post(1, 0, 0).unwrap();
    assert_eq!(port.get_completions(&mut batch, Some(Duration::ZERO)), Ok(1));
    assert_eq!(contexts(&mut batch), [1]);
}

#[test]
fn a_batch_waits_for_its_time_and_not_less() {
    let port = port();
    let mut batch = Batch::<usize>::with_capacity(8);
    // Some of which are over early, as the system sees it.
    let more = iter::repeat_n(Duration::from_millis(30), 8);
    for timeout in iter::once(Duration::from_micros(1)).chain(more) {
        let start = Instant::now();
        assert_eq!(port.get_completions(&mut batch, Some(timeout)), Ok(0));
        assert!(start.elapsed() >= timeout);
    }
    assert!(batch.is_empty());
}

#[test]
fn a_batch_that_waits_is_woken_by_the_first_packet() {
    let port = port();
    thread::scope(|threads| {
        let waiter = threads.spawn(|| {
            let mut batch = Batch::with_capacity(8);
            port.get_completions(&mut batch, None).unwrap();
            contexts(&mut batch)
        });
        port.post(5, 0, 0).unwrap();
        assert_eq!(waiter.join().unwrap(), [5]);
    });
}

/// A procedure call that other code has queued for the thread waits for code
/// that lets such calls in, as a parker does.
#[test]
fn other_codes_procedure_call_interrupts_a_parker_and_no_batch() {
    unsafe extern "system" fn set(called: usize) {
        let called = ptr::with_exposed_provenance::<AtomicUsize>(called);
        // SAFETY: The local below lives until the call was made.
        unsafe { &*called }.store(1, Ordering::SeqCst);
    }
    let called = AtomicUsize::new(0);
    let address = (&raw const called).expose_provenance();
    let port = port();
    let mut parker = port.parker().unwrap();
    // SAFETY: The call is made by this thread, while the local is there.
    assert_ne!(unsafe { QueueUserAPC(Some(set), GetCurrentThread(), address) }, 0);
    let mut batch = Batch::with_capacity(8);
    assert_eq!(port.get_completions(&mut batch, Some(Duration::from_millis(10))), Ok(0));
    port.post(1, 0, 0).unwrap();
    assert_eq!(port.get_completions(&mut batch, Some(PATIENCE)), Ok(1));
    assert_eq!(contexts(&mut batch), [1]);
    assert_eq!(called.load(Ordering::SeqCst), 0, "nobody has let it in");
    assert_eq!(parker.park(&mut batch, None), Ok(0));
    assert_eq!(called.load(Ordering::SeqCst), 1);
}

#[test]
fn the_longest_timeouts_do_not_wrap() {
    let port = port();
    let mut batch = Batch::with_capacity(8);
    for timeout in [Duration::MAX, Duration::from_millis(u64::from(u32::MAX))] {
        thread::scope(|threads| {
            let waiter = threads.spawn(|| {
                assert_eq!(port.get_completions(&mut batch, Some(timeout)), Ok(1));
                contexts(&mut batch)
            });
            port.post(7, 0, 0).unwrap();
            assert_eq!(waiter.join().unwrap(), [7]);
        });
    }
}

#[test]
fn what_is_pushed_comes_after_what_the_port_has_ready() {
    let port = port();
    let (one, _other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap().skip_on_success().unwrap();
    let mut batch = Batch::with_capacity(8);
    port.post(1, 0, 0).unwrap();
    port.get_completions(&mut batch, None).unwrap();
    // While the first is worked on, an operation completes at once.
    assert_eq!(batch.next().unwrap().unwrap().context, 1);
    let started = port.initiate_write(&one, 2, "x").unwrap();
    if matches!(started, Started::Pending(_)) {
        return nothing_to_see("a small write to an idle connection waits");
    }
    batch.push(started);
    // Not before the port has been looked at.
    assert!(batch.is_empty());
    assert!(batch.next().is_none());
    port.post(3, 0, 0).unwrap();
    port.post(4, 0, 0).unwrap();
    // Does not wait, and the pushed one comes last.
    assert_eq!(port.get_completions(&mut batch, None), Ok(3));
    assert_eq!(contexts(&mut batch), [3, 4, 2]);
    batch.push(port.initiate_write(&one, 5, "x").unwrap());
    assert_eq!(port.get_completions(&mut batch, None), Ok(1));
    assert_eq!(contexts(&mut batch), [5]);
    assert_eq!(port.get_completions(&mut batch, Some(Duration::ZERO)), Ok(0));
}

#[test]
fn a_pending_operation_that_is_pushed_comes_through_the_port() {
    let port = port();
    let (one, mut other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap().skip_on_success().unwrap();
    let mut batch = Batch::with_capacity(8);
    let started = port.initiate_read(&one, 1, Vec::with_capacity(8)).unwrap();
    assert!(matches!(started, Started::Pending(_)));
    batch.push(started);
    assert_eq!(port.get_completions(&mut batch, Some(Duration::ZERO)), Ok(0));
    other.write_all(b"hello").unwrap();
    assert_eq!(port.get_completions(&mut batch, None), Ok(1));
    let mut completion = batch.next().unwrap().unwrap();
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

#[test]
fn pushed_completions_outlive_a_port_that_closes() {
    let port = port();
    let (one, _other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap().skip_on_success().unwrap();
    let mut batch = Batch::with_capacity(8);
    let started = port.initiate_write(&one, 1, "x").unwrap();
    let inline = matches!(started, Started::Completed(_));
    batch.push(started);
    port.close();
    if inline {
        assert_eq!(port.get_completions(&mut batch, None), Ok(1));
        assert_eq!(contexts(&mut batch), [1]);
    }
    assert!(port.get_completions(&mut batch, None).unwrap_err().is_closed());
}

#[test]
fn an_undrained_batch_frees_everything_in_it() {
    let ledger = Ledger::new(12);
    let port: Iocp<_> = Iocp::builder().max_operations(12).build().unwrap();
    let (one, mut other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap();
    let (skips, _its_other) = stream_pair();
    let skips = port.add_handle(skips, 0).unwrap().skip_on_success().unwrap();
    let mut batch = Batch::with_capacity(8);
    for i in 0..4 {
        port.post(ledger.entry(i), 0, 0).unwrap();
    }
    for i in 4..8 {
        port.initiate_read(&one, ledger.entry(i), Vec::with_capacity(1)).unwrap();
    }
    other.write_all(b"abcd").unwrap();
    for i in 8..12 {
        batch.push(port.initiate_write(&skips, ledger.entry(i), vec![1]).unwrap());
    }
    eventually("all are in the batch", || {
        port.get_completions(&mut batch, Some(Duration::ZERO)).unwrap() == 12
    });
    // All that the port was built for is still in use.
    let rejected = port.post(Ledger::new(1).entry(0), 0, 0).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    ledger.assert_none_dropped();
    drop(batch);
    ledger.assert_each_dropped_once();
    let again = Ledger::new(12);
    for i in 0..12 {
        port.post(again.entry(i), 0, 0).unwrap();
    }
    drop(port);
    again.assert_each_dropped_once();
}

#[test]
fn a_batch_is_worked_off_on_another_thread() {
    const COUNT: usize = few(100);
    let port = port();
    let temp = temp_file("thread", pattern(8000));
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let (send, receive) = mpsc::channel::<Batch>();
    thread::scope(|threads| {
        threads.spawn(move || {
            let mut seen = 0;
            for batch in receive {
                for completion in batch {
                    let mut completion = completion.unwrap();
                    let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
                    assert_eq!(buffer, pattern_from(80 * completion.context, 80));
                    seen += 1;
                }
            }
            assert_eq!(seen, COUNT);
        });
        for i in 0..COUNT {
            port.initiate_read_at(&file, i, Vec::with_capacity(80), 80 * i as u64).unwrap();
        }
        let mut found = 0;
        while found < COUNT {
            let mut batch = Batch::with_capacity(16);
            found += port.get_completions(&mut batch, Some(PATIENCE)).unwrap();
            send.send(batch).unwrap();
        }
        drop(send);
    });
}

#[test]
fn several_threads_with_batches_get_each_packet_once() {
    const POSTERS: usize = 4;
    const EACH: usize = few(5000);
    let port = port();
    let seen: Vec<_> = (0..POSTERS * EACH).map(|_| AtomicUsize::new(0)).collect();
    let left = AtomicUsize::new(POSTERS * EACH);
    thread::scope(|threads| {
        for poster in 0..POSTERS {
            let port = &port;
            threads.spawn(move || {
                for i in 0..EACH {
                    port.post(poster * EACH + i, poster, 0).unwrap();
                }
            });
        }
        for _ in 0..4 {
            threads.spawn(|| {
                let mut batch = Batch::with_capacity(8);
                // The last one closes the port for the others.
                while port.get_completions(&mut batch, None).is_ok() {
                    for completion in &mut batch {
                        let completion = completion.unwrap();
                        assert_eq!(completion.handle_context, completion.context / EACH);
                        seen[completion.context].fetch_add(1, Ordering::SeqCst);
                        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                            port.close();
                        }
                    }
                }
            });
        }
    });
    assert!(seen.iter().all(|count| count.load(Ordering::SeqCst) == 1));
}

#[test]
fn batches_and_single_dequeues_mix() {
    let port = port();
    let mut batch = Batch::with_capacity(2);
    for i in 0..6 {
        port.post(i, 0, 0).unwrap();
    }
    port.get_completions(&mut batch, None).unwrap();
    assert_eq!(complete(&port).context, 2);
    assert_eq!(contexts(&mut batch), [0, 1]);
    port.get_completions(&mut batch, None).unwrap();
    assert_eq!(complete(&port).context, 5);
    assert_eq!(contexts(&mut batch), [3, 4]);
    nothing_more(&port);
}

#[test]
fn one_batch_serves_two_ports_in_turn() {
    let (one, other) = (port(), port());
    one.post(1, 0, 0).unwrap();
    other.post(2, 0, 0).unwrap();
    let mut batch = Batch::with_capacity(4);
    assert_eq!(one.get_completions(&mut batch, None), Ok(1));
    assert_eq!(other.get_completions(&mut batch, None), Ok(2));
    drop((one, other));
    assert_eq!(contexts(&mut batch), [1, 2]);
}

#[test]
fn a_batch_of_boxed_contexts_moves_them_out_in_order() {
    let port = port_of::<Box<str>>();
    for word in ["one", "two", "three"] {
        port.post(word.into(), 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(4);
    port.get_completions(&mut batch, None).unwrap();
    let words: Vec<_> = batch.map(|completion| completion.unwrap().context).collect();
    assert_eq!(words.concat(), "onetwothree");
}
