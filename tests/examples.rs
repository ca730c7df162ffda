//! The example programs run, and say what they should.
#![cfg(not(simulated_kernel))] // other programs have other kernels
#![cfg(not(memcheck))] // Valgrind does not follow into processes
#![cfg(windows)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use support::{eventually, narrow_pipe, reset};

/// Cargo puts examples beside the folder of the test programs.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows itself");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/.../deps");
    let program: PathBuf = folder.join("examples").join(format!("{name}.exe"));
    assert!(
        program.exists(),
        "build the examples first: cargo build --examples ({})",
        program.display()
    );
    Command::new(program)
}

fn lines(output: &Output) -> Vec<String> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    stdout.lines().map(str::to_owned).collect()
}

/// Starts a server, and returns where it listens, and what else it says.
fn server(command: &mut Command) -> (Child, BufReader<ChildStdout>, String) {
    let mut server = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("text");
    let address = line.trim_end().strip_prefix("listening on ").expect("an address");
    (server, stdout, address.to_owned())
}

/// A client that has got back what it sent.
fn echoed(address: &str, length: usize) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("it listens");
    let message = support::pattern(length);
    client.write_all(&message).expect("it reads");
    let mut echoed = vec![0; length];
    client.read_exact(&mut echoed).expect("it echoes");
    assert!(echoed == message);
    client
}

#[test]
fn basic_setup_matches_on_the_context_of_the_socket() {
    let once = ["socket: 5 bytes", "socket: hello", "socket: 0 bytes"];
    let output = example("basic_setup").output().expect("it starts");
    assert_eq!(lines(&output), [once, once].concat());
}

#[test]
fn completed_read_processes_what_was_read() {
    let output = example("completed_read").output().expect("it starts");
    assert_eq!(
        lines(&output),
        [
            "context 456: 15 bytes",
            "read: an owned buffer",
            "context 456: 14 bytes",
            "read: a borrowed one"
        ]
    );
}

/// The server that README.md shows.
#[test]
fn the_echo_server_lives_through_clients_that_reset_their_connections() {
    let (mut server, _stdout, address) = server(example("echo_server").stderr(Stdio::piped()));
    let mut errors = server.stderr.take().expect("a pipe");
    for round in 0..20 {
        let client = echoed(&address, 10_000 + round);
        if round % 2 == 0 {
            reset(client);
        }
    }
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    let mut text = String::new();
    errors.read_to_string(&mut text).expect("text");
    for line in text.lines() {
        assert!(line.starts_with("a connection has failed: "), "{text}");
    }
}

#[test]
fn the_readme_shows_the_echo_server_as_it_is() {
    let (readme, server) =
        (include_str!("../README.md"), include_str!("../examples/echo_server.rs"));
    let code = server.split_once("\n\n").expect("its documentation").1;
    assert!(
        readme.contains(&format!("```rust,no_run\n{code}```\n")),
        "README.md has another server"
    );
}

#[test]
fn the_threaded_server_ends_with_its_input_though_clients_are_connected() {
    let (mut server, mut stdout, address) =
        server(example("threaded_server").stdin(Stdio::piped()));
    let clients: Vec<_> = (0..40).map(|index| echoed(&address, 1_000 + index)).collect();
    drop(server.stdin.take());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert_eq!(rest.trim_end(), "ended, with 0 operations in flight");
    assert!(server.wait().expect("it ends").success());
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).expect("the end"), 0);
    }
}

#[test]
fn the_demo_verifies_every_byte() {
    for size in ["1", "64", "65536"] {
        let output = example("echo_demo")
            .args(["--connections", "20", "--seconds", "1", "--message-size", size])
            .output()
            .expect("it starts");
        assert_eq!(lines(&output).last().map(String::as_str), Some("every byte came back"));
    }
}

