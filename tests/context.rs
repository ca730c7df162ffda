//! What a program hands in with an operation and gets back with its
//! completion.
#![cfg(windows)]

mod support;

use std::io::Write;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use completion_port::{Associated, Batch, ErrorKind, IoBuf, IoBufMut, Iocp, Started};
use support::ledger::{Entry, Ledger};
use support::{
    complete, complete_all, few, nothing_more, overlapped_file, pipe_pair, port, port_of,
    stream_pair, temp_file,
};

/// A pipe end on the port that nothing can be read from until the other end,
/// which comes with it, is written to.
fn quiet_pipe<C: Send>(
    port: &Iocp<C>,
) -> (Associated<std::os::windows::io::OwnedHandle>, Associated<std::os::windows::io::OwnedHandle>)
{
    let (server, client) = pipe_pair(false);
    (port.add_handle(server, 0).unwrap(), port.add_handle(client, 0).unwrap())
}

#[test]
fn integers_come_back_from_both_ends_of_their_range() {
    let port = port();
    let temp = temp_file("integers", "hello");
    for key in [0, 1, usize::MAX / 2 + 1, usize::MAX] {
        let file = port.add_handle(overlapped_file(temp.path(), true, false), key).unwrap();
        assert_eq!(file.context(), key);
        for context in [0, 1, usize::MAX / 2 + 1, usize::MAX] {
            port.initiate_read_at(&file, context, [0; 8], 0).unwrap();
            let completion = complete(&port);
            assert_eq!((completion.context, completion.handle_context), (context, key));
        }
    }
}

#[test]
fn an_enum_with_data_comes_back_by_value() {
    #[derive(Debug, PartialEq)]
    enum Event {
        Read { line: u32 },
        Message(String),
        Tick,
    }
    let port = port_of();
    let temp = temp_file("enum", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    port.initiate_read_at(&file, Event::Read { line: 17 }, [0; 8], 0).unwrap();
    assert_eq!(complete(&port).context, Event::Read { line: 17 });
    port.post(Event::Message("hello".into()), 0, 0).unwrap();
    port.post(Event::Tick, 0, 0).unwrap();
    assert_eq!(complete(&port).context, Event::Message("hello".into()));
    assert_eq!(complete(&port).context, Event::Tick);
}

#[test]
fn a_boxed_function_comes_back_and_runs() {
    let port = port_of::<Box<dyn FnOnce(u32) -> String + Send>>();
    let temp = temp_file("function", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let word = String::from("bytes");
    port.initiate_read_at(&file, Box::new(move |count| format!("{count} {word}")), [0; 8], 0)
        .unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context)(completion.bytes_transferred), "5 bytes");
    port.post(Box::new(|count| count.to_string()), 0, 9).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context)(completion.bytes_transferred), "9");
}

#[test]
fn shared_contexts_count_one_reference_for_each_operation() {
    let port = port_of();
    let temp = temp_file("arc", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let shared = Arc::new(AtomicU32::new(0));
    for _ in 0..10 {
        port.initiate_read_at(&file, Arc::clone(&shared), [0; 8], 0).unwrap();
    }
    assert_eq!(Arc::strong_count(&shared), 11);
    for completion in complete_all(&port, 10) {
        assert!(Arc::ptr_eq(&completion.context, &shared));
        completion.context.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(Arc::strong_count(&shared), 1);
    assert_eq!(shared.load(Ordering::Relaxed), 10);
}

#[test]
fn a_context_that_cannot_be_shared_between_threads_moves_between_them() {
    // `Cell` is `Send` and not `Sync`.
    let port = port_of::<std::cell::Cell<u32>>();
    port.post(std::cell::Cell::new(5), 0, 0).unwrap();
    let context =
        std::thread::scope(|threads| threads.spawn(|| complete(&port).context).join().unwrap());
    context.set(context.get() + 1);
    assert_eq!(context.get(), 6);
}

#[test]
fn large_contexts_come_back_whole() {
    let port = port_of::<[u64; 128]>();
    let temp = temp_file("large", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let context = |i: usize| std::array::from_fn(|j| (i * 1000 + j) as u64);
    for i in 0..20 {
        port.initiate_read_at(&file, context(i), vec![0; i + 1].into_boxed_slice(), 0).unwrap();
        port.post(context(i + 100), i, 0).unwrap();
    }
    let mut found: Vec<_> = complete_all(&port, 40).into_iter().map(|c| c.context).collect();
    found.sort_unstable();
    let expected: Vec<_> = (0..20).chain(100..120).map(context).collect();
    assert!(found == expected);
}

#[test]
fn contexts_without_a_size_come_back() {
    let port = port_of::<()>();
    let temp = temp_file("nothing", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    port.initiate_read_at(&file, (), [0; 8], 0).unwrap();
    port.post((), 4, 9).unwrap();
    let mut found: Vec<_> = complete_all(&port, 2)
        .into_iter()
        .map(|completion| (completion.handle_context, completion.bytes_transferred))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(3, 5), (4, 9)]);
}

#[test]
fn a_context_without_a_size_is_dropped_once_too() {
    static DROPS: AtomicU32 = AtomicU32::new(0);
    struct Unit;
    impl Drop for Unit {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::SeqCst);
        }
    }
    let port = port_of();
    port.post(Unit, 0, 0).unwrap();
    port.post(Unit, 0, 0).unwrap();
    drop(complete(&port));
    assert_eq!(DROPS.load(Ordering::SeqCst), 1);
    drop(port);
    assert_eq!(DROPS.load(Ordering::SeqCst), 2);
}

