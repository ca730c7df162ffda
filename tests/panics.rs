//! What is left when contexts and buffers panic: everything else. The first
//! panic goes on, and nothing is lost, early or doubled.
#![cfg(windows)]

mod support;

use std::cell::Cell;
use std::io::Write;
use std::os::windows::io::OwnedHandle;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use completion_port::{Associated, Batch, ErrorKind, IoBuf, IoBufMut, Iocp, Pending, Started};
use support::ledger::{Entry, Ledger};
use support::{
    BlockingPipe, complete, complete_all, nothing_more, overlapped_file, pipe_pair, port_of,
    temp_file,
};

type Pipe = Associated<OwnedHandle>;

/// A pipe of which nothing comes.
fn quiet_pipe<C: Send>(port: &Iocp<C>) -> (Pipe, BlockingPipe) {
    let (server, client) = pipe_pair(false);
    (port.add_handle(server, 3).unwrap(), client.into())
}

/// Panics, and how many there were.
#[derive(Clone, Debug, Default)]
struct Panics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    awaits_first: AtomicBool,
}

/// What a panic carries: whether it is the first that is awaited. It panics
/// itself when it is dropped. It has no size, because what a forgotten panic
/// carries is never freed.
#[derive(Debug)]
struct Carried<const FIRST: bool>;

impl<const FIRST: bool> Drop for Carried<FIRST> {
    fn drop(&mut self) {
        panic!("what a panic carried is dropped");
    }
}

impl Panics {
    /// Without a message, which takes Miri long.
    fn panic(&self) {
        self.0.all.fetch_add(1, Ordering::SeqCst);
        if self.0.awaits_first.swap(false, Ordering::SeqCst) {
            resume_unwind(Box::new(Carried::<true>));
        }
        resume_unwind(Box::new(Carried::<false>));
    }

    /// A context whose destructor panics.
    fn context(&self, entry: Entry) -> Context {
        Context { panics: Some(self.clone()), _entry: entry }
    }

    /// A buffer that panics when this method is called for the `nth` time.
    fn buffer(&self, method: Method, nth: usize, entry: Entry) -> Buffer {
        let panics = self.clone();
        Buffer::new(method, nth, move || panics.panic(), entry)
    }

    fn count(&self) -> usize {
        self.0.all.load(Ordering::SeqCst)
    }

    /// Asserts that `body` panics, with the first of the panics.
    #[track_caller]
    fn assert_first_goes_on(&self, body: impl FnOnce()) {
        self.0.awaits_first.store(true, Ordering::SeqCst);
        let panic = catch_unwind(AssertUnwindSafe(body)).expect_err("it panics");
        let is_first = panic.is::<Carried<true>>();
        std::mem::forget(panic);
        assert!(is_first);
    }
}

/// A context whose drops are counted.
struct Context {
    panics: Option<Panics>,
    _entry: Entry,
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(panics) = &self.panics {
            panics.panic();
        }
    }
}

fn quiet(entry: Entry) -> Context {
    Context { panics: None, _entry: entry }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Initialized,
    Writable,
    Advance,
    Drop,
}

/// A buffer that does something when a method is called for the `nth` time. Its
/// drops are counted.
struct Buffer {
    bytes: Box<[u8]>,
    method: Method,
    left: Cell<usize>,
    act: Box<dyn Fn() + Send>,
    _entry: Entry,
}

impl Buffer {
    fn new(method: Method, nth: usize, act: impl Fn() + Send + 'static, entry: Entry) -> Self {
        let bytes = vec![b'.'; 8].into();
        Self { bytes, method, left: Cell::new(nth), act: Box::new(act), _entry: entry }
    }

    fn has_come_to(&self, method: Method) {
        if method == self.method && self.left.replace(self.left.get().wrapping_sub(1)) == 1 {
            (self.act)();
        }
    }
}

// SAFETY: The bytes are on the heap, initialised, and stay where they are.
unsafe impl IoBuf for Buffer {
    fn initialized(&self) -> (*const u8, usize) {
        self.has_come_to(Method::Initialized);
        (self.bytes.as_ptr(), self.bytes.len())
    }
}

// SAFETY: As above.
unsafe impl IoBufMut for Buffer {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        (self.bytes.as_mut_ptr(), self.bytes.len())
    }
    fn writable(&mut self) -> (*mut u8, usize) {
        self.has_come_to(Method::Writable);
        self.initialized_mut()
    }
    unsafe fn advance(&mut self, _bytes: usize) {
        self.has_come_to(Method::Advance);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.has_come_to(Method::Drop);
    }
}

/// A port that every lost cell makes smaller.
const PLACES: usize = 4;

fn small_port() -> Iocp<Context> {
    Iocp::builder().max_operations(PLACES as u32).build().unwrap()
}

/// Asserts that no place of a small port is taken up.
#[track_caller]
fn assert_all_places_are_free(port: &Iocp<Context>) {
    nothing_more(port);
    let ledger = Ledger::new(PLACES);
    for i in 0..PLACES {
        port.post(quiet(ledger.entry(i)), 0, 0).map_err(|rejected| rejected.error).unwrap();
    }
    drop(complete_all(port, PLACES));
    ledger.assert_each_dropped_once();
}

