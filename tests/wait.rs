//! Waiting for objects on the port.
#![cfg(windows)]

mod support;

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use completion_port::{Batch, ErrorKind, Iocp, OperationKind, Pending};
use support::ledger::Ledger;
use support::{
    complete, complete_all, dequeue_raw, eventually, few, nothing_more, port, port_of, post_raw,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateSemaphoreW, ReleaseSemaphore, SetEvent,
};

const WAIT: usize = 7;

fn own(handle: windows_sys::Win32::Foundation::HANDLE) -> Arc<OwnedHandle> {
    assert!(!handle.is_null(), "{}", std::io::Error::last_os_error());
    // SAFETY: The handle is new, and nobody else's.
    Arc::new(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// One that stays set, or resets itself.
fn event(stays: bool) -> Arc<OwnedHandle> {
    // SAFETY: An event without a name.
    own(unsafe { CreateEventW(ptr::null(), i32::from(stays), 0, ptr::null()) })
}

fn set(event: &OwnedHandle) {
    // SAFETY: The handle is open.
    assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
}

fn semaphore(count: i32) -> Arc<OwnedHandle> {
    // SAFETY: A semaphore without a name.
    own(unsafe { CreateSemaphoreW(ptr::null(), count, i32::MAX, ptr::null()) })
}

/// Adds to the count of a semaphore, and returns what it was.
fn release(semaphore: &OwnedHandle, count: i32) -> i32 {
    let mut previous = 0;
    // SAFETY: The handle is open, and the out-parameter a local.
    let released = unsafe { ReleaseSemaphore(semaphore.as_raw_handle(), count, &raw mut previous) };
    assert_ne!(released, 0);
    previous
}

type Wait = Pending<Arc<OwnedHandle>>;

fn wait(port: &Iocp, object: &Arc<OwnedHandle>) -> Wait {
    port.initiate_wait(Arc::clone(object), WAIT).unwrap()
}

/// Asserts that a wait has succeeded.
#[track_caller]
fn succeeds(port: &Iocp) {
    let completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    let values = (completion.context, completion.handle_context, completion.bytes_transferred);
    assert_eq!(values, (WAIT, 0, 0));
}

/// Asserts that a wait was cancelled, and has its object all the same.
#[track_caller]
fn is_cancelled(port: &Iocp) {
    let mut completion = complete(port);
    let error = completion.error_status.unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(error.call(), Some("SetThreadpoolWait"));
    assert!(completion.operation.take::<Arc<OwnedHandle>>().is_some());
}

#[test]
fn a_wait_completes_once_when_its_object_is_signalled() {
    let port = port();
    for stays in [true, false] {
        let event = event(stays);
        let pending = port.initiate_wait(Arc::clone(&event), WAIT).unwrap();
        nothing_more(&port);
        assert!(!pending.is_completed());
        assert_eq!(port.in_flight(), 1);
        set(&event);
        let mut completion = complete(&port);
        assert_eq!(completion.operation.kind(), OperationKind::Wait);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(pending.result(), Some(Ok(0)));
        let object: Arc<OwnedHandle> = completion.operation.output().unwrap();
        assert_eq!(object.as_raw_handle(), event.as_raw_handle());
        set(&event);
        nothing_more(&port);
        assert_eq!(port.in_flight(), 0);
        assert_eq!(pending.cancel(), Ok(false));
    }
}

#[test]
fn what_is_signalled_already_completes() {
    let port = port();
    let event = event(true);
    set(&event);
    for _ in 0..few(20) {
        drop(wait(&port, &event));
        succeeds(&port);
    }
    nothing_more(&port);
}

#[test]
fn the_object_moves_in_and_is_open_until_the_wait_is_over() {
    let port = port();
    let event = event(true);
    let owned: OwnedHandle = event.try_clone().unwrap();
    let value = owned.as_raw_handle();
    let mut pending = port.initiate_wait(owned, WAIT).unwrap();
    set(&event);
    succeeds(&port);
    assert_eq!(pending.take().unwrap().as_raw_handle(), value);
}

#[test]
fn each_wait_takes_a_count_of_a_semaphore() {
    const WAITS: usize = few(100); // more than a thread of the pool can wait for
    let port = port();
    let semaphore = semaphore(0);
    let pending: Vec<_> = (0..WAITS).map(|_| wait(&port, &semaphore)).collect();
    nothing_more(&port);
    release(&semaphore, WAITS as i32 / 2);
    (0..WAITS / 2).for_each(|_| succeeds(&port));
    nothing_more(&port);
    release(&semaphore, WAITS as i32);
    (WAITS / 2..WAITS).for_each(|_| succeeds(&port));
    nothing_more(&port);
    assert_eq!(release(&semaphore, 1), WAITS as i32 / 2);
    assert!(pending.iter().all(|pending| pending.result() == Some(Ok(0))));
}

#[test]
fn a_wait_that_is_cancelled_takes_nothing() {
    let port = port();
    for _ in 0..few(20) {
        let semaphore = semaphore(0);
        let pending = wait(&port, &semaphore);
        assert_eq!(pending.cancel(), Ok(true));
        assert_eq!(pending.cancel(), Ok(false), "it was asked for already");
        release(&semaphore, 1);
        is_cancelled(&port);
        assert_eq!((pending.cancel(), release(&semaphore, 1)), (Ok(false), 1));
        nothing_more(&port);
    }
}

#[test]
fn a_wait_that_has_taken_its_signal_succeeds_however_late_the_cancel_is() {
    let port = port();
    let semaphore = semaphore(0);
    for _ in 0..few(20) {
        let pending = wait(&port, &semaphore);
        release(&semaphore, 1);
        // Its packet is on the way, and put back.
        let (bytes, key, overlapped) = dequeue_raw(&port);
        assert_eq!(pending.cancel(), Ok(false));
        post_raw(&port, bytes, key, overlapped);
        succeeds(&port);
        nothing_more(&port);
    }
}

#[test]
fn a_signal_is_taken_or_left_whenever_the_cancel_comes() {
    let port = port();
    let semaphore = semaphore(0);
    let rounds = few(if cfg!(simulated_kernel) { 200 } else { 2000 });
    let (mut taken, mut cancelled) = (0, 0);
    let turn = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (semaphore, turn) = (&semaphore, &turn);
        scope.spawn(move || {
            for round in 1..=rounds {
                while turn.load(Ordering::Acquire) < round {
                    thread::yield_now();
                }
                (0..round % 16).for_each(|_| thread::yield_now());
                release(semaphore, 1);
            }
        });
        for round in 1..=rounds {
            let pending = wait(&port, semaphore);
            turn.store(round, Ordering::Release);
            (0..round % 7).for_each(|_| thread::yield_now());
            let asked = pending.cancel().unwrap();
            drop(pending);
            match complete(&port).error_status {
                Ok(()) => taken += 1,
                Err(error) => {
                    assert!(asked && error.is_cancelled(), "{error}");
                    cancelled += 1;
                }
            }
        }
    });
    nothing_more(&port);
    let left = release(&semaphore, 1);
    assert_eq!(taken + cancelled, rounds);
    assert_eq!(taken as i32 + left, rounds as i32, "{cancelled} were cancelled");
}