#[test]
fn over_aligned_contexts_stay_aligned() {
    #[repr(align(256))]
    struct Aligned(u32);
    impl Drop for Aligned {
        fn drop(&mut self) {
            // Also where the library drops it in place.
            assert_eq!((&raw const *self).addr() % 256, 0);
        }
    }
    let port = port_of();
    let temp = temp_file("aligned", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for i in 0..10 {
        port.initiate_read_at(&file, Aligned(i), [0; 8], 0).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.context.0, i);
        assert_eq!(&completion.operation.take_buffer::<[u8; 8]>().unwrap()[..5], b"hello");
    }
    for i in 0..10 {
        port.post(Aligned(i), 0, 0).unwrap();
    }
    drop(port);
}

/// Contexts of this alignment, as small as they can be, and without a size.
macro_rules! stays_aligned {
    ($($align:literal)*) => {$({
        #[repr(align($align))]
        struct Aligned<const SIZE: usize>([u8; SIZE]);
        impl<const SIZE: usize> Drop for Aligned<SIZE> {
            fn drop(&mut self) {
                // The library drops it where it has been.
                assert_eq!(self.0.as_ptr().addr() % $align, 0);
            }
        }
        for _ in 0..2 {
            let port = port_of();
            port.post(Aligned([7]), 0, 0).unwrap();
            port.post(Aligned([7]), 0, 0).unwrap();
            assert_eq!(complete(&port).context.0, [7]);
            drop(port);
            let port = port_of();
            port.post(Aligned([]), 0, 0).unwrap();
            drop(port);
        }
    })*};
}

#[test]
fn contexts_of_every_alignment_stay_aligned() {
    stays_aligned!(2 4 8 16 32 64 128 256);
}

#[test]
fn a_context_and_a_buffer_of_different_alignment_do_not_overlap() {
    #[repr(align(64))]
    #[derive(PartialEq, Debug)]
    struct Aligned([u8; 64]);
    let port = port_of::<(u8, Aligned, u8)>();
    let temp = temp_file("overlap", [0xFF; 500]);
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    port.initiate_read_at(&file, (1, Aligned([2; 64]), 3), [0; 333], 0).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.context, (1, Aligned([2; 64]), 3));
    assert_eq!(completion.operation.take_buffer::<[u8; 333]>().unwrap(), [0xFF; 333]);
}

