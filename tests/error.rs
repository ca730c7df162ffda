//! What is refused, how the reasons are told apart, and what errors say.

mod support;

use std::error::Error as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::UdpSocket;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::thread;
use std::time::Duration;

use completion_port::{Batch, Error, ErrorKind, IoBuf, Iocp, Rejected, unconnected_stream};
use support::{
    FILE_FLAG_OVERLAPPED, complete, datagram_pair, few, nothing_more, nothing_to_see,
    overlapped_file, pipe_pair, port, port_of, reset, stream_pair, temp_file,
};
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_SYNCHRONOUS_IO_ALERT, NtOpenFile};
use windows_sys::Win32::Foundation::{GENERIC_READ, UNICODE_STRING};
use windows_sys::Win32::Storage::FileSystem::{FILE_SHARE_READ, SYNCHRONIZE};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Pipes::CreatePipe;

/// A pipe of the kind that has no overlapped form: its reading and its writing
/// end.
fn anonymous_pipe() -> (OwnedHandle, OwnedHandle) {
    let (mut read, mut write) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: Both out-parameters are locals.
    let created = unsafe { CreatePipe(&raw mut read, &raw mut write, ptr::null(), 0) };
    assert_ne!(created, 0, "{}", io::Error::last_os_error());
    // SAFETY: The handles are new and nobody else's.
    unsafe { (OwnedHandle::from_raw_handle(read), OwnedHandle::from_raw_handle(write)) }
}

/// The error with which a read completes whose peer resets the connection.
fn reset_error() -> Error {
    let port = port();
    let (client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    port.initiate_read(&server, 1, [0; 8]).unwrap();
    reset(client);
    complete(&port).error_status.unwrap_err()
}

/// The error with which a cancelled read completes.
fn cancelled_error() -> Error {
    let port = port();
    let (_client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    port.initiate_read(&server, 1, [0; 8]).unwrap();
    server.cancel_all().unwrap();
    complete(&port).error_status.unwrap_err()
}

#[test]
fn a_file_that_is_not_overlapped_is_refused_and_comes_back() {
    let port = port();
    let temporary = temp_file("not-overlapped", "contents");
    let file = File::open(temporary.path()).unwrap();
    let raw = file.as_raw_handle();
    let rejected = port.add_handle(file, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::NotOverlapped);
    assert_eq!(rejected.error.raw_os_error(), Some(87));
    assert_eq!(rejected.error.call(), Some("CreateIoCompletionPort"));
    assert_eq!(rejected.error.ntstatus(), None);
    assert_eq!(rejected.returned.as_raw_handle(), raw);
    assert_eq!(io::read_to_string(rejected.returned).unwrap(), "contents");
}

/// Of the two kinds that are not, `CreateFile` opens one only.
#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn a_file_whose_waits_are_alertable_is_not_overlapped() {
    let temporary = temp_file("alertable", "contents");
    let path: Vec<_> = format!(r"\??\{}", temporary.path().display()).encode_utf16().collect();
    let name = UNICODE_STRING {
        Length: path.len() as u16 * 2,
        MaximumLength: path.len() as u16 * 2,
        Buffer: path.as_ptr().cast_mut(),
    };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        ObjectName: &raw const name,
        ..OBJECT_ATTRIBUTES::default()
    };
    let (mut file, mut status_block) = (ptr::null_mut(), IO_STATUS_BLOCK::default());
    // SAFETY: All that is pointed to is there until the call returns.
    let status = unsafe {
        NtOpenFile(
            &raw mut file,
            GENERIC_READ | SYNCHRONIZE,
            &raw const attributes,
            &raw mut status_block,
            FILE_SHARE_READ,
            FILE_SYNCHRONOUS_IO_ALERT,
        )
    };
    assert_eq!(status, 0);
    // SAFETY: The handle is new and nobody else's.
    let file = unsafe { OwnedHandle::from_raw_handle(file) };
    let rejected = port().add_handle(file, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::NotOverlapped, "{}", rejected.error);
}

#[test]
fn anonymous_pipes_are_not_overlapped() {
    let port = port();
    let (read, write) = anonymous_pipe();
    for end in [read, write] {
        let rejected = port.add_handle(end, 1).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::NotOverlapped, "{}", rejected.error);
    }
}

