//! Waiting for a free instance of a named pipe.

mod support;

use std::os::windows::io::OwnedHandle;

use completion_port::pipe::{self, ClientOptions, ServerOptions};
use completion_port::{Associated, ErrorKind, Iocp, op};
use support::{complete, complete_all, is_windows, nothing_more, port};

const WAIT: usize = 1;
const CONNECT: usize = 2;

fn pipe_name() -> String {
    format!(r"\\.\pipe\{}", support::unique("wait"))
}

fn pipes(port: &Iocp) -> Associated<OwnedHandle> {
    #[cfg(miri)] // whose own CreateFileW knows none
    let pipes = simulated_kernel::open_pipe_file_system();
    #[cfg(not(miri))]
    let pipes = pipe::file_system().unwrap();
    port.add_handle(pipes, 7).unwrap()
}

/// The client's end, or why not.
fn open(name: &str) -> Result<OwnedHandle, ErrorKind> {
    if cfg!(miri) {
        return support::pipe_client(name, false).map_err(|_| ErrorKind::Busy);
    }
    ClientOptions::new().open(name).map_err(|error| error.kind())
}

fn wait(port: &Iocp, pipes: &Associated<OwnedHandle>, name: &str) {
    port.initiate(pipes, WAIT, op::WaitForPipe::new(name).unwrap()).unwrap();
}

/// The only instance of a pipe, and the client that it is busy with.
fn busy(port: &Iocp, name: &str) -> (Associated<OwnedHandle>, OwnedHandle) {
    let server = ServerOptions::new().max_instances(1).create(name).unwrap();
    let server = port.add_handle(server, 8).unwrap();
    port.initiate(&server, CONNECT, op::ConnectPipe::new()).unwrap();
    let client = open(name).unwrap();
    assert_eq!(complete(port).context, CONNECT);
    assert_eq!(open(name).unwrap_err(), ErrorKind::Busy);
    (server, client)
}

#[test]
fn a_client_waits_for_an_instance_that_becomes_free() {
    let port = port();
    let pipes = pipes(&port);
    let name = pipe_name();
    let (server, mut client) = busy(&port, &name);
    for _ in 0..3 {
        wait(&port, &pipes, &name);
        nothing_more(&port);
        pipe::disconnect(&server).unwrap();
        drop(client);
        port.initiate(&server, CONNECT, op::ConnectPipe::new()).unwrap();
        let completion = complete(&port);
        assert_eq!((completion.context, completion.handle_context), (WAIT, 7));
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
        client = open(&name).unwrap();
        assert_eq!(complete(&port).context, CONNECT);
    }
    // Another instance would do, too; and one that is free is no wait.
    nothing_more(&port);
    pipe::disconnect(&server).unwrap();
    port.initiate(&server, CONNECT, op::ConnectPipe::new()).unwrap();
    wait(&port, &pipes, &name);
    let completion = complete(&port);
    assert_eq!((completion.context, completion.error_status), (WAIT, Ok(())));
}

#[test]
fn all_who_wait_are_told() {
    let port = port();
    let pipes = pipes(&port);
    let name = pipe_name();
    let (server, _client) = busy(&port, &name);
    for _ in 0..3 {
        wait(&port, &pipes, &name);
    }
    pipe::disconnect(&server).unwrap();
    port.initiate(&server, CONNECT, op::ConnectPipe::new()).unwrap();
    let first = complete(&port);
    assert_eq!((first.context, first.error_status), (WAIT, Ok(())));
    if is_windows() {
        // It may tell one at a time.
        let _ = pipes.cancel_all();
    }
    for completion in complete_all(&port, 2) {
        assert_eq!(completion.context, WAIT);
        assert!(completion.error_status.is_ok() || is_windows());
    }
}

#[test]
fn a_wait_can_be_cancelled_and_ends_with_its_handle() {
    let port = port();
    let pipes = pipes(&port);
    let name = pipe_name();
    let (_server, _client) = busy(&port, &name);
    let wait = || op::WaitForPipe::new(&name).unwrap();
    let pending = port.initiate(&pipes, WAIT, wait()).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    drop(port.initiate(&pipes, WAIT, wait()).unwrap());
    drop(pipes);
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    nothing_more(&port);
}

#[test]
fn a_pipe_that_is_not_there_or_goes_is_told() {
    let port = port();
    let pipes = pipes(&port);
    let name = pipe_name();
    let error = match port.initiate(&pipes, WAIT, op::WaitForPipe::new(&name).unwrap()) {
        Err(rejected) => rejected.error,
        Ok(_) => complete(&port).error_status.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    nothing_more(&port);

    let (server, client) = busy(&port, &name);
    wait(&port, &pipes, &name);
    drop((server, client));
    if is_windows() || support::is_wine() {
        // It waits for another server, or is told: that is the system's choice.
        let _ = pipes.cancel_all();
        assert!(complete(&port).error_status.is_err());
    } else {
        assert_eq!(complete(&port).error_status.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn what_is_no_name_is_refused() {
    let long = format!(r"\\.\pipe\{}", "x".repeat(257));
    for name in ["", "pipe", r"\\.\pipe\", r"\\server\pipe\name", "\\\\.\\pipe\\zero\0zero", &long]
    {
        let error = op::WaitForPipe::new(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        assert!(error.to_string().contains(r"\\.\pipe\"), "{error}");
    }
}
