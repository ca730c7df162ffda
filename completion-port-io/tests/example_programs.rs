//! The example programs run, and do what they should.
#![cfg(windows)]

mod support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use completion_port::{Error, Iocp, pipe};
use support::pattern;

/// Cargo puts examples beside the folder of the test programs.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows itself");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/.../deps");
    Command::new(folder.join("examples").join(format!("{name}.exe")))
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    stdout.into_owned()
}

/// A server, which is ended at last.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut command = example(name);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").expect(&line).to_owned();
        Self { child, output, address }
    }

    /// What it prints until its end.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients that have two requests each on one connection, at the same time.
fn check_http(threads: &str) {
    let server = Server::start("hyper_http", &["127.0.0.1:0", threads]);
    thread::scope(|scope| {
        for client in 1..=8 {
            let address = &server.address;
            scope.spawn(move || {
                let mut client_stream = TcpStream::connect(address).unwrap();
                let body = pattern(client * 50_000);
                let post =
                    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
                client_stream.write_all(post.as_bytes()).unwrap();
                let mut sender = client_stream.try_clone().unwrap();
                let (body, get) =
                    (&body, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
                let mut answer = Vec::new();
                thread::scope(|scope| {
                    scope.spawn(move || sender.write_all(&[body, &get[..]].concat()).unwrap());
                    client_stream.read_to_end(&mut answer).unwrap();
                });
                assert!(answer.windows(body.len()).any(|it| it == &body[..]), "another body");
                assert!(answer.ends_with(b"\r\n\r\nhello from a completion port\n"));
            });
        }
    });
}

#[test]
fn hyper_refuses_bodies_and_heads_that_are_too_long() {
    let server = Server::start("hyper_http", &["127.0.0.1:0"]);
    let post = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", (1 << 30) + 1);
    let get = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(64 * 1024));
    for (request, status) in [(post, "413"), (get, "431")] {
        let mut client = TcpStream::connect(&server.address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
}

#[test]
fn hyper_serves_on_one_thread() {
    check_http("1");
}

#[test]
fn hyper_serves_on_four_threads() {
    check_http("4");
}

#[test]
fn a_file_is_read_by_64_tasks() {
    let path = std::env::temp_dir().join(format!("completion-port-io-{}", std::process::id()));
    let contents = pattern(10_000_019);
    fs::write(&path, &contents).unwrap();
    let said = output(example("file_tasks").arg(&path));
    fs::remove_file(&path).unwrap();
    let sum: u64 = contents.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(said, format!("10000019 bytes, whose sum is {sum}\n"));
}

#[test]
fn a_message_pipe_answers_what_was_sent_before_it_was_stopped() {
    let name = format!("completion-port-io-example-{}", std::process::id());
    let mut server = Server::start("message_pipe", &[&name]);
    let open = || OpenOptions::new().read(true).write(true).open(&server.address).unwrap();
    let mut clients = [open(), open(), open()];
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
    }
    let mut answer = [0; 64];
    for client in &mut clients {
        assert_eq!(client.read(&mut answer).unwrap(), 5);
        assert_eq!(&answer[..5], b"HELLO");
    }
    clients[2].write_all(b"the last").unwrap();
    drop(server.child.stdin.take());
    assert_eq!(clients[2].read(&mut answer).unwrap(), 8);
    assert_eq!(server.rest(), "stopped after 4 messages\n");
}

#[test]
fn a_message_pipe_answers_empty_messages() {
    let name = format!("completion-port-io-empty-{}", std::process::id());
    let mut server = Server::start("message_pipe", &[&name]);
    let port = Iocp::<()>::typed().unwrap();
    let client = pipe::ClientOptions::new().messages(true).open(&server.address).unwrap();
    let client = port.add_handle(client, 0).unwrap();
    let ask = async |message: &'static str| -> Result<Vec<u8>, Error> {
        port.initiate_write(&client, (), message)?.await?;
        Ok(port.initiate_read(&client, (), Vec::with_capacity(64))?.await?.1)
    };
    for (message, answer) in [("", ""), ("one", "ONE"), ("", ""), ("two", "TWO")] {
        assert_eq!(port.block_on(ask(message)).unwrap().unwrap(), answer.as_bytes());
    }
    drop(server.child.stdin.take());
    assert_eq!(server.rest(), "stopped after 4 messages\n");
}

#[test]
fn a_message_pipe_stops_although_a_client_does_not_read() {
    let name = format!("completion-port-io-unread-{}", std::process::id());
    let mut server = Server::start("message_pipe", &[&name]);
    let mut client = OpenOptions::new().read(true).write(true).open(&server.address).unwrap();
    // Its answers fill the pipe, and some messages are left.
    for _ in 0..20 {
        client.write_all(&[b'x'; 4000]).unwrap();
    }
    drop(server.child.stdin.take());
    let rest = server.rest();
    assert!(rest.starts_with("stopped after "), "{rest}");
}

#[test]
fn a_message_pipe_goes_on_after_clients_that_came_too_early_and_went() {
    let name = format!("completion-port-io-early-{}", std::process::id());
    let address = format!(r"\\.\pipe\{name}");
    let open = || OpenOptions::new().read(true).write(true).open(&address);
    let (started, starts) = mpsc::channel::<()>();
    let mut server = thread::scope(|scope| {
        scope.spawn(move || {
            while starts.try_recv() == Err(TryRecvError::Empty) {
                drop(open());
            }
        });
        let _started = started;
        Server::start("message_pipe", &[&name])
    });
    // All instances are there for who comes later.
    let mut clients = Vec::new();
    while clients.len() < 4 {
        assert!(server.child.try_wait().unwrap().is_none(), "it has ended");
        // Unless they are busy with those before.
        clients.extend(open().ok());
    }
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 5);
    }
    drop(server.child.stdin.take());
    assert_eq!(server.rest(), "stopped after 4 messages\n");
}

#[test]
fn the_tour_of_timeouts_loses_nothing() {
    let said = output(&mut example("timeouts"));
    let expected = [
        "a moment has passed",
        "nothing came, and the buffer of 64 bytes is back",
        "read \"in time\"",
        "still nothing, but the read goes on",
        "read \"late\"",
        "read \"at once\"",
        "nobody waits for the last timer",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
