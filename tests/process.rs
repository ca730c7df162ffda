//! Child processes with their streams and their exit on the port.
#![cfg(windows)]
#![cfg(not(simulated_kernel))] // which has no processes

mod support;

use std::io::{self, Read, Write};
use std::os::windows::io::OwnedHandle;
use std::process::{Command, ExitStatus};
use std::thread;

use completion_port::process::{Child, Exit, SpawnOptions};
use completion_port::{Associated, Iocp, OperationKind};
use support::child::{self, is_child};
use support::{complete, nothing_more, pattern, port};

const STDIN: usize = 10;
const STDERR: usize = 12;
const READ: usize = 1;
const EXIT: usize = 2;

/// The test program's own output is on the other stream.
fn with_stderr() -> SpawnOptions<'static> {
    SpawnOptions::new().stderr(STDERR)
}

fn spawn(port: &Iocp, options: SpawnOptions<'_>, name: &str) -> Child {
    let mut command = child::command(name);
    let child = options.spawn(port, command.stdout(std::process::Stdio::null())).unwrap();
    // It has no copies of the child's ends.
    std::mem::forget(command);
    child
}

fn wait_for_exit(port: &Iocp, child: &Child) {
    port.initiate_wait(Exit::of(&child.process).unwrap(), EXIT).unwrap();
}

#[track_caller]
fn exits(port: &Iocp) -> u32 {
    let mut completion = complete(port);
    assert_eq!((completion.context, completion.error_status), (EXIT, Ok(())));
    let status: ExitStatus = completion.operation.output().unwrap();
    status.code().unwrap() as u32
}

/// Reads on until the end of the stream, and returns what it had.
#[track_caller]
fn read_to_end(port: &Iocp, stream: &Associated<OwnedHandle>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        port.initiate_read(stream, READ, Vec::with_capacity(10_000)).unwrap();
        let mut completion = complete(port);
        let values = (completion.context, completion.handle_context, completion.error_status);
        assert_eq!(values, (READ, STDERR, Ok(())));
        let mut buffer: Vec<u8> = completion.operation.output().unwrap();
        if buffer.is_empty() {
            return all;
        }
        all.append(&mut buffer);
    }
}

#[test]
fn the_last_words_of_a_child_are_there_after_its_exit() {
    const NAME: &str = "the_last_words_of_a_child_are_there_after_its_exit";
    const LENGTH: usize = 60_000; // for which there is room in the pipe
    if is_child(NAME) {
        io::stderr().write_all(&pattern(LENGTH)).unwrap();
        std::process::exit(7);
    }
    let port = port();
    let child = spawn(&port, with_stderr(), NAME);
    wait_for_exit(&port, &child);
    assert_eq!(exits(&port), 7);
    assert!(read_to_end(&port, &child.stderr.unwrap()) == pattern(LENGTH));
    nothing_more(&port);
}

#[test]
fn a_child_that_writes_much_loses_nothing() {
    const NAME: &str = "a_child_that_writes_much_loses_nothing";
    const LENGTH: usize = 600_000;
    if is_child(NAME) {
        io::stderr().write_all(&pattern(LENGTH)).unwrap();
        std::process::exit(0);
    }
    let port = port();
    for _ in 0..5 {
        let child = spawn(&port, with_stderr(), NAME);
        let stderr = child.stderr.as_ref().unwrap();
        wait_for_exit(&port, &child);
        port.initiate_read(stderr, READ, Vec::with_capacity(10_000)).unwrap();
        let (mut all, mut has_ended, mut has_exited) = (Vec::new(), false, false);
        while !has_ended || !has_exited {
            let mut completion = complete(&port);
            assert_eq!(completion.error_status, Ok(()));
            if completion.operation.kind() == OperationKind::Wait {
                has_exited = true;
                continue;
            }
            let mut buffer: Vec<u8> = completion.operation.output().unwrap();
            has_ended = buffer.is_empty();
            all.append(&mut buffer);
            if !has_ended {
                port.initiate_read(stderr, READ, buffer).unwrap();
            }
        }
        assert!(all == pattern(LENGTH), "{} bytes", all.len());
    }
}

#[test]
fn what_is_written_to_a_child_reaches_it_and_ends() {
    const NAME: &str = "what_is_written_to_a_child_reaches_it_and_ends";
    if is_child(NAME) {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).unwrap();
        io::stderr().write_all(text.to_uppercase().as_bytes()).unwrap();
        std::process::exit(0);
    }
    let port = port();
    let child = spawn(&port, with_stderr().stdin(STDIN), NAME);
    let stdin = child.stdin.unwrap();
    for word in ["hello, ", "world"] {
        port.initiate_write(&stdin, 3, word).unwrap();
        let completion = complete(&port);
        assert_eq!((completion.handle_context, completion.error_status), (STDIN, Ok(())));
    }
    drop(stdin);
    assert_eq!(read_to_end(&port, &child.stderr.unwrap()), b"HELLO, WORLD");
}

#[test]
fn each_output_ends_with_its_own_child() {
    const NAME: &str = "each_output_ends_with_its_own_child";
    if is_child(NAME) {
        io::stderr().write_all(b"ready").unwrap();
        let _ = io::stdin().read(&mut [0; 1]);
        std::process::exit(0);
    }
    let port = port();
    // At the same time, with streams of both kinds.
    let children: Vec<Child> = thread::scope(|scope| {
        let spawning = || spawn(&port, with_stderr().stdin(STDIN), NAME);
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(spawning)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for Child { stdin, stderr, .. } in children {
        // Its end is nobody else's: the child finds the end, and so does the reader.
        drop(stdin);
        assert_eq!(read_to_end(&port, &stderr.unwrap()), b"ready");
    }
    nothing_more(&port);
}

#[test]
fn every_exit_code_is_one() {
    const NAME: &str = "every_exit_code_is_one";
    const CODES: [u32; 5] = [0, 1, 259, 0xC000_0005, 0xFFFF_FFFF];
    if is_child(NAME) {
        let code: u32 = std::env::var("CODE").unwrap().parse().unwrap();
        std::process::exit(code as i32);
    }
    let port = port();
    for code in CODES {
        let mut command = child::command(NAME);
        command.env("CODE", code.to_string()).stdout(std::process::Stdio::null());
        let child = SpawnOptions::new().spawn(&port, &mut command).unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        wait_for_exit(&port, &child);
        assert_eq!(exits(&port), code);
    }
}

#[test]
fn an_exit_can_be_waited_for_again_and_after_a_cancel() {
    const NAME: &str = "an_exit_can_be_waited_for_again_and_after_a_cancel";
    if is_child(NAME) {
        let _ = io::stdin().read(&mut [0; 1]);
        std::process::exit(5);
    }
    let port = port();
    let mut child = spawn(&port, SpawnOptions::new().stdin(STDIN), NAME);
    let pending = port.initiate_wait(Exit::of(&child.process).unwrap(), EXIT).unwrap();
    assert_eq!(pending.cancel(), Ok(true));
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    assert!(completion.operation.take::<ExitStatus>().is_none());
    wait_for_exit(&port, &child);
    nothing_more(&port);
    child.process.kill().unwrap();
    assert_eq!(exits(&port), 1);
    wait_for_exit(&port, &child);
    assert_eq!(exits(&port), 1);
}

#[test]
fn a_child_that_cannot_be_started_leaves_nothing() {
    let port = port();
    let mut command = Command::new("no-such-program");
    for _ in 0..50 {
        let error = SpawnOptions::new().stdout(1).stderr(2).spawn(&port, &mut command);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    port.close();
    let error = SpawnOptions::new().stdout(1).spawn(&port, &mut command).unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}
