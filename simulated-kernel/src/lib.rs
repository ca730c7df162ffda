//! A simulated kernel: the foreign functions that completion-port, the
//! standard library's sockets and the tests call, over a model of ports,
//! sockets, files and pipes in this process.
//!
//! A linker takes a function that the program itself defines before one of the
//! same name in a system's library, and Miri does so with those that it does not
//! know, which are completion ports, sockets and overlapped files. So the
//! functions of this crate stand under the unmodified library, in programs that
//! are built with `cfg(simulated_kernel)`. The model writes to the `OVERLAPPED`s
//! and buffers that it was lent through the pointers that it was given, not
//! atomically, from a thread of its own, under Miri at times drawn from its seed;
//! so Miri sees whatever the library does with that memory too early or too late.
//!
//! What the model does by chance a test can make it do: see `behave`. There is
//! one kernel in a program, so one test runs at a time.
//!
//! Not modelled: the event of an operation (`hEvent` is only looked at for its lowest bit),
//! child processes, jobs, devices.
#![cfg(all(windows, simulated_kernel))]
#![allow(non_snake_case, reason = "the functions have the system's names")]
#![allow(clippy::missing_safety_doc, reason = "they are called as the system's are")]

mod address;
mod behaviour;
mod cancel;
mod closed;
mod create;
mod directory;
mod file;
mod handle;
mod kernel;
mod leave;
mod lock;
mod memory;
mod message;
mod object;
mod operation;
mod packets;
mod pipe;
mod pipe_wait;
mod port;
mod socket;
mod status;
mod stream;
mod thread;
mod timer;
mod wait;
mod winsock;

pub use behaviour::{Behaving, Behaviour, Chance, FOREVER, behave, heed_cancels, scribble, seed};
pub use create::{Created, Opened, created, opened};
pub use directory::{change, open as open_directory};
pub use file::open as open_file;
pub use handle::close_elsewhere;
pub use pipe::{BlockingPipe, open as open_pipe};
pub use pipe_wait::open as open_pipe_file_system;
pub use port::{PROCESSORS, concurrency, deliver, dequeues, queued, waiting};
pub use wait::pool_waits;
