//! A simulated kernel: the foreign functions that completion-port, the
//! standard library's sockets and the tests call, over a model of ports,
//! sockets, files and pipes in this process.
//!
//! Miri knows no completion port, no socket and no overlapped file. But it
//! resolves a foreign function that it does not know to a function of that name
//! in the program: those of this crate. So they stand under the unmodified
//! library. The model writes to the `OVERLAPPED`s and buffers that it was lent
//! through the pointers that it was given, not atomically, from a thread of its
//! own, at times drawn from Miri's seed; so Miri sees whatever the library does
//! with that memory too early or too late.
//!
//! What the model does by chance a test can make it do: see `behave`.
//!
//! Not modelled: events (`hEvent` is only looked at for its lowest bit), child
//! processes, devices.
#![cfg(all(miri, windows))]
#![allow(non_snake_case, reason = "the functions have the system's names")]
#![allow(clippy::missing_safety_doc, reason = "they are called as the system's are")]

mod address;
mod behaviour;
mod cancel;
mod file;
mod handle;
mod kernel;
mod memory;
mod object;
mod operation;
mod pipe;
mod port;
mod socket;
mod status;
mod stream;
mod winsock;

pub use behaviour::{Behaving, Behaviour, Chance, FOREVER, behave, heed_cancels, scribble, seed};
pub use file::open as open_file;
pub use handle::close_elsewhere;
pub use pipe::{BlockingPipe, open as open_pipe};
pub use port::{deliver, queued, waiting};
