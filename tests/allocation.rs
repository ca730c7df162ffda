//! In the steady state, operations allocate nothing.
#![cfg(not(simulated_kernel))] // counts what the model of the kernel allocates, too
#![cfg(not(memcheck))] // has an allocator of its own, as memcheck does
#![cfg(windows)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{Future, IntoFuture};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use completion_port::fs::OpenOverlapped;
use completion_port::{
    Associated, Batch, Inline, IoBuf, IoBufMut, Iocp, PageList, Pages, Started, listener, op,
    unconnected_stream,
};
use support::{
    complete, datagram_pair, overlapped_file, pipe_pair, port, port_of, stream_pair, temp_file,
};
use windows_sys::Win32::System::Threading::{CreateEventW, SetEvent};

/// The system's allocator, how often a thread asks it for memory, and how many
/// bytes it then has.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicIsize = AtomicIsize::new(0);

/// The thread that is counted: the test harness has its own affairs.
static COUNTED: AtomicU32 = AtomicU32::new(0);

#[link(name = "kernel32")]
unsafe extern "system" {
    // The standard library's way to ask may itself allocate.
    safe fn GetCurrentThreadId() -> u32;
}

fn count(more: usize, less: usize) {
    if COUNTED.load(Ordering::Relaxed) == GetCurrentThreadId() {
        ALLOCATIONS.fetch_add(usize::from(more > 0), Ordering::Relaxed);
        HELD.fetch_add(more as isize - less as isize, Ordering::Relaxed);
    }
}

// SAFETY: The system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: The caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: The caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: The caller's promise.
        unsafe { System.realloc(start, layout, size) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: The caller's promise.
        unsafe { System.dealloc(start, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One thread is counted at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a step a few times to warm up, then `count` times, in which nothing
/// may be allocated.
#[track_caller]
fn assert_steady(count: usize, mut step: impl FnMut(usize)) {
    (0..64).for_each(&mut step);
    COUNTED.store(GetCurrentThreadId(), Ordering::Relaxed);
    // It does count.
    let start = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(count)));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(before, start + 1);
    (0..count).for_each(&mut step);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    COUNTED.store(0, Ordering::Relaxed);
    assert_eq!(allocations, 0, "allocations in {count} steps");
}

/// `buffer` goes from one end to the other and back in, with the `Pending`s
/// dropped.
fn round<H, B: IoBufMut + Send + 'static>(
    port: &Iocp,
    from: &Associated<H>,
    to: &Associated<H>,
    context: usize,
    buffers: &mut (Option<&'static [u8]>, Option<B>),
    empty: impl Fn(&mut B),
) {
    port.initiate_write(from, context, buffers.0.take().unwrap()).unwrap();
    let mut write = complete(port);
    assert_eq!(write.error_status, Ok(()));
    buffers.0 = write.operation.take_buffer();
    assert_eq!(buffers.0.map(<[u8]>::len), Some(write.bytes_transferred as usize));
    let mut buffer = buffers.1.take().unwrap();
    empty(&mut buffer);
    drop(port.initiate_read(to, context + 1, buffer).unwrap());
    let mut read = complete(port);
    assert_eq!(read.error_status, Ok(()));
    assert!(read.bytes_transferred > 0);
    assert_eq!(read.context, context + 1);
    buffers.1 = read.operation.take_buffer();
}

const BYTES: &[u8] = &[7; 100];

#[test]
fn sockets_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, other) = stream_pair();
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    let mut vector = (Some(BYTES), Some(Vec::with_capacity(4096)));
    assert_steady(1250, |i| round(&port, &one, &other, i, &mut vector, Vec::clear));
    let mut array = (Some(BYTES), Some([0_u8; 4096]));
    assert_steady(1250, |i| round(&port, &one, &other, i, &mut array, |_| ()));
}

#[test]
fn pipes_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, other) = pipe_pair(false);
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    let mut vector = (Some(BYTES), Some(Vec::with_capacity(4096)));
    assert_steady(1250, |i| round(&port, &one, &other, i, &mut vector, Vec::clear));
    let mut array = (Some(BYTES), Some([0_u8; 4096]));
    assert_steady(1250, |i| round(&port, &one, &other, i, &mut array, |_| ()));
}

#[test]
fn datagrams_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, other) = datagram_pair();
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    let mut vector = (Some(BYTES), Some(Vec::with_capacity(4096)));
    assert_steady(1250, |i| round(&port, &one, &other, i, &mut vector, Vec::clear));
}

