//! Packets that belong to no operation of the port: posted by other code, or
//! come of other code's I/O on a duplicate of an associated handle.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr;
use std::thread;
use std::time::Duration;

use completion_port::{
    Batch, CompletionStatus, Error, ErrorKind, ForeignPacket, Iocp, unconnected_stream,
};
use support::{
    PATIENCE, complete, dequeue_raw, few, nothing_more, nothing_to_see, own_address, port,
    post_raw, stream_pair,
};
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOBOBJECT_ASSOCIATE_COMPLETION_PORT,
    JobObjectAssociateCompletionPortInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::SystemServices::{
    JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO, JOB_OBJECT_MSG_NEW_PROCESS,
};
use windows_sys::Win32::System::Threading::{CreateEventW, DETACHED_PROCESS};

/// A posted packet as the library should show it.
fn packet(bytes_transferred: u32, completion_key: usize, overlapped: usize) -> ForeignPacket {
    ForeignPacket { completion_key, bytes_transferred, overlapped }
}

/// The next packet, which is not one of the port's own.
#[track_caller]
fn foreign(port: &Iocp) -> ForeignPacket {
    match port.get_completion_timeout(PATIENCE) {
        Ok(Some(completion)) => panic!("a completion: {completion:?}"),
        Ok(None) => panic!("no packet in {PATIENCE:?}"),
        Err(error) => error.foreign_packet().unwrap_or_else(|| panic!("{error}")),
    }
}

/// Posts a packet past the library, and asserts that it arrives as it is.
#[track_caller]
fn assert_foreign(port: &Iocp, overlapped: usize) {
    post_raw(port, 3, 4, overlapped);
    assert_eq!(foreign(port), packet(3, 4, overlapped));
}

/// A receive by other code, with an `OVERLAPPED` and a buffer of its own.
struct RawReceive(*mut (OVERLAPPED, [u8; 64]));

impl RawReceive {
    /// With an event, if any, in the `OVERLAPPED`.
    fn start(socket: &TcpStream, event: usize) -> Self {
        let event = ptr::without_provenance_mut(event);
        let overlapped = OVERLAPPED { hEvent: event, ..OVERLAPPED::default() };
        let this = Box::into_raw(Box::new((overlapped, [0; 64])));
        // SAFETY: The memory stays until `finish`, which is called after the
        // receive is over; the WSABUF is captured, and no flags are updated
        // later.
        let result = unsafe {
            let buffer = ws::WSABUF { len: 64, buf: (&raw mut (*this).1).cast() };
            let mut flags = 0;
            ws::WSARecv(
                socket.as_raw_socket() as ws::SOCKET,
                &raw const buffer,
                1,
                ptr::null_mut(),
                &raw mut flags,
                &raw mut (*this).0,
                None,
            )
        };
        let error = std::io::Error::last_os_error();
        assert!(result == 0 || error.raw_os_error() == Some(ws::WSA_IO_PENDING), "{error}");
        Self(this)
    }

    fn address(&self) -> usize {
        self.0.addr()
    }

    /// What was received. The receive is over.
    fn finish(self, bytes: u32) -> Vec<u8> {
        // SAFETY: It came from a box, and the kernel has given it back.
        let this = unsafe { Box::from_raw(self.0) };
        this.1[..bytes as usize].to_vec()
    }
}

#[test]
fn a_packet_that_other_code_posts_is_handed_out_as_it_is() {
    let port = port();
    post_raw(&port, 11, 22, 33);
    let error = port.get_completion().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForeignPacket);
    assert_eq!(error.foreign_packet(), Some(packet(11, 22, 33)));
    assert_eq!((error.raw_os_error(), error.ntstatus(), error.call()), (None, None, None));
    assert!(!error.is_closed() && !error.is_cancelled());
    let message = error.to_string();
    assert!(["0x16", "11 bytes", "0x21"].iter().all(|part| message.contains(part)), "{message}");
    nothing_more(&port);
}

