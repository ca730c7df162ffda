//! `http`, driven by curl and by sockets of Python's.

use std::fs;
use std::path::Path;
use std::process::Command;

use program_tests::{Program, curl, eventually, folder, python, run, text, write_pattern};
use tempfile::TempDir;

/// Where curl writes what nobody wants to see.
const NOWHERE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// A server of a folder, and the folder.
struct Site {
    folder: TempDir,
    server: Program,
    address: String,
}

fn serve(options: &[&str]) -> Site {
    let folder = folder();
    let path = folder.path().to_str().expect("text").to_owned();
    let mut server =
        Program::start("http", [&[path.as_str(), "--listen", "127.0.0.1:0"], options].concat());
    let address = server.address();
    Site { folder, server, address }
}

impl Site {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// The statuses that targets get.
    fn statuses(&self, mut curl: Command, targets: &[&str]) -> Vec<String> {
        curl.args(["--write-out", "%{http_code}\n"]);
        for target in targets {
            curl.args(["--output", NOWHERE]).arg(self.url(target));
        }
        text(&curl.output().unwrap()).lines().map(str::to_owned).collect()
    }

    fn python(&self, script: &str) -> Option<String> {
        look(&self.address, script)
    }
}

/// What Python sees, whose script gets host and port.
fn look(address: &str, script: &str) -> Option<String> {
    const COMMON: &str = "
import socket, struct, sys
def connect():
    return socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
def end(s):
    data = bytearray()
    try:
        while part := s.recv(65536): data += part
    except ConnectionResetError: data += b' reset'
    s.close()
    return data
def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii' if sys.platform != 'win32' else 'hh', 1, 0))
    s.close()
GET = b'GET /file HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'
";
    let (host, port) = address.rsplit_once(':').expect("a port");
    python(&[COMMON, script].concat(), [host, port])
}

#[test]
fn a_whole_file_arrives_as_it_is() {
    let Some(mut curl) = curl() else { return };
    let site = serve(&[]);
    let bytes = write_pattern(&site.path().join("large.bin"), 5_000_003);
    fs::write(site.path().join("empty"), "").unwrap();
    let output = curl.args([site.url("/large.bin"), site.url("/empty")]).output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == bytes, "{} bytes", output.stdout.len());
}