#[test]
fn a_port_that_is_closed_refuses_waits_and_gives_them_back() {
    let port = port();
    port.close();
    let rejected = port.initiate_wait(event(true), WAIT).unwrap_err();
    assert!(rejected.error.is_closed());
    let (context, event) = rejected.returned;
    assert_eq!(context, WAIT);
    set(&event);
}

#[test]
fn there_are_no_more_waits_than_the_port_was_built_for() {
    let port: Iocp = Iocp::builder().max_operations(2).build().unwrap();
    let event = event(true);
    let pending = [wait(&port, &event), wait(&port, &event)];
    let rejected = port.initiate_wait(Arc::clone(&event), WAIT).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    assert_eq!(Arc::strong_count(&event), 4);
    drop(rejected);
    set(&event);
    complete_all(&port, 2);
    drop(pending);
    assert_eq!(Arc::strong_count(&event), 1);
}

#[test]
fn a_port_that_is_dropped_ends_its_waits() {
    const WAITS: usize = 5;
    for drops_pending in [true, false] {
        let port = port_of();
        let ledger = Ledger::new(WAITS);
        let event = event(true);
        let pending: Vec<_> = (0..WAITS)
            .map(|i| port.initiate_wait(Arc::clone(&event), ledger.entry(i)).unwrap())
            .collect();
        if drops_pending {
            drop(pending);
            drop(port);
        } else {
            drop(port);
            for mut pending in pending {
                assert!(pending.result().unwrap().unwrap_err().is_cancelled());
                assert_eq!(pending.cancel(), Ok(false));
                assert!(pending.take().is_some());
            }
        }
        ledger.assert_each_dropped_once();
        assert_eq!(Arc::strong_count(&event), 1);
        // Nobody is told.
        set(&event);
    }
}

