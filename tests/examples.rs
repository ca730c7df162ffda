//! The example programs run, and say what they should.
#![cfg(not(simulated_kernel))] // other programs have other kernels
#![cfg(not(memcheck))] // Valgrind does not follow into processes
#![cfg(windows)]

use std::path::PathBuf;
use std::process::{Command, Output};

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
fn the_demo_refuses_what_makes_no_sense() {
    for arguments in [["--threads", "0"], ["--connections", "0"], ["--message-size", "0"]] {
        let output = example("echo_demo").args(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains(arguments[0]), "{message}");
    }
}