#[test]
fn every_way_to_dequeue_hands_foreign_packets_out() {
    let port = port();
    for _ in 0..5 {
        post_raw(&port, 1, 2, 0);
    }
    let expected = Some(packet(1, 2, 0));
    assert_eq!(port.get_completion().unwrap_err().foreign_packet(), expected);
    assert_eq!(port.try_get_completion().unwrap_err().foreign_packet(), expected);
    let timeout = Duration::from_secs(1);
    assert_eq!(port.get_completion_timeout(timeout).unwrap_err().foreign_packet(), expected);
    let mut batch = Batch::with_capacity(1);
    for _ in 0..2 {
        assert_eq!(port.get_completions(&mut batch, None).unwrap(), 1);
        assert_eq!(batch.next().unwrap().unwrap_err().foreign_packet(), expected);
        assert!(batch.next().is_none());
    }
    nothing_more(&port);
}

#[test]
fn values_of_every_look_are_foreign() {
    static A_STATIC: u64 = 0;
    let on_stack = 0_u64;
    let on_heap = Box::new([0_u64; 16]);
    let port = port();
    for overlapped in [
        0,
        1,
        7,
        8,
        0xFFF,
        0x1000,
        0xDEAD_BEEF,
        usize::MAX,
        usize::MAX - 1,
        usize::MAX - 63,
        usize::MAX >> 1,
        1 << (usize::BITS - 1),
        ptr::from_ref(&on_stack).addr(),
        ptr::from_ref(&*on_heap).addr(),
        ptr::from_ref(&A_STATIC).addr(),
        port.as_raw_handle().addr(),
    ] {
        assert_foreign(&port, overlapped);
    }
    for (bytes, key) in [(0, 0), (u32::MAX, usize::MAX), (0, usize::MAX), (u32::MAX, 0)] {
        post_raw(&port, bytes, key, 0);
        assert_eq!(foreign(&port), packet(bytes, key, 0));
    }
    nothing_more(&port);
}

#[test]
fn the_address_of_an_operation_that_is_over_is_foreign() {
    let port = port();
    let address = own_address(&port);
    assert_foreign(&port, address);
    // Also while its buffer is still there to be taken.
    let (_client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    let mut pending = port.initiate_write(&server, 2, *b"bytes").unwrap();
    let (bytes, key, address) = dequeue_raw(&port);
    post_raw(&port, bytes, key, address);
    let completion = complete(&port);
    assert_eq!((completion.context, completion.bytes_transferred), (2, 5));
    assert_foreign(&port, address);
    assert_eq!(pending.result(), Some(Ok(5)));
    assert_eq!(pending.take_buffer(), Some(*b"bytes"));
    drop(completion);
    drop(pending);
    assert_foreign(&port, address);
    nothing_more(&port);
}

#[test]
fn the_address_of_an_operation_that_was_refused_is_foreign() {
    let port = port();
    let address = own_address(&port);
    let peer = "127.0.0.1:1".parse().unwrap();
    let socket = port.add_handle(unconnected_stream(peer).unwrap(), 1).unwrap();
    assert_eq!(port.initiate_write(&socket, 2, "hello").unwrap_err().returned, (2, "hello"));
    assert_foreign(&port, address);
    nothing_more(&port);
}

#[test]
fn addresses_within_and_around_a_live_operation_are_foreign() {
    // Under Miri the next cell's, and some that are no cell's.
    const STEP: usize = if cfg!(miri) { 127 } else { 1 };
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    let address = own_address(&port);
    // It gets the memory of the one before.
    let mut pending = port.initiate_read(&server, 5, Vec::with_capacity(8)).unwrap();
    for offset in (1..=1024).step_by(STEP).chain([64 * 1024, 1 << 20, 64 << 20]) {
        assert_foreign(&port, address + offset);
    }
    for offset in (1..128).step_by(STEP) {
        assert_foreign(&port, address - offset);
    }
    // Its own address, too: what has no status is nobody's.
    for bytes in [0, 1] {
        post_raw(&port, bytes, 3, address);
        assert_eq!(foreign(&port), packet(bytes, 3, address));
    }
    assert!(!pending.is_completed());
    client.write_all(b"live").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 4);
    assert_eq!(pending.take_buffer().unwrap(), b"live");
    nothing_more(&port);
}