#[test]
fn connections_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = port.add_handle(listener, 1).unwrap();
    assert_steady(200, |_| {
        let mut accept = port.initiate_accept(&listener, 0).unwrap();
        let client = port.add_handle(unconnected_stream(address).unwrap(), 2).unwrap();
        let mut connect = port.initiate_connect(&client, 1, address).unwrap();
        for _ in 0..2 {
            assert_eq!(complete(&port).error_status, Ok(()));
        }
        let server = port.add_handle(accept.take_accepted().unwrap(), 3).unwrap();
        connect.take_buffer().unwrap();
        drop((client, server));
    });
}

#[test]
fn connections_of_a_listener_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let socket = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 1).unwrap();
    let listener = listener::Listener::new(&port, socket, || 0).unwrap();
    assert_steady(200, |_| {
        let address = listener.local_addr();
        let client = port.add_handle(unconnected_stream(address).unwrap(), 2).unwrap();
        drop(port.initiate_connect(&client, 1, address).unwrap());
        for mut completion in [complete(&port), complete(&port)] {
            assert_eq!(completion.error_status, Ok(()));
            if completion.context == 0 {
                listener.accepted(&mut completion).unwrap().associate(&port, 3).unwrap();
            }
        }
    });
}

#[test]
fn files_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let temp = temp_file("allocation", [5; 8192]);
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 3).unwrap();
    let mut vector = Some(Vec::with_capacity(4096));
    let mut array = Some([0_u8; 4096]);
    assert_steady(1000, |i| {
        let mut buffer = vector.take().unwrap();
        buffer.clear();
        let mut pending = port.initiate_read_at(&file, i, buffer, 8192 - 100).unwrap();
        assert_eq!(complete(&port).bytes_transferred, 100);
        // This time from the `Pending`.
        let buffer = pending.take_buffer().unwrap();
        port.initiate_write_at(&file, i, buffer, 0).unwrap();
        vector = complete(&port).operation.take_buffer();

        port.initiate_read_at(&file, i, array.take().unwrap(), 4096).unwrap();
        let array_read = complete(&port).operation.take_buffer::<[u8; 4096]>().unwrap();
        port.initiate_write_at(&file, i, array_read, 4096).unwrap();
        array = complete(&port).operation.take_buffer();
        // The end of the file, too.
        port.initiate_read_at(&file, i, [0; 8], 1 << 20).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
    });
}

#[test]
fn waits_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    // SAFETY: An event without a name, that resets itself.
    let event = unsafe { CreateEventW(std::ptr::null(), 0, 0, std::ptr::null()) };
    // SAFETY: The handle is new, and nobody else's.
    let event = std::sync::Arc::new(unsafe { OwnedHandle::from_raw_handle(event) });
    assert_steady(200, |i| {
        let pending = port.initiate_wait(std::sync::Arc::clone(&event), i).unwrap();
        if i % 2 == 0 {
            pending.cancel().unwrap();
        } else {
            // SAFETY: The handle is open.
            assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
        }
        assert_eq!(complete(&port).error_status.is_ok(), i % 2 != 0);
    });
}

#[test]
fn locks_and_lists_of_pages_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let temp = temp_file("allocation", [5; 2 * Pages::SIZE]);
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).open_overlapped_with(temp.path(), 0x2000_0000);
    let file = port.add_handle(file.unwrap(), 3).unwrap();
    let mut pages = Some(PageList::new(vec![Pages::new(1), Pages::new(1)]));
    assert_steady(500, |i| {
        port.initiate(&file, i, op::Lock::exclusive(0, 100)).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        completion_port::fs::unlock(&file, 0, 100).unwrap();
        let read = op::ReadScatter::new(pages.take().unwrap()).at(0);
        port.initiate(&file, i, read).unwrap();
        let list = complete(&port).operation.output::<PageList>().unwrap();
        port.initiate(&file, i, op::WriteGather::new(list).at(0)).unwrap();
        pages = complete(&port).operation.take();
    });
}

