//! Who dequeues: threads that run, park or drive; and the end of a port.
#![cfg(windows)]

mod support;

use std::future::{Future, IntoFuture, poll_fn};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::{Batch, Driver, ErrorKind, Failed, Unparker, op};
use support::{PATIENCE, eventually, few, nothing_more, port, port_of, post_raw, stream_pair};

/// Longer than anything takes that is not waited for.
const LONG: Duration = Duration::from_secs(3600);

struct Unparks(thread::Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread, which does not dequeue.
fn wait<F: IntoFuture>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut future = pin!(future.into_future());
    let start = Instant::now();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "it was not woken");
        thread::park_timeout(PATIENCE);
    }
}

/// Something that is awaited and is none of the port's.
#[derive(Default)]
struct Event(AtomicBool, Mutex<Option<Waker>>);

impl Event {
    fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
        if let Some(waker) = self.1.lock().unwrap().take() {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|context| {
            *self.1.lock().unwrap() = Some(context.waker().clone());
            if self.0.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Lets everybody else go first.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn threads_that_run_a_port_share_its_completions_until_it_is_closed() {
    let port = port();
    let counts = AtomicUsize::new(0);
    thread::scope(|scope| {
        let running = [(); 4]
            .map(|()| scope.spawn(|| port.run(|_| _ = counts.fetch_add(1, Ordering::SeqCst))));
        (0..few(1000)).for_each(|i| port.post(i, 0, 0).unwrap());
        port.close();
        running.map(|thread| assert_eq!(thread.join().unwrap(), Ok(())))
    });
    assert_eq!((counts.load(Ordering::SeqCst), port.in_flight()), (few(1000), 0));
}

#[test]
fn a_port_that_is_closed_keeps_nobody_waiting_who_awaits() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let (started, ready) = mpsc::channel();
    let running = {
        let port = port.clone();
        thread::spawn(move || {
            let mut contexts = Vec::new();
            port.run(|completion| {
                contexts.push(completion.context);
                started.send(()).unwrap();
            })
            .unwrap();
            contexts
        })
    };
    port.post(7, 0, 0).unwrap();
    ready.recv_timeout(PATIENCE).unwrap();
    let read = port.initiate_read(&server, 8, Vec::<u8>::with_capacity(4)).unwrap();
    port.close();
    let Failed { error, returned, .. } = wait(read).unwrap_err();
    assert_eq!((error.kind(), returned), (ErrorKind::Cancelled, Some(vec![])));
    assert_eq!(running.join().unwrap(), [7, 8]);
}

#[test]
fn completions_end_with_the_port_and_go_on_after_a_foreign_packet() {
    let port = port();
    port.post(1, 0, 0).unwrap();
    post_raw(&port, 2, 3, 4);
    port.post(5, 0, 0).unwrap();
    port.close();
    let mut completions = port.completions();
    let results: Vec<_> = completions
        .by_ref()
        .map(|completion| match completion {
            Ok(completion) => completion.context,
            Err(error) => error.foreign_packet().unwrap().overlapped,
        })
        .collect();
    assert_eq!(results, [1, 4, 5]);
    assert!(completions.next().is_none());
    assert_eq!(port.run(|_| unreachable!()), Ok(()), "nothing is left");
}

#[test]
fn what_fails_ends_a_run_unless_the_port_is_closed() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    port.initiate_read(&server, 9, Vec::with_capacity(4)).unwrap();
    post_raw(&port, 2, 3, 4);
    (1..=3).for_each(|number| port.post(number, 0, 0).unwrap());
    let mut seen = Vec::new();
    let mut look = |closing| {
        port.try_run(|completion| {
            seen.push(completion.context);
            if completion.context == closing {
                port.close();
            }
            if completion.context == 1 {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::Other))
            }
        })
    };
    assert_eq!(look(3).unwrap_err().kind(), io::ErrorKind::Other);
    assert!(look(3).is_ok());
    assert_eq!((seen, port.in_flight()), (vec![1, 2, 3, 9], 0));
}

#[test]
fn a_future_is_run_by_the_thread_that_dequeues() {
    let (port, (client, server)) = (port_of::<()>(), stream_pair());
    let client = port.add_handle(client, 1).unwrap();
    let server = port.add_handle(server, 2).unwrap();
    let result = port.block_on(async {
        for round in 0..few(50) as u8 {
            let read = port.initiate_read(&server, (), Vec::with_capacity(4))?;
            assert_eq!(port.initiate_write(&client, (), [round; 3])?.await?, (3, [round; 3]));
            assert_eq!(read.await?, (3, vec![round; 3]));
        }
        Ok::<_, completion_port::Error>(7)
    });
    assert_eq!(result, Ok(Ok(7)));
    nothing_more(&port);
}

