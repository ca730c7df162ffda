//! Serves a folder over HTTP/1.1: files, parts of files, listings.
//!
//! One thread, one port. Each connection has one operation in flight at a time, whose
//! context is the connection's number. To end a connection is to drop it: that closes the
//! socket and cancels the operation, whose completion then finds nobody. Each operation
//! has a deadline, so that a client that is too slow is ended as one that has failed.
//!
//! The system sends the files itself, in pieces, each with a deadline of its own.
//!
//! Ctrl-C stops the listener. What was accepted is served, and the program ends when the
//! last connection does.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::net::Shutdown;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::{Parser, value_parser};
use completion_port::listener::{self, Listener};
use completion_port::{CompletionStatus, Iocp, op};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use programs::{listen, on_ctrl_c, refill, say};

/// Serve a folder over HTTP
#[derive(Parser)]
struct Arguments {
    /// The folder to serve
    folder: PathBuf,
    /// Where to listen; port 0 is one of the system's choice
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// How long a client may take to send a request, or to receive 256 KiB
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    #[arg(value_parser = value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// How many connections are served at a time; more have to wait
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Print each request
    #[arg(long)]
    verbose: bool,
}

/// How much of a file is sent by one operation, in bytes.
const PIECE: u64 = 256 * 1024;
/// How long the head of a request may be, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How many headers it may have.
const MAX_HEADERS: usize = 64;
/// How long to wait, after the last response, for the client to end the connection.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long to go on serving after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an operation was for, and of which connection.
enum Event {
    Accepted,
    /// It is time to start the accepts that are missing.
    Refill,
    /// Ctrl-C was pressed, or has been for long enough.
    Stop,
    Received(u64),
    Sent(u64),
    Transmitted(u64),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = arguments.folder.display();
    let root = fs::canonicalize(&arguments.folder)
        .with_context(|| format!("cannot serve the folder {folder}"))?;
    ensure!(root.is_dir(), "cannot serve {folder}: it is not a folder");

    let port = Iocp::<Event>::typed()?;
    on_ctrl_c(&port, |port| drop(port.post(Event::Stop, 0, 0)))?;
    let timeout = Duration::from_secs(arguments.timeout);
    let mut server = Server {
        listener: listen(&port, &arguments.listen, arguments.connections, || Event::Accepted)?,
        site: Site { root, timeout, is_closing: false },
        connections: HashMap::new(),
        accepted: 0,
        requests: 0,
        is_verbose: arguments.verbose,
        port: port.clone(),
    };
    refill(&port, &server.listener, Event::Refill);
    port.run(|completion| server.complete(completion))?;
    say(format_args!("{} requests in {} connections", server.requests, server.accepted));
    Ok(())
}

struct Server {
    port: Iocp<Event>,
    listener: Listener<Event>,
    site: Site,
    connections: HashMap<u64, Connection>,
    accepted: u64,
    requests: u64,
    is_verbose: bool,
}

/// What all connections know.
struct Site {
    /// The folder, in the form in which the system takes all names literally (`\\?\`).
    root: PathBuf,
    timeout: Duration,
    /// Whether each response is the last of its connection.
    is_closing: bool,
}

struct Connection {
    number: u64,
    client: listener::Connection,
    /// When the connection is ended, unless it has got further.
    deadline: Instant,
    /// What was received, and not been answered yet. It is empty while a read has it.
    received: Vec<u8>,
    state: State,
}

enum State {
    /// It waits for a request.
    Receiving,
    /// It sends a response, of which so much of the file is left.
    Sending { left: Range<u64>, keeps_alive: bool },
    /// Its last response is sent. What else comes is read and dropped: a connection that
    /// is closed with data unread is reset, and the client may lose the response.
    Ending,
}