/// Whether it is tracked or not, and however it ends.
#[test]
fn an_operation_goes_on_though_packets_with_its_address_are_posted() {
    let port = port();
    for (tracked, cancelled) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut client, server) = stream_pair();
        let server = port.add_handle(server, 1).unwrap();
        let address = own_address(&port);
        let pending = port.initiate_read(&server, 5, Vec::with_capacity(8)).unwrap();
        let pending = tracked.then_some(pending);
        for _ in 0..3 {
            assert_foreign(&port, address);
        }
        if cancelled {
            assert_eq!(server.cancel_all(), Ok(true));
        } else {
            client.write_all(b"live").unwrap();
        }
        let completion = complete(&port);
        assert_eq!(completion.context, 5);
        if cancelled {
            assert!(completion.error_status.as_ref().unwrap_err().is_cancelled());
        } else {
            assert_eq!(completion.result(), Ok(4));
        }
        assert_foreign(&port, address);
        drop((completion, pending));
        nothing_more(&port);
    }
}

/// The memory of operations is committed by 64 KiB, 128 bytes each but for the
/// first 128.
#[test]
#[cfg_attr(miri, ignore = "posts hundreds of packets, which takes Miri minutes")]
fn an_address_behind_the_last_operation_that_has_memory_is_foreign() {
    const OPERATIONS: usize = 511;
    let port = port();
    let first = own_address(&port);
    for context in 0..OPERATIONS {
        port.post(context, 0, 0).unwrap();
    }
    post_raw(&port, 3, 4, first + OPERATIONS * 128);
    for context in 0..OPERATIONS {
        assert_eq!(complete(&port).context, context);
    }
    assert_eq!(foreign(&port), packet(3, 4, first + OPERATIONS * 128));
}

/// All addresses of the pages around an operation, among them whatever the
/// port uses to wake its threads when it closes.
#[test]
#[cfg_attr(miri, ignore = "posts thousands of packets, which takes Miri minutes")]
fn no_value_closes_a_port_that_is_open() {
    let port = port();
    let page = own_address(&port) & !0xFFFF;
    for address in (page..page + 0x2000).step_by(8) {
        post_raw(&port, 0, 0, address);
        let error = port.get_completion_timeout(PATIENCE).unwrap_err();
        assert_eq!(error.foreign_packet(), Some(packet(0, 0, address)), "{error}");
    }
    nothing_more(&port);
    assert!(!port.is_closed());
}

/// Anybody can queue the packet that wakes threads when the port closes.
#[test]
fn packets_like_the_one_that_tells_of_the_end_hide_nothing_behind_them() {
    let port = port();
    port.close();
    let (bytes, key, marker) = dequeue_raw(&port);
    for count in [1, 2, 10, few(50_000)] {
        for in_batches in [false, true] {
            let forge = || (0..count).for_each(|_| post_raw(&port, bytes, key, marker));
            forge();
            post_raw(&port, 1, 2, 3);
            forge();
            post_raw(&port, 4, 5, 6);
            let mut batch = Batch::with_capacity(4);
            let mut next = || {
                if !in_batches {
                    return port.get_completion();
                }
                if batch.is_empty() {
                    port.get_completions(&mut batch, None)?;
                }
                batch.next().expect("there is one")
            };
            for expected in [packet(1, 2, 3), packet(4, 5, 6)] {
                assert_eq!(next().unwrap_err().foreign_packet(), Some(expected));
            }
            assert!(next().unwrap_err().is_closed());
            // One is left, for all threads that wait.
            assert_eq!(dequeue_raw(&port), (bytes, key, marker));
            assert_eq!(port.try_get_completion().unwrap_err().kind(), ErrorKind::Closed);
        }
    }
}

#[test]
fn an_operation_of_another_port_is_foreign_here() {
    let (one, other) = (port(), port());
    one.post(7, 8, 9).unwrap();
    let (bytes, key, address) = dequeue_raw(&one);
    assert_foreign(&other, address);
    post_raw(&one, bytes, key, address);
    assert_eq!(complete(&one).context, 7);
    nothing_more(&other);
}