#[test]
fn the_thread_that_dequeues_is_woken_by_others() {
    let port = port_of::<()>();
    for round in 0..few(200) {
        let event = Arc::new(Event::default());
        let sets = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.set())
        };
        if round % 2 == 0 {
            sets.join().unwrap();
            port.block_on(event.wait()).unwrap();
        } else {
            port.block_on(event.wait()).unwrap();
            sets.join().unwrap();
        }
    }
    // What has unparked it is nobody's completion.
    nothing_more(&port);
    assert_eq!(port.in_flight(), 0);
}

#[test]
fn the_thread_is_woken_though_others_dequeue_from_the_port() {
    let port = port_of::<()>();
    let others = [(); 3].map(|()| {
        let port = port.clone();
        thread::spawn(move || port.run(|_| ()))
    });
    for _ in 0..few(50) {
        let event = Arc::new(Event::default());
        let sets = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.set())
        };
        port.block_on(event.wait()).unwrap();
        sets.join().unwrap();
    }
    port.close();
    for other in others {
        other.join().unwrap().unwrap();
    }
}

#[test]
fn a_future_that_wakes_itself_does_not_starve_the_port() {
    let (port, (mut client, server)) = (port_of::<()>(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    client.write_all(b"abc").unwrap();
    port.block_on(async {
        let mut read = port.initiate_read(&server, (), [0; 3]).unwrap();
        while !read.is_completed() {
            yield_now().await;
        }
        assert_eq!((&mut read).await, Ok((3, *b"abc")));
    })
    .unwrap();
}

#[test]
fn what_is_not_awaited_goes_to_the_programs_function() {
    let port = port();
    let event = Arc::new(Event::default());
    port.post(7, 0, 0).unwrap();
    port.post(8, 0, 0).unwrap();
    let mut contexts = Vec::new();
    port.block_on_with(event.wait(), |completion| {
        contexts.push(completion.context);
        if completion.context == 8 {
            event.set();
        }
    })
    .unwrap();
    assert_eq!(contexts, [7, 8]);
}

#[test]
fn a_future_goes_on_when_the_port_is_closed() {
    let (port, (_client, server)) = (port_of::<()>(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let read = port.initiate_read(&server, (), [0; 4]).unwrap();
    let event = Arc::new(Event::default());
    let (read_is_over, is_over) = mpsc::channel();
    let other = {
        let (port, event) = (port.clone(), Arc::clone(&event));
        thread::spawn(move || {
            port.close();
            is_over.recv_timeout(PATIENCE).unwrap();
            event.set();
        })
    };
    port.block_on(async {
        assert!(read.await.unwrap_err().error.is_cancelled());
        read_is_over.send(()).unwrap();
        event.wait().await;
    })
    .unwrap();
    other.join().unwrap();
}

#[test]
fn a_future_may_run_another_on_its_port() {
    let (port, (client, _server)) = (port_of::<()>(), stream_pair());
    let client = port.add_handle(client, 1).unwrap();
    let write = port.initiate_write(&client, (), "abc").unwrap();
    port.block_on(async {
        let mut other = port.initiate_write(&client, (), "def").unwrap();
        assert_eq!(port.block_on(&mut other).unwrap(), Ok((3, "def")));
        assert_eq!(write.await, Ok((3, "abc")));
    })
    .unwrap();
}

#[test]
fn a_thread_that_was_unparked_before_does_not_wait() {
    let port = port();
    let mut batch = Batch::with_capacity(4);
    let mut parker = port.parker().unwrap();
    let unparker = parker.unparker();
    (0..3).for_each(|_| unparker.unpark());
    assert_eq!(parker.park(&mut batch, None), Ok(0));
    assert_eq!(parker.park(&mut batch, Some(Duration::ZERO)), Ok(0));
    port.post(7, 0, 0).unwrap();
    unparker.unpark();
    assert_eq!(parker.park(&mut batch, None), Ok(1), "what is queued comes with it");
    assert_eq!(batch.next().unwrap().unwrap().context, 7);
    nothing_more(&port);
}

#[test]
fn what_unparks_a_thread_is_seen_by_nobody_else() {
    let port = port();
    let mut parker = port.parker().unwrap();
    let threads = [(); 4].map(|()| {
        let unparker = parker.unparker();
        thread::spawn(move || (0..few(100)).for_each(|_| unparker.unpark()))
    });
    let mut batch = Batch::with_capacity(4);
    assert_eq!(parker.park(&mut batch, None), Ok(0));
    for thread in threads {
        thread.join().unwrap();
    }
    nothing_more(&port);
    drop(parker);
    nothing_more(&port);
}

#[test]
fn an_unparker_outlives_parker_and_port_and_keeps_neither() {
    let port = port_of::<Arc<()>>();
    let context = Arc::new(());
    port.post(Arc::clone(&context), 0, 0).unwrap();
    let parker = port.parker().unwrap();
    let unparker = parker.unparker();
    drop(parker);
    unparker.unpark();
    drop(port);
    assert_eq!(Arc::strong_count(&context), 1, "the port is gone");
    unparker.unpark();
}

#[test]
fn a_driver_dequeues_for_those_who_await() {
    let (port, (mut client, server)) = (port_of::<()>(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    for _ in 0..2 {
        let driver = Driver::spawn(&port).unwrap();
        for round in 0..few(20) as u8 {
            let read = port.initiate_read(&server, (), Vec::with_capacity(4)).unwrap();
            client.write_all(&[round]).unwrap();
            assert_eq!(wait(read), Ok((1, vec![round])));
        }
        driver.stop().unwrap();
        // The port goes on.
        port.post((), 0, 0).unwrap();
        assert_eq!(support::complete(&port).bytes_transferred, 0);
    }
    nothing_more(&port);
}

#[test]
fn several_drivers_are_stopped_one_by_one() {
    let port = port();
    let (contexts, received) = mpsc::channel();
    let mut drivers: Vec<_> = (0..4)
        .map(|_| {
            let contexts = contexts.clone();
            Driver::spawn_with(&port, move |completion| {
                contexts.send(completion.context).unwrap();
            })
            .unwrap()
        })
        .collect();
    while let Some(driver) = drivers.pop() {
        port.post(drivers.len(), 0, 0).unwrap();
        assert_eq!(received.recv_timeout(PATIENCE), Ok(drivers.len()));
        drop(driver);
    }
    nothing_more(&port);
}

#[test]
fn a_driver_goes_on_after_a_panic_and_tells_of_it() {
    let port = port();
    let (contexts, received) = mpsc::channel();
    let driver = Driver::spawn_with(&port, move |completion| {
        assert_ne!(completion.context, 0, "on purpose");
        contexts.send(completion.context).unwrap();
    })
    .unwrap();
    for context in [1, 0, 2] {
        port.post(context, 0, 0).unwrap();
    }
    assert_eq!([(); 2].map(|()| received.recv_timeout(PATIENCE).unwrap()), [1, 2]);
    let panic = driver.stop().unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("on purpose"));
}

#[test]
fn a_driver_that_is_dropped_on_its_own_thread_stops() {
    let port = port();
    let slot = Arc::new(Mutex::new(None::<Driver>));
    let (done, is_done) = mpsc::channel();
    let driver = Driver::spawn_with(&port, {
        let slot = Arc::clone(&slot);
        move |_| {
            drop(slot.lock().unwrap().take());
            done.send(()).unwrap();
        }
    })
    .unwrap();
    *slot.lock().unwrap() = Some(driver);
    port.post(1, 0, 0).unwrap();
    is_done.recv_timeout(PATIENCE).unwrap();
    // Its closure is gone with it.
    assert!(
        is_done.recv_timeout(PATIENCE).is_err_and(|e| e == mpsc::RecvTimeoutError::Disconnected)
    );
    port.post(2, 0, 0).unwrap();
    assert_eq!(support::complete(&port).context, 2);
}

#[test]
fn a_driver_ends_with_its_port_and_nobody_is_left_waiting() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let driver = Driver::spawn(&port).unwrap();
    let read = port.initiate_read(&server, 8, [0; 4]).unwrap();
    port.close();
    assert!(wait(read).unwrap_err().error.is_cancelled());
    driver.stop().unwrap();
    assert_eq!(port.in_flight(), 0);
}

#[test]
fn a_pool_hands_out_completions_on_all_its_threads_at_a_time() {
    const THREADS: usize = 4;
    let port = port();
    assert!(Driver::spawn_pool(&port, 0, drop).is_err());
    let (together, (contexts, received)) = (Barrier::new(THREADS), mpsc::channel());
    let pool = Driver::spawn_pool(&port, THREADS, move |completion| {
        together.wait();
        contexts.send(completion.context).unwrap();
        assert_ne!(completion.context, 0, "on purpose");
    })
    .unwrap();
    for context in 0..THREADS {
        port.post(context, 0, 0).unwrap();
    }
    let mut got = [(); THREADS].map(|()| received.recv_timeout(PATIENCE).unwrap());
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 3]);
    assert_eq!(port.shut_down(PATIENCE), 0);
    let panic = pool.stop().unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("on purpose"));
    assert!(received.try_recv().is_err(), "its closure is gone");
}

/// Wakes with a panic.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn a_completion_is_handed_out_though_its_waker_panics() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let mut read = port.initiate_read(&server, 7, [0; 4]).unwrap();
    let waker = Waker::from(Arc::new(Panics));
    assert!(read.poll_completed(&mut Context::from_waker(&waker)).is_pending());
    let mut contexts = Vec::new();
    let shut_down = || port.shut_down_with(Duration::ZERO, |done| contexts.push(done.context));
    catch_unwind(AssertUnwindSafe(shut_down)).unwrap_err();
    assert_eq!(contexts, [7]);
}