impl Server {
    fn complete(&mut self, mut completion: CompletionStatus<Event>) {
        match completion.context {
            Event::Accepted => self.accepted(&mut completion),
            Event::Refill => refill(&self.port, &self.listener, Event::Refill),
            Event::Stop => self.stop(),
            Event::Received(number) | Event::Sent(number) | Event::Transmitted(number) => {
                self.go_on(number, completion);
            }
        }
        if self.site.is_closing && self.connections.is_empty() && self.listener.in_flight() == 0 {
            self.port.close();
        }
    }

    fn go_on(&mut self, number: u64, completion: CompletionStatus<Event>) {
        // It may have been ended meanwhile.
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.complete(&self.port, &self.site, completion) {
            Ok(None) => {}
            Ok(Some(log)) => {
                self.requests += 1;
                if self.is_verbose {
                    say(format_args!("{} {log}", connection.client.peer));
                }
            }
            Err(_) => drop(self.connections.remove(&number)),
        }
    }

    fn accepted(&mut self, completion: &mut CompletionStatus<Event>) {
        // The client may have gone already; what else there is, `refill` says.
        let Ok(accepted) = self.listener.accepted(completion) else { return };
        // The end of a piece does not wait for what comes before to be acknowledged. Where
        // that cannot be asked for, it only takes longer.
        let _ = accepted.get_ref().set_nodelay(true);
        let Ok(client) = accepted.associate(&self.port, 0) else { return };
        self.accepted += 1;
        let mut connection = Connection {
            number: self.accepted,
            client,
            deadline: Instant::now() + self.site.timeout,
            received: Vec::new(),
            state: State::Receiving,
        };
        if connection.receive(&self.port).is_ok() {
            self.connections.insert(connection.number, connection);
        }
    }

    /// Ends the program when what was accepted has been served, or after a while, or at once
    /// if it is told so again.
    fn stop(&mut self) {
        let waits = !mem::replace(&mut self.site.is_closing, true)
            && self.port.after(PATIENCE, Event::Stop).is_ok();
        if !waits {
            return self.port.close();
        }
        self.listener.stop();
        for connection in self.connections.values() {
            if matches!(connection.state, State::Receiving) {
                // A request that was faster is answered.
                let _ = connection.client.stream.cancel_all();
            }
        }
    }
}

impl Connection {
    /// Takes the connection a step further. If it was given a request, says which and
    /// what it answers.
    fn complete(
        &mut self,
        port: &Iocp<Event>,
        site: &Site,
        mut completion: CompletionStatus<Event>,
    ) -> io::Result<Option<String>> {
        completion.error_status?;
        match completion.context {
            Event::Received(_) if completion.bytes_transferred == 0 => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Event::Received(_) => {
                self.received = completion.operation.output()?;
                self.answer(port, site)
            }
            Event::Transmitted(_) => {
                let sent: op::Transmitted<File, Vec<u8>> = completion.operation.output()?;
                match &self.state {
                    // The file has become shorter than was said.
                    _ if sent.missing > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    State::Sending { left, .. } if !left.is_empty() => {
                        self.deadline = Instant::now() + site.timeout;
                        self.transmit(port, sent.file, Vec::new()).map(|()| None)
                    }
                    _ => self.sent(port, site),
                }
            }
            _ => self.sent(port, site),
        }
    }

    /// Reads behind what was received already.
    fn receive(&mut self, port: &Iocp<Event>) -> io::Result<()> {
        let mut buffer = mem::take(&mut self.received);
        buffer.reserve(1024);
        let read = port.initiate_read(&self.client.stream, Event::Received(self.number), buffer)?;
        Ok(read.set_deadline(self.deadline)?)
    }

