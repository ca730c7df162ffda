//! The example `hyper_http` of completion-port-io, driven by curl.

use std::fs;

use program_tests::{Program, curl, folder, python, text, write_pattern};

/// Requests on one connection, and then many at once.
fn check(threads: &str) {
    let (Some(mut one), Some(mut many)) = (curl(), curl()) else { return };
    let mut server = Program::start("examples/hyper_http", ["127.0.0.1:0", threads]);
    let url = format!("http://{}", server.address());
    let folder = folder();
    let (sent, echoed) = (folder.path().join("sent"), folder.path().join("echoed"));
    let bytes = write_pattern(&sent, 5_000_003);

    one.args(["--fail", "--data-binary"]).arg(format!("@{}", sent.display()));
    one.arg("--output").arg(&echoed).arg(&url).arg("--next");
    one.args(["--silent", "--noproxy", "*", "--write-out", "%{num_connects}"]).arg(&url);
    // The connection of the first request serves the second.
    assert_eq!(text(&one.output().unwrap()), "hello from a completion port\n0");
    assert!(fs::read(&echoed).unwrap() == bytes, "other bytes");

    many.args([
        "--parallel",
        "--parallel-immediate",
        "--write-out",
        "%{http_code} %{size_download}\n",
    ]);
    for _ in 0..16 {
        many.arg("--output").arg(&echoed).arg(format!("{url}/bytes/300000"));
    }
    let answers = text(&many.output().unwrap());
    assert_eq!(answers, "200 300000\n".repeat(16));
}

#[test]
fn clients_that_are_reset_before_they_are_accepted_do_no_harm() {
    const SCRIPT: &str = r"
import socket, struct, sys
def connect():
    return socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
for _ in range(300):
    s = connect()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii' if sys.platform != 'win32' else 'hh', 1, 0))
    s.close()
s = connect()
s.sendall(b'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
print(s.makefile('rb').readline().decode().strip())
";
    let mut server = Program::start("examples/hyper_http", ["127.0.0.1:0", "2"]);
    let address = server.address();
    let (host, port) = address.rsplit_once(':').expect("a port");
    let Some(said) = python(SCRIPT, [host, port]) else { return };
    assert_eq!(said.trim(), "HTTP/1.1 200 OK");
}

#[test]
fn hyper_answers_curl_on_one_thread() {
    check("1");
}

#[test]
fn hyper_answers_curl_on_four_threads() {
    check("4");
}
