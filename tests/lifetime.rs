//! Every order in which a program may let go of ports, handles, operations and
//! completions, or forget them.
#![cfg(windows)]

mod support;

use std::io::Write;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{mem, thread};

use completion_port::{
    Associated, Batch, ErrorKind, IoBuf, IoBufMut, Iocp, OperationKind, Pending,
};
use support::ledger::{Entry, Ledger};
use support::{
    BlockingPipe, PATIENCE, assert_ended_by_drop, child, close_raw, complete, complete_all,
    eventually, few, nothing_more, overlapped_file, pattern, pattern_from, pipe_pair, port,
    port_of, stream_pair, temp_file,
};

type Pipe = Associated<OwnedHandle>;

/// A small port, of which thousands can be leaked.
fn small_port<C: Send>() -> Iocp<C> {
    Iocp::builder().max_operations(64).build().unwrap()
}

/// A buffer whose drops are counted.
struct Counted([u8; 16], #[expect(dead_code, reason = "it is dropped")] Entry);

// SAFETY: The bytes are initialised, and the value's own.
unsafe impl IoBuf for Counted {
    fn initialized(&self) -> (*const u8, usize) {
        (self.0.as_ptr(), self.0.len())
    }
}

// SAFETY: As above.
unsafe impl IoBufMut for Counted {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.writable()
    }
    fn writable(&mut self) -> (*mut u8, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }
    unsafe fn advance(&mut self, _bytes: usize) {}
}

const CONTEXT: usize = 0;
const BUFFER: usize = 1;

/// How far an operation has come when the program lets go of everything.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    InFlight,
    /// Completed, and its packet is in the queue.
    Queued,
    Dequeued,
}

/// All that a program can hold of one operation.
struct Everything {
    port: Option<Iocp<Entry>>,
    handle: Option<Pipe>,
    pending: Option<Pending<Counted>>,
    context: Option<Entry>,
    finished: Option<completion_port::Finished>,
    /// The other end of the pipe, which stays.
    peer: BlockingPipe,
    ledger: Ledger,
}

const PARTS: [&str; 5] = ["port", "handle", "pending", "context", "finished"];

impl Everything {
    fn new(stage: Stage) -> Self {
        let ledger = Ledger::new(2);
        let port = small_port();
        let (server, client) = pipe_pair(false);
        let handle = port.add_handle(server, 9).unwrap();
        let mut peer = BlockingPipe::from(client);
        let buffer = Counted([b'.'; 16], ledger.entry(BUFFER));
        let pending = port.initiate_read(&handle, ledger.entry(CONTEXT), buffer).unwrap();
        let (mut context, mut finished) = (None, None);
        if stage != Stage::InFlight {
            peer.write_all(b"hello").unwrap();
        }
        if stage == Stage::Dequeued {
            let completion = complete(&port);
            assert_eq!(completion.bytes_transferred, 5);
            (context, finished) = (Some(completion.context), Some(completion.operation));
        }
        ledger.assert_none_dropped();
        Self {
            port: Some(port),
            handle: Some(handle),
            pending: Some(pending),
            context,
            finished,
            peer,
            ledger,
        }
    }

    fn let_go(&mut self, part: usize, forget: bool) {
        fn end<T>(part: &mut Option<T>, forget: bool) {
            let part = part.take();
            if forget {
                mem::forget(part);
            }
        }
        match PARTS[part] {
            "port" => end(&mut self.port, forget),
            "handle" => end(&mut self.handle, forget),
            "pending" => end(&mut self.pending, forget),
            "context" => end(&mut self.context, forget),
            "finished" => end(&mut self.finished, forget),
            _ => unreachable!(),
        }
    }
}

/// All orders of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let shorter = orders(last);
    let insert = |order: &Vec<usize>, place| {
        let mut order = order.clone();
        order.insert(place, last);
        order
    };
    shorter.iter().flat_map(|order| (0..count).map(move |place| insert(order, place))).collect()
}

