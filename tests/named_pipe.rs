//! Servers and clients of named pipes, and pipes without a name.
#![cfg(windows)]

mod support;

use std::mem;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use completion_port::pipe::{self, ClientOptions, SecurityDescriptor, ServerOptions};
use completion_port::{Associated, CompletionStatus, ErrorKind, Iocp, Pending, op};
use support::{complete, complete_all, few, nothing_more, pipe_client, port};
use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE_FLAG_INHERIT};

const CONNECT: usize = 1;
const READ: usize = 2;
const WRITE: usize = 3;

fn pipe_name() -> String {
    format!(r"\\.\pipe\{}", support::unique("named"))
}

/// The client's end, which Miri cannot open by name.
fn open(name: &str, messages: bool) -> OwnedHandle {
    if cfg!(miri) {
        return pipe_client(name, messages).unwrap();
    }
    ClientOptions::new().messages(messages).open(name).unwrap()
}

fn connect(port: &Iocp, server: &Associated<OwnedHandle>) {
    port.initiate(server, CONNECT, op::ConnectPipe::new()).unwrap();
}

#[track_caller]
fn connected(port: &Iocp) -> usize {
    let completion = complete(port);
    assert_eq!((completion.context, completion.error_status), (CONNECT, Ok(())));
    completion.handle_context
}

/// Writes, and waits for that.
#[track_caller]
fn write(port: &Iocp, pipe: &Associated<OwnedHandle>, bytes: &'static str) {
    port.initiate(pipe, WRITE, op::Write::new(bytes)).unwrap();
    let completion = complete(port);
    assert_eq!((completion.context, completion.error_status), (WRITE, Ok(())));
}

/// What a read gets.
#[track_caller]
fn read(port: &Iocp, pipe: &Associated<OwnedHandle>) -> Vec<u8> {
    port.initiate(pipe, READ, op::Read::new(Vec::with_capacity(64))).unwrap();
    let mut completion: CompletionStatus = complete(port);
    assert_eq!((completion.context, completion.error_status), (READ, Ok(())));
    completion.operation.output().unwrap()
}

#[test]
fn the_first_instance_claims_the_name() {
    for instances in [1, 2, 255] {
        let name = pipe_name();
        let options = ServerOptions::new().max_instances(instances);
        let _first = options.create(&name).unwrap();
        let error = options.create(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddressInUse, "{instances}: {error}");
        assert_eq!(error.call(), Some("CreateNamedPipeW"));
        let next = options.create_next(&name);
        assert_eq!(next.is_ok(), instances > 1, "{next:?}");
    }
    // The name is free again once all instances are closed.
    let name = pipe_name();
    for _ in 0..3 {
        drop(ServerOptions::new().create(&name).unwrap());
    }
}