#[test]
fn transactions_and_watches_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (server, client) = pipe_pair(true);
    let server = port.add_handle(server, 1).unwrap();
    let client = port.add_handle(client, 2).unwrap();
    let directory = completion_port::fs::open_directory(std::env::temp_dir()).unwrap();
    let directory = port.add_handle(directory, 3).unwrap();
    let mut answer = Some(Vec::with_capacity(100));
    let mut changes = Some(op::Changes::with_capacity(1024));
    assert_steady(500, |i| {
        let mut buffer: Vec<u8> = answer.take().unwrap();
        buffer.clear();
        let mut pending = port.initiate(&client, i, op::Transact::new(BYTES, buffer)).unwrap();
        port.initiate_read(&server, i, [0; 100]).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        port.initiate_write(&server, i, BYTES).unwrap();
        for _ in 0..2 {
            assert_eq!(complete(&port).error_status, Ok(()));
        }
        answer = pending.take().map(|(_, answer)| answer);

        // Others may make changes there meanwhile.
        let watch = op::WatchDirectory::new(changes.take().unwrap());
        port.initiate(&directory, i, watch).unwrap();
        directory.cancel_all().unwrap();
        changes = complete(&port).operation.take();
    });
}

#[test]
fn posts_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    assert_steady(2500, |i| {
        port.post(i, 0, 0).unwrap();
        assert_eq!(complete(&port).context, i);
    });
}

#[test]
fn posts_with_contexts_beyond_what_a_cell_holds_allocate_nothing_once_it_has_room() {
    let _turn = TURN.lock();
    let port = Iocp::<[usize; 100]>::typed().unwrap();
    assert_steady(1000, |i| {
        port.post([i; 100], 0, 0).unwrap();
        assert_eq!(complete(&port).context, [i; 100]);
    });
}

#[test]
fn contexts_with_data_allocate_nothing() {
    #[derive(Debug, PartialEq)]
    enum Event {
        Posted([usize; 3]),
        Read { from: String },
    }
    let _turn = TURN.lock();
    let port: Iocp<Event> = port_of();
    let temp = temp_file("allocation-context", [5; 64]);
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 3).unwrap();
    let mut name = Some(String::from("file"));
    assert_steady(1000, |i| {
        port.post(Event::Posted([i; 3]), 0, 0).unwrap();
        assert_eq!(complete(&port).context, Event::Posted([i; 3]));
        let read = Event::Read { from: name.take().unwrap() };
        port.initiate_read_at(&file, read, [0; 64], 0).unwrap();
        let Event::Read { from } = complete(&port).context else { panic!("not the read") };
        name = Some(from);
    });
}

#[test]
fn scopes_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, other) = stream_pair();
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    let temp = temp_file("allocation-scope", [5; 64]);
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 3).unwrap();
    let mut buffer = [0; 100];
    assert_steady(500, |i| {
        port.scope(|scope| {
            scope.initiate_write(&one, i, BYTES).unwrap();
            assert_eq!(complete(&port).error_status, Ok(()));
            scope.initiate_read(&other, i, &mut buffer).unwrap();
            assert_eq!(complete(&port).bytes_transferred, 100);
        });
        port.scope(|scope| {
            scope.initiate_read_at(&file, i, &mut buffer, 0).unwrap();
            assert_eq!(complete(&port).bytes_transferred, 64);
            scope.initiate_write_at(&file, i, &BYTES[..64], 0).unwrap();
            assert_eq!(complete(&port).bytes_transferred, 64);
        });
        // The end of the scope cancels what is in flight, and takes its completion.
        port.scope(|scope| drop(scope.initiate_read(&other, i, &mut buffer).unwrap()));
    });
}

#[test]
fn batches_allocate_nothing() {
    const DEPTH: usize = 16;
    let _turn = TURN.lock();
    let port = port();
    let temp = temp_file("allocation-batch", [5; 8192]);
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 3).unwrap();
    let mut batch = Batch::with_capacity(DEPTH);
    let mut buffers: Vec<Vec<u8>> = (0..DEPTH).map(|_| Vec::with_capacity(512)).collect();
    assert_steady(200, |_| {
        for i in 0..DEPTH {
            let mut buffer = buffers.pop().unwrap();
            buffer.clear();
            port.initiate_read_at(&file, i, buffer, 512 * i as u64).unwrap();
            port.post(i, 0, 0).unwrap();
        }
        let mut found = 0;
        while found < 2 * DEPTH {
            found += port.get_completions(&mut batch, None).unwrap();
            for completion in &mut batch {
                buffers.extend(completion.unwrap().operation.take_buffer());
            }
        }
    });
}

#[test]
fn operations_in_flight_together_allocate_nothing() {
    const DEPTH: usize = 32;
    let _turn = TURN.lock();
    let port = port();
    let (one, other) = pipe_pair(false);
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    assert_steady(40, |_| {
        for i in 0..DEPTH {
            port.initiate_read(&one, i, [0; 4]).unwrap();
        }
        for i in 0..DEPTH {
            port.initiate_write(&other, DEPTH + i, [i as u8; 4]).unwrap();
        }
        for _ in 0..2 * DEPTH {
            assert_eq!(complete(&port).bytes_transferred, 4);
        }
    });
}