#[test]
fn a_port_that_is_dropped_while_signals_come_has_no_packet_left() {
    const WAITS: usize = 4;
    for round in 0..few(if cfg!(simulated_kernel) { 20 } else { 50 }) {
        let port = port_of();
        let ledger = Ledger::new(WAITS);
        let events: Vec<_> = (0..WAITS).map(|i| event(i % 2 == 0)).collect();
        for (i, event) in events.iter().enumerate() {
            drop(port.initiate_wait(Arc::clone(event), ledger.entry(i)).unwrap());
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                (0..round % 8).for_each(|_| thread::yield_now());
                for event in &events {
                    set(event);
                }
            });
            drop(port);
        });
        ledger.assert_each_dropped_once();
        assert!(events.iter().all(|event| Arc::strong_count(event) == 1));
        // It may have the handle's value.
        let next = support::port();
        thread::yield_now();
        nothing_more(&next);
    }
}

#[test]
fn a_port_that_shuts_down_ends_its_waits() {
    let port = port();
    let event = event(true);
    let pending = [wait(&port, &event), wait(&port, &event)];
    assert_eq!(port.shut_down(Duration::ZERO), 0);
    assert!(pending.iter().all(|it| it.result().unwrap().unwrap_err().is_cancelled()));
}

#[test]
fn a_wait_goes_on_when_its_port_is_closed_or_its_pending_dropped() {
    let port = port();
    let event = event(true);
    drop(wait(&port, &event));
    port.close();
    set(&event);
    eventually("the wait is over", || match port.try_get_completion() {
        Ok(Some(completion)) => completion.error_status == Ok(()),
        Ok(None) => panic!("a closed port says so"),
        Err(error) => {
            assert!(error.is_closed(), "{error}");
            false
        }
    });
}

#[test]
fn a_wait_can_be_awaited() {
    let port = port_of::<()>();
    let event = event(false);
    let mut pending = port.initiate_wait(Arc::clone(&event), ()).unwrap();
    set(&event);
    let (bytes, object) = port.block_on(async { (&mut pending).await.unwrap() }).unwrap();
    assert!(bytes == 0 && Arc::ptr_eq(&object, &event));
    // A future that is dropped asks for the cancel.
    drop(port.initiate_wait(Arc::clone(&event), ()).unwrap().into_future());
    set(&event);
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
}

#[test]
fn an_object_can_be_borrowed_in_a_scope() {
    let port = port();
    let [event, other] = [(); 2].map(|()| event(true));
    port.scope(|scope| {
        let mut pending = scope.initiate_wait(&*event, WAIT).unwrap();
        // What is left is cancelled.
        scope.initiate_wait(&*other, 8).unwrap();
        set(&event);
        succeeds(&port);
        assert_eq!(pending.take().unwrap().as_raw_handle(), event.as_raw_handle());
    });
    nothing_more(&port);
    assert_eq!(port.in_flight(), 0);
}

#[test]
fn waits_come_in_batches_with_everything_else() {
    let port = port();
    let event = event(true);
    let pending = [wait(&port, &event), wait(&port, &event)];
    port.post(1, 2, 3).unwrap();
    set(&event);
    let mut batch = Batch::with_capacity(8);
    let mut contexts = Vec::new();
    while contexts.len() < 3 {
        port.get_completions(&mut batch, Some(support::PATIENCE)).unwrap();
        contexts.extend(batch.by_ref().map(|completion| completion.unwrap().context));
    }
    contexts.sort_unstable();
    assert_eq!(contexts, [1, WAIT, WAIT]);
    drop(pending);
}

#[test]
fn signals_are_told_while_waits_are_being_started() {
    let port = port_of::<Arc<OwnedHandle>>();
    let rounds = few(if cfg!(simulated_kernel) { 100 } else { 300 });
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Ok(mut completion) = port.get_completion() {
                    assert_eq!(completion.error_status, Ok(()));
                    // The last one that is open, at times.
                    drop(completion.operation.take::<Arc<OwnedHandle>>());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..rounds {
            let event = event(false);
            let setter = scope.spawn({
                let event = Arc::clone(&event);
                move || set(&event)
            });
            port.initiate_wait(Arc::clone(&event), event).unwrap();
            setter.join().unwrap();
        }
        eventually("all are told", || done.load(Ordering::Relaxed) == rounds);
        port.close();
    });
    assert_eq!(port.in_flight(), 0);
}

#[cfg(not(simulated_kernel))] // which has no processes, threads, timers and access rights
mod of_the_system {
    use std::process::{Child, Stdio};
    use std::thread::JoinHandle;