#[test]
fn the_demo_is_good_when_clients_of_others_reset_their_connections() {
    let mut demo = example("echo_demo")
        .args(["--listen", "127.0.0.1:0", "--connections", "2", "--seconds", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(demo.stdout.take().expect("a pipe"));
    let address = serving_on(&mut stdout);
    for _ in 0..10 {
        let mut client = TcpStream::connect(&address).expect("it serves");
        client.write_all(b"?").expect("it reads");
        client.read_exact(&mut [0]).expect("it echoes");
        reset(client);
    }
    let mut summary = String::new();
    stdout.read_to_string(&mut summary).expect("text");
    assert!(summary.ends_with("every byte came back\n"), "{summary}");
    assert!(demo.wait_with_output().expect("it ends").status.success());
}

/// The address that the demo says it serves on.
fn serving_on(stdout: &mut impl BufRead) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("text");
    let address = line.strip_prefix("serving on ").and_then(|rest| rest.split(' ').next());
    address.expect("the first line has the address").to_owned()
}

#[test]
fn the_demo_goes_on_when_its_outputs_are_gone() {
    let mut demo = example("echo_demo")
        .args(["--connections", "2", "--seconds", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop((demo.stdout.take(), demo.stderr.take()));
    assert_eq!(exit_code(&mut demo), Some(0));
}

#[test]
fn the_demo_goes_on_when_nobody_reads_its_outputs() {
    let (mut unread, full) = narrow_pipe();
    let mut demo = example("echo_demo")
        .args(["--connections", "2", "--seconds", "1"])
        .stdout(full.try_clone().expect("a second handle"))
        .stderr(full)
        .spawn()
        .expect("it starts");
    assert_eq!(exit_code(&mut demo), Some(0));
    let mut output = String::new();
    unread.read_to_string(&mut output).expect("text");
    assert!(!output.contains("every byte came back"), "the pipe was not full: {output}");
}

fn exit_code(demo: &mut Child) -> Option<i32> {
    let mut status = None;
    eventually("the demo ends", || {
        status = demo.try_wait().expect("it can be asked");
        status.is_some()
    });
    status.and_then(|status| status.code())
}

#[test]
fn the_demo_listens_where_it_is_told() {
    for (listen, address) in [("localhost:0", "serving on "), (":0", "serving on 0.0.0.0:")] {
        let output = example("echo_demo")
            .args(["--listen", listen, "--connections", "2", "--seconds", "1"])
            .output()
            .expect("it starts");
        let lines = lines(&output);
        assert!(lines[0].starts_with(address), "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some("every byte came back"));
    }
}

#[test]
fn the_demo_names_the_address_that_it_cannot_have() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("it is bound").to_string();
    for address in [address.as_str(), "127.0.0.1", "127.0.0.1:70000"] {
        let output = example("echo_demo").args(["--listen", address]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains(&format!("cannot listen on {address}: ")), "{message}");
    }
}

#[test]
fn the_demo_tells_its_progress_in_lines_where_there_is_no_terminal() {
    let output = example("echo_demo")
        .args(["--connections", "2", "--seconds", "4"])
        .env_remove("COMPLETION_PORT_TERMINAL")
        .output()
        .expect("it starts");
    assert!(!output.stdout.contains(&b'\r'), "{output:?}");
    let lines = lines(&output);
    assert!(lines.iter().any(|line| tells_progress(line)), "{lines:?}");
}

#[test]
fn the_demo_has_one_line_of_progress_on_a_terminal() {
    let output = example("echo_demo")
        .args(["--connections", "2", "--seconds", "1"])
        .env("COMPLETION_PORT_TERMINAL", "1")
        .output()
        .expect("it starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let told = stdout.lines().filter(|line| tells_progress(line)).collect::<Vec<_>>();
    assert!(matches!(told[..], [line] if line.matches('\r').count() > 1), "{stdout}");
}

/// Not the summary, which has a line for each.
fn tells_progress(line: &str) -> bool {
    line.contains(" echoes ") && line.contains(" MB/s")
}

#[test]
fn the_demo_refuses_what_makes_no_sense() {
    for (option, most) in [
        ("--threads", 256),
        ("--connections", 10_000),
        ("--message-size", 16 * 1024 * 1024),
        ("--seconds", 24 * 60 * 60),
    ] {
        for value in ["0".to_owned(), (most + 1).to_string(), "1000000000000".to_owned()] {
            let output = example("echo_demo").args([option, &value]).output().expect("it starts");
            assert_eq!(output.status.code(), Some(2));
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(message.contains(option), "{message}");
            assert!(message.contains(&format!("1..={most}")), "{message}");
        }
    }
}