#[test]
fn cancelled_operations_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, _other) = pipe_pair(false);
    let one = port.add_handle(one, 1).unwrap();
    let mut buffer = Some(Vec::with_capacity(64));
    assert_steady(1000, |i| {
        let mut pending = port.initiate_read(&one, i, buffer.take().unwrap()).unwrap();
        assert_eq!(pending.cancel(), Ok(true));
        assert!(complete(&port).error_status.unwrap_err().is_cancelled());
        buffer = pending.take_buffer();
        let mut pending = port.initiate_read(&one, i, buffer.take().unwrap()).unwrap();
        assert!(pending.take_buffer().is_none());
        assert_eq!(one.cancel_all(), Ok(true));
        assert!(complete(&port).error_status.unwrap_err().is_cancelled());
        buffer = pending.take_buffer();
    });
}

#[test]
fn refused_operations_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, _other) = pipe_pair(false);
    let one = port.add_handle(one, 1).unwrap();
    port.close();
    let mut buffer = Some(Vec::with_capacity(64));
    assert_steady(1000, |i| {
        let rejected = port.initiate_read(&one, i, buffer.take().unwrap()).map(drop).unwrap_err();
        buffer = Some(rejected.returned.1);
        assert!(port.post(i, 0, 0).is_err());
    });
}

/// What `started` transferred, wherever its completion comes from.
fn finish<B>(port: &Iocp, started: Started<B>) -> u32 {
    match started {
        Started::Completed(completion) => completion.bytes_transferred,
        Started::Pending(_) => complete(port).bytes_transferred,
    }
}

/// The two ends of a stream, which skip the port.
fn skipping_streams(port: &Iocp) -> [Associated<TcpStream, Inline>; 2] {
    <[_; 2]>::from(stream_pair())
        .map(|stream| port.add_handle(stream, 1).unwrap().skip_on_success().unwrap())
}

#[test]
fn operations_that_complete_at_once_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let [one, other] = skipping_streams(&port);
    assert_steady(1250, |i| {
        assert_eq!(finish(&port, port.initiate_write(&one, i, BYTES).unwrap()), 100);
        assert_eq!(finish(&port, port.initiate_read(&other, i, [0; 100]).unwrap()), 100);
    });
}

#[test]
fn completions_that_a_batch_keeps_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let [one, other] = skipping_streams(&port);
    let mut batch = Batch::with_capacity(4);
    assert_steady(1250, |i| {
        batch.push(port.initiate_write(&one, i, BYTES).unwrap());
        batch.push(port.initiate_read(&other, i, [0; 100]).unwrap());
        let mut left = 2;
        while left > 0 {
            left -= port.get_completions(&mut batch, None).unwrap();
            for completion in &mut batch {
                assert_eq!(completion.unwrap().bytes_transferred, 100);
            }
        }
    });
}

#[test]
fn waiting_in_vain_allocates_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let mut batch = Batch::with_capacity(16);
    assert_steady(1000, |_| {
        assert!(port.try_get_completion().unwrap().is_none());
        assert_eq!(port.get_completions(&mut batch, Some(std::time::Duration::ZERO)), Ok(0));
    });
}

/// More than a cell keeps for its next operation.
const LARGE: usize = 70_000;

#[test]
#[expect(clippy::large_stack_arrays, reason = "a context is moved by value, however large it is")]
fn the_memory_of_a_large_operation_is_not_kept() {
    with_much_stack(|| {
        let port: Iocp<[u8; LARGE]> = port_of();
        port.post([1; LARGE], 0, 0).unwrap();
        complete(&port);
        COUNTED.store(GetCurrentThreadId(), Ordering::Relaxed);
        let before = HELD.load(Ordering::Relaxed);
        port.post([2; LARGE], 0, 0).unwrap();
        let meanwhile = HELD.load(Ordering::Relaxed);
        complete(&port);
        let after = HELD.load(Ordering::Relaxed);
        COUNTED.store(0, Ordering::Relaxed);
        assert!(meanwhile >= before + LARGE as isize, "it does not fit into a cell");
        assert_eq!(after, before);
    });
}