    /// Answers the request that was received, or receives the rest of it.
    fn answer(&mut self, port: &Iocp<Event>, site: &Site) -> io::Result<Option<String>> {
        if matches!(self.state, State::Ending) {
            self.received.clear();
            return self.receive(port).map(|()| None);
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let (line, length, response) = match request.parse(&self.received) {
            Ok(httparse::Status::Complete(length)) => {
                let line = format!(
                    "{} {}",
                    request.method.unwrap_or_default(),
                    request.path.unwrap_or_default()
                );
                (line, length, Response::to(&request, site))
            }
            Ok(httparse::Status::Partial) if self.received.len() < MAX_HEAD => {
                return self.receive(port).map(|()| None);
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                ("(too long)".to_owned(), self.received.len(), Response::error(431))
            }
            Err(error) => (format!("({error})"), self.received.len(), Response::error(400)),
        };
        self.received.drain(..length);
        let log = format!("{line}: {}", response.status);
        self.send(port, site, response)?;
        Ok(Some(log))
    }

    fn send(&mut self, port: &Iocp<Event>, site: &Site, response: Response) -> io::Result<()> {
        let Response { keeps_alive, body, .. } = &response;
        let (head, keeps_alive) = (response.head(), *keeps_alive);
        self.deadline = Instant::now() + site.timeout;
        let left = match body {
            Body::File(_, range) if !response.is_head => range.clone(),
            _ => 0..0,
        };
        let is_empty = left.is_empty();
        self.state = State::Sending { left, keeps_alive };
        match response.body {
            Body::File(file, _) if !is_empty => self.transmit(port, file, head),
            Body::Text(text) if !response.is_head => {
                self.write(port, [head, text.into_bytes()].concat())
            }
            _ => self.write(port, head),
        }
    }

    fn write(&self, port: &Iocp<Event>, message: Vec<u8>) -> io::Result<()> {
        let write = port.initiate_write(&self.client.stream, Event::Sent(self.number), message)?;
        Ok(write.set_deadline(self.deadline)?)
    }

    /// Sends the next piece of a file, behind the head of its response if it is the first.
    fn transmit(&mut self, port: &Iocp<Event>, file: File, head: Vec<u8>) -> io::Result<()> {
        let State::Sending { left, .. } = &mut self.state else { return Ok(()) };
        let (start, length) = (left.start, PIECE.min(left.end - left.start));
        left.start += length;
        let piece = op::TransmitFile::new(file, start, length).head(head);
        let sent = port.initiate(&self.client.stream, Event::Transmitted(self.number), piece)?;
        Ok(sent.set_deadline(self.deadline)?)
    }

    /// A response was sent: the next request may have come already.
    fn sent(&mut self, port: &Iocp<Event>, site: &Site) -> io::Result<Option<String>> {
        if !site.is_closing && matches!(self.state, State::Sending { keeps_alive: true, .. }) {
            self.state = State::Receiving;
            self.deadline = Instant::now() + site.timeout;
        } else {
            self.client.stream.shutdown(Shutdown::Write)?;
            self.state = State::Ending;
            self.deadline = Instant::now() + FAREWELL;
        }
        self.answer(port, site)
    }
}

struct Response {
    status: u16,
    /// Further headers, each with its end of line.
    headers: String,
    body: Body,
    /// Whether the body is not sent, but only its headers.
    is_head: bool,
    keeps_alive: bool,
}

enum Body {
    None,
    Text(String),
    File(File, Range<u64>),
}

impl Response {
    fn new(status: u16, headers: String, body: Body) -> Self {
        Self { status, headers, body, is_head: false, keeps_alive: true }
    }

    /// A response that says what is wrong, after which nothing more is understood.
    fn error(status: u16) -> Self {
        let headers = "content-type: text/plain\r\n".to_owned();
        let text = format!("{status} {}\n", reason(status));
        let mut response = Self::new(status, headers, Body::Text(text));
        response.keeps_alive = false;
        response
    }

