//! The operations, as values: what [`Iocp::initiate`](crate::Iocp::initiate) and
//! [`Scope::initiate`](crate::Scope::initiate) start.
//!
//! | on | operation | call | returns |
//! |---|---|---|---|
//! | sockets, files, pipes, devices | [`Read`] | `WSARecv`, `ReadFile` | the buffer |
//! | | [`Write`] | `WSASend`, `WriteFile` | the buffer |
//! | sockets | [`ReadVectored`] | `WSARecv` | the buffers |
//! | | [`WriteVectored`] | `WSASend` | the buffers |
//! | datagram sockets | [`ReceiveFrom`] | `WSARecvFrom` | a [`Datagram`] |
//! | | [`SendTo`] | `WSASendTo` | the buffer |
//! | | [`ReceiveMessage`] | `WSARecvMsg` | a [`Message`] |
//! | | [`SendMessage`] | `WSASendMsg` | the buffer |
//! | listening sockets | [`Accept`] | `AcceptEx` | a `TcpStream`, if it has succeeded, or the reused socket |
//! | those of `AF_UNIX` | [`Accept::unix`] | `AcceptEx` | an `OwnedSocket`, if it has succeeded |
//! | stream sockets | [`Connect`] | `ConnectEx` | nothing, or the buffer |
//! | | [`Readable`] | `WSARecv` | nothing, and receives nothing |
//! | | [`TransmitFile`] | `TransmitFile` | a [`Transmitted`], with the file |
//! | | [`TransmitPackets`] | `TransmitPackets` | a [`TransmittedPackets`], with the elements |
//! | | [`Disconnect`] | `DisconnectEx` | nothing, or a [`Reusable`] |
//! | unbuffered files | [`ReadScatter`] | `ReadFileScatter` | the pages |
//! | | [`WriteGather`] | `WriteFileGather` | the pages |
//! | files | [`Lock`] | `LockFileEx` | nothing |
//! | directories | [`WatchDirectory`] | `ReadDirectoryChangesW` | the [`Changes`] |
//! | pipe servers | [`ConnectPipe`] | `ConnectNamedPipe` | nothing |
//! | the file system of pipes | [`WaitForPipe`] | `NtFsControlFile` | nothing |
//! | pipes of messages | [`Transact`] | `TransactNamedPipe` | request and answer |
//! | files, pipes, devices | [`DeviceControl`] | `DeviceIoControl` | input and output |
//! | processes, threads, events, semaphores, timers | [`initiate_wait`] | `SetThreadpoolWait` | the object |
//!
//! [`initiate_wait`]: crate::Iocp::initiate_wait
//!
//! Options are methods of the operation: `op::Read::new(buffer).at(4096)`. Several
//! buffers are an array, or a tuple of different types. Buffers
//! come back whatever becomes of the operation: from the completion, or from the
//! [`Rejected`](crate::Rejected) of one that could not be started, in the
//! [part](Lend) of memory that it was in.
//!
//! # Operations of your own
//!
//! Any other overlapped function is an [`Operation`] of your own, with all that the
//! others have: contexts, cancellation, scopes, the end of the port. What has to hold
//! for the call stands at [`Starter::call`].
//!
//! ```
//! use completion_port::{Error, Operation, op};
//! use op::{Facts, FactsOn, Fills, Finish, Object, RegionMut, Starter, Submitted};
//! # #[allow(non_snake_case)] unsafe extern "system" fn WaitCommEvent(_: *mut std::ffi::c_void, _: *mut u32, _: *mut std::ffi::c_void) -> i32 { 0 }
//!
//! /// Waits for an event of a serial port, and returns which it was.
//! struct WaitForEvent;
//!
//! static WAIT_COMM_EVENT: Facts = Facts::new("WaitCommEvent");
//!
//! impl Operation for WaitForEvent {
//!     const FACTS: FactsOn = FactsOn::Handles(&WAIT_COMM_EVENT);
//!     type On = op::on::Handle;
//!     type Memory = Fills<[u8; 4]>;
//!     type Arguments = ();
//!     type Output = u32;
//!
//!     fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
//!         Ok(((), Fills([0; 4])))
//!     }
//!
//!     fn start((): (), mask: RegionMut, starter: Starter<'_, Self>) -> Submitted<'_> {
//!         // SAFETY: It is WaitCommEvent, which writes the mask later, and nothing else.
//!         unsafe {
//!             starter.call(|call| {
//!                 let mask = mask.start().cast();
//!                 op::win32_result(WaitCommEvent(call.handle, mask, call.overlapped) != 0)
//!             })
//!         }
//!     }
//!
//!     const FINISH: Finish<Self> = Finish::with(|Fills(mask), outcome| {
//!         outcome.is_ok().then_some(u32::from_ne_bytes(mask))
//!     });
//! }
//! ```