#[test]
#[expect(clippy::large_stack_arrays, reason = "a context is moved by value, however large it is")]
fn the_memory_of_a_large_operation_that_completes_at_once_is_not_kept() {
    with_much_stack(|| {
        let port: Iocp<[u8; LARGE]> = port_of();
        let (client, _server) = stream_pair();
        let client = port.add_handle(client, 0).unwrap().skip_on_success().unwrap();
        let write = |number| match port.initiate_write(&client, [number; LARGE], "hello").unwrap() {
            Started::Completed(completion) => drop(completion),
            Started::Pending(_) => drop(complete(&port)),
        };
        write(1);
        COUNTED.store(GetCurrentThreadId(), Ordering::Relaxed);
        let before = (HELD.load(Ordering::Relaxed), ALLOCATIONS.load(Ordering::Relaxed));
        write(2);
        let after = (HELD.load(Ordering::Relaxed), ALLOCATIONS.load(Ordering::Relaxed));
        COUNTED.store(0, Ordering::Relaxed);
        assert!(after.1 > before.1, "the memory of the first was kept");
        assert_eq!(after.0, before.0);
    });
}

#[test]
fn a_port_leaves_no_memory_behind() {
    let _turn = TURN.lock();
    COUNTED.store(GetCurrentThreadId(), Ordering::Relaxed);
    let before = HELD.load(Ordering::Relaxed);
    // Beyond what a cell holds, and not beyond what it keeps.
    let port: Iocp<[u8; 1000]> = port_of();
    for number in 0..10 {
        port.post([number; 1000], 0, 0).unwrap();
    }
    for number in 0..5 {
        assert_eq!(complete(&port).context, [number; 1000]);
    }
    let meanwhile = HELD.load(Ordering::Relaxed);
    drop(port);
    let after = HELD.load(Ordering::Relaxed);
    COUNTED.store(0, Ordering::Relaxed);
    assert!(meanwhile >= before + 10 * 1000, "nothing was there to be left");
    assert_eq!(after, before);
}

/// Allocations, and by how many bytes what is held has grown, of a write of this
/// buffer.
fn memory_of<B: IoBuf + Send + 'static>(
    port: &Iocp,
    socket: &Associated<TcpStream>,
    buffer: B,
) -> (usize, isize) {
    COUNTED.store(GetCurrentThreadId(), Ordering::Relaxed);
    let before = (ALLOCATIONS.load(Ordering::Relaxed), HELD.load(Ordering::Relaxed));
    port.initiate_write(socket, 0, buffer).unwrap();
    drop(complete(port));
    let after = (ALLOCATIONS.load(Ordering::Relaxed), HELD.load(Ordering::Relaxed));
    COUNTED.store(0, Ordering::Relaxed);
    (after.0 - before.0, after.1 - before.1)
}

/// One cell serves all, as there is never another operation.
#[test]
fn an_operation_has_as_much_memory_as_it_needs_and_leaves_it_to_those_that_fit() {
    let _turn = TURN.lock();
    let port = port();
    let (client, _server) = stream_pair();
    let client = port.add_handle(client, 0).unwrap();
    assert_eq!(memory_of(&port, &client, [0; 8]), (0, 0), "it fits into the cell");
    assert_eq!(memory_of(&port, &client, [0; 101]), (1, 101));
    assert_eq!(memory_of(&port, &client, [0; 101]), (0, 0));
    assert_eq!(memory_of(&port, &client, [0; 50]), (0, 0));
    assert_eq!(memory_of(&port, &client, [0; 102]), (1, 1), "in place of the 101");
    assert_eq!(memory_of(&port, &client, Aligned([0; 64])), (1, 64 - 102), "large, not aligned");
    assert_eq!(memory_of(&port, &client, Aligned([0; 64])), (0, 0));
    assert_eq!(memory_of(&port, &client, [0; 64]), (0, 0));
}

#[repr(align(64))]
struct Aligned([u8; 64]);

// SAFETY: The bytes are initialised, and the value's own.
unsafe impl IoBuf for Aligned {
    fn initialized(&self) -> (*const u8, usize) {
        (self.0.as_ptr(), self.0.len())
    }
}