    fn to(request: &httparse::Request<'_, '_>, site: &Site) -> Self {
        let is_old = request.version == Some(0);
        let (Ok(host), Ok(length), Ok(encoding)) = (
            only(request, "host"),
            only(request, "content-length"),
            only(request, "transfer-encoding"),
        ) else {
            return Self::error(400);
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        if !length.is_none_or(is_number) || length.and(encoding).is_some() {
            return Self::error(400);
        }
        let has_body = encoding.is_some() || length.is_some_and(|length| length != "0");
        let connection = header(request, "connection").unwrap_or_default();
        let wants = |what: &str| {
            connection.split(',').any(|option| option.trim().eq_ignore_ascii_case(what))
        };
        let is_head = request.method == Some("HEAD");
        let response = match request.method {
            _ if !is_old && host.is_none() => Self::error(400),
            Some("GET" | "HEAD") => Self::get(request, site)
                .unwrap_or_else(|error| Self { keeps_alive: true, ..Self::of_error(&error) }),
            _ => {
                let mut response = Self::error(405);
                response.headers.push_str("allow: GET, HEAD\r\n");
                response
            }
        };
        // A body that is not read would be taken for the next request.
        let can_go_on = response.keeps_alive && !has_body && !site.is_closing;
        let keeps_alive = can_go_on && if is_old { wants("keep-alive") } else { !wants("close") };
        Self { is_head, keeps_alive, ..response }
    }

    fn of_error(error: &io::Error) -> Self {
        Self::error(match error.kind() {
            io::ErrorKind::NotFound => 404,
            io::ErrorKind::PermissionDenied => 403,
            _ => 500,
        })
    }

    /// What is there by the name in a request. (Looking there blocks the thread, as the
    /// system has no overlapped calls for it.)
    fn get(request: &httparse::Request<'_, '_>, site: &Site) -> io::Result<Self> {
        let target = request.path.unwrap_or_default();
        let names = names(target).ok_or(io::ErrorKind::NotFound)?;
        let path = names.iter().fold(site.root.clone(), |path, name| path.join(name));
        // Where links lead. Nothing outside of the folder is served.
        let mut path = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => error,
            // Or it is too long, or otherwise no name at all.
            _ => io::ErrorKind::NotFound.into(),
        })?;
        if !path.starts_with(&site.root) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_folder = target.split('?').next().is_some_and(|path| path.ends_with('/'));
        if path.is_dir() {
            if !is_folder {
                return Ok(Self::redirect(&names));
            }
            match fs::canonicalize(path.join("index.html")) {
                Ok(index) if index.starts_with(&site.root) => path = index,
                _ => return Self::listing(&path, &names),
            }
        } else if is_folder {
            return Err(io::ErrorKind::NotFound.into());
        }
        Self::file(request, &path)
    }

    /// A file, or the part of it that is asked for.
    fn file(request: &httparse::Request<'_, '_>, path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let (length, changed) = (metadata.len(), httpdate::fmt_http_date(metadata.modified()?));
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        let mut headers = format!(
            "content-type: {kind}\r\naccept-ranges: bytes\r\nlast-modified: {changed}\r\n\
             x-content-type-options: nosniff\r\n"
        );
        if header(request, "if-modified-since") == Some(&changed) {
            return Ok(Self::new(304, headers, Body::None));
        }
        // A part is of no use to a client that has the rest of another version.
        let is_of_this = header(request, "if-range").is_none_or(|date| date == changed);
        let ranges = header(request, "range").filter(|_| is_of_this);
        // What is not understood is as if it was not there.
        let ranges = ranges.and_then(|text| http_range_header::parse_range_header(text).ok());
        let part = match ranges.map(|ranges| ranges.validate(length)) {
            None => None,
            Some(Err(_)) => {
                let _ = write!(headers, "content-range: bytes */{length}\r\n");
                return Ok(Self::new(416, headers, Body::Text(String::new())));
            }
            // The whole file answers a request for several parts, too.
            Some(Ok(parts)) => <[_; 1]>::try_from(parts).ok(),
        };
        let Some([part]) = part else {
            return Ok(Self::new(200, headers, Body::File(file, 0..length)));
        };
        let (start, end) = part.into_inner();
        let _ = write!(headers, "content-range: bytes {start}-{end}/{length}\r\n");
        Ok(Self::new(206, headers, Body::File(file, start..end + 1)))
    }

