//! What the peers have in common: the jobs, and the command line.
//!
//! Each program in `src/bin` does the same jobs on another library, the way
//! that library's documentation recommends.
#![cfg(windows)]

mod file;
mod pipe;
mod posts;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use clap::{Parser, Subcommand};
use measure::say;
use socket2::{Domain, Socket, Type};

pub use file::{FileReads, Read};
pub use pipe::{PingPong, blocking_pipe, pipe_pair};
pub use posts::Posts;

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Bytes that a server receives at a time.
pub const BUFFER: usize = 16 * 1024;
/// Bytes of a file read.
pub const BLOCK: usize = 4096;
/// Bytes of a message on a pipe.
pub const MESSAGE: usize = 64;
/// Accepts in flight, and packets dequeued at a time, where a peer has them.
pub const BATCH: usize = 64;

/// What a peer can do. What it has no way of its own for, it leaves out.
pub struct Peer {
    /// Sends back what each connection sends, until it closes. For ever.
    pub echo: fn(TcpListener) -> Result,
    /// Reads blocks of a file.
    pub file: Option<fn(FileReads) -> Result>,
    /// Sends messages through a pipe and back.
    pub pipe: Option<fn(PingPong) -> Result>,
    /// Posts packets and dequeues them, on several threads.
    pub posts: Option<fn(Posts) -> Result>,
}

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Serve connections until killed
    Echo,
    /// Read blocks of a file
    File {
        /// Reads in flight at a time
        depth: usize,
        seconds: f64,
    },
    /// Send messages through a pipe and back
    Pipe { seconds: f64 },
    /// Post packets to a port and dequeue them
    Posts {
        /// That share the port
        threads: usize,
        seconds: f64,
    },
}

impl Peer {
    /// Does the job that the command line names.
    ///
    /// # Errors
    ///
    /// Those of the job.
    pub fn main(self) -> Result {
        match Args::parse().job {
            Job::Echo => (self.echo)(listen()?),
            Job::File { depth, seconds } => {
                let read = self.file.ok_or("this peer reads no files")?;
                read(FileReads::new(depth, Duration::from_secs_f64(seconds))?)
            }
            Job::Pipe { seconds } => {
                let play = self.pipe.ok_or("this peer has no pipes")?;
                play(PingPong::new(Duration::from_secs_f64(seconds)))
            }
            Job::Posts { threads, seconds } => {
                let post = self.posts.ok_or("this peer has no packets of its own")?;
                post(Posts::new(threads, Duration::from_secs_f64(seconds)))
            }
        }
    }
}

/// A listener with the longest queue, whose address is told at once.
///
/// Winsock's `SOMAXCONN`, not the 5 of its first version, nor the standard
/// library's 128: 512 clients connect at once.
fn listen() -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(i32::MAX)?;
    let listener = TcpListener::from(socket);
    say(&listener.local_addr()?.to_string());
    Ok(listener)
}
