//! Timers, and the deadlines of operations: never early, and sooner or later.
#![cfg(windows)]

mod support;

use std::future::{Future, IntoFuture};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::{
    Associated, Batch, CompletionStatus, Driver, ErrorKind, Iocp, OperationKind, Pending, WeakIocp,
};
use support::{
    PATIENCE, complete, complete_all, eventually, few, nothing_more, overlapped_file, pipe_pair,
    port, port_of, skipped_without, stream_pair, temp_file,
};

const SHORT: Duration = Duration::from_millis(5);
const HOUR: Duration = Duration::from_secs(3600);

/// A connection whose server side is associated, with handle context 7.
fn served<C: Send + 'static>(port: &Iocp<C>) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 7).unwrap())
}

fn room() -> Vec<u8> {
    Vec::with_capacity(64)
}

#[track_caller]
fn assert_timed_out<C>(completion: &CompletionStatus<C>) {
    assert_eq!(completion.bytes_transferred, 0);
    let error = completion.error_status.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

#[test]
fn a_timer_goes_off_not_before_its_time_and_has_its_context() {
    let port = port();
    for micros in [0, 1, 900, 1_000, 1_001, 7_300] {
        let duration = Duration::from_micros(micros);
        let start = Instant::now();
        let timer = port.after(duration, 5).unwrap();
        let completion = complete(&port);
        assert!(start.elapsed() >= duration, "{duration:?}: {:?}", start.elapsed());
        assert_eq!((completion.context, completion.handle_context), (5, 0));
        assert_eq!(completion.result(), Ok(0));
        assert_eq!(completion.operation.kind(), OperationKind::Timer);
        assert_eq!(timer.result(), Some(Ok(0)));
        assert_eq!(timer.cancel(), Ok(false), "it is over");
    }
    nothing_more(&port);
}

#[test]
fn a_time_that_has_passed_is_now() {
    let port = port();
    let now = Instant::now();
    port.at(now, 1).unwrap();
    assert_eq!(complete(&port).context, 1);
    thread::sleep(SHORT);
    port.at(now, 2).unwrap();
    assert_eq!(complete(&port).context, 2);
}

#[test]
fn timers_go_off_in_the_order_of_their_times() {
    let port = port();
    // Long after the last of them is set.
    let start = Instant::now() + Duration::from_secs(2);
    let count = few(500);
    // Each is set once, and most before earlier ones.
    for index in 0..count {
        let place = index * 7919 % count;
        port.at(start + Duration::from_millis(2) * (place as u32) / 10, place).unwrap();
    }
    let mut last = 0;
    for _ in 0..count {
        let completion = complete(&port);
        let due = start + Duration::from_millis(2) * (completion.context as u32) / 10;
        assert!(Instant::now() >= due);
        // Those of one millisecond are in any order.
        assert!(completion.context + 5 >= last, "{} after {last}", completion.context);
        last = last.max(completion.context);
    }
    nothing_more(&port);
}

#[test]
fn a_timer_that_is_cancelled_completes_as_cancelled_and_goes_off_no_more() {
    let port = port();
    let timer = port.after(HOUR, 5).unwrap();
    let other = port.after(SHORT, 6).unwrap();
    assert_eq!(timer.cancel(), Ok(true));
    assert_eq!(timer.cancel(), Ok(false), "it has been asked");
    let completion = complete(&port);
    assert_eq!(completion.context, 5);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    assert!(timer.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(complete(&port).context, 6);
    assert_eq!(other.cancel(), Ok(false));
    nothing_more(&port);
}

#[test]
fn a_timer_without_end_goes_off_never_and_can_be_cancelled() {
    let port = port();
    let timer = port.after(Duration::MAX, 5).unwrap();
    port.after(SHORT, 6).unwrap();
    assert_eq!(complete(&port).context, 6);
    assert_eq!(port.in_flight(), 1);
    assert_eq!(timer.cancel(), Ok(true));
    assert_eq!(complete(&port).context, 5);
}

#[test]
fn a_timer_without_end_can_have_a_deadline() {
    let port = port();
    let timer = port.after(Duration::MAX, 5).unwrap();
    timer.set_deadline(Instant::now() + SHORT).unwrap();
    timer.set_deadline(None).unwrap();
    assert_eq!(port.in_flight(), 1);
    timer.set_deadline(Instant::now() + SHORT).unwrap();
    let completion = complete(&port);
    assert_eq!(completion.error_status.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(port.in_flight(), 0);
}

/// A context that counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_port_that_is_dropped_takes_its_timers_along() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    for round in 0..few(20) {
        let port = port_of();
        let mut kept = Vec::new();
        for place in 0..10 {
            let after = if place % 2 == 0 { HOUR } else { Duration::from_micros(place * 100) };
            let timer = port.after(after, Counted(Arc::clone(&dropped))).unwrap();
            if place % 3 == 0 {
                kept.push(timer);
            }
        }
        drop(port);
        assert_eq!(dropped.load(Ordering::SeqCst), 10 * (round + 1));
        for timer in kept {
            assert!(timer.is_completed());
            assert_eq!(timer.cancel(), Ok(false));
            assert_eq!(timer.set_deadline(start), Ok(()), "it is over");
        }
    }
}

#[test]
fn a_port_that_is_closed_starts_no_timer_and_gives_the_context_back() {
    let port = port_of::<&str>();
    let before = port.after(HOUR, "before").unwrap();
    port.close();
    let rejected = port.after(SHORT, "after").unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, "after");
    // As any operation that is in flight.
    assert_eq!(before.cancel(), Ok(true));
    assert_eq!(complete(&port).context, "before");
    assert!(port.get_completion().unwrap_err().is_closed());
}

