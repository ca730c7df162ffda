//! The kernel's boundary: one thin function a call, over `windows-sys`.
//!
//! The functions are safe to call with any handle value: the kernel checks
//! handles and answers an invalid one with an error. What the kernel would
//! write to later cannot be passed as a bare pointer, only as
//! [`LentOverlapped`] and [`LentRegion`], whose constructors state the promise
//! that makes the call sound.

use std::ptr;

use crate::error::{Misuse, refusal};

mod file;
mod lent;
mod memory;
mod port;
mod raw;
mod socket;
mod wine;

pub(crate) use file::{
    Nature, has_messages, is_synchronous, nature, read_file, skip_completion_port_on_success,
    skips_completion_port_on_success, write_file,
};
pub(crate) use lent::{LentOverlapped, LentRegion};
pub(crate) use memory::{commit, release, reserve};
pub(crate) use port::{
    Entry, INFINITE, Landing, Packet, Port, cancel, cancel_all, last_status, win32_code,
};
pub use raw::{RawOverlapped, RawValue};
pub(crate) use socket::{
    ADDRESS_SPACE, SocketTraits, accept, bind_to_any, connect, family_of, handle_of, is_ip,
    is_listening, make_dual_stack, max_message_size, new_socket, receive, send, socket_traits,
    update_accept_context, update_connect_context,
};

pub(crate) use wine::is_wine;

/// A handle or socket by value, which other threads may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(pub usize);

impl Handle {
    pub const NONE: Self = Self(0);

    fn raw(self) -> windows_sys::Win32::Foundation::HANDLE {
        std::ptr::without_provenance_mut(self.0)
    }

    /// Neither null nor `INVALID_HANDLE_VALUE`, which is also the value of
    /// `GetCurrentProcess` and of `INVALID_SOCKET`.
    pub fn is_plausible(self) -> bool {
        self.0 != 0 && self.0 != usize::MAX
    }
}

/// What a call that starts an operation answered, not yet interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It finished, with this many bytes if the call was asked to tell.
    Finished(u32),
    /// It said no, with this code: `ERROR_IO_PENDING` included.
    Code(u32),
}

/// Why no call was made, by the code that stands for it, counted from the highest
/// down. No system has such codes.
static REFUSALS: [&Misuse; 4] =
    [&refusal::NO_ROOM, &refusal::MESSAGE_TOO_LONG, &refusal::CLOSED, &refusal::WRONG_PORT];

impl Answer {
    /// No call was made: the buffer has no room for what is to be read.
    pub const NO_ROOM: Self = Self::Code(u32::MAX);
    /// No call was made: the message is longer than the socket can send.
    pub const TOO_LONG: Self = Self::Code(u32::MAX - 1);
}

/// The code that stands for why no call was made.
#[cold]
#[inline(never)]
pub(crate) fn code_of(misuse: &'static Misuse) -> u32 {
    let place = REFUSALS.iter().position(|refusal| ptr::eq(*refusal, misuse));
    u32::MAX - place.expect("one of the list") as u32
}

/// Why no call was made, if that is what a code stands for.
pub(crate) fn misuse_of(code: u32) -> Option<&'static Misuse> {
    REFUSALS.get((u32::MAX - code) as usize).copied()
}