#[test]
fn a_second_association_with_the_same_port_is_refused() {
    let port = port();
    let (_client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    let _server = port.add_handle(server, 1).unwrap();
    let rejected = port.add_handle(duplicate, 2).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
    assert_eq!(rejected.error.raw_os_error(), Some(87));
    rejected.returned.peer_addr().unwrap();
}

#[test]
fn an_association_with_a_second_port_is_refused() {
    let (one, other) = (port(), port());
    let (mut client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    let server = one.add_handle(server, 1).unwrap();
    let rejected = other.add_handle(duplicate, 2).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
    // The first association is as it was.
    one.initiate_read(&server, 1, [0; 1]).unwrap();
    client.write_all(b"x").unwrap();
    assert_eq!(complete(&one).handle_context, 1);
    nothing_more(&other);
}

#[test]
fn an_association_outlasts_its_value_while_a_duplicate_is_open() {
    let port = port();
    let (_client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    drop(port.add_handle(server, 1).unwrap());
    let rejected = port.add_handle(duplicate, 2).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
}

#[test]
fn files_pipes_and_datagram_sockets_are_associated_once_as_well() {
    let port = port();
    let temporary = temp_file("twice", "");
    let file = overlapped_file(temporary.path(), true, false);
    let duplicate = file.try_clone().unwrap();
    let _file = port.add_handle(file, 1).unwrap();
    let rejected = port.add_handle(duplicate, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
    drop(rejected);

    let (pipe, _client) = pipe_pair(false);
    let duplicate = pipe.try_clone().unwrap();
    let _pipe = port.add_handle(pipe, 1).unwrap();
    let rejected = port.add_handle(duplicate, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);

    let (socket, _peer) = datagram_pair();
    let duplicate = socket.try_clone().unwrap();
    let _socket = port.add_handle(socket, 1).unwrap();
    let rejected = port.add_handle(duplicate, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
}

#[test]
fn null_and_the_invalid_handle_value_are_refused_without_a_call() {
    let port = port();
    for value in [0, usize::MAX] {
        // SAFETY: What is no handle cannot be disturbed.
        let error = unsafe { port.add_raw_handle(value, 1) }.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidHandle);
        assert_eq!((error.call(), error.raw_os_error()), (None, None));
    }
    // SAFETY: As above.
    let error = unsafe { port.add_raw_handle(ptr::null_mut::<u8>(), 1) }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidHandle);
    // SAFETY: As above.
    let error = unsafe { port.add_raw_handle(-1_isize, 1) }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidHandle);
}

#[test]
fn a_value_that_is_no_handle_is_an_invalid_handle() {
    let port = port();
    // Beyond what a process can have handles, and no pseudo-handle.
    for value in [0x7FFF_FFF0_usize, 0x0BAD_0000] {
        // SAFETY: What is no handle cannot be disturbed.
        let error = unsafe { port.add_raw_handle(value, 1) }.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidHandle, "{error}");
        assert_eq!(error.raw_os_error(), Some(6));
        assert_eq!(error.call(), Some("CreateIoCompletionPort"));
    }
}

#[test]
fn a_handle_that_has_no_input_or_output_is_an_invalid_handle() {
    let port = port();
    let thread = OwnedHandle::from(thread::spawn(|| ()));
    let rejected = port.add_handle(thread, 1).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidHandle, "{}", rejected.error);
    assert_eq!(rejected.error.raw_os_error(), Some(6));
}

#[test]
#[cfg_attr(miri, ignore = "uses what Miri does not have")]
fn a_console_is_called_one() {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(FILE_FLAG_OVERLAPPED);
    let Ok(console) = options.open("CONOUT$") else {
        return support::skipped_without("a console");
    };
    let Err(rejected) = port().add_handle(console, 1) else {
        return nothing_to_see("this console is like any other file");
    };
    assert_eq!(rejected.error.kind(), ErrorKind::Console, "{}", rejected.error);
    assert!(rejected.error.to_string().contains("console"));
}

