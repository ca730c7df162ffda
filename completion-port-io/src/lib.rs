//! Streams and pipes on a Windows I/O completion port, with the traits of tokio, hyper and
//! futures-io.
//!
//! A [`Stream`] is a connection or a pipe that is associated with a port of the crate
//! [`completion_port`]. Whoever dequeues from the port wakes whoever waits for the stream: a
//! thread that parks in the port ([`Iocp::block_on`]), or one beside any runtime
//! ([`Driver`]).
//!
//! [`Driver`]: completion_port::Driver
//! [`Iocp::block_on`]: completion_port::Iocp::block_on
#![cfg_attr(
    feature = "tokio",
    doc = r#"
```
use completion_port::{Driver, Iocp};
use completion_port_io::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

# #[tokio::main(flavor = "current_thread")]
# async fn main() -> std::io::Result<()> {
let port = Iocp::typed()?;
let _driver = Driver::spawn(&port)?;
let listener = port.add_handle(std::net::TcpListener::bind("127.0.0.1:0")?, 0)?;
let accept = port.initiate_accept(&listener, ())?;

let peer = listener.get_ref().local_addr()?;
let mut client = Stream::connect(&port, peer).await?;
let (_, stream) = accept.await?;
let mut server = Stream::new(&port, stream)?;

client.write_all(b"hello").await?;
client.shutdown().await?;
let mut text = String::new();
server.read_to_string(&mut text).await?;
assert_eq!(text, "hello");
# Ok(())
# }
```
"#
)]
//!
//! # Reading and writing
//!
//! A socket is read without a buffer in between: a receive of no bytes waits until there is
//! something, and a receive that does not block takes it into the caller's memory. It is
//! written by a send that does not block; what that has no room for, at most
//! [`Stream::BUFFER`] bytes, goes into a buffer of the stream's, and until it is out the next
//! write waits. A pipe has no calls that do not block, so both directions have a buffer.
//!
//! All memory that the system gets is owned by the port's operations. So a future that is
//! dropped loses no data: what arrives goes to the next read, and what was taken for writing
//! is written. Dropping the stream cancels what is in flight; flush it before.
//!
//! # Features
//!
//! None is on unless it is asked for.
//! - `tokio`: `tokio::io::AsyncRead` and `AsyncWrite`.
//! - `futures-io`: `futures_io::AsyncRead` and `AsyncWrite`, which the crates futures and
//!   smol use.
//! - `executor`: an [`Executor`] whose threads park in the port.
//! - `hyper`: `hyper::rt::Read` and `Write`, `hyper::rt::Executor` for the executor, and a
//!   [`Timer`](hyper::Timer). It includes `executor` and `tokio`, but nothing of tokio's
//!   runtime.
//!
//! The traits have methods of equal names: import those of one crate.
//!
//! # Examples
//!
//! Whole programs are in the folder `examples`:
//! - `hyper_http`: an HTTP server by hyper, with a port and an executor for each thread.
//! - `file_tasks`: overlapped reads of a file, awaited by tasks of tokio beside a `Driver`.
//! - `message_pipe`: a server of a message pipe that stops without losing a message.
//! - `timeouts`: time-outs, races and cancelling that lose no data.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[cfg(not(windows))]
compile_error!(
    "completion-port-io is for Windows: build with `--target x86_64-pc-windows-gnu`, or depend on \
     it under `[target.'cfg(windows)'.dependencies]`"
);

/// The code in the README is compiled, too.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(windows, feature = "executor"))]
mod executor;
#[cfg(all(windows, feature = "futures-io"))]
mod futures_io;
#[cfg(all(windows, feature = "hyper"))]
pub mod hyper;
#[cfg(windows)]
mod stream;
#[cfg(all(windows, feature = "tokio"))]
mod tokio;
#[cfg(windows)]
mod transport;

/// A task of an [`Executor`].
#[cfg(all(windows, feature = "executor"))]
pub use async_executor::Task;
#[cfg(all(windows, feature = "executor"))]
pub use executor::Executor;
#[cfg(windows)]
pub use stream::Stream;
#[cfg(windows)]
pub use transport::Transport;