/// A context of `N` bytes with buffers of several sizes: whatever lies next to
/// what in the memory of an operation, both come back whole.
fn context_next_to_buffers<const N: usize>() {
    fn round<C: Copy + Send + PartialEq + 'static, B>(
        port: &Iocp<C>,
        file: &Associated<std::fs::File>,
        context: C,
        buffer: B,
    ) where
        B: IoBufMut + AsMut<[u8]> + Send + 'static,
    {
        port.initiate_read_at(file, context, buffer, 0).unwrap();
        let mut completion = complete(port);
        let mut buffer: B = completion.operation.take_buffer().unwrap();
        assert!(completion.context == context);
        assert!(buffer.as_mut().iter().all(|byte| *byte == 0xFF));
    }

    let port = port_of::<[u8; N]>();
    let temp = temp_file("side-by-side", [0xFF; 64]);
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let context = std::array::from_fn(|i| i as u8);
    for _ in 0..2 {
        round(&port, &file, context, Vec::with_capacity(64));
        round(&port, &file, context, vec![0; 9].into_boxed_slice());
        round(&port, &file, context, [0; 1]);
        round(&port, &file, context, [0; 33]);
        round(&port, &file, context, [0; 40]);
        round(&port, &file, context, [0; 41]);
        round(&port, &file, context, [0; 64]);
        port.post(context, 0, 0).unwrap();
        assert!(complete(&port).context == context);
    }
}

#[test]
fn contexts_and_buffers_of_all_sizes_do_not_overlap() {
    context_next_to_buffers::<0>();
    context_next_to_buffers::<1>();
    context_next_to_buffers::<8>();
    context_next_to_buffers::<9>();
    context_next_to_buffers::<15>();
    context_next_to_buffers::<24>();
    context_next_to_buffers::<25>();
    context_next_to_buffers::<32>();
    context_next_to_buffers::<47>();
    context_next_to_buffers::<48>();
    context_next_to_buffers::<49>();
    context_next_to_buffers::<200>();
}

#[test]
fn a_context_that_is_taken_is_dropped_once_by_its_taker() {
    let ledger = Ledger::new(2);
    let port = port_of();
    let (server, _client) = quiet_pipe(&port);
    let pending = port.initiate_read(&server, ledger.entry(0), [0; 8]).unwrap();
    port.post(ledger.entry(1), 0, 0).unwrap();
    pending.cancel().unwrap();
    let contexts: Vec<Entry> =
        complete_all(&port, 2).into_iter().map(|completion| completion.context).collect();
    drop(pending);
    drop(port);
    ledger.assert_none_dropped();
    drop(contexts);
    ledger.assert_each_dropped_once();
}