#[test]
fn more_timers_than_operations_are_refused_and_the_context_comes_back() {
    let port = Iocp::builder().max_operations(1).build::<&str>().unwrap();
    let timer = port.after(HOUR, "first").unwrap();
    let rejected = port.after(HOUR, "second").unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    assert_eq!(rejected.returned, "second");
    timer.cancel().unwrap();
    assert_eq!(complete(&port).context, "first");
}

/// Each way to dequeue finds what is due.
#[test]
fn any_dequeue_sees_to_what_is_due() {
    type Way = fn(&Iocp, &mut Pending<Vec<u8>>);
    let ways: [(&str, Way); 6] = [
        ("one", |port, _| drop(port.get_completion().unwrap())),
        ("try", |port, _| {
            eventually("a completion", || port.try_get_completion().unwrap().is_some());
        }),
        ("batch", |port, _| {
            let mut batch = Batch::with_capacity(4);
            assert_eq!(port.get_completions(&mut batch, None), Ok(1));
        }),
        ("iterator", |port, _| drop(port.completions().next().unwrap().unwrap())),
        ("parker", |port, _| {
            let (mut batch, mut parker) = (Batch::with_capacity(4), port.parker().unwrap());
            eventually("a completion", || parker.park(&mut batch, None).unwrap() == 1);
        }),
        ("block_on", |port, read| {
            let failed = port.block_on_with(&mut *read, drop).unwrap().unwrap_err();
            assert_eq!(failed.error.kind(), ErrorKind::TimedOut);
        }),
    ];
    let port = port();
    let (_client, server) = served(&port);
    for (way, dequeue) in ways {
        let mut read = port.initiate_read(&server, 1, room()).unwrap();
        read.set_deadline(Instant::now() + SHORT).unwrap();
        dequeue(&port, &mut read);
        assert_eq!(read.result().unwrap().unwrap_err().kind(), ErrorKind::TimedOut, "{way}");
    }
}