#[test]
fn a_handle_value_of_the_winapi_crate_can_be_added() {
    let port = port();
    let temporary = temp_file("winapi", "contents");
    let file = overlapped_file(temporary.path(), true, false);
    let handle: winapi::um::winnt::HANDLE = file.as_raw_handle().cast();
    // SAFETY: The file outlives the association, and nobody else uses it.
    let associated = unsafe { port.add_raw_handle(handle, 5) }.unwrap();
    port.initiate_read_at(&associated, 1, Vec::with_capacity(64), 0).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.handle_context, 5);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"contents");
}

#[test]
fn another_ports_handle_is_refused_with_everything_returned() {
    let (one, other) = (port(), port());
    let (_client, server) = stream_pair();
    let server = one.add_handle(server, 1).unwrap();
    let rejected = other.initiate_read(&server, 5, vec![1, 2, 3]).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    assert_eq!(rejected.returned, (5, vec![1, 2, 3]));
    let rejected = other.initiate_write(&server, 6, "text").unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    assert_eq!(rejected.returned, (6, "text"));
    nothing_more(&one);
    nothing_more(&other);
}

#[test]
fn a_clone_of_the_port_is_the_same_port() {
    let one = port();
    let other = one.clone();
    let (_client, server) = stream_pair();
    let server = one.add_handle(server, 1).unwrap();
    other.initiate_write(&server, 5, "x").unwrap();
    assert_eq!(complete(&one).context, 5);
}

#[test]
fn a_closed_port_starts_nothing_and_returns_everything() {
    let port = port_of::<String>();
    let (client, server) = stream_pair();
    let address = server.local_addr().unwrap();
    let server = port.add_handle(server, 1).unwrap();
    let mut batch = Batch::with_capacity(4);
    port.close();
    assert!(port.is_closed());

    let rejected = port.initiate_read(&server, "read".into(), [7; 2]).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, ("read".into(), [7; 2]));
    let rejected = port.initiate_write(&server, "write".into(), "text").unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, ("write".into(), "text"));
    let rejected = port.initiate_accept(&server, "accept".into()).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, "accept");
    let rejected = port.initiate_connect(&server, "connect".into(), address).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, "connect");
    let rejected = port.post("post".into(), 1, 2).unwrap_err();
    assert!(rejected.error.is_closed());
    assert_eq!(rejected.returned, "post");
    let rejected = port.add_handle(client, 1).unwrap_err();
    assert!(rejected.error.is_closed());
    rejected.returned.peer_addr().unwrap();

    assert!(port.get_completion().unwrap_err().is_closed());
    assert!(port.try_get_completion().unwrap_err().is_closed());
    assert!(port.get_completion_timeout(Duration::MAX).unwrap_err().is_closed());
    assert!(port.get_completions(&mut batch, None).unwrap_err().is_closed());
    assert!(batch.is_empty());
}

#[test]
fn a_file_wants_an_offset() {
    let port = port();
    let temporary = temp_file("offset", "contents");
    let file = port.add_handle(overlapped_file(temporary.path(), true, true), 1).unwrap();
    let rejected = port.initiate_read(&file, 5, [7; 3]).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (5, [7; 3]));
    assert!(rejected.error.to_string().contains("initiate_read_at"), "{}", rejected.error);
    let rejected = port.initiate_write(&file, 6, [8; 3]).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (6, [8; 3]));
    nothing_more(&port);
    drop(file);
    assert_eq!(temporary.contents(), b"contents");
}

#[test]
fn a_socket_has_no_offset() {
    let port = port();
    let (_client, server) = stream_pair();
    let stream = port.add_handle(server, 1).unwrap();
    let (_peer, socket) = datagram_pair();
    let socket = port.add_handle(socket, 1).unwrap();
    for rejected in [
        port.initiate_read_at(&stream, 5, [7; 3], 0).unwrap_err(),
        port.initiate_write_at(&stream, 5, [7; 3], 8).unwrap_err(),
        port.initiate_read_at(&socket, 5, [7; 3], 0).unwrap_err(),
        port.initiate_write_at(&socket, 5, [7; 3], 8).unwrap_err(),
    ] {
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        assert_eq!(rejected.returned, (5, [7; 3]));
    }
    nothing_more(&port);
}