// To add an operation to the crate:
// 1. The row of its function in `error/facts.rs`. A function that does not tell how many bytes
//    an inline success has transferred does not skip.
// 2. The function itself, in a file of `sys`: a thin one over `windows-sys`. One that has to be
//    looked up has a type of its own there, over `extension.rs`, which also says so where the
//    provider does not have it.
// 3. What the call wants in the operation's memory beside buffers, if anything: a header in the
//    same file of `sys`, and how it is lent in `operation/headers.rs`.
// 4. The operation, in a file of this folder: its value with a page that has an example, its
//    output, and its `impl Operation`. What it refuses, `error/mod.rs` words.
// 5. Its line in the table above and its names below; its file in `docs/architecture.md`, and
//    what users notice in `CHANGELOG.md` and `README.md`.
// 6. Its function in a file of `simulated-kernel` (and in `WSAIoctl` there, if it is looked up),
//    which refuses by `behaviour.refuse`; all else is `operation::start`'s.
// 7. Tests for all kernels in a file of `tests`, with `skipped_without` where a system lacks the
//    function; what a kernel does seldom in `tests/simulated.rs`: refuses, fails late, reports too
//    much. Where one line decides, break it in `xtask/src/sabotage/mutations.rs`.

mod datagram;
mod device;
mod disconnect;
mod flags;
mod listener;
mod lock;
mod message;
pub mod on;
mod packets;
mod pipe;
mod pipe_wait;
mod readable;
mod scatter;
mod stream;
mod transfer;
mod transmit;
mod vectored;
pub(crate) mod wait;
mod watch;

pub use datagram::{Datagram, ReceiveFrom, SendTo};
pub use device::DeviceControl;
pub use disconnect::{Disconnect, ForReuse, Reusable};
pub use listener::{Accept, Reusing};
pub(crate) use listener::{AcceptInto, AcceptedInto};
pub use lock::Lock;
pub use message::{Message, ReceiveMessage, SendMessage};
pub use packets::{FileRange, PacketElements, TransmitPackets, TransmittedPackets};
pub use pipe::{ConnectPipe, Transact};
pub use pipe_wait::WaitForPipe;
pub use readable::Readable;
pub use scatter::{ReadScatter, WriteGather};
pub use stream::{Connect, Reuses};
pub use transfer::{Read, Write};
pub use transmit::{Beside, TransmitFile, Transmitted, pieces};
pub use vectored::{Buffers, BuffersMut, ReadVectored, WriteVectored};

pub use watch::{ChangeFilter, WatchDirectory};

pub use crate::buffer::{Action, Change, Changes, ChangesIter, Event, Renames};
pub use crate::error::{Facts, FactsOn};
pub use crate::operation::{
    Address, Fills, Finish, Gone, HandleGuard, Keeps, Lend, Object, Outcome, Overwrites, RawCall,
    Sends, Starter, Submitted, Transparent, win32_result, winsock_result,
};
pub use crate::sys::{
    AddressRegion, Control, ControlCode, Ecn, InPlace, MessageHeader, MessageRegion, PacketInfo,
    PacketsHeader, PacketsRegion, Region, RegionMut, SegmentRegion, Transferred, TransmitHeader,
    TransmitRegion,
};

#[cfg(doc)]
use crate::operation::Operation;