    /// Says that a folder's name ends with a slash, without which the links in it lead
    /// elsewhere.
    fn redirect(names: &[String]) -> Self {
        let names = names.iter().map(|name| encoded(name)).collect::<Vec<_>>().join("/");
        Self::new(301, format!("location: /{names}/\r\n"), Body::Text(String::new()))
    }

    fn listing(folder: &Path, names: &[String]) -> io::Result<Self> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // No request could ask for the others.
            if let Ok(name) = entry.file_name().into_string()
                && is_plain(&name)
            {
                let end = if entry.file_type()?.is_dir() { "/" } else { "" };
                entries.push((name, end));
            }
        }
        entries.sort();
        let title = html_escape::encode_text(&names.join("/")).into_owned();
        let mut page = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>/{title}</title>\n\
             <h1>/{title}</h1>\n<ul>\n"
        );
        if !names.is_empty() {
            page.push_str("<li><a href=\"../\">../</a>\n");
        }
        for (name, end) in entries {
            let (link, text) = (encoded(&name), html_escape::encode_text(&name));
            let _ = writeln!(page, "<li><a href=\"{link}{end}\">{text}{end}</a>");
        }
        page.push_str("</ul>\n");
        Ok(Self::new(
            200,
            "content-type: text/html; charset=utf-8\r\n".to_owned(),
            Body::Text(page),
        ))
    }

    fn head(&self) -> Vec<u8> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let connection = if self.keeps_alive { "keep-alive" } else { "close" };
        let mut head = format!(
            "HTTP/1.1 {} {}\r\ndate: {date}\r\nconnection: {connection}\r\n{}",
            self.status,
            reason(self.status),
            self.headers,
        );
        let length = match &self.body {
            Body::None => None,
            Body::Text(text) => Some(text.len() as u64),
            Body::File(_, range) => Some(range.end - range.start),
        };
        if let Some(length) = length {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        _ => "Internal Server Error",
    }
}

fn header<'r>(request: &'r httparse::Request<'_, '_>, name: &str) -> Option<&'r str> {
    let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok()
}

/// A header that must not be there twice, nor be anything but text: otherwise where a body ends
/// would be up to the reader. See "Message Body Length"
/// (<https://www.rfc-editor.org/rfc/rfc9112#section-6.3>).
fn only<'r>(request: &'r httparse::Request<'_, '_>, name: &str) -> io::Result<Option<&'r str>> {
    let is_named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
    let value = header(request, name);
    let count = request.headers.iter().filter(is_named).count();
    if count == usize::from(value.is_some()) {
        Ok(value)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// The names of folders and a file in the target of a request, from the root on, unless
/// one of them could mean anything but itself.
fn names(target: &str) -> Option<Vec<String>> {
    let path = target.split('?').next()?.strip_prefix('/')?;
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let names = path.split('/').filter(|name| !name.is_empty());
    names.map(|name| is_plain(name).then(|| name.to_owned())).collect()
}

/// Whether a name is that of a file or folder, and of no other than it seems: see "Naming
/// Files, Paths, and Namespaces"
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
fn is_plain(name: &str) -> bool {
    const RESERVED: &str = "<>:\"/\\|?*";
    // "Do not end a file or directory name with a space or a period", which the system
    // drops. That includes `.` and `..`.
    !name.ends_with(['.', ' '])
        // `:` begins the name of a stream, `\` ends that of a folder, and others are for
        // several files.
        && !name.contains(|char: char| RESERVED.contains(char) || char.is_control())
        && !is_device(name)
}

/// "Do not use the following reserved names": of devices, in whatever folder, and
/// "avoid these names followed immediately by an extension".
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    let numbered = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let is_number = |rest: &str| {
        let mut chars = rest.chars();
        chars.next().is_some_and(|char| "0123456789¹²³".contains(char)) && chars.next().is_none()
    };
    numbered.is_some_and(is_number)
        || ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
}

/// A name as it stands in a link.
fn encoded(name: &str) -> String {
    const UNRESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(name, UNRESERVED).to_string()
}