/// `run`, a `Driver`, and a thread that waits at the end of a scope.
#[test]
fn whoever_dequeues_for_others_sees_to_what_is_due() {
    let port = port_of::<()>();
    let driver = Driver::spawn(&port).unwrap();
    let timer = port.after(SHORT, ()).unwrap();
    let read = {
        let (_client, server) = served(&port);
        let read = port.initiate_read(&server, (), room()).unwrap();
        read.set_deadline(Instant::now() + SHORT).unwrap();
        eventually("the timer", || timer.is_completed());
        eventually("the read", || read.is_completed());
        read
    };
    assert_eq!(read.result().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    driver.stop().unwrap();

    thread::scope(|scope| {
        scope.spawn(|| port.run(drop).unwrap());
        let timer = port.after(SHORT, ()).unwrap();
        eventually("the timer", || timer.is_completed());
        let never = port.after(HOUR, ()).unwrap();
        port.close();
        eventually("its cancel", || never.is_completed());
    });
}

#[test]
fn a_scope_waits_for_an_operation_that_has_a_deadline() {
    let port = port();
    let (_client, server) = served(&port);
    let mut buffer = [0; 8];
    let timer = port.after(Duration::ZERO, 3).unwrap();
    port.scope(|scope| {
        let read = scope.initiate_read(&server, 1, &mut buffer[..]).unwrap();
        read.set_deadline(Instant::now() + Duration::from_millis(1)).unwrap();
    });
    while !timer.is_completed() {
        complete(&port);
    }
}

#[test]
fn an_operation_whose_deadline_passes_has_timed_out_and_gives_its_buffer_back() {
    let port = port();
    let (_client, server) = served(&port);
    let (client, pipe) = pipe_pair(false);
    let pipe = port.add_handle(pipe, 8).unwrap();
    for round in 0..few(10) {
        let deadline = Instant::now() + Duration::from_micros(round as u64 * 300);
        let mut reads = [
            port.initiate_read(&server, 1, room()).unwrap(),
            port.initiate_read(&pipe, 2, room()).unwrap(),
        ];
        for read in &reads {
            read.set_deadline(deadline).unwrap();
        }
        for completion in complete_all(&port, 2) {
            assert!(Instant::now() >= deadline);
            assert_timed_out(&completion);
        }
        for read in &mut reads {
            assert_eq!(read.result().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!(read.take_buffer().unwrap().capacity(), 64);
        }
    }
    nothing_more(&port);
    drop(client);
}

#[test]
fn a_deadline_that_has_passed_when_it_is_set_ends_the_operation() {
    let port = port();
    let (_client, server) = served(&port);
    let read = port.initiate_read(&server, 1, room()).unwrap();
    read.set_deadline(Instant::now()).unwrap();
    assert_timed_out(&complete(&port));
}

#[test]
fn what_was_faster_than_its_deadline_is_a_success_and_has_its_data() {
    let port = port();
    let contents = temp_file("deadline", b"hello");
    let file = port.add_handle(overlapped_file(contents.path(), true, false), 7).unwrap();
    for _ in 0..few(20) {
        let mut read = port.initiate_read_at(&file, 1, room(), 0).unwrap();
        // It has passed when the packet is dequeued.
        read.set_deadline(Instant::now()).unwrap();
        thread::sleep(Duration::from_millis(1));
        assert_eq!(complete(&port).result(), Ok(5));
        assert_eq!(read.take_buffer().unwrap(), b"hello");
    }
    nothing_more(&port);
}

/// Asserts that a read is ended by its deadline once this has become of its `Pending`.
fn assert_deadline_stays(then: fn(Pending<Vec<u8>>)) {
    let port = port();
    let (_client, server) = served(&port);
    let read = port.initiate_read(&server, 1, room()).unwrap();
    read.set_deadline(Instant::now() + SHORT).unwrap();
    then(read);
    let mut completion = complete(&port);
    assert_timed_out(&completion);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap().capacity(), 64);
}

#[test]
fn a_deadline_stays_with_the_operation_when_the_pending_is_dropped() {
    assert_deadline_stays(drop);
}

#[test]
fn a_deadline_stays_with_the_operation_when_the_pending_is_forgotten() {
    assert_deadline_stays(std::mem::forget);
}

/// The next operation has the place of the one before.
#[test]
fn a_deadline_ends_with_its_operation_and_no_other() {
    let port = port();
    let contents = temp_file("deadline", b"hello");
    let file = port.add_handle(overlapped_file(contents.path(), true, false), 7).unwrap();
    let (_client, server) = served(&port);
    for drops in [false, true] {
        let first = port.initiate_read_at(&file, 1, room(), 0).unwrap();
        first.set_deadline(Instant::now() + SHORT).unwrap();
        let first = if drops { None } else { Some(first) };
        assert_eq!(complete(&port).result(), Ok(5));
        drop(first);
        let second = port.initiate_read(&server, 2, room()).unwrap();
        port.after(2 * SHORT, 3).unwrap();
        assert_eq!(complete(&port).context, 3);
        assert!(!second.is_completed(), "it has no deadline");
        second.cancel().unwrap();
        assert_eq!(complete(&port).context, 2);
    }
}

#[test]
fn a_deadline_can_be_moved_and_taken_back() {
    let port = port();
    let (_client, server) = served(&port);
    let read = port.initiate_read(&server, 1, room()).unwrap();
    let soon = || Instant::now() + SHORT;
    let not_yet = |what| {
        port.after(3 * SHORT, 2).unwrap();
        assert_eq!(complete(&port).context, 2, "{what}");
        assert!(!read.is_completed());
    };
    read.set_deadline(None).unwrap();
    read.set_deadline(soon()).unwrap();
    read.set_deadline(soon() + HOUR).unwrap();
    not_yet("it was moved");
    read.set_deadline(soon()).unwrap();
    read.set_deadline(None).unwrap();
    not_yet("it was taken back");
    read.set_deadline(soon() + HOUR).unwrap();
    read.set_deadline(soon()).unwrap();
    assert_timed_out(&complete(&port));
    assert_eq!(read.set_deadline(soon()), Ok(()), "it is over");
    nothing_more(&port);
}

/// A connection that says something is not idle.
#[test]
fn a_deadline_that_is_moved_again_and_again_does_not_pass() {
    let port = port();
    let (_client, server) = served(&port);
    let read = port.initiate_read(&server, 1, room()).unwrap();
    let mut timers = 0;
    for _ in 0..few(100) {
        read.set_deadline(Instant::now() + PATIENCE).unwrap();
        port.after(Duration::from_micros(300), 2).unwrap();
        timers += usize::from(complete(&port).context == 2);
    }
    assert_eq!(timers, few(100));
    assert!(!read.is_completed());
}

#[test]
fn a_timer_may_have_a_deadline_too() {
    let port = port();
    let timer = port.after(HOUR, 1).unwrap();
    timer.set_deadline(Instant::now() + SHORT).unwrap();
    assert_timed_out(&complete(&port));
    // The earlier of the two counts, and the timer's own stays.
    let timer = port.after(SHORT, 2).unwrap();
    timer.set_deadline(Instant::now() + HOUR).unwrap();
    assert_eq!(complete(&port).result(), Ok(0));
    let timer = port.after(2 * SHORT, 3).unwrap();
    timer.set_deadline(Instant::now() + SHORT).unwrap();
    timer.set_deadline(None).unwrap();
    assert_eq!(complete(&port).result(), Ok(0));
    assert_eq!(timer.set_deadline(Instant::now()), Ok(()));
    nothing_more(&port);
}

/// One that has gone off, and has not been dequeued.
#[test]
fn a_timer_goes_off_once() {
    let port = port();
    let now = Instant::now();
    let timers = [1, 2].map(|context| port.at(now, context).unwrap());
    // The clock's packet is of both, and there is room for one.
    let mut batch = Batch::with_capacity(1);
    assert_eq!(port.get_completions(&mut batch, Some(PATIENCE)), Ok(1));
    for timer in &timers {
        timer.set_deadline(Instant::now()).unwrap();
        timer.set_deadline(None).unwrap();
    }
    assert_eq!(batch.next().unwrap().unwrap().result(), Ok(0));
    assert_eq!(complete(&port).result(), Ok(0));
    port.after(SHORT, 3).unwrap();
    assert_eq!(complete(&port).context, 3);
    nothing_more(&port);
}

#[test]
fn a_wait_with_a_timeout_ends_in_the_data_or_in_the_buffer() {
    let port = port_of::<()>();
    let (mut client, server) = served(&port);
    port.block_on(async {
        let read = port.initiate_read(&server, (), room()).unwrap();
        let start = Instant::now();
        let failed = read.timeout(SHORT).await.unwrap_err();
        assert!(start.elapsed() >= SHORT);
        assert_eq!(failed.error.kind(), ErrorKind::TimedOut);
        let buffer = failed.returned.unwrap();

        client.write_all(b"hello").unwrap();
        let read = port.initiate_read(&server, (), buffer).unwrap();
        let (bytes, buffer) = read.timeout(PATIENCE).await.unwrap();
        assert_eq!((bytes, &buffer[..]), (5, &b"hello"[..]));

        let timer = port.after(SHORT, ()).unwrap();
        assert_eq!(timer.await.unwrap(), (0, ()));
    })
    .unwrap();
}

#[test]
fn what_may_be_over_at_once_takes_a_deadline_too() {
    let port = port_of::<()>();
    let (mut client, server) = served(&port);
    let Ok(server) = server.skip_on_success() else { return skipped_without("skip-on-success") };
    port.block_on(async {
        let read = port.initiate_read(&server, (), room()).unwrap();
        read.set_deadline(Instant::now() + HOUR).unwrap();
        let failed = read.timeout(SHORT).await.unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::TimedOut);
        client.write_all(b"hello").unwrap();
        let write = port.initiate_write(&server, (), "hello").unwrap();
        write.set_deadline(Instant::now() + PATIENCE).unwrap();
        assert_eq!(write.timeout(PATIENCE).await.unwrap(), (5, "hello"));
        let read = port.initiate_read(&server, (), failed.returned.unwrap()).unwrap();
        assert_eq!(read.timeout(PATIENCE).await.unwrap().0, 5);
    })
    .unwrap();
}