/// 64 KiB, whoever lets the cell go.
#[test]
#[expect(clippy::large_stack_arrays, reason = "a context is moved by value, however large it is")]
fn the_memory_of_the_largest_operation_whose_memory_is_kept_is_kept() {
    const LARGEST: usize = 64 * 1024;
    with_much_stack(|| {
        let port: Iocp<[u8; LARGEST]> = port_of();
        let (client, mut server) = stream_pair();
        let client = port.add_handle(client, 0).unwrap();
        assert_steady(10, |number| {
            let context = [number as u8; LARGEST];
            let pending = port.initiate_write(&client, context, "hello").unwrap();
            let completion = complete(&port);
            if number % 2 == 0 {
                drop(completion);
                drop(pending);
            } else {
                drop(pending);
                drop(completion);
            }
            server.read_exact(&mut [0; 5]).unwrap();
        });
    });
}

/// Without optimisation each move is a copy on the stack.
fn with_much_stack(test: impl FnOnce() + Send + 'static) {
    let _turn = TURN.lock();
    thread::Builder::new().stack_size(LARGE * 100).spawn(test).unwrap().join().unwrap();
}

#[test]
fn sixteen_buffers_in_one_operation_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, other) = stream_pair();
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    let mut buffers = Some([(); 16].map(|()| Vec::<u8>::with_capacity(1)));
    assert_steady(100, |_| {
        drop(port.initiate(&one, 1, op::WriteVectored::new(["x"; 16])).unwrap());
        assert_eq!(complete(&port).bytes_transferred, 16);
        let empty = buffers.take().unwrap().map(|mut buffer| {
            buffer.clear();
            buffer
        });
        drop(port.initiate(&other, 2, op::ReadVectored::new(empty)).unwrap());
        let mut read = complete(&port);
        assert_eq!(read.bytes_transferred, 16);
        buffers = Some(read.operation.output().unwrap());
    });
}

#[test]
fn messages_files_and_probes_allocate_nothing() {
    let _turn = TURN.lock();
    let port = port();
    let (one, other) = datagram_pair();
    let to = other.local_addr().unwrap();
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    let mut buffer = Some(Vec::<u8>::with_capacity(64));
    assert_steady(100, |_| {
        drop(port.initiate(&one, 1, op::SendMessage::new(BYTES, to)).unwrap());
        assert_eq!(complete(&port).error_status, Ok(()));
        let mut empty = buffer.take().unwrap();
        empty.clear();
        drop(port.initiate(&other, 2, op::ReceiveMessage::new(empty)).unwrap());
        let message: op::Message<Vec<u8>> = complete(&port).operation.output().unwrap();
        assert_eq!((message.buffer.len(), message.is_truncated()), (64, true));
        buffer = Some(message.buffer);
    });

    let temp = temp_file("allocation", BYTES);
    let file = std::sync::Arc::new(overlapped_file(temp.path(), true, false));
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    assert_steady(100, |_| {
        let file = std::sync::Arc::clone(&file);
        drop(port.initiate(&server, 1, op::TransmitFile::new(file, 10, 90).head("head")).unwrap());
        assert_eq!(complete(&port).bytes_transferred, 94);
        let mut received = [0; 94];
        client.read_exact(&mut received).unwrap();
    });
    std::io::Write::write_all(&mut client, b"!").unwrap();
    assert_steady(100, |_| {
        drop(port.initiate(&server, 1, op::Readable::new()).unwrap());
        assert_eq!(complete(&port).error_status, Ok(()));
    });
}

/// Operations of different sizes take turns in the cells, and their wakers have room.
#[test]
fn awaiting_allocates_nothing() {
    fn polls<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }
    let _turn = TURN.lock();
    let port: Iocp<[usize; 3]> = port_of();
    let (one, other) = stream_pair();
    let (one, other) = (port.add_handle(one, 1).unwrap(), port.add_handle(other, 2).unwrap());
    let mut batch = Batch::with_capacity(4);
    let mut kept = Some((Vec::with_capacity(8), [0_u8; 100]));
    assert_steady(1000, |number| {
        let (mut small, large) = kept.take().unwrap();
        small.clear();
        small.extend(b"abc");
        let mut write = port.initiate_write(&one, [number; 3], small).unwrap().into_future();
        let mut read = port.initiate_read(&other, [number; 3], large).unwrap().into_future();
        assert!(polls(&mut write).is_pending() && polls(&mut read).is_pending());
        if number % 2 == 0 {
            drop((complete(&port), complete(&port)));
        } else {
            while batch.len() < 2 {
                port.get_completions(&mut batch, None).unwrap();
            }
            batch.by_ref().for_each(drop);
        }
        let Poll::Ready(Ok((3, small))) = polls(&mut write) else { panic!("it has not written") };
        let Poll::Ready(Ok((3, large))) = polls(&mut read) else { panic!("it has not read") };
        kept = Some((small, large));
    });
}