#[test]
fn a_handler_may_wait_in_the_port_though_that_is_closed() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    drop(port.initiate_read(&server, 7, [0; 4]).unwrap());
    port.close();
    let mut contexts = Vec::new();
    port.run(|completion| {
        contexts.push(completion.context);
        assert!(port.get_completion().unwrap_err().is_closed());
    })
    .unwrap();
    assert_eq!(contexts, [7]);
}

#[test]
fn a_handler_may_wait_for_the_end_of_another_thread_that_waits_in_the_port() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    drop(port.initiate_read(&server, 7, [0; 4]).unwrap());
    port.close();
    let other = port.clone();
    let mut other = Some(thread::spawn(move || while other.get_completion().is_ok() {}));
    port.run(|_| other.take().unwrap().join().unwrap()).unwrap();
}

/// Of calls that fail at once packets are left which nobody sees.
#[test]
fn shutting_down_goes_on_behind_packets_that_are_not_to_be_seen() {
    const FAILS: usize = if cfg!(miri) { 8 } else { 2000 };
    let (port, (pipe, _end), (_client, server)) =
        (port(), support::pipe_pair(false), stream_pair());
    let pipe = port.add_handle(pipe, 1).unwrap();
    let server = port.add_handle(server, 2).unwrap();
    // SAFETY: No driver knows it.
    let unknown = unsafe { op::ControlCode::new(0x0022_FFF0) };
    for _ in 0..FAILS {
        port.initiate(&pipe, 3, op::DeviceControl::new(unknown, [0; 0], [0; 0])).unwrap_err();
    }
    let read = port.initiate_read(&server, 4, [0; 4]).unwrap();
    assert_eq!(port.shut_down(Duration::ZERO), 0);
    assert!(read.is_completed());
}