#[test]
fn a_timer_whose_future_is_dropped_is_cancelled() {
    let port = port();
    drop(port.after(HOUR, 5).unwrap().into_future());
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
}

/// However the deadline and the data meet, each byte arrives once, and in order.
#[test]
fn no_byte_is_lost_between_a_read_and_its_deadline() {
    let port = port();
    let (mut client, server) = served(&port);
    let total = few(500);
    let writer = thread::spawn(move || {
        for byte in 0..total {
            client.write_all(&[byte as u8]).unwrap();
            if byte % 3 == 0 {
                thread::sleep(Duration::from_micros(700));
            }
        }
        client
    });
    let (mut got, mut timed_out) = (0, 0);
    while got < total {
        let read = port.initiate_read(&server, 1, room()).unwrap();
        read.set_deadline(Instant::now() + Duration::from_micros(timed_out % 5 * 250)).unwrap();
        let mut completion = complete(&port);
        let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
        match completion.error_status {
            Ok(()) => {
                for byte in buffer {
                    assert_eq!(byte, got as u8);
                    got += 1;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(buffer.is_empty());
                timed_out += 1;
            }
        }
    }
    drop(writer.join().unwrap());
    nothing_more(&port);
}

/// After any mix of them the earliest is what the clock is set to.
#[test]
fn timers_that_several_threads_set_and_cancel_all_end() {
    let port = port();
    let ended = AtomicUsize::new(0);
    let (threads, each) = (4, few(200));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| port.run(|_| _ = ended.fetch_add(1, Ordering::SeqCst)).unwrap());
        }
        let setters: Vec<_> = (0..threads)
            .map(|thread| {
                let port = &port;
                scope.spawn(move || {
                    for place in 0..each {
                        let micros = (place * 7 + thread * 13) % 4000;
                        let timer =
                            port.after(Duration::from_micros(micros as u64), place).unwrap();
                        match place % 3 {
                            0 => drop(timer.cancel().unwrap()),
                            1 => timer.set_deadline(Instant::now()).unwrap(),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        for setter in setters {
            setter.join().unwrap();
        }
        eventually("all timers", || ended.load(Ordering::SeqCst) == threads * each);
        port.close();
    });
}

#[test]
fn a_shut_down_waits_for_timers_and_then_cancels_them() {
    let port = port();
    let soon = port.after(SHORT, 1).unwrap();
    let mut contexts = Vec::new();
    let left = port.shut_down_with(PATIENCE, |completion| contexts.push(completion.context));
    assert_eq!((left, &contexts[..]), (0, &[1][..]));
    assert_eq!(soon.result(), Some(Ok(0)));

    let port = self::port();
    let never = port.after(HOUR, 1).unwrap();
    assert_eq!(port.shut_down(SHORT), 0);
    assert!(never.result().unwrap().unwrap_err().is_cancelled());
}

/// Drops the last handle to the port.
struct Last(std::sync::Mutex<Option<Iocp<Option<Iocp<()>>>>>, AtomicBool);

impl Wake for Last {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
        self.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_port_with_timers_can_be_dropped_by_whoever_is_woken() {
    let port = port_of::<Option<Iocp<()>>>();
    let weak: WeakIocp<_> = port.downgrade();
    let mut timer = pin!(port.after(SHORT, None).unwrap().into_future());
    let never = port.after(HOUR, None).unwrap();
    let inner = port_of::<()>();
    inner.after(HOUR, ()).unwrap();
    let with_port = port.after(2 * SHORT, Some(inner)).unwrap();
    let last = Arc::new(Last(std::sync::Mutex::new(None), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&last));
    assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let dequeuer = thread::spawn({
        let port = port.clone();
        move || while let Ok(Some(_)) = port.get_completion_timeout(Duration::from_millis(50)) {}
    });
    *last.0.lock().unwrap() = Some(port);
    eventually("the waker", || last.1.load(Ordering::SeqCst));
    dequeuer.join().unwrap();
    eventually("the end of the port", || weak.upgrade().is_none());
    eventually("the last timer", || never.is_completed() && with_port.is_completed());
    assert!(matches!(
        timer.as_mut().poll(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(Ok((0, ())))
    ));
}

#[test]
fn a_handle_that_is_dropped_ends_what_has_a_deadline() {
    let port = port();
    let (mut client, server) = served(&port);
    let read = port.initiate_read(&server, 1, room()).unwrap();
    read.set_deadline(Instant::now() + HOUR).unwrap();
    drop(server);
    assert!(complete(&port).error_status.is_err());
    let _ = client.read(&mut [0]);
    port.after(SHORT, 2).unwrap();
    assert_eq!(complete(&port).context, 2);
}

/// What only a kernel does that is told to.
#[cfg(simulated_kernel)]
mod told {
    use simulated_kernel::{Chance, FOREVER, behave};
    use support::{dequeue_raw, post_raw};

    use super::*;

    #[test]
    fn what_cannot_be_posted_for_a_while_is_late_and_not_lost() {
        for refused in 1..4 {
            let port = port();
            let (_client, server) = served(&port);
            let read = port.initiate_read(&server, 1, room()).unwrap();
            let _behaving = behave(|kernel| kernel.refuse_posts = refused);
            read.set_deadline(Instant::now() + SHORT).unwrap();
            port.after(SHORT, 2).unwrap();
            let mut contexts: Vec<_> =
                complete_all(&port, 2).iter().map(|completion| completion.context).collect();
            contexts.sort_unstable();
            assert_eq!(contexts, [1, 2]);
        }
    }

    #[test]
    fn who_dequeues_does_not_wait_for_what_cannot_be_posted() {
        let port = port();
        port.after(Duration::ZERO, 1).unwrap();
        // The clock's.
        let (bytes, key, overlapped) = dequeue_raw(&port);
        post_raw(&port, bytes, key, overlapped);
        let refusing = behave(|kernel| kernel.refuse_posts = 1000);
        nothing_more(&port);
        let mut left = 0;
        std::mem::forget(behave(|kernel| left = kernel.refuse_posts));
        assert!((1..1000).contains(&left), "{left} are left");
        drop(refusing);
        let completion = complete(&port);
        assert_eq!((completion.context, completion.error_status), (1, Ok(())));
    }

    #[test]
    fn a_timer_whose_cancel_cannot_be_posted_goes_on_and_can_be_cancelled_again() {
        let port = port();
        let timer = port.after(HOUR, 1).unwrap();
        let _behaving = behave(|kernel| kernel.refuse_posts = 1);
        assert_eq!(timer.cancel().unwrap_err().kind(), ErrorKind::ResourceExhausted);
        assert!(!timer.is_completed());
        assert_eq!(timer.cancel(), Ok(true));
        assert!(complete(&port).error_status.unwrap_err().is_cancelled());
        nothing_more(&port);
    }

    #[test]
    fn a_port_that_is_dropped_takes_timers_along_that_cannot_be_told_at_once() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let port = port_of();
        let timers: Vec<_> =
            (0..3).map(|_| port.after(HOUR, Counted(Arc::clone(&dropped))).unwrap()).collect();
        let _behaving = behave(|kernel| kernel.refuse_posts = 2);
        drop(port);
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
        assert!(timers.iter().all(Pending::is_completed));
    }

    #[test]
    fn without_memory_for_timers_nothing_is_started_and_all_comes_back() {
        let port = port_of::<&str>();
        let (mut client, server) = served(&port);
        let _behaving = behave(|kernel| kernel.refuse_timers = 3);
        let rejected = port.after(SHORT, "timer").unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(rejected.returned, "timer");
        assert_eq!(port.in_flight(), 0);

        let read = port.initiate_read(&server, "read", room()).unwrap();
        let error = read.set_deadline(Instant::now()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(read.set_deadline(None), Ok(()));
        client.write_all(b"hello").unwrap();
        assert_eq!(complete(&port).result(), Ok(5));

        let read = port.initiate_read(&server, "read", room()).unwrap();
        let failed = port.block_on_with(read.timeout(PATIENCE), drop).unwrap().unwrap_err();
        assert!(failed.error.is_cancelled());
        assert_eq!(failed.returned.unwrap().capacity(), 64);

        port.after(SHORT, "timer").unwrap();
        assert_eq!(complete(&port).context, "timer");
    }

    /// Whatever has become of it, by its own packet.
    #[test]
    fn an_operation_that_fails_for_another_reason_has_that_error_after_its_deadline() {
        let port = port();
        let (mut client, server) = served(&port);
        let _behaving = behave(|kernel| {
            kernel.inline = Chance::Never;
            kernel.ignore_cancels = FOREVER;
            kernel.fail.push_back(0xC000_009A); // STATUS_INSUFFICIENT_RESOURCES
        });
        let read = port.initiate_read(&server, 1, room()).unwrap();
        read.set_deadline(Instant::now()).unwrap();
        port.after(Duration::from_millis(1), 2).unwrap();
        assert_eq!(complete(&port).context, 2);
        client.write_all(b"hello").unwrap();
        let error = complete(&port).error_status.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    }
}
