//! Windows I/O completion ports: safe, idiomatic, and as cheap as calling the
//! API by hand.
#![cfg(windows)]
#![deny(missing_docs, unsafe_code)]

#[allow(unsafe_code)]
mod buffer;
mod error;
mod handle;
mod io;
#[allow(unsafe_code)]
mod operation;
mod port;
#[allow(unsafe_code)]
mod sys;

pub use buffer::{IoBuf, IoBufMut, Slice};
pub use error::{Error, ErrorKind, ForeignPacket, Rejected, Result};
pub use handle::{Adoptable, Associated, Inline, Mode, Queued, Socket};
pub use io::unconnected_stream;
pub use operation::{CompletionStatus, Finished, OperationKind, Pending, Started};
pub use port::{Batch, Builder, Iocp, Scope};
pub use sys::{RawOverlapped, RawValue};
