//! `pipe_rpc`: its server and its client and, on Windows, Python's client.

use std::process::{Output, Stdio};

use program_tests::{Program, program, run, text};

/// A server of a pipe whose name is `name`, in every session its own.
fn serve(name: &str, options: &[&str]) -> (Program, String) {
    let name = format!("completion-port-{name}-{}", std::process::id());
    let mut server = Program::start("pipe_rpc", [&["serve", &name][..], options].concat());
    assert_eq!(server.line(), format!(r"serving \\.\pipe\{name}"));
    (server, name)
}

fn call(name: &str, requests: &[&str]) -> Output {
    run("pipe_rpc", [&["call", name][..], requests].concat())
}

#[test]
fn requests_are_answered_in_order() {
    let (_server, name) = serve("order", &[]);
    let requests = ["echo hello", "upper hello", "sum 1 -2 43", "sum one", "", "fly"];
    assert_eq!(
        text(&call(&name, &requests)),
        "hello\nHELLO\n42\nerror: sum wants whole numbers\n\
         error: there is no procedure \"\"\nerror: there is no procedure \"fly\"\n"
    );
}

#[test]
fn messages_may_be_longer_than_a_buffer() {
    let (_server, name) = serve("long", &[]);
    // A command line has 32,767 characters at the most.
    let long = "x".repeat(12_000);
    let answer = text(&call(&name, &[&format!("upper {long}"), &format!("count {long}")]));
    assert_eq!(answer, format!("{}\n12000\n", "X".repeat(12_000)));
}

#[test]
fn more_clients_than_instances_take_turns() {
    let (_server, name) = serve("turns", &["--instances", "2"]);
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let mut client = program("pipe_rpc");
            client.args(["call", &name, "--patience", "30"]).args([format!("sum {number} 1")]);
            client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let output = client.wait_with_output().expect("it ends");
        assert_eq!(text(&output).trim(), (number + 1).to_string());
    }
}

#[test]
fn mistakes_are_explained() {
    let (_server, name) = serve("mistakes", &[]);
    for (args, message) in [
        (["call", "no-such-pipe", "echo"], r"cannot open \\.\pipe\no-such-pipe"),
        // Nobody else is let in by the name of a server.
        (["serve", &name, "--instances=1"], r"cannot serve \\.\pipe\"),
    ] {
        let output = run("pipe_rpc", args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(message), "{errors}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_and_it_says_what_it_did() {
    let (server, name) = serve("end", &[]);
    assert_eq!(text(&call(&name, &["upper one", "upper two"])), "ONE\nTWO\n");
    assert_eq!(server.interrupt(), ["2 requests answered"]);
}

/// Under Wine there is no such client: Python's is for Windows alone.
#[cfg(windows)]
#[test]
fn a_client_of_pythons_is_served() {
    const SCRIPT: &str = r"
import sys
from multiprocessing.connection import Client
with Client('\\\\.\\pipe\\' + sys.argv[1], 'AF_PIPE') as client:
    for request in [b'upper hello', b'count ' + b'x' * 100_000]:
        client.send_bytes(request)
        print(client.recv_bytes().decode())
";
    let (_server, name) = serve("python", &[]);
    let Some(answers) = program_tests::python(SCRIPT, [name]) else { return };
    assert_eq!(answers.lines().collect::<Vec<_>>(), ["HELLO", "100000"]);
}
