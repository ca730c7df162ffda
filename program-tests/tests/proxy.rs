//! `proxy`, between clients and servers of Python's.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use program_tests::{Program, eventually, python, run, tool};

/// A server that answers the end of a stream with what it knows of the stream.
struct Target {
    child: Child,
    address: String,
}

fn target() -> Option<Target> {
    const SCRIPT: &str = "
import hashlib, socketserver, threading
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        hash, length = hashlib.sha256(), 0
        try:
            while part := self.request.recv(65536):
                hash.update(part)
                length += len(part)
            self.request.sendall(f'{length} {hash.hexdigest()}'.encode())
        except ConnectionError: pass
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100
server = Server(('127.0.0.1', 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
";
    let mut python = tool(&["python3", "python"])?;
    let mut child = python.args(["-c", SCRIPT]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("text");
    Some(Target { child, address: format!("127.0.0.1:{}", line.trim()) })
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn through(targets: &[&str], options: &[&str]) -> (Program, String) {
    let args = [targets, &["--listen", "127.0.0.1:0"], options].concat();
    let mut proxy = Program::start("proxy", args);
    let address = proxy.address();
    (proxy, address)
}

fn client(address: &str, script: &str) -> Option<String> {
    const COMMON: &str = "
import hashlib, socket, struct, sys
def connect():
    return socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
def end(s):
    data = bytearray()
    while part := s.recv(65536): data += part
    s.close()
    return bytes(data)
def say(s, data):
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    assert end(s).decode() == f'{len(data)} {hashlib.sha256(data).hexdigest()}'
";
    let (host, port) = address.rsplit_once(':').expect("a port");
    python(&[COMMON, script].concat(), [host, port])
}

#[test]
fn who_has_ended_its_stream_still_gets_the_answer() {
    let Some(target) = target() else { return };
    let (proxy, address) = through(&[&target.address], &[]);
    let script = r"
for length in [0, 1, 65_536, 500_001]:
    say(connect(), bytes(i * 7 % 251 for i in range(length)))
many = [connect() for _ in range(40)]
for number, s in enumerate(many): s.sendall(b'%d' % number)
for number, s in enumerate(many):
    s.shutdown(socket.SHUT_WR)
    assert end(s).startswith(b'%d ' % len(str(number)))
print('all')
";
    assert_eq!(client(&address, script).unwrap().trim(), "all");
    #[cfg(unix)]
    assert!(proxy.interrupt()[0].starts_with("44 connections, "));
    #[cfg(windows)]
    drop(proxy);
}

#[test]
fn resets_do_no_harm_and_leave_no_handle_open() {
    let Some(target) = target() else { return };
    let (proxy, address) = through(&[&target.address], &["--connections", "10"]);
    let before = proxy.open_handles();
    let script = r"
for number in range(100):
    s = connect()
    if number % 2: s.sendall(b'hello')
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii' if sys.platform != 'win32' else 'hh', 1, 0))
    s.close()
    if number % 10 == 0: say(connect(), b'hello' * 1000)
print('all')
";
    assert_eq!(client(&address, script).unwrap().trim(), "all");
    eventually("the handles are closed", || proxy.open_handles() < before + 80);
}

/// An address at which nobody listens any more.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn the_first_target_that_can_be_reached_is_taken() {
    let Some(target) = target() else { return };
    let nobody = nobody();
    let (mut proxy, address) = through(&[&nobody, &target.address, &nobody], &[]);
    let said = client(&address, "say(connect(), b'hello')\nprint('passed on')").unwrap();
    assert_eq!(said.trim(), "passed on");
    let line = proxy.line();
    assert!(line.starts_with(&format!("cannot reach {nobody}: ")), "{line}");
}

#[test]
fn a_target_that_is_not_there_ends_the_connection() {
    let nobody = nobody();
    let (mut proxy, address) = through(&[&nobody], &[]);
    let script = "
try: assert end(connect()) == b''
except ConnectionResetError: pass
print('ended')
";
    let Some(ended) = client(&address, script) else { return };
    assert_eq!(ended.trim(), "ended");
    let line = proxy.line();
    assert!(line.starts_with(&format!("cannot reach {nobody}: ")), "{line}");
}

#[test]
fn mistakes_are_explained() {
    for (args, message) in [
        (&["nowhere"][..], "cannot find the target nowhere"),
        (&["127.0.0.1:1", "--listen", "127.0.0.1:70000"], "cannot listen on 127.0.0.1:70000"),
    ] {
        let output = run("proxy", args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(message), "{errors}");
    }
}