#[test]
fn there_are_no_more_instances_than_the_first_one_said() {
    let name = pipe_name();
    let options = ServerOptions::new().max_instances(2);
    let _first = options.create(&name).unwrap();
    let second = options.create_next(&name).unwrap();
    assert_eq!(options.create_next(&name).unwrap_err().kind(), ErrorKind::Busy);
    drop(second);
    options.create_next(&name).unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own CreateFileW knows no pipes")]
fn a_client_is_told_whether_there_is_no_pipe_or_no_free_instance() {
    let name = pipe_name();
    let open = || ClientOptions::new().open(&name);
    assert_eq!(open().unwrap_err().kind(), ErrorKind::NotFound);
    let options = ServerOptions::new().max_instances(2);
    let first = options.create(&name).unwrap();
    let _client = open().unwrap();
    let busy = open().unwrap_err();
    assert_eq!((busy.kind(), busy.raw_os_error()), (ErrorKind::Busy, Some(231)));
    let _second = options.create_next(&name).unwrap();
    open().unwrap();
    drop(first);
}

#[test]
fn an_instance_serves_one_client_after_the_other() {
    let port = port();
    let name = pipe_name();
    let options = ServerOptions::new().messages(true).max_instances(1);
    let server = port.add_handle(options.create(&name).unwrap(), 10).unwrap();
    for _ in 0..few(50) {
        connect(&port, &server);
        let client = port.add_handle(open(&name, true), 20).unwrap();
        assert_eq!(connected(&port), 10);
        write(&port, &client, "one");
        write(&port, &client, "");
        write(&port, &client, "three");
        let messages = [(); 3].map(|()| read(&port, &server));
        assert_eq!(messages, [&b"one"[..], b"", b"three"]);

        // Both ends have a read in flight, and both are told.
        for end in [&server, &client] {
            port.initiate(end, READ, op::Read::new(Vec::with_capacity(64))).unwrap();
        }
        pipe::disconnect(&server).unwrap();
        for completion in complete_all(&port, 2) {
            let error = completion.error_status.unwrap_err();
            assert_eq!((completion.context, error.ntstatus()), (READ, Some(0xC000_00B0)));
            // Miri's own RtlNtStatusToDosError does not know the status.
            assert!(cfg!(miri) || error.kind() == ErrorKind::NotConnected);
        }
        let late = port.initiate(&client, WRITE, op::Write::new("late")).unwrap_err();
        assert_eq!(late.error.kind(), ErrorKind::NotConnected);
    }
    nothing_more(&port);
}

/// All instances are taken by clients that say nothing, and nobody else gets in, until the
/// server ends them.
#[test]
fn clients_that_say_nothing_are_sent_away_for_one_that_speaks() {
    const INSTANCES: usize = 3;
    let port = port();
    let name = pipe_name();
    let options = ServerOptions::new().max_instances(INSTANCES as u8);
    let mut servers = vec![options.create(&name).unwrap()];
    servers.resize_with(INSTANCES, || options.create_next(&name).unwrap());
    let servers: Vec<_> =
        servers.into_iter().zip(0..).map(|(it, slot)| port.add_handle(it, slot).unwrap()).collect();
    let mut silent = Vec::new();
    for server in &servers {
        connect(&port, server);
        silent.push(open(&name, false));
        let slot = connected(&port);
        port.initiate(&servers[slot], READ, op::Read::new(Vec::with_capacity(64))).unwrap();
    }
    if !cfg!(miri) {
        let busy = ClientOptions::new().open(&name).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
    }

    // The time of each is over: its read is cancelled, and its slot waits for another.
    for server in &servers {
        assert!(server.cancel_all().unwrap());
        let cancelled = complete(&port);
        assert!(cancelled.error_status.unwrap_err().is_cancelled());
        pipe::disconnect(server).unwrap();
        connect(&port, server);
    }
    for _ in 0..INSTANCES {
        let client = port.add_handle(open(&name, false), 20).unwrap();
        let server = &servers[connected(&port)];
        write(&port, &client, "hello");
        assert_eq!(read(&port, server), b"hello");
        silent.push(client.into_inner());
    }
    drop(silent);
    nothing_more(&port);
}

#[test]
fn empty_writes_are_each_a_message_in_its_place() {
    let port = port();
    let name = pipe_name();
    let server = port.add_handle(ServerOptions::new().messages(true).create(&name).unwrap(), 10);
    let server = server.unwrap();
    connect(&port, &server);
    let client = port.add_handle(open(&name, true), 20).unwrap();
    connected(&port);
    for messages in [["", "", "last"], ["first", "", ""]] {
        for message in messages {
            write(&port, &client, message);
        }
        assert_eq!(messages.map(|_| read(&port, &server)), messages.map(str::as_bytes));
    }
    // Nothing was left out, and nothing made up.
    port.initiate(&server, READ, op::Read::new(Vec::with_capacity(64))).unwrap();
    nothing_more(&port);
    write_to_a_read(&port, &client);
}

/// An empty write completes a read that waits.
fn write_to_a_read(port: &Iocp, client: &Associated<OwnedHandle>) {
    port.initiate(client, WRITE, op::Write::new("")).unwrap();
    let mut both = complete_all(port, 2);
    both.sort_by_key(|completion| completion.context);
    assert!(both.iter().all(|it| it.error_status.is_ok() && it.bytes_transferred == 0));
    assert_eq!((both[0].context, both[1].context), (READ, WRITE));
}

/// A full buffer is no sign of more.
#[test]
fn a_read_that_fits_exactly_waits_for_nothing_else() {
    let port = port();
    for messages in [false, true] {
        for early in [false, true] {
            let name = pipe_name();
            let options = ServerOptions::new().messages(messages);
            let server = port.add_handle(options.create(&name).unwrap(), 10).unwrap();
            connect(&port, &server);
            let client = port.add_handle(open(&name, messages), 20).unwrap();
            connected(&port);
            let exactly = || op::Read::new(vec![0; 5].into_boxed_slice());
            if early {
                write(&port, &client, "exact");
                port.initiate(&server, READ, exactly()).unwrap();
            } else {
                port.initiate(&server, READ, exactly()).unwrap();
                port.initiate(&client, WRITE, op::Write::new("exact")).unwrap();
            }
            let mut completions = complete_all(&port, if early { 1 } else { 2 });
            completions.sort_by_key(|completion| completion.context);
            let it = &mut completions[0];
            assert_eq!(
                (it.context, it.error_status.clone(), it.bytes_transferred),
                (READ, Ok(()), 5)
            );
            assert_eq!(*it.operation.output::<Box<[u8]>>().unwrap(), *b"exact");
            // Others go on, and what comes next is for the next read.
            write(&port, &server, "others");
            assert_eq!(read(&port, &client), b"others");
            write(&port, &client, "next");
            assert_eq!(read(&port, &server), b"next");
            nothing_more(&port);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own CreateFileW knows no pipes")]
fn only_the_servers_end_can_be_disconnected() {
    let port = port();
    let (reader, writer) = pipe::pair().unwrap();
    let reader = port.add_handle(reader, 1).unwrap();
    let writer = port.add_handle(writer, 1).unwrap();
    if !cfg!(simulated_kernel) {
        pipe::disconnect(&writer).unwrap_err();
    }
    pipe::disconnect(&reader).unwrap();
}

/// It does not stay alive inside its operation, to take a client that nobody
/// serves.
#[test]
fn a_client_does_not_come_to_an_instance_that_was_dropped() {
    serve_beside_a_dropped_instance(drop);
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn nor_to_one_whose_pending_was_forgotten() {
    serve_beside_a_dropped_instance(mem::forget);
}

fn serve_beside_a_dropped_instance(let_go: impl FnOnce(Pending<()>)) {
    let port = port();
    let name = pipe_name();
    let options = ServerOptions::new().max_instances(2);
    let first = port.add_handle(options.create(&name).unwrap(), 10).unwrap();
    let second = port.add_handle(options.create_next(&name).unwrap(), 20).unwrap();
    let_go(port.initiate(&first, CONNECT, op::ConnectPipe::new()).unwrap());
    connect(&port, &second);
    drop(first);
    // Nothing was dequeued.
    let client = port.add_handle(open(&name, false), 30).unwrap();
    for completion in complete_all(&port, 2) {
        match completion.handle_context {
            10 => assert!(completion.error_status.unwrap_err().is_cancelled()),
            _ => assert_eq!(completion.error_status, Ok(())),
        }
    }
    write(&port, &client, "hello");
    assert_eq!(read(&port, &second), b"hello");
    nothing_more(&port);
}

#[test]
fn a_client_that_came_and_went_before_anybody_waited_is_told() {
    let port = port();
    let name = pipe_name();
    let server = port.add_handle(ServerOptions::new().create(&name).unwrap(), 10).unwrap();
    drop(open(&name, false));
    let error = port.initiate(&server, CONNECT, op::ConnectPipe::new()).unwrap_err().error;
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    pipe::disconnect(&server).unwrap();
    connect(&port, &server);
    let _client = open(&name, false);
    assert_eq!(connected(&port), 10);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own CreateFileW knows no pipes")]
fn ends_go_one_way_if_they_are_told_to() {
    let port = port();
    let name = pipe_name();
    let server = ServerOptions::new().inbound(false).create(&name).unwrap();
    let server = port.add_handle(server, 10).unwrap();
    let client = ClientOptions::new().write(false).messages(false).open(&name).unwrap();
    let client = port.add_handle(client, 20).unwrap();
    write(&port, &server, "hello");
    assert_eq!(read(&port, &client), b"hello");
    if !cfg!(simulated_kernel) {
        let write = port.initiate(&client, WRITE, op::Write::new("hello")).unwrap_err();
        assert_eq!(write.error.kind(), ErrorKind::PermissionDenied);
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own CreateFileW knows no pipes")]
fn a_pair_carries_bytes_from_one_end_to_the_other_until_one_is_closed() {
    let port = port();
    let (reader, writer) = pipe::pair().unwrap();
    let reader = port.add_handle(reader, 10).unwrap();
    let writer = port.add_handle(writer, 20).unwrap();
    port.initiate(&reader, READ, op::Read::new(Vec::with_capacity(64))).unwrap();
    nothing_more(&port);
    port.initiate(&writer, WRITE, op::Write::new("hello")).unwrap();
    for mut completion in complete_all(&port, 2) {
        assert_eq!((&completion.error_status, completion.bytes_transferred), (&Ok(()), 5));
        if completion.context == READ {
            assert_eq!(completion.operation.output::<Vec<u8>>().unwrap(), b"hello");
        }
    }
    write(&port, &writer, "bye");
    drop(writer);
    assert_eq!(read(&port, &reader), b"bye");
    assert_eq!(read(&port, &reader), b"");

    let (reader, writer) = pipe::pair().unwrap();
    let writer = port.add_handle(writer, 20).unwrap();
    drop(reader);
    let error = port.initiate(&writer, WRITE, op::Write::new("hello")).unwrap_err().error;
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own CreateFileW knows no pipes")]
fn children_inherit_no_end() {
    let name = pipe_name();
    let (reader, writer) = pipe::pair().unwrap();
    let server = ServerOptions::new().create(&name).unwrap();
    let client = ClientOptions::new().open(&name).unwrap();
    for end in [reader, writer, server, client] {
        let mut flags = u32::MAX;
        // SAFETY: The flags are a local.
        let known = unsafe { GetHandleInformation(end.as_raw_handle(), &raw mut flags) };
        assert_ne!(known, 0);
        assert_eq!(flags & HANDLE_FLAG_INHERIT, 0);
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri knows no security descriptors")]
fn a_security_descriptor_is_used_or_refused() {
    let name = pipe_name();
    let users = SecurityDescriptor::from_sddl("D:P(A;;GA;;;OW)(A;;0x12019b;;;WD)").unwrap();
    let options = ServerOptions::new().security(users);
    let _server = options.create(&name).unwrap();
    ClientOptions::new().open(&name).unwrap();
    SecurityDescriptor::from_sddl("D:P(A;;GA;;;OW").unwrap_err();
    SecurityDescriptor::from_sddl("everybody").unwrap_err();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let kind = |result: completion_port::Result<OwnedHandle>| result.unwrap_err().kind();
    let name = pipe_name();
    let options = ServerOptions::new().max_instances(0);
    assert_eq!(kind(options.create(&name)), ErrorKind::InvalidInput);
    let zero = format!("{name}\0");
    assert_eq!(kind(ServerOptions::new().create(&zero)), ErrorKind::InvalidInput);
    assert_eq!(kind(ClientOptions::new().open(&zero)), ErrorKind::InvalidInput);
}

#[cfg(simulated_kernel)] // other kernels do not tell
mod told {
    use simulated_kernel::{created, opened};
    use windows_sys::Win32::Storage::FileSystem::{
        FILE_APPEND_DATA, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_READ_DATA,
        FILE_WRITE_DATA, SECURITY_IDENTIFICATION, SECURITY_IMPERSONATION, SECURITY_SQOS_PRESENT,
        SECURITY_VALID_SQOS_FLAGS,
    };
    use windows_sys::Win32::System::Pipes::PIPE_REJECT_REMOTE_CLIENTS;

    use super::*;

    #[test]
    fn only_the_first_instance_carries_the_claim() {
        let name = pipe_name();
        let options = ServerOptions::new();
        let _all = [options.create(&name), options.create_next(&name), options.create_next(&name)];
        let claims = created(&name)
            .iter()
            .map(|it| it.access & FILE_FLAG_FIRST_PIPE_INSTANCE != 0)
            .collect::<Vec<_>>();
        assert_eq!(claims, [true, false, false]);
        assert!(created(&name).iter().all(|it| it.access & FILE_FLAG_OVERLAPPED != 0));
    }

    #[test]
    fn remote_clients_are_rejected_in_whatever_order_the_options_are_given() {
        let new = ServerOptions::new;
        let rejecting = [
            new(),
            new().messages(true),
            new().accept_remote(true).accept_remote(false).messages(true),
            new().max_instances(3).messages(false).inbound(false),
            new().buffer_sizes(1, 1).messages(true).outbound(false).inbound(true),
        ];
        let accepting = [new().accept_remote(true), new().accept_remote(true).messages(true)];
        for (options, rejects) in
            rejecting.iter().map(|it| (it, true)).chain(accepting.iter().map(|it| (it, false)))
        {
            let name = pipe_name();
            drop(options.create(&name).unwrap());
            drop(options.create_next(&name).unwrap());
            for pipe in created(&name) {
                assert_eq!(pipe.mode & PIPE_REJECT_REMOTE_CLIENTS != 0, rejects, "{options:?}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri's own CreateFileW knows no pipes")]
    fn clients_ask_for_data_and_identification_alone() {
        let name = pipe_name();
        let server = ServerOptions::new().messages(true);
        let _servers = [server.create(&name), server.create_next(&name), server.create_next(&name)];
        let options = ClientOptions::new();
        options.open(&name).unwrap();
        options.messages(true).open(&name).unwrap();
        options.impersonation(pipe::Impersonation::Impersonation).open(&name).unwrap();
        let opened = opened(&name);
        let levels = [SECURITY_IDENTIFICATION, SECURITY_IDENTIFICATION, SECURITY_IMPERSONATION];
        assert_eq!(opened.len(), 3);
        for (client, level) in opened.iter().zip(levels) {
            // The right to append is the right to create instances.
            assert_eq!(
                client.access & (FILE_READ_DATA | FILE_WRITE_DATA | FILE_APPEND_DATA),
                FILE_READ_DATA | FILE_WRITE_DATA
            );
            assert_eq!(client.access >> 28, 0, "generic rights");
            assert_eq!(client.flags & SECURITY_VALID_SQOS_FLAGS, level | SECURITY_SQOS_PRESENT);
            assert_ne!(client.flags & FILE_FLAG_OVERLAPPED, 0);
        }
    }
}