#[test]
fn a_context_is_dropped_with_its_completion_while_the_pending_lives() {
    let ledger = Ledger::new(1);
    let port = port_of();
    let temp = temp_file("dropped", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let mut pending = port.initiate_read_at(&file, ledger.entry(0), vec![0].slice(..), 0).unwrap();
    let completion = complete(&port);
    ledger.assert_none_dropped();
    drop(completion);
    ledger.assert_each_dropped_once();
    assert_eq!(pending.take_buffer().unwrap().into_inner(), b"h");
    drop((pending, port));
    ledger.assert_each_dropped_once();
}

#[test]
fn contexts_in_an_undrained_batch_are_dropped_with_it() {
    let ledger = Ledger::new(10);
    let port = port_of();
    for i in 0..10 {
        port.post(ledger.entry(i), 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(16);
    assert_eq!(port.get_completions(&mut batch, None).unwrap(), 10);
    // One is taken out, the rest stay.
    let first = batch.next().unwrap().unwrap();
    assert_eq!(first.context.index, 0);
    drop(port);
    ledger.assert_none_dropped();
    drop(batch);
    assert_eq!(ledger.drops(), [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    drop(first);
    ledger.assert_each_dropped_once();
}

#[test]
fn contexts_of_cancelled_operations_come_back() {
    let ledger = Ledger::new(20);
    let port = port_of();
    let (server, _client) = quiet_pipe(&port);
    for i in 0..20 {
        port.initiate_read(&server, ledger.entry(i), Vec::with_capacity(8)).unwrap();
    }
    server.cancel_all().unwrap();
    let mut seen = [false; 20];
    for completion in complete_all(&port, 20) {
        assert!(completion.error_status.unwrap_err().is_cancelled());
        assert!(!mem::replace(&mut seen[completion.context.index], true));
    }
    nothing_more(&port);
    ledger.assert_each_dropped_once();
}

#[test]
fn contexts_in_flight_are_dropped_with_the_port() {
    let ledger = Ledger::new(30);
    let port = port_of();
    let (server, client) = quiet_pipe(&port);
    let temp = temp_file("in-flight", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for i in 0..10 {
        port.initiate_read(&server, ledger.entry(3 * i), Vec::with_capacity(8)).unwrap();
        port.initiate_read_at(&file, ledger.entry(3 * i + 1), Vec::with_capacity(8), 0).unwrap();
        port.post(ledger.entry(3 * i + 2), 0, 0).unwrap();
    }
    ledger.assert_none_dropped();
    drop(port);
    ledger.assert_each_dropped_once();
    drop((server, client, file));
    ledger.assert_each_dropped_once();
}

#[test]
fn contexts_of_many_queued_posts_are_dropped_with_the_port() {
    // However long that takes: each packet that comes is progress.
    const POSTS: usize = few(20_000);
    let counter = Arc::new(());
    let port = port_of();
    for _ in 0..POSTS {
        port.post(Arc::clone(&counter), 0, 0).unwrap();
    }
    assert_eq!(Arc::strong_count(&counter), POSTS + 1);
    drop(port);
    assert_eq!(Arc::strong_count(&counter), 1);
}

#[test]
fn contexts_that_take_long_to_drop_are_dropped_with_the_port() {
    struct Slow(#[expect(dead_code, reason = "it is dropped")] Entry);
    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    let ledger = Ledger::new(5);
    let port = port_of();
    for i in 0..5 {
        port.post(Slow(ledger.entry(i)), 0, 0).unwrap();
    }
    drop(port);
    ledger.assert_each_dropped_once();
}

#[test]
fn a_rejected_start_gives_its_context_back() {
    let ledger = Ledger::new(4);
    let port = port_of();
    let other = port_of();
    let (server, _client) = quiet_pipe(&port);
    let rejected = other.initiate_read(&server, ledger.entry(0), [0; 8]).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    assert_eq!(rejected.returned.0.index, 0);
    ledger.assert_none_dropped();
    drop(rejected);
    assert_eq!(ledger.drops(), [1, 0, 0, 0]);

    port.close();
    let rejected = port.initiate_write(&server, ledger.entry(1), "hello").map(drop).unwrap_err();
    assert!(rejected.error.is_closed());
    let (context, buffer) = rejected.returned;
    assert_eq!((context.index, buffer), (1, "hello"));
    let rejected = port.post(ledger.entry(2), 0, 0).unwrap_err();
    assert_eq!(rejected.returned.index, 2);

    // A refusal by the system, rather than by the library.
    let temp = temp_file("rejected", "hello");
    let file = other.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    if let Err(rejected) = other.initiate_write_at(&file, ledger.entry(3), "HELLO", 0) {
        assert_eq!(rejected.returned.0.index, 3);
    } else {
        assert!(complete(&other).error_status.is_err());
    }
    drop((context, rejected));
    drop((port, other));
    ledger.assert_each_dropped_once();
}

#[test]
fn a_context_converted_into_an_error_is_dropped() {
    let ledger = Ledger::new(1);
    let port = port_of();
    port.close();
    let error = completion_port::Error::from(port.post(ledger.entry(0), 0, 0).unwrap_err());
    assert!(error.is_closed());
    ledger.assert_each_dropped_once();
}

#[test]
fn contexts_of_a_scopes_operations_are_dropped_at_its_end() {
    let ledger = Ledger::new(3);
    let port = port_of();
    let (server, client) = quiet_pipe(&port);
    let mut buffers = [[0; 8]; 3];
    port.scope(|scope| {
        let [one, two, three] = &mut buffers;
        scope.initiate_read(&server, ledger.entry(0), one).unwrap();
        port.initiate_write(&client, ledger.entry(1), "x").unwrap();
        let contexts: Vec<_> =
            complete_all(&port, 2).into_iter().map(|completion| completion.context).collect();
        ledger.assert_none_dropped();
        drop(contexts);
        assert_eq!(ledger.drops(), [1, 1, 0]);
        scope.initiate_read(&server, ledger.entry(2), two).unwrap();
        three[0] = 1;
    });
    ledger.assert_each_dropped_once();
    nothing_more(&port);
}

#[test]
fn contexts_of_inline_completions_are_handed_over_once() {
    const WRITES: usize = few(100);
    let ledger = Ledger::new(WRITES);
    let port = port_of();
    let (one, _other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap().skip_on_success().unwrap();
    for i in 0..WRITES {
        let completion = match port.initiate_write(&one, ledger.entry(i), "x").unwrap() {
            Started::Completed(completion) => completion,
            Started::Pending(_) => complete(&port),
        };
        assert_eq!(completion.context.index, i);
        assert_eq!(ledger.drops()[i], 0);
        drop(completion);
        assert_eq!(ledger.drops()[i], 1);
    }
    nothing_more(&port);
    drop(port);
    ledger.assert_each_dropped_once();
}

#[test]
fn inline_completions_give_their_place_back() {
    let port = Iocp::builder().max_operations(1).build().unwrap();
    let (one, _other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap().skip_on_success().unwrap();
    for i in 0..few(100) {
        match port.initiate_write(&one, i, "x").unwrap() {
            Started::Completed(completion) => assert_eq!(completion.context, i),
            Started::Pending(_) => assert_eq!(complete(&port).context, i),
        }
    }
}

#[test]
fn a_started_operation_that_is_ignored_drops_its_context_once() {
    const WRITES: usize = few(100);
    let ledger = Ledger::new(WRITES);
    let port = port_of();
    let (one, _other) = stream_pair();
    let one = port.add_handle(one, 0).unwrap().skip_on_success().unwrap();
    for i in 0..WRITES {
        drop(port.initiate_write(&one, ledger.entry(i), "x").unwrap());
    }
    drop(port);
    ledger.assert_each_dropped_once();
}

#[test]
fn the_fields_of_a_completion_are_taken_and_dropped_in_any_order() {
    let ledger = Ledger::new(2);
    let port = port_of();
    let temp = temp_file("fields", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    port.initiate_read_at(&file, ledger.entry(0), Vec::with_capacity(8), 0).unwrap();
    let completion = complete(&port);
    let (context, mut operation) = (completion.context, completion.operation);
    drop(context);
    assert_eq!(ledger.drops(), [1, 0]);
    assert_eq!(operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");

    port.initiate_read_at(&file, ledger.entry(1), Vec::with_capacity(8), 0).unwrap();
    let completion = complete(&port);
    let (context, operation) = (completion.context, completion.operation);
    drop(operation);
    drop(port);
    assert_eq!(ledger.drops(), [1, 0]);
    assert_eq!(context.index, 1);
    drop(context);
    ledger.assert_each_dropped_once();
}

/// A context whose destructor uses another handle of the same port.
struct Closes(Option<Box<dyn FnOnce() + Send>>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}

#[test]
fn a_destructor_may_drop_another_handle_of_the_port() {
    let ledger = Ledger::new(1);
    let port = port_of();
    let (one, _other_one) = quiet_pipe(&port);
    let (two, _other_two) = quiet_pipe(&port);
    let noted = ledger.entry(0);
    let mut pending = port.initiate_read(&two, Closes(Some(Box::new(|| ()))), [0; 8]).unwrap();
    let action = move || drop((two, noted));
    port.initiate_read(&one, Closes(Some(Box::new(action))), [0; 8]).unwrap();
    drop(port);
    ledger.assert_each_dropped_once();
    assert!(pending.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(pending.take_buffer(), Some([0; 8]));
}

#[test]
fn a_destructor_may_look_at_the_pending_of_another_operation() {
    let found = Arc::new(Mutex::new(None));
    let port = port_of();
    let (server, _client) = quiet_pipe(&port);
    let mut pending = port.initiate_read(&server, Closes(Some(Box::new(|| ()))), [7; 8]).unwrap();
    let action = {
        let found = Arc::clone(&found);
        move || {
            let asked = pending.cancel();
            *found.lock().unwrap() = Some((asked, pending.take_buffer()));
        }
    };
    port.post(Closes(Some(Box::new(action))), 0, 0).unwrap();
    drop(complete(&port));
    // In flight when the destructor asked.
    assert_eq!(*found.lock().unwrap(), Some((Ok(true), None)));
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    nothing_more(&port);
}

#[test]
fn a_context_may_own_its_own_handle() {
    type Contexts = Option<Associated<std::os::windows::io::OwnedHandle>>;
    let port = port_of::<Contexts>();
    let (server, client) = quiet_pipe(&port);
    port.initiate_read(&server, Some(client), Vec::with_capacity(8)).unwrap();
    port.initiate_write(&server, None, "hello").unwrap();
    let client = complete_all(&port, 1).pop();
    // The write, which needs no reader.
    assert!(client.unwrap().context.is_none());
    server.cancel_all().unwrap();
    let completion = complete(&port);
    let client = completion.context.unwrap();
    let mut pending = port.initiate_read(&client, Some(server), Vec::with_capacity(8)).unwrap();
    let completion = complete(&port);
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
    // The port goes while it holds the last handles in a context.
    port.initiate_read(&client, Some(completion.context.unwrap()), Vec::with_capacity(8)).unwrap();
    drop(port);
    drop(client);
}

#[test]
fn a_panic_in_a_destructor_does_not_spoil_the_other_contexts_of_a_batch() {
    struct Panics(#[expect(dead_code, reason = "it is dropped")] Entry, bool);
    impl Drop for Panics {
        fn drop(&mut self) {
            assert!(!self.1, "a destructor panics for the test");
        }
    }
    let ledger = Ledger::new(9);
    let port = port_of();
    for i in 0..9 {
        port.post(Panics(ledger.entry(i), i == 4), 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(16);
    assert_eq!(port.get_completions(&mut batch, None).unwrap(), 9);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(batch))).is_err());
    ledger.assert_each_dropped_once();
    // The port is as good as before.
    let again = Ledger::new(1);
    port.post(Panics(again.entry(0), false), 5, 0).unwrap();
    assert_eq!(complete(&port).handle_context, 5);
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_panic_in_a_destructor_at_the_drop_of_the_port_is_one_panic_and_may_leak() {
    struct Panics(#[expect(dead_code, reason = "it is dropped")] Entry, bool);
    impl Drop for Panics {
        fn drop(&mut self) {
            assert!(!self.1, "a destructor panics for the test");
        }
    }
    let ledger = Ledger::new(5);
    let port = port_of();
    for i in 0..5 {
        port.post(Panics(ledger.entry(i), i == 2), 0, 0).unwrap();
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(port))).is_err());
    // What comes after the panic is not dropped twice, and may be leaked.
    let drops = ledger.drops();
    assert_eq!(drops[..3], [1, 1, 1]);
    assert!(drops[3..].iter().all(|&count| count <= 1), "{drops:?}");
}

#[test]
fn posts_and_operations_with_the_same_context_type_mix() {
    #[derive(Debug, PartialEq, Clone, Copy)]
    enum From {
        Post(u32),
        File(u32),
        Pipe(u32),
    }
    let port = port_of();
    let (server, client) = quiet_pipe(&port);
    let temp = temp_file("mix", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let mut expected = Vec::new();
    for i in 0..30 {
        port.post(From::Post(i), 0, 0).unwrap();
        port.initiate_read_at(&file, From::File(i), [0; 64], 0).unwrap();
        port.initiate_read(&server, From::Pipe(i), Vec::with_capacity(1)).unwrap();
        port.initiate_write(&client, From::Pipe(i), "x").unwrap();
        expected.extend([From::Post(i), From::File(i), From::Pipe(i), From::Pipe(i)]);
    }
    let mut found: Vec<_> =
        complete_all(&port, expected.len()).into_iter().map(|c| c.context).collect();
    let name = |from: &From| format!("{from:?}");
    found.sort_by_key(name);
    expected.sort_by_key(name);
    assert_eq!(found, expected);
}

#[test]
fn what_is_printed_for_a_developer_tells_the_state() {
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 71).unwrap();
    assert!(format!("{server:?}").starts_with("Associated"));
    assert!(format!("{server:?}").contains("context: 71"));
    assert!(format!("{:?}", Batch::<usize>::with_capacity(3)).contains("capacity: 3"));
    port.scope(|scope| {
        assert!(format!("{scope:?}").starts_with("Scope"));
        assert!(format!("{scope:?}").contains("closed: false"));
    });
    let pending = port.initiate_read(&server, 2, [0; 1]).unwrap();
    assert!(format!("{pending:?}").contains("completed: false"));
    client.write_all(b"x").unwrap();
    let completion = complete(&port);
    assert!(format!("{pending:?}").contains("completed: true"));
    assert!(format!("{:?}", completion.operation).contains("kind: Read"));
    port.close();
    assert!(format!("{port:?}").contains("closed: true"));
}