#[test]
fn a_driver_is_stopped_though_somebody_shuts_down_the_port() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    drop(port.initiate_read(&server, 7, [0; 4]).unwrap());
    let driver = Driver::spawn(&port).unwrap();
    thread::scope(|scope| {
        let ends = scope.spawn(|| port.shut_down(LONG));
        eventually("nothing is started any more", || port.is_closed());
        driver.stop().unwrap();
        client.write_all(b"late").unwrap();
        assert_eq!(ends.join().unwrap(), 0);
    });
}

#[test]
fn of_many_threads_that_park_each_is_woken() {
    const THREADS: usize = if cfg!(miri) { 3 } else { 12 };
    const ROUNDS: usize = if cfg!(miri) { 2 } else { 5 };
    let port = port();
    let (woken, wakes) = mpsc::channel();
    let (unparkers, threads): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|index| {
            let (port, woken) = (port.clone(), woken.clone());
            let (give, get) = mpsc::channel();
            let thread = thread::spawn(move || {
                let mut parker = port.parker().unwrap();
                give.send(parker.unparker()).unwrap();
                let mut batch = Batch::with_capacity(4);
                while parker.park(&mut batch, None).is_ok() {
                    woken.send(index).unwrap();
                }
            });
            (get.recv().unwrap(), thread)
        })
        .unzip();
    for round in 0..ROUNDS {
        let unparked = if round % 2 == 0 { 0..THREADS } else { 0..1 };
        let mut left: Vec<_> = unparked.clone().collect();
        unparkers[unparked].iter().for_each(Unparker::unpark);
        while !left.is_empty() {
            let index = wakes.recv_timeout(PATIENCE).unwrap();
            left.retain(|one| *one != index);
        }
    }
    port.close();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn what_is_in_flight_is_counted_by_looking() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    assert_eq!(port.in_flight(), 0);
    let reads = [(); 3].map(|()| port.initiate_read(&server, 1, [0; 4]).unwrap());
    port.post(2, 0, 0).unwrap();
    assert_eq!(port.in_flight(), 4);
    assert!(reads.iter().all(|read| read.cancel().unwrap()));
    assert_eq!(port.in_flight(), 4, "until they have been dequeued");
    support::complete_all(&port, 4);
    assert_eq!(port.in_flight(), 0);
}