#[test]
fn a_vector_without_spare_capacity_is_refused_rather_than_read_into() {
    let port = port();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    let full = b"full".to_vec().into_boxed_slice().into_vec();
    assert_eq!(full.len(), full.capacity());
    let rejected = port.initiate_read(&server, 5, full).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    assert_eq!(rejected.error.raw_os_error(), None);
    let (context, full) = rejected.returned;
    assert_eq!((context, &full[..]), (5, &b"full"[..]));
    nothing_more(&port);
    // As a slice it can be overwritten.
    let mut pending = port.initiate_read(&server, 6, full.slice(..)).unwrap();
    client.write_all(b"read").unwrap();
    assert_eq!(complete(&port).bytes_transferred, 4);
    assert_eq!(pending.take_buffer().unwrap().into_inner(), b"read");
}

#[test]
fn more_operations_than_the_port_is_built_for_are_refused() {
    let port: Iocp = Iocp::builder().max_operations(2).build().unwrap();
    let (mut client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    for i in 0..2 {
        port.initiate_read(&server, i, [0; 1]).unwrap();
    }
    let rejected = port.initiate_read(&server, 5, [7; 3]).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    assert_eq!(rejected.returned, (5, [7; 3]));
    let rejected = port.initiate_write(&server, 6, "text").unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    assert_eq!(rejected.returned, (6, "text"));
    let rejected = port.post(7, 0, 0).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    assert_eq!(rejected.returned, 7);

    // A completion makes room once it is dropped.
    client.write_all(b"ab").unwrap();
    let completion = complete(&port);
    port.initiate_write(&server, 8, "x").unwrap_err();
    drop(completion);
    port.initiate_write(&server, 8, "x").unwrap();
    let mut contexts = [complete(&port).context, complete(&port).context];
    contexts.sort_unstable();
    assert_eq!(contexts, [1, 8]);
    // And so does a buffer that is taken, for a posted packet too.
    for i in 0..10 {
        port.post(i, 0, 0).unwrap();
        let mut pending = port.initiate_write(&server, i, "x").unwrap();
        port.post(i, 0, 0).unwrap_err();
        drop([complete(&port), complete(&port)]);
        pending.take_buffer().unwrap();
    }
    nothing_more(&port);
}

#[test]
fn a_pending_that_is_kept_keeps_its_place() {
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let (_client, server) = stream_pair();
    let server = port.add_handle(server, 1).unwrap();
    let pending = port.initiate_write(&server, 1, "x").unwrap();
    drop(complete(&port));
    let rejected = port.initiate_write(&server, 2, "y").unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
    drop(pending);
    port.initiate_write(&server, 3, "z").unwrap();
    assert_eq!(complete(&port).context, 3);
}

#[test]
fn a_failed_start_takes_up_no_place() {
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let socket = unconnected_stream("127.0.0.1:1".parse().unwrap()).unwrap();
    let socket = port.add_handle(socket, 1).unwrap();
    for _ in 0..few(100) {
        let error = port.initiate_read(&socket, 1, [0; 8]).unwrap_err().error;
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
    port.post(2, 0, 0).unwrap();
    assert_eq!(complete(&port).context, 2);
}

#[test]
fn settings_out_of_range_are_refused() {
    for error in [
        Iocp::with_concurrency(0).unwrap_err(),
        Iocp::builder().concurrency(0).build::<usize>().unwrap_err(),
        Iocp::builder().max_operations(0).build::<usize>().unwrap_err(),
        Iocp::builder().max_operations(16_777_215).build::<usize>().unwrap_err(),
        Iocp::builder().max_operations(u32::MAX).build::<usize>().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!((error.call(), error.raw_os_error(), error.ntstatus()), (None, None, None));
    }
}

#[test]
fn settings_at_the_ends_of_their_ranges_work() {
    for builder in [
        Iocp::builder().concurrency(1),
        Iocp::builder().concurrency(u32::MAX),
        Iocp::builder().max_operations(1),
        Iocp::builder().max_operations(16_777_214),
    ] {
        let port: Iocp = builder.build().unwrap();
        port.post(5, 6, 7).unwrap();
        let completion = complete(&port);
        assert_eq!((completion.context, completion.handle_context), (5, 6));
        assert_eq!(completion.bytes_transferred, 7);
    }
}

#[test]
fn a_batch_without_room_is_refused_and_nothing_is_lost() {
    let port = port();
    port.post(1, 0, 0).unwrap();
    let mut batch = Batch::with_capacity(0);
    for timeout in [None, Some(Duration::ZERO)] {
        let error = port.get_completions(&mut batch, timeout).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(complete(&port).context, 1);
}

#[test]
fn what_is_queued_is_returned_whatever_the_time_out() {
    let port = port();
    let timeouts = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_millis(u64::from(u32::MAX) - 1),
        Duration::from_millis(u64::from(u32::MAX)),
        Duration::from_millis(u64::from(u32::MAX) + 1),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ];
    let mut batch = Batch::with_capacity(4);
    for (i, timeout) in timeouts.into_iter().enumerate() {
        port.post(i, 0, 0).unwrap();
        let completion = port.get_completion_timeout(timeout).unwrap().expect("it is queued");
        assert_eq!(completion.context, i);
        port.post(!i, 0, 0).unwrap();
        assert_eq!(port.get_completions(&mut batch, Some(timeout)).unwrap(), 1);
        assert_eq!(batch.next().unwrap().unwrap().context, !i);
    }
}

#[test]
fn short_time_outs_end_with_nothing() {
    let port = port();
    let mut batch = Batch::with_capacity(4);
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(2)] {
        assert!(port.get_completion_timeout(timeout).unwrap().is_none());
        assert_eq!(port.get_completions(&mut batch, Some(timeout)).unwrap(), 0);
    }
}

#[test]
fn closing_the_port_wakes_waits_of_every_length() {
    let port = port();
    let waiters: Vec<_> = [None, Some(Duration::MAX), Some(Duration::from_secs(1000))]
        .into_iter()
        .flat_map(|timeout| {
            let one = port.clone();
            let other = port.clone();
            [
                thread::spawn(move || match timeout {
                    None => one.get_completion().unwrap_err(),
                    Some(timeout) => one.get_completion_timeout(timeout).unwrap_err(),
                }),
                thread::spawn(move || {
                    other.get_completions(&mut Batch::with_capacity(4), timeout).unwrap_err()
                }),
            ]
        })
        .collect();
    port.close();
    for waiter in waiters {
        assert!(waiter.join().unwrap().is_closed());
    }
}

#[test]
fn a_refusal_converts_with_the_question_mark() {
    fn into_error() -> Result<(), Error> {
        let port: Iocp = Iocp::new()?;
        port.add_handle(anonymous_pipe().0, 1)?;
        Ok(())
    }
    fn into_io_error() -> io::Result<()> {
        let port: Iocp = Iocp::new()?;
        let stream = unconnected_stream("127.0.0.1:1".parse().unwrap())?;
        let stream = port.add_handle(stream, 1)?;
        port.initiate_read(&stream, 1, [0; 8])?;
        Ok(())
    }
    fn into_box() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let port: Iocp = Iocp::new()?;
        port.close();
        port.post(1, 0, 0)?;
        Ok(())
    }
    assert_eq!(into_error().unwrap_err().kind(), ErrorKind::NotOverlapped);
    assert_eq!(into_io_error().unwrap_err().kind(), io::ErrorKind::NotConnected);
    let error = into_box().unwrap_err();
    assert!(error.downcast::<Rejected<usize>>().unwrap().error.is_closed());
}