#[test]
fn a_scope_waits_for_its_operations_whatever_panics() {
    const OPERATIONS: usize = 5;
    for unwinds in [false, true] {
        let (ledger, panics) = (Ledger::new(OPERATIONS), Panics::default());
        let port: Iocp<Context> = port_of();
        let (pipe, mut peer) = quiet_pipe(&port);
        let mut buffers = [[b'.'; 8]; OPERATIONS];
        let scope = || {
            port.scope(|scope| {
                for (i, buffer) in buffers.iter_mut().enumerate() {
                    let context = panics.context(ledger.entry(i));
                    drop(scope.initiate_read(&pipe, context, buffer).map_err(|_| ()).unwrap());
                }
                if unwinds {
                    resume_unwind(Box::new("the body"));
                }
            });
        };
        if unwinds {
            let panic = catch_unwind(AssertUnwindSafe(scope)).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"the body"));
        } else {
            panics.assert_first_goes_on(scope);
        }
        assert_eq!(panics.count(), OPERATIONS);
        ledger.assert_each_dropped_once();
        peer.write_all(b"later").unwrap();
        assert_eq!(buffers, [[b'.'; 8]; OPERATIONS]);
        nothing_more(&port);
    }
}

#[test]
fn a_place_is_free_again_though_the_buffers_destructor_panics() {
    let panics = Panics::default();
    let port = small_port();
    let temp = temp_file("panics", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for completion_last in [true, false] {
        let (contexts, buffers) = (Ledger::new(PLACES), Ledger::new(PLACES));
        for i in 0..PLACES {
            let buffer = panics.buffer(Method::Drop, 1, buffers.entry(i));
            let started = port.initiate_read_at(&file, quiet(contexts.entry(i)), buffer, 0);
            let pending = started.map_err(|rejected| rejected.error).unwrap();
            let completion = complete(&port);
            panics.assert_first_goes_on(|| {
                if completion_last {
                    drop(pending);
                    drop(completion);
                } else {
                    drop(completion);
                    drop(pending);
                }
            });
        }
        contexts.assert_each_dropped_once();
        buffers.assert_each_dropped_once();
    }
    assert_all_places_are_free(&port);
}

#[test]
fn a_context_and_a_buffer_that_both_panic_are_both_dropped_and_the_first_panic_goes_on() {
    let port = small_port();
    let temp = temp_file("panics", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for in_batch in [false, true] {
        let (ledger, panics) = (Ledger::new(2), Panics::default());
        let buffer = panics.buffer(Method::Drop, 1, ledger.entry(0));
        let context = panics.context(ledger.entry(1));
        let started = port.initiate_read_at(&file, context, buffer, 0);
        drop(started.map_err(|rejected| rejected.error).unwrap());
        let mut batch = Batch::with_capacity(1);
        if in_batch {
            assert_eq!(port.get_completions(&mut batch, Some(support::PATIENCE)), Ok(1));
            panics.assert_first_goes_on(|| drop(batch));
        } else {
            let completion = complete(&port);
            panics.assert_first_goes_on(|| drop(completion));
        }
        assert_eq!(panics.count(), 2);
        ledger.assert_each_dropped_once();
    }
    assert_all_places_are_free(&port);
}

#[test]
fn a_start_whose_buffer_panics_drops_both_parts_and_takes_up_no_place() {
    let port = small_port();
    let temp = temp_file("panics", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 0).unwrap();
    for (method, nth, context_panics) in [
        (Method::Writable, 1, false),
        (Method::Writable, 1, true),
        (Method::Writable, 2, true),
        (Method::Initialized, 1, false),
        (Method::Initialized, 1, true),
    ] {
        let (ledger, panics) = (Ledger::new(2), Panics::default());
        let entry = ledger.entry(0);
        let context = if context_panics { panics.context(entry) } else { quiet(entry) };
        let buffer = panics.buffer(method, nth, ledger.entry(1));
        panics.assert_first_goes_on(|| {
            let started = match method {
                Method::Initialized => port.initiate_write_at(&file, context, buffer, 0),
                _ => port.initiate_read_at(&file, context, buffer, 0),
            };
            assert!(started.is_err(), "it was started");
        });
        assert_eq!(panics.count(), 1 + usize::from(context_panics));
        ledger.assert_each_dropped_once();
        assert_all_places_are_free(&port);
    }
    assert_eq!(temp.contents(), b"hello");
}

#[test]
fn a_buffer_that_panics_when_it_is_told_what_was_read_is_dropped_once() {
    let port = small_port();
    let temp = temp_file("panics", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for by_pending in [false, true] {
        // It is asked for its range twice for the start, and once for what was read.
        for (method, nth) in [(Method::Advance, 1), (Method::Writable, 3)] {
            let (ledger, panics) = (Ledger::new(2), Panics::default());
            let buffer = panics.buffer(method, nth, ledger.entry(1));
            let started = port.initiate_read_at(&file, quiet(ledger.entry(0)), buffer, 0);
            let mut pending = started.map_err(|rejected| rejected.error).unwrap();
            let mut completion = complete(&port);
            panics.assert_first_goes_on(|| {
                if by_pending {
                    pending.take_buffer();
                } else {
                    completion.operation.take_buffer::<Buffer>();
                }
            });
            assert_eq!(ledger.drops(), [0, 1]);
            assert!(pending.take_buffer().is_none());
            assert!(completion.operation.take_buffer::<Buffer>().is_none());
            drop((pending, completion));
            ledger.assert_each_dropped_once();
            assert_eq!(panics.count(), 1);
        }
    }
    assert_all_places_are_free(&port);
}

#[test]
fn a_port_drops_all_that_is_left_though_contexts_and_buffers_panic() {
    const READS: usize = 6;
    const POSTS: usize = 3;
    for unwinds in [false, true] {
        let (contexts, buffers) = (Ledger::new(READS + POSTS), Ledger::new(READS));
        let panics = Panics::default();
        let port: Iocp<Context> = port_of();
        let (pipe, _peer) = quiet_pipe(&port);
        let mut kept = Vec::new();
        for i in 0..READS {
            let (context, buffer) = (contexts.entry(i), buffers.entry(i));
            let buffer = panics.buffer(Method::Drop, 1, buffer);
            let started = port.initiate_read(&pipe, panics.context(context), buffer);
            let pending = started.map_err(|rejected| rejected.error).unwrap();
            if i % 2 == 0 {
                kept.push(pending);
            }
        }
        for i in READS..READS + POSTS {
            port.post(panics.context(contexts.entry(i)), 0, 0).map_err(|_| ()).unwrap();
        }
        if unwinds {
            let unwinding = catch_unwind(AssertUnwindSafe(move || {
                let _port = port;
                resume_unwind(Box::new("the owner"));
            }));
            assert_eq!(unwinding.unwrap_err().downcast_ref(), Some(&"the owner"));
        } else {
            panics.assert_first_goes_on(|| drop(port));
        }
        contexts.assert_each_dropped_once();
        assert_eq!(buffers.drops(), [0, 1].repeat(READS / 2));
        assert!(kept.iter().all(Pending::is_completed));
        for pending in kept {
            panics.assert_first_goes_on(|| drop(pending));
        }
        buffers.assert_each_dropped_once();
    }
}

#[test]
fn a_batch_drops_all_that_is_in_it_though_contexts_panic() {
    const PLACES: usize = 9;
    for unwinds in [false, true] {
        let (ledger, panics) = (Ledger::new(PLACES), Panics::default());
        let port: Iocp<Context> = port_of();
        let mut batch = Batch::with_capacity(PLACES);
        let pushed = |range: std::ops::Range<usize>, batch: &mut Batch<Context>| {
            for i in range {
                port.post(panics.context(ledger.entry(i)), 0, 0).map_err(|_| ()).unwrap();
                batch.push(Started::<(), _>::Completed(complete(&port)));
            }
        };
        pushed(0..3, &mut batch);
        for i in 3..6 {
            port.post(panics.context(ledger.entry(i)), 0, 0).map_err(|_| ()).unwrap();
        }
        assert_eq!(port.get_completions(&mut batch, None), Ok(6));
        pushed(6..9, &mut batch);
        if unwinds {
            let unwinding = catch_unwind(AssertUnwindSafe(move || {
                let _batch = batch;
                resume_unwind(Box::new("the owner"));
            }));
            assert_eq!(unwinding.unwrap_err().downcast_ref(), Some(&"the owner"));
        } else {
            panics.assert_first_goes_on(|| drop(batch));
        }
        assert_eq!(panics.count(), PLACES);
        ledger.assert_each_dropped_once();
        nothing_more(&port);
    }
}

#[test]
fn an_operation_whose_buffer_closes_the_port_is_not_started() {
    let temp = temp_file("panics", "hello");
    for method in [Method::Writable, Method::Initialized] {
        let ledger = Ledger::new(2);
        let port = small_port();
        let file = port.add_handle(overlapped_file(temp.path(), true, true), 0).unwrap();
        let closing = port.clone();
        let buffer = Buffer::new(method, 1, move || closing.close(), ledger.entry(1));
        let context = quiet(ledger.entry(0));
        let started = match method {
            Method::Initialized => port.initiate_write_at(&file, context, buffer, 0),
            _ => port.initiate_read_at(&file, context, buffer, 0),
        };
        let Err(rejected) = started else { panic!("it was started") };
        assert_eq!(rejected.error.kind(), ErrorKind::Closed);
        ledger.assert_none_dropped();
        assert!(rejected.returned.1.bytes.iter().all(|byte| *byte == b'.'));
        drop(rejected);
        assert!(port.try_get_completion().err().unwrap().is_closed());
    }
    assert_eq!(temp.contents(), b"hello");
}