/// Lets go of the parts in this order, and forgets those whose bit is set.
fn let_go_of(stage: Stage, order: &[usize], forgotten: usize) {
    let mut everything = Everything::new(stage);
    for &part in order {
        everything.let_go(part, forgotten & 1 << part != 0);
    }
    // The other end may still write, wherever that goes.
    let _ = everything.peer.write_all(b"later");
    let kept = |part: usize| forgotten & 1 << part != 0;
    let (port, pending, context, finished) = (kept(0), kept(2), kept(3), kept(4));
    let (context_dropped, completion_gone) = match stage {
        // With the port goes the completion that nobody has dequeued.
        Stage::InFlight | Stage::Queued => (!port, !port),
        Stage::Dequeued => (!context, !finished),
    };
    let expected = [u32::from(context_dropped), u32::from(completion_gone && !pending)];
    assert_eq!(everything.ledger.drops(), expected, "{stage:?} {order:?} {forgotten:#b}");
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn an_operation_in_flight_survives_every_order_of_drops_and_leaks() {
    for order in orders(3) {
        for forgotten in 0..8 {
            let_go_of(Stage::InFlight, &order, forgotten);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_queued_completion_survives_every_order_of_drops_and_leaks() {
    for order in orders(3) {
        for forgotten in 0..8 {
            let_go_of(Stage::Queued, &order, forgotten);
        }
    }
}

#[test]
fn a_dequeued_completion_survives_every_order_of_drops() {
    // Under Miri one in ten.
    for order in orders(5).iter().step_by(if cfg!(miri) { 10 } else { 1 }) {
        let_go_of(Stage::Dequeued, order, 0);
    }
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_dequeued_completion_survives_every_combination_of_leaks() {
    for forgotten in 1..32 {
        let_go_of(Stage::Dequeued, &[0, 1, 2, 3, 4], forgotten);
        let_go_of(Stage::Dequeued, &[4, 2, 3, 1, 0], forgotten);
    }
}

/// A pipe end on the port, and the other end for blocking writes.
fn quiet_pipe<C: Send>(port: &Iocp<C>) -> (Pipe, BlockingPipe) {
    let (server, client) = pipe_pair(false);
    (port.add_handle(server, 9).unwrap(), client.into())
}

#[test]
fn a_pending_outlives_the_port_and_gives_its_buffer() {
    let port = port();
    let (handle, _client) = quiet_pipe(&port);
    let mut pending = port.initiate_read(&handle, 1, Vec::with_capacity(64)).unwrap();
    assert!(!pending.is_completed());
    assert_eq!(pending.result(), None);
    drop(port);
    assert!(pending.is_completed());
    assert!(pending.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(pending.cancel(), Ok(false));
    let buffer = pending.take_buffer().unwrap();
    assert_eq!((buffer.len(), buffer.capacity()), (0, 64));
}

#[test]
fn a_read_that_was_done_before_the_port_was_dropped_has_its_bytes() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    let mut pending = port.initiate_read(&handle, 1, Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    drop(port);
    assert_eq!(pending.result(), Some(Ok(5)));
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
}

#[test]
fn a_completion_outlives_the_port_and_gives_its_buffer() {
    let port = port_of();
    let (handle, mut client) = quiet_pipe(&port);
    port.initiate_read(&handle, String::from("context"), Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    let mut completion = complete(&port);
    drop((handle, client, port));
    assert_eq!(completion.context, "context");
    assert_eq!(completion.handle_context, 9);
    assert_eq!(completion.operation.kind(), OperationKind::Read);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

#[test]
fn a_batch_outlives_the_port_and_gives_its_completions() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    port.initiate_read(&handle, 1, Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    port.post(2, 0, 0).unwrap();
    let mut batch = Batch::with_capacity(8);
    eventually("both completions", || {
        port.get_completions(&mut batch, Some(Duration::ZERO)).unwrap() == 2
    });
    drop((port, handle));
    let mut completions: Vec<_> = batch.map(Result::unwrap).collect();
    completions.sort_by_key(|completion| completion.context);
    assert_eq!(completions[1].operation.kind(), OperationKind::Post);
    assert_eq!(completions[0].operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

#[test]
fn a_port_lives_while_a_clone_waits_in_it() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    let clone = port.clone();
    let (waiting, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        waiting.send(()).unwrap();
        complete(&clone)
    });
    wait.recv().unwrap();
    port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap();
    drop(port);
    client.write_all(b"hello").unwrap();
    let mut completion = thread.join().unwrap();
    assert_eq!(completion.context, 5);
    // The last clone is gone, and the completion is not.
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

#[test]
fn a_handle_outlives_its_port() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap();
    drop(port);
    assert_eq!(handle.context(), 9);
    assert_eq!(handle.cancel_all(), Ok(false));
    // It is open: the other end can write to it.
    client.write_all(b"hello").unwrap();
    // Association is for good.
    let other = support::port();
    let rejected = other.initiate_read(&handle, 5, [0; 8]).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    let rejected = other.add_handle(handle.into_inner(), 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
    drop(rejected.returned);
    eventually("the other end is closed", || client.write_all(b"hello").is_err());
}

#[test]
fn into_inner_leaves_what_is_in_flight_alone() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    let mut pending = port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap();
    let inner = handle.into_inner();
    nothing_more(&port);
    client.write_all(b"hello").unwrap();
    assert_eq!(complete(&port).context, 5);
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
    drop(inner);
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_forgotten_pending_does_not_keep_its_buffer_from_the_completion() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    mem::forget(port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap());
    client.write_all(b"hello").unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_forgotten_completion_does_not_keep_its_buffer_from_the_pending() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    let mut pending = port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap();
    client.write_all(b"hello").unwrap();
    mem::forget(complete(&port));
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_forgotten_handle_goes_on_and_is_cancelled_with_the_port() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    let mut first = port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap();
    let mut second = port.initiate_read(&handle, 6, Vec::with_capacity(64)).unwrap();
    mem::forget(handle);
    client.write_all(b"hello").unwrap();
    assert_eq!(complete(&port).context, 5);
    assert_eq!(first.take_buffer().unwrap(), b"hello");
    drop(port);
    assert!(second.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(second.take_buffer().unwrap(), b"");
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_forgotten_batch_keeps_only_what_is_in_it() {
    let ledger = Ledger::new(4);
    let port = port_of();
    for i in 0..2 {
        port.post(ledger.entry(i), 0, 0).unwrap();
    }
    let mut batch = Batch::with_capacity(8);
    assert_eq!(port.get_completions(&mut batch, None), Ok(2));
    mem::forget(batch);
    for i in 2..4 {
        port.post(ledger.entry(i), 0, 0).unwrap();
    }
    drop(complete(&port));
    drop(port);
    assert_eq!(ledger.drops(), [0, 0, 1, 1]);
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn forgotten_operations_count_towards_the_most_that_a_port_takes() {
    let port: Iocp = Iocp::builder().max_operations(3).build().unwrap();
    let temp = temp_file("forgotten", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for _ in 0..2 {
        mem::forget(port.initiate_read_at(&file, 1, [0; 8], 0).unwrap());
        complete(&port);
    }
    // One is left, and is used again and again.
    for i in 0..10 {
        drop(port.initiate_read_at(&file, i, [0; 8], 0).unwrap());
        assert_eq!(complete(&port).context, i);
    }
    let pending = port.initiate_read_at(&file, 1, [0; 8], 0).unwrap();
    let rejected = port.initiate_read_at(&file, 1, [0; 8], 0).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    complete(&port);
    drop(pending);
}

#[test]
#[cfg_attr(miri, ignore = "drops a thousand ports, which takes Miri minutes")]
#[cfg_attr(memcheck, ignore = "is about time, of which Valgrind takes much")]
fn a_thousand_ports_with_operations_in_flight_are_dropped_in_good_time() {
    let start = Instant::now();
    for i in 0..few(1000) {
        let port: Iocp = small_port();
        let (handle, client) = quiet_pipe(&port);
        for _ in 0..3 {
            port.initiate_read(&handle, i, Vec::with_capacity(64)).unwrap();
        }
        port.post(i, 0, 0).unwrap();
        // In every order.
        match i % 3 {
            0 => drop((port, handle, client)),
            1 => drop((handle, client, port)),
            _ => drop((client, port, handle)),
        }
        // Far more than it takes, and less than if each drop waited for
        // something that does not come.
        assert!(start.elapsed() < PATIENCE, "only {i} ports");
    }
}

#[test]
fn ports_of_the_default_size_are_dropped_without_leaking_address_space() {
    // Each has 128 MiB of it.
    for i in 0..few(3000) {
        let port = port();
        port.post(i, 0, 0).unwrap();
        if i % 2 == 0 {
            assert_eq!(complete(&port).context, i);
        }
    }
    // That many at a time are possible, too.
    let ports: Vec<_> = (0..few(100)).map(|_| port()).collect();
    for (i, port) in ports.iter().enumerate() {
        port.post(i, 0, 0).unwrap();
    }
}

#[test]
fn an_operation_goes_on_when_the_thread_that_started_it_ends() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    let (stream, mut peer) = stream_pair();
    let stream = port.add_handle(stream, 1).unwrap();
    let (mut from_pipe, mut from_socket) = thread::scope(|threads| {
        let start = || {
            (
                port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap(),
                port.initiate_read(&stream, 6, Vec::with_capacity(64)).unwrap(),
            )
        };
        threads.spawn(start).join().unwrap()
    });
    nothing_more(&port);
    client.write_all(b"hello").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context, completion.error_status), (5, Ok(())));
    assert_eq!(from_pipe.take_buffer().unwrap(), b"hello");
    peer.write_all(b"world").unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context, completion.error_status), (6, Ok(())));
    assert_eq!(from_socket.take_buffer().unwrap(), b"world");
}

#[test]
fn a_pending_is_dropped_by_another_thread_while_its_completion_is_dequeued() {
    const ROUNDS: usize = few(3000);
    let ledger = Ledger::new(3 * ROUNDS);
    let port = port_of();
    let (handle, mut client) = quiet_pipe(&port);
    let (hand_over, handed_over) = mpsc::channel::<Pending<Counted>>();
    thread::scope(|threads| {
        threads.spawn(|| {
            for (i, mut pending) in handed_over.into_iter().enumerate() {
                // Each of these races with the dequeue.
                match i % 4 {
                    0 => drop(pending),
                    1 => drop(pending.take_buffer()),
                    2 => {
                        pending.cancel().unwrap();
                    }
                    _ => {
                        let _ = pending.result();
                    }
                }
            }
        });
        for i in 0..ROUNDS {
            let buffer = Counted([0; 16], ledger.entry(3 * i));
            let pending = port.initiate_read(&handle, ledger.entry(3 * i + 1), buffer).unwrap();
            hand_over.send(pending).unwrap();
            client.write_all(b"x").unwrap();
            let mut completion = complete(&port);
            assert_eq!(completion.context.index, 3 * i + 1);
            let cancelled = completion.error_status.is_err();
            if let Some(buffer) = completion.operation.take_buffer::<Counted>() {
                assert_eq!(buffer.0[0], if cancelled { 0 } else { b'x' });
            }
            let again = ledger.entry(3 * i + 2);
            if cancelled {
                // The byte is still there.
                port.initiate_read(&handle, again, [0; 1]).unwrap();
                complete(&port);
            }
        }
        drop(hand_over);
    });
    drop(port);
    ledger.assert_each_dropped_once();
}

#[test]
fn pendings_and_completions_are_dropped_on_other_threads_than_they_came_to() {
    const OPERATIONS: usize = few(2000);
    let ledger = Ledger::new(2 * OPERATIONS);
    let temp = temp_file("threads", "hello");
    let port = port_of();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let (pendings, pendings_end) = mpsc::channel();
    let (completions, completions_end) = mpsc::channel();
    thread::scope(|threads| {
        threads.spawn(|| pendings_end.into_iter().for_each(drop));
        threads.spawn(|| completions_end.into_iter().for_each(drop));
        threads.spawn(|| {
            let completions = completions;
            for _ in 0..OPERATIONS {
                completions.send(complete(&port)).unwrap();
            }
        });
        for i in 0..OPERATIONS {
            let buffer = Counted([0; 16], ledger.entry(2 * i));
            let context = ledger.entry(2 * i + 1);
            pendings.send(port.initiate_read_at(&file, context, buffer, 0).unwrap()).unwrap();
        }
        drop(pendings);
    });
    ledger.assert_each_dropped_once();
}

#[test]
fn the_last_clone_is_dropped_on_any_thread() {
    let ledger = Ledger::new(8);
    let port = port_of();
    let (handle, _client) = quiet_pipe(&port);
    for i in 0..8 {
        port.initiate_read(&handle, ledger.entry(i), [0; 8]).unwrap();
    }
    thread::scope(|threads| {
        for clone in vec![port; 8] {
            threads.spawn(move || drop(clone));
        }
    });
    ledger.assert_each_dropped_once();
    drop(handle);
}

#[test]
fn a_handle_dropped_while_others_dequeue_completes_what_was_in_flight() {
    const ROUNDS: usize = few(200);
    let port = port();
    let done = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let step = Duration::from_millis(20);
                    if let Some(completion) = port.get_completion_timeout(step).unwrap() {
                        assert_ended_by_drop(&completion);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for i in 0..ROUNDS {
            let (handle, _client) = quiet_pipe(&port);
            for _ in 0..4 {
                port.initiate_read(&handle, i, Vec::with_capacity(8)).unwrap();
            }
            drop(handle);
        }
        eventually("all reads are cancelled", || done.load(Ordering::SeqCst) == 4 * ROUNDS);
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn operations_on_a_handle_that_was_reused_for_another_object_do_not_mix() {
    let port = port();
    let temp = temp_file("reused", pattern(1000));
    for i in 0..few(200) {
        // The system hands out the values of closed handles again.
        let file = port.add_handle(overlapped_file(temp.path(), true, false), i).unwrap();
        let old = port.initiate_read_at(&file, i, [0; 10], 0).unwrap();
        drop(file);
        let file = port.add_handle(overlapped_file(temp.path(), true, false), i + 1000).unwrap();
        let mut new = port.initiate_read_at(&file, i + 1000, [0; 10], 500).unwrap();
        // Asks about the closed handle's operation, not the new one's.
        old.cancel().unwrap();
        for completion in complete_all(&port, 2) {
            assert_eq!(completion.context, completion.handle_context);
        }
        assert_eq!(new.result(), Some(Ok(10)));
        assert_eq!(new.take_buffer().unwrap().to_vec(), pattern_from(500, 10));
    }
}

/// Runs in a process of its own: the value of a closed handle may be given to
/// another test's.
#[test]
#[cfg_attr(miri, ignore = "needs a process of its own")]
fn a_handle_that_others_have_closed_is_an_error_and_no_more() {
    const NAME: &str = "a_handle_that_others_have_closed_is_an_error_and_no_more";
    if !child::is_child(NAME) {
        return child::run(NAME);
    }
    let port = port();
    let (handle, client) = quiet_pipe(&port);
    let mut pending = port.initiate_read(&handle, 5, Vec::with_capacity(64)).unwrap();
    close_raw(handle.as_raw_handle());
    // A pipe that is closed at this end may complete its reads as cancelled,
    // or as ended.
    let completion = complete(&port);
    assert_eq!((completion.context, completion.bytes_transferred), (5, 0));
    assert!(completion.error_status.map_or_else(|error| error.is_cancelled(), |()| true));
    assert_eq!(pending.cancel(), Ok(false));
    assert_eq!(pending.take_buffer().unwrap(), b"");

    let rejected = port.initiate_read(&handle, 6, vec![0].slice(..)).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidHandle);
    assert_eq!(rejected.error.raw_os_error(), Some(6));
    assert_eq!(rejected.returned.0, 6);
    let rejected = port.initiate_write(&handle, 7, "hello").map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidHandle);
    // Wine only finds nothing to cancel.
    if let Err(error) = handle.cancel_all() {
        assert_eq!(error.kind(), ErrorKind::InvalidHandle);
    }
    nothing_more(&port);
    drop((handle, client));
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "needs a process of its own")]
fn a_process_ends_well_with_operations_in_flight() {
    const NAME: &str = "a_process_ends_well_with_operations_in_flight";
    if !child::is_child(NAME) {
        return child::run(NAME);
    }
    let port = port();
    let (pipe, _client) = quiet_pipe(&port);
    let (stream, _peer) = stream_pair();
    let stream = port.add_handle(stream, 1).unwrap();
    let temp = temp_file("exit", pattern(100_000));
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 2).unwrap();
    for i in 0..few(50) {
        port.initiate_read(&pipe, i, Vec::with_capacity(64)).unwrap();
        port.initiate_read(&stream, i, [0; 64]).unwrap();
        port.initiate_read_at(&file, i, [0; 4096], 0).unwrap();
        port.initiate_write_at(&file, i, pattern(4096), 0).unwrap();
        port.post(i, 0, 0).unwrap();
    }
    let clone = port.clone();
    thread::spawn(move || while clone.get_completion().is_ok() {});
    drop(temp);
    std::process::exit(0);
}

#[test]
#[cfg_attr(miri, ignore = "needs a process of its own")]
fn a_process_whose_main_thread_returns_ends_well_while_others_wait() {
    const NAME: &str = "a_process_whose_main_thread_returns_ends_well_while_others_wait";
    if !child::is_child(NAME) {
        return child::run(NAME);
    }
    let port = port();
    for _ in 0..4 {
        let clone = port.clone();
        thread::spawn(move || while clone.get_completion().is_ok() {});
    }
    let (pipe, client) = quiet_pipe(&port);
    port.initiate_read(&pipe, 1, Vec::with_capacity(64)).unwrap();
    mem::forget((port, pipe, client));
}

#[test]
fn closing_and_dropping_a_port_leaves_its_handles_operations_to_their_pendings() {
    let port = port();
    let (handle, mut client) = quiet_pipe(&port);
    let mut done = port.initiate_read(&handle, 1, Vec::with_capacity(5)).unwrap();
    let mut waiting = port.initiate_read(&handle, 2, Vec::with_capacity(5)).unwrap();
    client.write_all(b"hello").unwrap();
    port.close();
    assert!(!waiting.is_completed());
    drop(port);
    assert_eq!(done.take_buffer().unwrap(), b"hello");
    assert!(waiting.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(waiting.take_buffer().unwrap(), b"");
}

#[test]
#[cfg_attr(miri, ignore = "uses what Miri does not have")]
fn handles_of_every_kind_are_closed_when_they_are_dropped() {
    let port = port();
    let (pipe, mut client) = quiet_pipe(&port);
    drop(pipe);
    eventually("the pipe is closed", || client.write_all(b"hello").is_err());
    let (stream, mut peer) = stream_pair();
    drop(port.add_handle(stream, 1).unwrap());
    assert_eq!(std::io::Read::read(&mut peer, &mut [0; 8]).unwrap_or(0), 0);
    let temp = temp_file("closed", "hello");
    drop(port.add_handle(overlapped_file(temp.path(), true, true), 1).unwrap());
    // Nobody has it open any more: it can be opened for nobody else to share, once
    // a virus scanner or an indexer has looked at it.
    let mut exclusive = std::fs::OpenOptions::new();
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut exclusive, 0);
    eventually("the file is closed", || exclusive.write(true).open(temp.path()).is_ok());
}

#[test]
fn the_last_clone_of_a_port_goes_with_a_context_in_its_own_batch() {
    #[expect(dead_code, reason = "they are dropped")]
    struct KeepsPort(Option<Iocp<Self>>, Entry);
    let ledger = Ledger::new(3);
    let port: Iocp<KeepsPort> = small_port();
    let (handle, _client) = quiet_pipe(&port);
    port.post(KeepsPort(Some(port.clone()), ledger.entry(0)), 0, 0).unwrap();
    port.post(KeepsPort(None, ledger.entry(1)), 0, 0).unwrap();
    port.initiate_read(&handle, KeepsPort(None, ledger.entry(2)), [0; 8]).unwrap();
    let mut batch = Batch::with_capacity(4);
    assert_eq!(port.get_completions(&mut batch, None), Ok(2));
    drop(port);
    ledger.assert_none_dropped();
    drop(batch);
    ledger.assert_each_dropped_once();
}

#[test]
fn the_last_clone_of_a_port_goes_with_the_context_of_its_own_completion() {
    #[expect(dead_code, reason = "they are dropped")]
    struct KeepsPort(Option<Iocp<Self>>, Entry);
    let ledger = Ledger::new(2);
    let port: Iocp<KeepsPort> = small_port();
    let (handle, mut client) = quiet_pipe(&port);
    let keeps = KeepsPort(Some(port.clone()), ledger.entry(0));
    port.initiate_read(&handle, keeps, Vec::with_capacity(8)).unwrap();
    client.write_all(b"hello").unwrap();
    let mut completion = complete(&port);
    port.initiate_read(&handle, KeepsPort(None, ledger.entry(1)), [0; 8]).unwrap();
    drop(port);
    ledger.assert_none_dropped();
    drop(completion.context);
    ledger.assert_each_dropped_once();
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
}

#[test]
fn the_port_and_the_last_holders_of_its_operations_go_at_the_same_time() {
    const ROUNDS: usize = few(300);
    const OPERATIONS: usize = 6;
    for _ in 0..ROUNDS {
        let ledger = Ledger::new(2 * OPERATIONS);
        let port = small_port();
        let (handle, mut client) = quiet_pipe(&port);
        let mut pendings = Vec::new();
        for i in 0..OPERATIONS {
            let buffer = Counted([0; 16], ledger.entry(2 * i));
            pendings.push(port.initiate_read(&handle, ledger.entry(2 * i + 1), buffer).unwrap());
            if i < OPERATIONS / 2 {
                client.write_all(b"hello").unwrap();
            }
        }
        let completions = complete_all(&port, OPERATIONS / 2);
        let start = std::sync::Barrier::new(3);
        thread::scope(|threads| {
            let start = &start;
            threads.spawn(move || {
                start.wait();
                drop(pendings);
            });
            threads.spawn(move || {
                start.wait();
                drop(completions);
            });
            start.wait();
            drop(port);
        });
        ledger.assert_each_dropped_once();
        drop(handle);
    }
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_reset_socket_dropped_with_reads_and_writes_in_flight_completes_them_all() {
    let port = port();
    let (stream, peer) = stream_pair();
    let stream = port.add_handle(stream, 1).unwrap();
    for i in 0..3 {
        port.initiate_read(&stream, i, Vec::with_capacity(8)).unwrap();
    }
    // More than fits between here and there.
    for i in 3..6 {
        port.initiate_write(&stream, i, vec![0; 4 << 20]).unwrap();
    }
    support::reset(peer);
    drop(stream);
    let mut contexts: Vec<_> =
        complete_all(&port, 6).into_iter().map(|completion| completion.context).collect();
    contexts.sort_unstable();
    assert_eq!(contexts, [0, 1, 2, 3, 4, 5]);
    nothing_more(&port);
}