#[test]
fn ranges_are_parts_of_the_file() {
    if curl().is_none() {
        return;
    }
    let site = serve(&[]);
    let bytes = write_pattern(&site.path().join("file"), 600_000);
    for (range, status, part) in [
        ("0-0", 206, 0..1),
        ("5-9", 206, 5..10),
        ("-3", 206, 599_997..600_000),
        ("599999-", 206, 599_999..600_000),
        ("599990-9999999", 206, 599_990..600_000),
        ("262140-530000", 206, 262_140..530_001),
        // The whole file answers them, as it may.
        ("0-1,5-6", 200, 0..600_000),
        ("five-six", 200, 0..600_000),
        ("600000-", 416, 0..0),
    ] {
        let header = format!("Range: bytes={range}");
        let mut curl = curl().unwrap();
        curl.args([
            "--header",
            &header,
            "--write-out",
            "%{stderr}%{http_code} %header{content-range}",
        ]);
        let output = curl.arg(site.url("/file")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let content_range = match status {
            206 => format!("bytes {}-{}/600000", part.start, part.end - 1),
            416 => "bytes */600000".to_owned(),
            _ => String::new(),
        };
        assert_eq!(told, format!("{status} {content_range}"), "{range}");
        assert!(output.stdout == bytes[part], "{range}: {} bytes", output.stdout.len());
    }
}

#[test]
fn a_client_that_has_the_file_gets_no_other() {
    let Some(mut first) = curl() else { return };
    let mut again = curl().expect("it was there");
    let site = serve(&[]);
    fs::write(site.path().join("file"), "hello").unwrap();
    let date = first.args(["--write-out", "%{stderr}%header{last-modified}", &site.url("/file")]);
    let date = String::from_utf8(date.output().unwrap().stderr).unwrap();
    again.args(["--header", &format!("If-Modified-Since: {date}")]);
    assert_eq!(site.statuses(again, &["/file"]), ["304"]);
}

#[test]
fn head_tells_the_length_and_sends_nothing() {
    let Some(mut curl) = curl() else { return };
    let site = serve(&[]);
    fs::write(site.path().join("page.html"), "<p>hello").unwrap();
    // The second request finds its response right behind the first head.
    let page = site.url("/page.html");
    let heads = text(&curl.args(["--head", &page, &page]).output().unwrap());
    for head in heads.trim_end().split("\r\n\r\n") {
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{heads}");
        assert!(head.contains("\r\ncontent-length: 8"), "{heads}");
        assert!(head.contains("\r\ncontent-type: text/html"), "{heads}");
    }
}

#[test]
fn two_requests_share_a_connection() {
    let Some(mut curl) = curl() else { return };
    let site = serve(&[]);
    fs::write(site.path().join("one"), "1").unwrap();
    curl.args(["--write-out", " %{num_connects}\n"]).args([site.url("/one"), site.url("/missing")]);
    assert_eq!(text(&curl.output().unwrap()), "1 1\n404 Not Found\n 0\n");
}

#[test]
fn folders_are_listed() {
    if curl().is_none() {
        return;
    }
    let site = serve(&[]);
    let get = |target: &str| {
        text(&curl().unwrap().args(["--location", &site.url(target)]).output().unwrap())
    };
    let folder = site.path().join("a folder");
    fs::create_dir_all(folder.join("inner")).unwrap();
    fs::write(folder.join("R&D 100%.txt"), "found").unwrap();
    // The name without a slash leads there, too.
    for target in ["/a%20folder/", "/a%20folder"] {
        let page = get(target);
        assert!(page.contains("<h1>/a folder</h1>"), "{page}");
        assert!(page.contains("<a href=\"inner/\">inner/</a>"), "{page}");
        assert!(page.contains("<a href=\"R%26D%20100%25.txt\">R&amp;D 100%.txt</a>"), "{page}");
    }
    assert_eq!(get("/a%20folder/R%26D%20100%25.txt?query"), "found");
    fs::write(folder.join("index.html"), "the index").unwrap();
    assert_eq!(get("/a%20folder/"), "the index");
}

#[test]
fn names_that_mean_something_else_are_refused() {
    let Some(first) = curl() else { return };
    let second = curl().expect("it was there");
    let site = serve(&[]);
    fs::create_dir(site.path().join("sub")).unwrap();
    fs::write(site.path().join("file.txt"), "hello").unwrap();
    let outside = site.path().with_extension("outside");
    fs::write(&outside, "secret").unwrap();
    let sibling = outside.file_name().unwrap().to_str().unwrap();
    assert_eq!(site.statuses(first, &["/file.txt", "//sub//"]), ["200", "200"]);
    let targets = [
        &format!("/../{sibling}"),
        &format!("/sub/../../{sibling}"),
        &format!("/%2e%2e/{sibling}"),
        &format!("/..%2f{sibling}"),
        &format!("/..%5c{sibling}"),
        "/sub/../file.txt",
        "/./file.txt",
        "/...",
        "/CON",
        "/nul",
        "/sub/AUX.txt",
        "/com1",
        "/COM%C2%B9",
        "/lpt9.log",
        "/con%20.txt",
        "/CONIN%24",
        "/file.txt.",
        "/file.txt%20",
        "/file.txt%20.",
        "/file.txt::$DATA",
        "/file.txt%3A%3A$DATA",
        "/C:/windows/win.ini",
        "/C%3A%5Cwindows%5Cwin.ini",
        "//localhost/C$/windows/win.ini",
        "/%5C%5Clocalhost%5Cpipe%5Cx",
        "/%5C%5C.%5CPhysicalDrive0",
        "/%5C%5C%3F%5CC:",
        "/file.txt%00",
        "/file.txt%0D%0A",
        "/file.txt/",
        "/%FF",
        "/file*",
        "/missing",
        "/missing/file",
        "/file.txt/file",
        &format!("/{}", "x".repeat(300)),
    ];
    for (target, status) in targets.iter().zip(site.statuses(second, &targets)) {
        assert_eq!(status, "404", "{target}");
    }
    fs::remove_file(&outside).unwrap();
}

#[cfg(unix)]
#[test]
fn links_that_lead_outside_are_refused() {
    let Some(curl) = curl() else { return };
    let site = serve(&[]);
    std::os::unix::fs::symlink("/etc/hostname", site.path().join("link")).unwrap();
    assert_eq!(site.statuses(curl, &["/link"]), ["404"]);
}

#[test]
fn what_is_no_request_is_answered_and_ended() {
    let site = serve(&[]);
    fs::write(site.path().join("file"), "hello").unwrap();
    let script = r"
def ask(request):
    s = connect()
    try: s.sendall(request)
    except OSError: pass
    answer = end(s)
    assert b'reset' not in answer, answer[-100:]
    print(answer.split(b'\r\n')[0].decode(), answer.count(b'HTTP/1.1'))
ask(b'\x00\xff' * 1000)
ask(b'hello\r\n\r\n')
ask(b'GET /file HTTP/1.1\r\n\r\n')
ask(b'GET file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
ask(b'GET /file HTTP/1.1\r\nHost: a\r\n' + b'X: y\r\n' * 100 + b'\r\n')
ask(b'GET /file HTTP/1.1\r\nHost: a\r\nX: ' + b'y' * 100_000 + b'\r\n\r\n')
ask(b'POST /file HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello' + GET)
ask(b'GET /file HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello' + GET)
ask(b'GET /file HTTP/1.0\r\n\r\n')
";
    let Some(lines) = site.python(script) else { return };
    let expected = [
        "400 Bad Request",
        "400 Bad Request",
        "400 Bad Request",
        "404 Not Found",
        "431 Request Header Fields Too Large",
        "431 Request Header Fields Too Large",
        "405 Method Not Allowed",
        "200 OK",
        "200 OK",
    ];
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines, expected.map(|status| format!("HTTP/1.1 {status} 1")));
}

/// What comes behind would be a request to one reader, and a body to another.
#[test]
fn a_body_of_unclear_length_is_refused_and_ends_the_connection() {
    let site = serve(&[]);
    fs::write(site.path().join("file"), "hello").unwrap();
    let script = r"
for headers in [
    b'Content-Length: 0\r\nContent-Length: 5',
    b'Content-Length: 5\r\nContent-Length: 5',
    b'Content-Length: \xff',
    b'Content-Length: \xff\r\nContent-Length: 0',
    b'Content-Length: +0',
    b'Content-Length: 0\r\nTransfer-Encoding: chunked',
    b'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
    b'Transfer-Encoding: \xff',
    b'Host: b',
    b'Content-Length: 0',
]:
    s = connect()
    s.sendall(b'GET /file HTTP/1.1\r\nHost: a\r\n' + headers + b'\r\n\r\n' + GET.replace(b'Host: a', b'Host: a\r\nConnection: close'))
    answer = end(s)
    print(answer.split(b'\r\n')[0].decode(), answer.count(b'HTTP/1.1'))
";
    let Some(lines) = site.python(script) else { return };
    let lines: Vec<_> = lines.lines().collect();
    let (last, refused) = lines.split_last().unwrap();
    assert_eq!(refused, ["HTTP/1.1 400 Bad Request 1"; 9]);
    assert_eq!(*last, "HTTP/1.1 200 OK 2");
}

#[test]
fn requests_may_come_all_at_once_or_byte_by_byte() {
    let site = serve(&[]);
    fs::write(site.path().join("file"), "hello").unwrap();
    let script = r"
s = connect()
s.sendall(GET * 20)
for byte in GET: s.sendall(bytes([byte]))
s.sendall(GET.replace(b'Host: a', b'Host: a\r\nConnection: close'))
print(end(s).count(b'\r\n\r\nhello'))
";
    let Some(lines) = site.python(script) else { return };
    assert_eq!(lines.trim(), "22");
}

#[test]
fn slow_clients_are_ended_and_others_served() {
    let site = serve(&["--timeout", "1"]);
    write_pattern(&site.path().join("file"), 10_000_000);
    let script = r"
import time
silent, slow, unread = connect(), connect(), socket.socket()
unread.settimeout(20)
unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
unread.connect((sys.argv[1], int(sys.argv[2])))
unread.sendall(GET)
start = time.monotonic()
try:
    for byte in b'GET /' + b'x' * 1000:
        slow.sendall(bytes([byte]))
        time.sleep(0.1)
except OSError: pass
assert time.monotonic() - start < 15, 'the slow one is still served'
end(silent)
end(connect())
# More than fits into the buffers is missing.
assert len(end(unread)) < 10_000_000
s = connect()
s.sendall(GET.replace(b'Host: a', b'Host: a\r\nConnection: close'))
print(len(end(s)) > 10_000_000)
";
    let Some(lines) = site.python(script) else { return };
    assert_eq!(lines.trim(), "True");
}

#[test]
fn resets_do_no_harm_and_leave_no_handle_open() {
    let site = serve(&["--timeout", "2"]);
    write_pattern(&site.path().join("file"), 500_000);
    let script = r"
for round in range(100):
    s = connect()
    if round % 3 > 0: s.sendall(GET)
    if round % 3 == 2: s.recv(1000)
    reset(s)
    s = connect()
    s.sendall(GET.replace(b'Host: a', b'Host: a\r\nConnection: close'))
    assert len(end(s)) > 500_000
";
    let before = site.server.open_handles();
    if site.python(script).is_none() {
        return;
    }
    eventually("the handles are closed", || site.server.open_handles() < before + 100);
}

#[test]
fn connections_wait_if_there_are_too_many() {
    let site = serve(&["--connections", "2"]);
    fs::write(site.path().join("file"), "hello").unwrap();
    let script = r"
many = [connect() for _ in range(10)]
for s in many: s.sendall(GET.replace(b'Host: a', b'Host: a\r\nConnection: close'))
for s in many: assert end(s).endswith(b'hello')
print('all')
";
    let Some(lines) = site.python(script) else { return };
    assert_eq!(lines.trim(), "all");
}

#[test]
fn hundreds_of_connections_are_served_at_a_time() {
    let Some(mut curl) = curl() else { return };
    let site = serve(&[]);
    write_pattern(&site.path().join("file"), 100_000);
    // Each transfer has a connection of its own, because none is done yet.
    curl.args(["--parallel", "--parallel-immediate", "--parallel-max", "256"]);
    curl.args(["--write-out", "%{http_code} %{size_download}\n"]);
    for _ in 0..512 {
        curl.args(["--output", NOWHERE]).arg(site.url("/file"));
    }
    let lines = text(&curl.output().unwrap());
    assert_eq!(lines.lines().filter(|line| *line == "200 100000").count(), 512, "{lines}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_and_it_says_what_it_did() {
    let Some(curl) = curl() else { return };
    let site = serve(&["--verbose"]);
    assert_eq!(site.statuses(curl, &["/missing"]), ["404"]);
    let lines = site.server.interrupt();
    assert!(lines[0].ends_with(" GET /missing: 404"), "{lines:?}");
    assert_eq!(lines[1], "1 requests in 1 connections");
}

#[cfg(unix)]
#[test]
fn who_is_being_served_at_the_end_is_served() {
    const LENGTH: usize = 10_000_000;
    let site = serve(&[]);
    write_pattern(&site.path().join("file"), LENGTH);
    let begun = site.path().join("begun");
    let script = format!(
        r"
import pathlib
idle, s = connect(), connect()
s.sendall(GET)
received = s.recv(1000)
pathlib.Path({begun:?}).touch()
try:
    while True: connect().close()
except OSError: pass
assert end(idle) == b''
print(len(received + end(s)) > {LENGTH})
"
    );
    if program_tests::tool(&["python3", "python"]).is_none() {
        return;
    }
    let Site { server, address, folder } = site;
    let said = std::thread::scope(|scope| {
        let client = scope.spawn(|| look(&address, &script));
        eventually("it is being served", || begun.exists());
        let lines = server.interrupt();
        assert!(lines[0].starts_with("1 requests in "), "{lines:?}");
        client.join().unwrap()
    });
    drop(folder);
    assert_eq!(said.unwrap().trim(), "True");
}

#[test]
fn mistakes_are_explained() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (args, message) in [
        (&["no such folder"][..], "cannot serve the folder no such folder"),
        (&[".", "--listen", "nowhere"], "cannot listen on nowhere"),
        (&[".", "--listen", &address], &format!("cannot listen on {address}")),
    ] {
        let output = run("http", args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(message), "{errors}");
    }
}