#[test]
fn an_error_survives_its_conversion_into_ios() {
    let error = reset_error();
    let converted = io::Error::from(error.clone());
    assert_eq!(converted.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(converted.to_string(), error.to_string());
    assert_eq!(converted.get_ref().unwrap().downcast_ref::<Error>(), Some(&error));
    // Of what could not be started, too.
    let port = port();
    port.close();
    let rejected = port.post(1, 0, 0).unwrap_err();
    let inner: Error = io::Error::from(rejected.clone()).downcast().unwrap();
    assert_eq!(inner, rejected.error);
}

#[test]
fn errors_convert_into_the_kinds_of_ios() {
    // std would call a cancelled operation timed out.
    assert_eq!(io::Error::from(cancelled_error()).kind(), io::ErrorKind::Other);
    let port = port();
    let file = temp_file("kinds", "");
    let rejected = port.add_handle(File::open(file.path()).unwrap(), 1).unwrap_err();
    assert_eq!(io::Error::from(rejected).kind(), io::ErrorKind::InvalidInput);
    let (_peer, socket) = datagram_pair();
    let socket = port.add_handle(socket, 1).unwrap();
    let rejected = port.initiate_write(&socket, 1, vec![0; 70_000]).unwrap_err();
    assert_eq!(io::Error::from(rejected).kind(), io::ErrorKind::InvalidData);
    let rejected = port.initiate_write_at(&socket, 1, [0; 7], 0).unwrap_err();
    assert_eq!(io::Error::from(rejected).kind(), io::ErrorKind::Unsupported);
    port.close();
    let error = port.get_completion().unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn messages_say_what_to_do() {
    fn says(error: &Error, words: &[&str]) {
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "{word:?} is missing from {message:?}");
        }
        assert!(!message.ends_with('.') && !message.contains('\n'), "{message:?}");
        assert!(format!("{error:?}").contains(&format!("{:?}", error.kind())), "{error:?}");
        assert!(error.source().is_none());
    }
    let port = port();
    let temporary = temp_file("messages", "");
    let file = File::open(temporary.path()).unwrap();
    let rejected = port.add_handle(file, 1).unwrap_err();
    says(&rejected.error, &["CreateIoCompletionPort", "FILE_FLAG_OVERLAPPED", "os error 87"]);
    assert_eq!(rejected.to_string(), rejected.error.to_string());
    assert_eq!(format!("{rejected:?}"), format!("{:?}", rejected.error));

    let (client, server) = stream_pair();
    let duplicate = server.try_clone().unwrap();
    let server = port.add_handle(server, 1).unwrap();
    let rejected = port.add_handle(duplicate, 1).unwrap_err();
    says(&rejected.error, &["associated", "already", "os error 87"]);
    drop(client);

    says(&cancelled_error(), &["WSARecv", "cancelled", "os error 995", "0xc0000120"]);
    says(&reset_error(), &["WSARecv", "os error 10054", "0xc00"]);

    says(&Iocp::with_concurrency(0).unwrap_err(), &["Iocp::new()"]);
    let error = Iocp::builder().max_operations(0).build::<usize>().unwrap_err();
    says(&error, &["max_operations", "16,777,214"]);
    let error = port.get_completions(&mut Batch::with_capacity(0), None).unwrap_err();
    says(&error, &["Batch::with_capacity"]);
    says(&support::port().initiate_read(&server, 0, [0]).unwrap_err().error, &["another"]);
    says(
        &port.initiate_read(&server, 0, Vec::new()).unwrap_err().error,
        &["no room", "spare capacity", "Vec::with_capacity", "slice"],
    );
    says(&port.initiate_read_at(&server, 0, [0], 0).unwrap_err().error, &["initiate_read"]);
    port.close();
    says(&port.get_completion().unwrap_err(), &["closed"]);
}

#[test]
fn a_kind_prints_as_a_short_description() {
    assert_eq!(ErrorKind::ConnectionReset.to_string(), "connection reset");
    assert_eq!(format!("{:>12}", ErrorKind::TimedOut), "   timed out");
}

#[test]
fn errors_compare_and_copy() {
    fn is_shareable<T: Send + Sync + 'static>(_: &T) {}
    let error = cancelled_error();
    assert_eq!(error.clone(), error);
    assert_ne!(error, reset_error());
    assert_ne!(error, Iocp::with_concurrency(0).unwrap_err());
    is_shareable(&error);
}

#[test]
fn a_rejected_handle_can_be_added_elsewhere() {
    let (one, other) = (port(), port());
    one.close();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let rejected = one.add_handle(socket, 1).unwrap_err();
    let socket = other.add_handle(rejected.returned, 2).unwrap();
    assert_eq!(socket.context(), 2);
}