#[test]
fn foreign_packets_keep_their_place_between_completions() {
    let port = port();
    for i in 0..20 {
        port.post(i, 100, 200).unwrap();
        post_raw(&port, 1, i, 0);
    }
    for i in 0..20 {
        assert_eq!(complete(&port).context, i);
        assert_eq!(foreign(&port), packet(1, i, 0));
    }
    nothing_more(&port);
}

#[test]
fn foreign_packets_keep_their_place_in_a_batch() {
    let port = port();
    for i in 0..20 {
        port.post(i, 100, 200).unwrap();
        post_raw(&port, 1, i, 0);
    }
    let mut batch = Batch::with_capacity(7);
    let mut received = Vec::new();
    while received.len() < 40 {
        assert_ne!(port.get_completions(&mut batch, Some(PATIENCE)).unwrap(), 0);
        received.extend(&mut batch);
    }
    for (i, received) in received.into_iter().enumerate() {
        match received {
            Ok(completion) => assert_eq!(completion.context * 2, i),
            Err(error) => assert_eq!(error.foreign_packet(), Some(packet(1, i / 2, 0))),
        }
    }
    nothing_more(&port);
}

#[test]
fn foreign_packets_come_before_the_end_of_a_closed_port() {
    let port = port();
    post_raw(&port, 1, 1, 0);
    port.close();
    post_raw(&port, 2, 2, 0);
    let mut keys = Vec::new();
    loop {
        match port.get_completion() {
            Ok(completion) => panic!("{completion:?}"),
            Err(error) if error.is_closed() => break,
            Err(error) => keys.push(error.foreign_packet().unwrap().completion_key),
        }
    }
    assert_eq!(keys, [1, 2]);
    // One that comes later still is handed out, and then the end again.
    post_raw(&port, 3, 3, 0);
    assert_eq!(port.get_completion().unwrap_err().foreign_packet(), Some(packet(3, 3, 0)));
    assert!(port.get_completion().unwrap_err().is_closed());
}

#[test]
fn foreign_packets_come_before_the_end_in_a_batch_too() {
    // With room for what wakes the threads alone, and for more.
    for capacity in [1, 2] {
        let port = port();
        port.close();
        post_raw(&port, 1, 1, 0);
        post_raw(&port, 2, 2, 0);
        let mut batch = Batch::with_capacity(capacity);
        let mut keys = Vec::new();
        while port.get_completions(&mut batch, None).is_ok() {
            for received in &mut batch {
                keys.push(received.unwrap_err().foreign_packet().unwrap().completion_key);
            }
        }
        assert_eq!(keys, [1, 2]);
        assert!(port.get_completions(&mut batch, None).unwrap_err().is_closed());
    }
}

#[test]
fn a_receive_of_other_code_on_a_duplicate_is_foreign_under_the_handles_key() {
    let port = port();
    let (mut client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    let server = port.add_handle(server, 77).unwrap();
    let theirs = RawReceive::start(&duplicate, 0);
    nothing_more(&port);
    client.write_all(b"theirs").unwrap();
    assert_eq!(foreign(&port), packet(6, 77, theirs.address()));
    assert_eq!(theirs.finish(6), b"theirs");
    // Our own operations are none the worse.
    let mut ours = port.initiate_read(&server, 5, Vec::with_capacity(64)).unwrap();
    client.write_all(b"ours").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 4);
    assert_eq!(ours.take_buffer().unwrap(), b"ours");
    nothing_more(&port);
}

