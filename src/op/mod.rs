//! The operations, as values: what [`Iocp::initiate`](crate::Iocp::initiate) and
//! [`Scope::initiate`](crate::Scope::initiate) start.
//!
//! | on | operation | call | returns |
//! |---|---|---|---|
//! | sockets, pipes, devices | [`Read`] | `WSARecv`, `ReadFile` | the buffer |
//! | | [`Write`] | `WSASend`, `WriteFile` | the buffer |
//! | files, devices | [`ReadAt`] | `ReadFile` | the buffer |
//! | | [`WriteAt`] | `WriteFile` | the buffer |
//! | sockets | [`ReadVectored`] | `WSARecv` | the buffers |
//! | datagram sockets | [`ReceiveFrom`] | `WSARecvFrom` | [`Datagram`] |
//! | | [`SendTo`] | `WSASendTo` | the buffer |
//! | listening sockets | [`Accept`] | `AcceptEx` | `TcpStream`, if it has succeeded |
//! | stream sockets | [`Connect`] | `ConnectEx` | nothing |
//! | pipe servers | [`ConnectPipe`] | `ConnectNamedPipe` | nothing |
//! | all but sockets | [`DeviceControl`] | `DeviceIoControl` | input and output |
//!
//! A buffer comes back whatever has become of the operation.
//!
//! # Operations of your own
//!
//! Any other overlapped call is an [`Operation`] of your own, with all that the
//! others have: contexts, cancellation, scopes, skip-on-success, the end of the
//! port. The trait is safe; what has to hold for the call stands at
//! [`Starter::call`]. [`DeviceControl`] is made so, and this is all of one:
//!
//! ```
//! use completion_port::{Iocp, IoBufMut, Operation, Outcome, Result, op};
//! use op::{Call, Called, Calls, Codes, Fills, Region, Starter};
//!
//! /// Waits for an event of a serial port: `WaitCommEvent`.
//! struct WaitForEvent;
//!
//! static WAIT_COMM_EVENT: Call = Call {
//!     name: "WaitCommEvent",
//!     codes: Codes::Win32,
//!     over: &[],
//!     leaves_packet: &[],
//!     asks_driver: true,
//!     ends: &[],
//!     means: &[],
//! };
//!
//! impl Operation for WaitForEvent {
//!     const CALLS: Calls = Calls::handle(&WAIT_COMM_EVENT);
//!     type On = op::on::Handle;
//!     type Memory = Fills<[u8; 4]>;
//!     type Arguments = ();
//!     type Output = u32;
//!     type Given = ();
//!
//!     fn split(self) -> ((), Fills<[u8; 4]>) {
//!         ((), Fills([0; 4]))
//!     }
//!     fn start((): (), mask: Region, starter: Starter<'_, Self>) -> Called<'_> {
//!         # #[allow(non_snake_case)] unsafe fn WaitCommEvent(_: *mut std::ffi::c_void, _: *mut u32, _: *mut std::ffi::c_void) -> i32 { 0 }
//!         // SAFETY: The call is WaitCommEvent; what it writes later is the mask.
//!         unsafe {
//!             starter.call(|call| WaitCommEvent(call.handle, mask.start().cast(), call.overlapped) != 0)
//!         }
//!     }
//!     fn finish(Fills(mask): Fills<[u8; 4]>, outcome: Outcome) -> Option<u32> {
//!         outcome.is_ok().then(|| u32::from_ne_bytes(mask))
//!     }
//!     fn give_back(_: Fills<[u8; 4]>) {}
//! }
//! ```

mod connection;
mod datagram;
#[allow(unsafe_code, reason = "it is made as others would make it")]
mod device;
pub mod on;
mod pipe;
mod transfer;

pub use connection::{Accept, Connect};
pub use datagram::{Datagram, ReceiveFrom, SendTo};
pub use device::DeviceControl;
pub use pipe::ConnectPipe;
pub use transfer::{Read, ReadAt, ReadVectored, Write, WriteAt};

pub use crate::error::{Call, Calls, Codes};
pub use crate::operation::{Address, Fills, Keeps, Lend, Sends};
pub use crate::sys::{
    Arguments, Called, LentAddress as AddressPlace, LentRegion as Region, Starter,
};

use crate::operation::{Operation, OperationKind, Outcome, Returns};