#[test]
fn shutting_down_cancels_what_is_left_when_the_patience_ends() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let reads = [(); 3].map(|()| port.initiate_read(&server, 1, [0; 4]).unwrap());
    port.post(2, 0, 0).unwrap();
    let mut contexts = Vec::new();
    let left = port.shut_down_with(Duration::from_millis(5), |completion| {
        contexts.push(completion.context);
    });
    contexts.sort_unstable();
    assert_eq!((left, contexts), (0, vec![1, 1, 1, 2]));
    for read in reads {
        assert!(wait(read).unwrap_err().error.is_cancelled());
    }
    let rejected = port.initiate_read(&server, 1, [0; 4]).unwrap_err();
    assert!(rejected.error.is_closed());
    assert!(port.get_completion().unwrap_err().is_closed());
    assert_eq!(port.shut_down(LONG), 0, "it is over already");
}

#[test]
fn shutting_down_waits_for_what_completes_in_time() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let read = port.initiate_read(&server, 1, [0; 4]).unwrap();
    let running = [(); 2].map(|()| {
        let port = port.clone();
        thread::spawn(move || port.run(|_| ()))
    });
    let driver = Driver::spawn(&port).unwrap();
    thread::scope(|scope| {
        let ends = scope.spawn(|| port.shut_down(LONG));
        eventually("nothing is started any more", || port.is_closed());
        // Those who look, and find nothing, wait for what is to come, and cancel nothing.
        assert!(port.try_get_completion().unwrap().is_none());
        client.write_all(b"late").unwrap();
        assert_eq!(wait(read), Ok((4, *b"late")));
        assert_eq!(ends.join().unwrap(), 0);
    });
    for thread in running {
        thread.join().unwrap().unwrap();
    }
    driver.stop().unwrap();
}

#[test]
fn a_future_has_its_operations_until_the_patience_ends() {
    let (port, (mut client, server)) = (port_of::<()>(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let read = port.initiate_read(&server, (), [0; 4]).unwrap();
    port.post((), 0, 0).unwrap();
    port.close();
    let (begun, begins) = mpsc::channel();
    let ends = {
        let port = port.clone();
        thread::spawn(move || port.shut_down_with(LONG, |_| begun.send(()).unwrap()))
    };
    begins.recv_timeout(PATIENCE).unwrap();
    port.block_on(async {
        // The port is looked at, though it is closed: again and again, because the other
        // thread may have the packet that says so in hand.
        for _ in 0..few(200) {
            yield_now().await;
        }
        client.write_all(b"late").unwrap();
        assert_eq!(read.await, Ok((4, *b"late")));
    })
    .unwrap();
    assert_eq!(ends.join().unwrap(), 0);
}

#[test]
fn a_close_tells_the_others_at_once_though_somebody_shuts_down_the_port() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    port.initiate_read(&server, 2, [0; 5]).unwrap();
    thread::scope(|scope| {
        let shutting_down = scope.spawn(|| port.shut_down(PATIENCE));
        eventually("it shuts down", || port.is_closed());
        let waiting = scope.spawn(|| port.get_completion().map(drop));
        port.close();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(port.in_flight(), 1, "it is told only now");
        client.write_all(b"hello").unwrap();
        assert_eq!(shutting_down.join().unwrap(), 0);
    });
    // Once is enough.
    assert_eq!(port.get_completion().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn shutting_down_tells_the_others_though_a_completion_panics() {
    let port = port();
    let other = {
        let port = port.clone();
        thread::spawn(move || port.completions().count())
    };
    // It may be the other's.
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        for context in 0..100 {
            let _ = port.post(context, 0, 0);
        }
        port.shut_down_with(LONG, |_| panic!("on purpose"));
    }));
    assert!(other.join().unwrap() <= 100);
    assert!(port.is_closed() || panicked.is_err());
    assert!(port.run(|_| ()).is_ok());
}
