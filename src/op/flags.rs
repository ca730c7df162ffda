//! The flags of receives and sends.

use windows_sys::Win32::Networking::WinSock as ws;

use crate::error::{UsageError, refusal};
use crate::operation::Object;

pub(super) const PEEK: u32 = ws::MSG_PEEK as u32;
pub(super) const WAIT_FOR_ALL: u32 = ws::MSG_WAITALL as u32;
pub(super) const OUT_OF_BAND: u32 = ws::MSG_OOB as u32;

/// Declares the methods that set the flags of a receive.
macro_rules! receive_flags {
    () => {
        /// Leaves what it receives in the socket, where the next receive finds it again
        /// (`MSG_PEEK`).
        ///
        /// What is there completes every peek at once, so do not wait for more by peeking
        /// again: that takes a processor until more comes. Read what there is into a
        /// buffer of your own, and continue with that.
        pub fn peek(self) -> Self {
            Self { flags: self.flags | $crate::op::flags::PEEK, ..self }
        }

        /// Completes once the memory is full, or the stream has ended (`MSG_WAITALL`).
        ///
        /// Stream sockets only, and with no other flag.
        pub fn wait_for_all(self) -> Self {
            Self { flags: self.flags | $crate::op::flags::WAIT_FOR_ALL, ..self }
        }

        /// Receives out-of-band data (`MSG_OOB`). Stream sockets only.
        pub fn out_of_band(self) -> Self {
            Self { flags: self.flags | $crate::op::flags::OUT_OF_BAND, ..self }
        }
    };
}

/// Declares the method that sets the flag of a send.
macro_rules! send_flags {
    () => {
        /// Sends out-of-band data (`MSG_OOB`). Stream sockets only.
        pub fn out_of_band(self) -> Self {
            Self { flags: self.flags | $crate::op::flags::OUT_OF_BAND, ..self }
        }
    };
}

pub(super) use {receive_flags, send_flags};

/// Refuses flags where they have no meaning. "If `MSG_WAITALL` is specified along with
/// `MSG_OOB`, `MSG_PEEK`, or `MSG_PARTIAL`, then this call will fail", and "this flag is
/// not supported on datagram sockets"
/// (<https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv>).
#[inline(always)]
pub(super) fn check_flags(on: &Object<'_>, flags: u32) -> Result<(), &'static UsageError> {
    if flags == 0 {
        return Ok(());
    }
    let of_streams = flags & (WAIT_FOR_ALL | OUT_OF_BAND) != 0;
    match flags {
        _ if !on.is_socket() => Err(&refusal::FLAGS_OF_SOCKETS),
        _ if of_streams && on.is_datagram_socket() => Err(&refusal::FLAGS_OF_STREAMS),
        _ if flags & WAIT_FOR_ALL != 0 && flags != WAIT_FOR_ALL => Err(&refusal::WAITS_FOR_ALL),
        _ => Ok(()),
    }
}
