//! What is measured, and on what.

/// One row: a table of its own, with a line for each peer.
pub struct Row {
    pub name: &'static str,
    pub job: Job,
    /// What is counted.
    pub unit: &'static str,
}

#[derive(PartialEq)]
pub enum Job {
    Echo {
        connections: usize,
        size: usize,
    },
    /// Connect, have one message echoed, close.
    Connect {
        connections: usize,
        size: usize,
    },
    File {
        depth: usize,
    },
    Pipe,
    Posts {
        threads: usize,
    },
}

pub struct Peer {
    /// Its name in the tables.
    pub name: &'static str,
    /// The name of its program.
    pub program: &'static str,
    /// How it is used.
    pub how: &'static str,
    files: bool,
    pipes: bool,
    posts: bool,
}

pub const ROWS: [Row; 13] = [
    echo("echo 1 x 64 B", 1, 64),
    echo("echo 64 x 64 B", 64, 64),
    echo("echo 512 x 64 B", 512, 64),
    echo("echo 1 x 16 KiB", 1, 16 * 1024),
    echo("echo 64 x 16 KiB", 64, 16 * 1024),
    echo("echo 512 x 16 KiB", 512, 16 * 1024),
    Row {
        name: "accept, echo 64 B, close",
        job: Job::Connect { connections: 64, size: 64 },
        unit: "connections",
    },
    file("file reads of 4 KiB, depth 1", 1),
    file("file reads of 4 KiB, depth 32", 32),
    Row { name: "pipe ping-pong of 64 B", job: Job::Pipe, unit: "round trips" },
    posts("post and dequeue, 1 thread", 1),
    posts("post and dequeue, 2 threads on one port", 2),
    posts("post and dequeue, 8 threads on one port", 8),
];

const fn echo(name: &'static str, connections: usize, size: usize) -> Row {
    Row { name, job: Job::Echo { connections, size }, unit: "messages" }
}

const fn file(name: &'static str, depth: usize) -> Row {
    Row { name, job: Job::File { depth }, unit: "reads" }
}

const fn posts(name: &'static str, threads: usize) -> Row {
    Row { name, job: Job::Posts { threads }, unit: "packets" }
}

/// By this one the others are compared.
pub const BY_HAND: &str = "by hand";

pub const PEERS: [Peer; 9] = [
    Peer {
        name: "completion-port",
        program: "completion_port",
        how: "one thread, skip-on-success, batches, breadth first",
        files: true,
        pipes: true,
        posts: true,
    },
    Peer {
        name: BY_HAND,
        program: "by_hand",
        how: "windows-sys; one thread, skip-on-success, batches, breadth first",
        files: true,
        pipes: true,
        posts: true,
    },
    Peer {
        name: "miow",
        program: "miow",
        how: "one thread, batches; all completions through the port, as it documents",
        files: false,
        pipes: true,
        posts: false,
    },
    Peer {
        name: "windows-overlapped-io-sys",
        program: "windows_overlapped",
        how: "one thread, skip-on-success; one packet at a time, and a thread that accepts, as it \
              has no batches and no accept",
        files: true,
        pipes: true,
        posts: false,
    },
    Peer {
        name: "compio",
        program: "compio",
        how: "its runtime, which has one thread; a task for each connection",
        files: true,
        pipes: true,
        posts: false,
    },
    Peer {
        name: "mio",
        program: "mio",
        how: "one thread; reads and writes until it would block; it reads no files",
        files: false,
        pipes: true,
        posts: false,
    },
    Peer {
        name: "tokio",
        program: "tokio",
        how: "the current-thread runtime, as there is one processor; a task for each connection; \
              files by spawn_blocking",
        files: true,
        pipes: true,
        posts: false,
    },
    Peer {
        name: "smol",
        program: "smol",
        how: "a local executor; a task for each connection; files by unblock; it has no pipes",
        files: true,
        pipes: false,
        posts: false,
    },
    Peer {
        name: "blocking threads",
        program: "threads",
        how: "the standard library; a thread for each connection, read or end of a pipe",
        files: true,
        pipes: true,
        posts: false,
    },
];

impl Row {
    /// The name of a measurement.
    pub fn of(&self, peer: &Peer) -> String {
        format!("{}/{}", self.name, peer.name)
    }
}

impl Peer {
    pub fn does(&self, job: &Job) -> bool {
        match job {
            Job::File { .. } => self.files,
            Job::Pipe => self.pipes,
            Job::Posts { .. } => self.posts,
            _ => true,
        }
    }
}