#[test]
fn our_operations_and_other_codes_are_in_flight_side_by_side() {
    let port = port();
    let (mut client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    let server = port.add_handle(server, 77).unwrap();
    for _ in 0..20 {
        let mut ours = port.initiate_read(&server, 5, [0; 4]).unwrap();
        let theirs = RawReceive::start(&duplicate, 0);
        client.write_all(b"ours").unwrap();
        assert_eq!(complete(&port).context, 5);
        assert_eq!(ours.take_buffer(), Some(*b"ours"));
        client.write_all(b"theirs").unwrap();
        assert_eq!(foreign(&port), packet(6, 77, theirs.address()));
        assert_eq!(theirs.finish(6), b"theirs");
    }
    nothing_more(&port);
}

#[test]
fn cancelling_everything_cancels_other_codes_receive_too() {
    let port = port();
    let (_client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    let server = port.add_handle(server, 77).unwrap();
    let theirs = RawReceive::start(&duplicate, 0);
    assert_eq!(server.cancel_all(), Ok(true));
    let received = foreign(&port);
    assert_eq!((received.completion_key, received.overlapped), (77, theirs.address()));
    theirs.finish(0);
    nothing_more(&port);
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn a_receive_of_other_code_with_its_own_event_can_stay_off_the_port() {
    let port = port();
    let (mut client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    let _server = port.add_handle(server, 77).unwrap();
    // SAFETY: A new event of our own, without a name.
    let event =
        unsafe { OwnedHandle::from_raw_handle(CreateEventW(ptr::null(), 1, 0, ptr::null())) };
    // "A valid event handle whose low-order bit is set keeps I/O completion
    // from being queued to the completion port."
    let theirs = RawReceive::start(&duplicate, event.as_raw_handle().addr() | 1);
    client.write_all(b"theirs").unwrap();
    let mut bytes = 0;
    let mut flags = 0;
    // SAFETY: The OVERLAPPED is alive, and the call waits for the receive.
    let received = unsafe {
        ws::WSAGetOverlappedResult(
            duplicate.as_raw_socket() as ws::SOCKET,
            &raw const (*theirs.0).0,
            &raw mut bytes,
            1,
            &raw mut flags,
        )
    };
    assert_ne!(received, 0, "{}", std::io::Error::last_os_error());
    assert_eq!(theirs.finish(bytes), b"theirs");
    nothing_more(&port);
}

#[test]
fn blocking_calls_on_a_duplicate_leave_no_packet() {
    let port = port();
    let (mut client, server) = stream_pair();
    let mut duplicate = server.try_clone().unwrap();
    let server = port.add_handle(server, 77).unwrap();
    let mut buffer = [0; 4];
    for _ in 0..10 {
        client.write_all(b"ping").unwrap();
        duplicate.read_exact(&mut buffer).unwrap();
        duplicate.write_all(b"pong").unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"pong");
        // The same through the handle itself.
        server.get_ref().write_all(b"pang").unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"pang");
        nothing_more(&port);
    }
    // A blocking read that really waits.
    let waiting = thread::spawn(move || {
        let mut buffer = [0; 4];
        duplicate.read_exact(&mut buffer).unwrap();
        buffer
    });
    client.write_all(b"late").unwrap();
    assert_eq!(&waiting.join().unwrap(), b"late");
    nothing_more(&port);
    port.initiate_write(&server, 5, "ours").unwrap();
    assert_eq!(complete(&port).context, 5);
}

#[test]
fn foreign_packets_that_come_while_a_scope_ends_are_not_lost() {
    const COUNT: usize = few(50);
    let port = port();
    let (_client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    let mut buffer = [0; 8];
    port.scope(|scope| {
        scope.initiate_read(&server, 5, &mut buffer).unwrap();
        for i in 0..COUNT {
            post_raw(&port, 1, i, 0);
        }
        // Here the read is cancelled, whose packet comes behind all of them.
    });
    let mut keys: Vec<usize> = (0..COUNT).map(|_| foreign(&port).completion_key).collect();
    keys.sort_unstable();
    assert!(keys.into_iter().eq(0..COUNT));
    nothing_more(&port);
}

#[test]
fn foreign_packets_in_a_storm_are_counted_right() {
    const EACH: usize = few(2000);
    let port = port();
    let ours = |completion: CompletionStatus| assert_eq!(completion.handle_context, 1);
    let theirs = |error: Error| match error.foreign_packet() {
        Some(packet) => assert_eq!((packet.completion_key, packet.overlapped), (2, 0)),
        None => panic!("{error}"),
    };
    thread::scope(|scope| {
        let port = &port;
        scope.spawn(move || (0..EACH).for_each(|i| port.post(i, 1, 0).unwrap()));
        scope.spawn(move || (0..EACH).for_each(|_| post_raw(port, 0, 2, 0)));
        let dequeuers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let (mut own, mut foreign) = (0, 0);
                    // As many in all as are posted.
                    for _ in 0..EACH {
                        match port.get_completion_timeout(PATIENCE) {
                            Ok(completion) => {
                                ours(completion.expect("more is to come"));
                                own += 1;
                            }
                            Err(error) => {
                                theirs(error);
                                foreign += 1;
                            }
                        }
                    }
                    (own, foreign)
                })
            })
            .collect();
        let counts = dequeuers.into_iter().map(|dequeuer| dequeuer.join().unwrap());
        let sum = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        assert_eq!(sum, (EACH, EACH));
    });
    nothing_more(&port);
}