    use windows_sys::Win32::Foundation::{DuplicateHandle, HANDLE};
    use windows_sys::Win32::System::Threading::{
        CreateWaitableTimerW, EVENT_MODIFY_STATE, GetCurrentProcess, SetWaitableTimer,
    };

    use super::*;
    use crate::support::child;

    #[test]
    fn a_child_that_ends_completes_a_wait() {
        const NAME: &str = "of_the_system::a_child_that_ends_completes_a_wait";
        if child::is_child(NAME) {
            std::process::exit(7);
        }
        let port = port();
        let child = child::command(NAME).stdout(Stdio::null()).spawn().unwrap();
        port.initiate_wait(child, WAIT).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.error_status, Ok(()));
        let mut child: Child = completion.operation.output().unwrap();
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
    }

    #[test]
    fn a_thread_that_ends_completes_a_wait() {
        let port = port();
        let (ends, end) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || end.recv().is_err());
        port.initiate_wait(thread, WAIT).unwrap();
        nothing_more(&port);
        drop(ends);
        let mut completion = complete(&port);
        let thread: JoinHandle<bool> = completion.operation.output().unwrap();
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_timer_that_is_due_completes_a_wait() {
        let port = port();
        // SAFETY: A timer without a name.
        let timer = own(unsafe { CreateWaitableTimerW(ptr::null(), 1, ptr::null()) });
        let pending = wait(&port, &timer);
        nothing_more(&port);
        // SAFETY: The handle is open, and the time read before the call returns.
        let set = unsafe {
            let in_10_ms = -100_000;
            SetWaitableTimer(timer.as_raw_handle(), &raw const in_10_ms, 0, None, ptr::null(), 0)
        };
        assert_ne!(set, 0);
        succeeds(&port);
        drop(pending);
    }

    /// The thread pool would end the process.
    #[test]
    fn a_handle_without_the_right_to_wait_is_refused_and_comes_back() {
        let port = port();
        let event = event(true);
        let mut handle: HANDLE = ptr::null_mut();
        // SAFETY: The handles are open, and the out-parameter is a local.
        let duplicated = unsafe {
            let process = GetCurrentProcess();
            let event = event.as_raw_handle();
            DuplicateHandle(process, event, process, &raw mut handle, EVENT_MODIFY_STATE, 0, 0)
        };
        assert_ne!(duplicated, 0);
        let rejected = port.initiate_wait(own(handle), WAIT).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(rejected.error.call(), Some("WaitForSingleObjectEx"));
        let (context, object) = rejected.returned;
        assert_eq!((context, object.as_raw_handle()), (WAIT, handle));
        // The next one is not disturbed.
        set(&object);
        wait(&port, &event);
        succeeds(&port);
    }
}

#[cfg(simulated_kernel)] // other kernels cannot be told
mod told {
    use std::time::Instant;

    use simulated_kernel::{Chance, behave, pool_waits};

    use super::*;

    /// At once, when it is found to be signalled, and later.
    fn both(test: impl Fn(Chance)) {
        [Chance::Never, Chance::Always].into_iter().for_each(test);
    }

    #[test]
    fn what_the_system_refuses_comes_back_and_has_taken_nothing() {
        let port = port();
        let semaphore = semaphore(1);
        let behaving = behave(|kernel| {
            kernel.unseen_signals = Chance::Always;
            kernel.refuse.push_back(1450);
        });
        let rejected = port.initiate_wait(Arc::clone(&semaphore), WAIT).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(rejected.error.call(), Some("CreateThreadpoolWait"));
        assert_eq!(rejected.returned.0, WAIT);
        drop((rejected, behaving));
        assert_eq!(Arc::strong_count(&semaphore), 1);
        wait(&port, &semaphore);
        succeeds(&port);
    }

    #[test]
    fn nothing_is_left_in_the_thread_pool() {
        let _behaving = behave(|kernel| kernel.unseen_signals = Chance::Always);
        let port = port();
        let event = event(true);
        let pending = [wait(&port, &event), wait(&port, &event)];
        assert_eq!(pool_waits(), 2);
        assert_eq!(pending[0].cancel(), Ok(true));
        assert_eq!(pool_waits(), 1);
        set(&event);
        complete_all(&port, 2);
        eventually("the callback has returned", || pool_waits() == 0);
    }

    #[test]
    fn a_signal_whose_packet_cannot_be_posted_is_told_later() {
        both(|unseen| {
            let port = port();
            let event = event(false);
            set(&event);
            let _behaving = behave(|kernel| {
                kernel.unseen_signals = unseen;
                kernel.refuse_posts = 3;
            });
            wait(&port, &event);
            succeeds(&port);
            nothing_more(&port);
        });
    }

