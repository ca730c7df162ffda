//! Windows I/O completion ports: safe and idiomatic, without an allocation, a
//! lock or an extra system call per operation.
//!
//! ```
//! use std::io::Write;
//! use std::net::{TcpListener, TcpStream};
//!
//! use completion_port::Iocp;
//!
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! # client.write_all(b"hello")?;
//! let port = Iocp::new()?;
//! let stream = port.add_handle(stream, 123)?;
//! port.initiate_read(&stream, 456, Vec::with_capacity(1024))?;
//!
//! let mut completion = port.get_completion()?;
//! assert_eq!(completion.context, 456);
//! completion.error_status?;
//! let buffer: Vec<u8> = completion.operation.take_buffer().unwrap();
//! assert_eq!(buffer, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! - [`Iocp`] is the port. [`add_handle`](Iocp::add_handle) associates sockets,
//!   files, pipes and devices with it.
//! - `initiate_...` starts an operation, which takes a context and a buffer, and
//!   returns a [`Pending`] to track or cancel it. What cannot be started comes
//!   back in a [`Rejected`].
//! - [`initiate`](Iocp::initiate) starts any of the operations in [`op`].
//! - [`fs`] opens files for overlapped I/O, [`pipe`] creates and opens named pipes, and
//!   [`unix`] sockets with a path.
//! - [`listener`] keeps accepts in flight on a listening socket.
//! - [`process`] starts children whose streams are on the port, and [`job`] tells of a tree
//!   of processes.
//! - [`get_completion`](Iocp::get_completion) returns a [`CompletionStatus`]:
//!   context, bytes, error, buffer. A [`Batch`] takes many at a time.
//! - [`scope`](Iocp::scope) is for buffers that are only borrowed.
//! - Any operation can be awaited: `read.await?`, `read.timeout(duration).await`. A
//!   [`Driver`] dequeues beside tokio or any other runtime, and
//!   [`block_on`](Iocp::block_on) needs none.
//! - [`after`](Iocp::after) starts a timer, and [`set_deadline`](Pending::set_deadline) gives
//!   an operation a deadline.
//! - [`run`](Iocp::run) is the loop of a thread that dequeues, and
//!   [`shut_down`](Iocp::shut_down) ends a port.
//!
//! **Start with the [`guide`]**, which shows how programs are built of these.
//!
//! Contexts are `usize` unless the port is [made](Iocp::typed) for another
//! type. No value of this crate, dropped, leaked or kept, at whatever time and
//! on whatever thread, lets memory go that the kernel may still use.
//!
//! # Features
//!
//! None is on unless it is asked for.
//! - `bytes`: `Bytes` and `BytesMut` of the crate `bytes` are buffers.
//! - `socket2`: `Socket` of the crate `socket2` can be associated with a port.
//! - `tracing`: the crate `tracing` gets an event, of the level `TRACE` and the target
//!   `completion_port`, for each operation that is started, not started after all,
//!   completed or asked to be cancelled. Without the feature, operations have no
//!   instruction more. An event names its operation by the address of its `OVERLAPPED`,
//!   which operations use one after the other. (An accept of a [`listener`] may have
//!   completed on another thread before its start is told.)
#![deny(missing_docs, unsafe_code)]

#[cfg(not(windows))]
compile_error!(
    "completion-port is for Windows: build with `--target x86_64-pc-windows-gnu`, or depend on it \
     under `[target.'cfg(windows)'.dependencies]`"
);

/// The code in the README is compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// Before all that adds methods to it, so that its documentation has these first.
#[cfg(windows)]
mod port;

#[allow(unsafe_code)]
#[cfg(windows)]
mod buffer;
#[cfg(windows)]
mod error;
#[cfg(windows)]
pub mod fs;
#[cfg(windows)]
mod future;
#[cfg(windows)]
pub mod guide;
#[cfg(windows)]
mod handle;
#[cfg(windows)]
mod io;
#[cfg(windows)]
pub mod job;
#[cfg(windows)]
pub mod listener;
#[cfg(windows)]
pub mod op;
#[allow(unsafe_code)]
#[cfg(windows)]
mod operation;
#[cfg(windows)]
mod panics;
#[cfg(windows)]
pub mod pipe;
#[cfg(windows)]
pub mod process;
#[cfg(windows)]
mod scope;
#[cfg(windows)]
mod socket;
#[allow(unsafe_code)]
#[cfg(windows)]
mod sys;
#[cfg(windows)]
mod trace;
#[cfg(windows)]
pub mod unix;

#[cfg(windows)]
pub use buffer::{IoBuf, IoBufMut, PageList, Pages, Slice};
#[cfg(windows)]
pub use error::{Error, ErrorKind, Failed, ForeignPacket, OperationKind, Rejected, Result};
#[cfg(windows)]
pub use future::{
    Awaited, AwaitedMut, AwaitedStarted, Completions, Driver, NoContext, Parker, Unparker,
};
#[cfg(windows)]
pub use handle::{Adoptable, Associated, Inline, Mode, Queued, RawOverlapped, RawValue, Socket};
#[cfg(windows)]
pub use io::unconnected_stream;
#[cfg(windows)]
pub use op::wait::Waitable;
#[cfg(windows)]
pub use operation::{CompletionStatus, Finished, InScope, Operation, Pending, Started};
#[cfg(windows)]
pub use port::{Batch, Builder, Iocp, WeakIocp};
#[cfg(windows)]
pub use scope::Scope;