#[test]
fn a_port_dropped_among_foreign_packets_gives_the_buffers_back() {
    let port = port();
    let (_client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    for _ in 0..few(50) / 4 {
        post_raw(&port, 1, 2, 0);
    }
    let mut pending = port.initiate_read(&server, 5, *b"buffer").unwrap();
    for _ in 0..few(50) / 4 {
        post_raw(&port, 1, 2, usize::MAX);
    }
    drop(port);
    assert!(pending.is_completed());
    assert!(pending.result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(pending.take_buffer(), Some(*b"buffer"));
}

/// A job object posts messages, whose `OVERLAPPED` is a process id.
#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn the_messages_of_a_job_object_are_foreign() {
    const KEY: usize = 0x10B;
    let port = port();
    let information = JOBOBJECT_ASSOCIATE_COMPLETION_PORT {
        CompletionKey: ptr::without_provenance_mut(KEY),
        CompletionPort: port.as_raw_handle(),
    };
    // SAFETY: A new job of our own, without a name, and a structure of the
    // given size that is read before the call returns.
    let (job, set) = unsafe {
        let job = OwnedHandle::from_raw_handle(CreateJobObjectW(ptr::null(), ptr::null()));
        let set = SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectAssociateCompletionPortInformation,
            (&raw const information).cast(),
            size_of_val(&information) as u32,
        );
        (job, set)
    };
    assert_ne!(set, 0, "{}", std::io::Error::last_os_error());
    // A child that lives until its input ends, and has no console: on Windows a
    // console's process would be of the job, too.
    let mut child = Command::new(std::env::current_exe().unwrap())
        .creation_flags(DETACHED_PROCESS)
        .args(["--exact", "a_child_that_waits_for_the_end_of_its_input", "--ignored"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // SAFETY: Both handles are open.
    let assigned = unsafe { AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) };
    assert_ne!(assigned, 0, "{}", std::io::Error::last_os_error());
    drop(child.stdin.take());
    child.wait().unwrap();
    let mut messages = Vec::new();
    while messages.last().is_none_or(|(what, _)| *what != JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO) {
        match port.get_completion_timeout(PATIENCE) {
            // Those of jobs "are intended only as notifications and their delivery
            // to the completion port is not guaranteed"
            // (https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_associate_completion_port).
            Ok(None) => return nothing_to_see("a message of the job has not come"),
            Ok(Some(completion)) => panic!("a completion: {completion:?}"),
            Err(error) => {
                let message = error.foreign_packet().unwrap_or_else(|| panic!("{error}"));
                assert_eq!(message.completion_key, KEY);
                messages.push((message.bytes_transferred, message.overlapped));
            }
        }
    }
    if !messages.contains(&(JOB_OBJECT_MSG_NEW_PROCESS, child.id() as usize)) {
        return nothing_to_see("the child has not been told of");
    }
    nothing_more(&port);
}

#[test]
#[ignore = "no test of its own: the child process that the test of job objects starts"]
fn a_child_that_waits_for_the_end_of_its_input() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