    #[test]
    fn a_wait_whose_cancel_cannot_be_posted_goes_on_and_can_be_cancelled_again() {
        let port = port();
        let event = event(true);
        let pending = [(); 2].map(|()| wait(&port, &event));
        let _behaving = behave(|kernel| kernel.refuse_posts = 3);
        for pending in [&pending[0], &pending[0], &pending[1]] {
            assert_eq!(pending.cancel().unwrap_err().kind(), ErrorKind::ResourceExhausted);
            assert!(!pending.is_completed());
        }
        assert_eq!(pending[0].cancel(), Ok(true));
        is_cancelled(&port);
        set(&event);
        succeeds(&port);
        nothing_more(&port);
    }

    #[test]
    fn a_deadline_that_cannot_be_told_to_a_wait_is_told_later() {
        let port = port();
        let pending = wait(&port, &event(true));
        pending.set_deadline(Instant::now()).unwrap();
        // The clock's.
        let (bytes, key, overlapped) = dequeue_raw(&port);
        post_raw(&port, bytes, key, overlapped);
        let refusing = behave(|kernel| kernel.refuse_posts = 1000);
        nothing_more(&port);
        drop(refusing);
        assert_eq!(complete(&port).error_status.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn who_cancels_does_not_wait_for_a_signal_that_cannot_be_posted() {
        let _unseen = behave(|kernel| kernel.unseen_signals = Chance::Always);
        let refused = || {
            let mut left = 0;
            std::mem::forget(behave(|kernel| left = kernel.refuse_posts));
            1000 - left
        };
        let port = port();
        let event = event(false);
        let pending = wait(&port, &event);
        std::mem::forget(behave(|kernel| kernel.refuse_posts = 1000));
        set(&event);
        eventually("the callback has tried", || refused() > 0);
        assert_eq!(pending.cancel(), Ok(false));
        assert!(refused() < 1000);
        std::mem::forget(behave(|kernel| kernel.refuse_posts = 0));
        succeeds(&port);
        nothing_more(&port);
        eventually("the callback has returned", || pool_waits() == 0);
    }

    #[test]
    fn a_scope_cancels_again_what_could_not_be_told() {
        let port = port();
        let event = event(true);
        let _behaving = behave(|kernel| kernel.refuse_posts = 3);
        port.scope(|scope| drop(scope.initiate_wait(&event, WAIT).unwrap()));
        nothing_more(&port);
    }

    #[test]
    fn a_port_whose_waits_cannot_be_told_of_its_end_leaves_none_in_the_thread_pool() {
        let _unseen = behave(|kernel| kernel.unseen_signals = Chance::Always);
        let port = port_of();
        let ledger = Ledger::new(2);
        let events = [(); 2].map(|()| event(true));
        for (i, event) in events.iter().enumerate() {
            drop(port.initiate_wait(Arc::clone(event), ledger.entry(i)).unwrap());
        }
        let _behaving = behave(|kernel| kernel.refuse_posts = u32::MAX);
        set(&events[0]);
        drop(port);
        assert_eq!(pool_waits(), 0);
        set(&events[1]);
    }

    #[test]
    fn a_port_that_is_dropped_waits_for_the_packets_that_cannot_be_posted() {
        let port = port_of();
        let ledger = Ledger::new(3);
        let events = [(); 3].map(|()| event(true));
        for (i, event) in events.iter().enumerate() {
            drop(port.initiate_wait(Arc::clone(event), ledger.entry(i)).unwrap());
        }
        let _behaving = behave(|kernel| kernel.refuse_posts = 5);
        set(&events[1]);
        drop(port);
        ledger.assert_each_dropped_once();
        eventually("the callback has returned", || pool_waits() == 0);
    }

    #[test]
    fn a_wait_may_be_over_before_its_call_returns() {
        both(|unseen| {
            let port = port();
            let _behaving = behave(|kernel| {
                kernel.unseen_signals = unseen;
                kernel.dequeued_first = Chance::Always;
            });
            let rounds = few(20);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        let completion = complete(&port);
                        assert_eq!(completion.error_status, Ok(()));
                        // Closes it.
                        drop(completion);
                    }
                });
                for round in 0..rounds {
                    let event = event(false);
                    set(&event);
                    let pending = port.initiate_wait(event, WAIT).unwrap();
                    if round % 2 == 0 {
                        assert_eq!(pending.cancel(), Ok(false));
                    }
                }
            });
            nothing_more(&port);
        });
    }
}
