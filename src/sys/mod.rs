//! The kernel's boundary: one thin function a call, over `windows-sys`.
//!
//! The functions are safe to call with any handle value: the kernel checks
//! handles and answers an invalid one with an error. What the kernel would
//! write to later cannot be passed as a bare pointer, only as
//! [`LentOverlapped`], [`Region`] and [`RegionMut`]; what they are made from states
//! the promise that makes the call sound.

use std::fmt;

mod control;
mod datagram;
mod extension;
mod file;
mod leave;
mod lent;
mod lock;
mod memory;
mod message;
mod packets;
mod pipe;
mod pipe_wait;
mod port;
mod process;
mod scatter;
mod security;
mod socket;
mod thread;
mod timer;
mod transmit;
mod unix;
mod wait;
mod watch;
mod wine;

pub use control::{Control, Ecn, PacketInfo};
pub(crate) use control::{Options, SENT};
pub(crate) use datagram::{coalesce, report_unreachable, tell_ecn, tell_packet_info};
pub use extension::Provider;
pub use file::ControlCode;
pub(crate) use file::{
    HandleKind, connect_pipe, control_device, handle_kind, has_messages, is_synchronous, read_file,
    skip_completion_port_on_success, skips_completion_port_on_success, write_file,
};
pub(crate) use leave::replace_port;
pub use lent::{AddressRegion, InPlace, Region, RegionMut, Transferred};
pub(crate) use lent::{LentOverlapped, SocketAddress, cut};
pub(crate) use lock::{lock_file, unlock_file};
pub(crate) use memory::{commit, release, reserve};
pub use message::{MessageHeader, MessageRegion};
pub(crate) use message::{RecvMsg, receive_message, send_message};
pub(crate) use packets::{MOST_PACKETS, TransmitPackets, transmit_packets};
pub use packets::{PacketsHeader, PacketsRegion};
pub(crate) use pipe::{PipeTraits, create_pipe, disconnect_pipe, read_messages, transact};
pub(crate) use pipe_wait::{PIPES, question, wait_for_instance};
pub(crate) use port::{
    Entry, INFINITE, Packet, Port, RawDequeue, cancel, cancel_all, last_status, post,
};
pub(crate) use process::{
    active_processes, assign_to_job, create_job, exit_code, kill_on_job_close, resume,
    terminate_job,
};
pub use scatter::SegmentRegion;
pub(crate) use scatter::{read_scatter, write_gather};
pub use security::SecurityDescriptor;
pub(crate) use socket::{
    ADDRESS_SPACE, AcceptEx, AcceptExAddresses, ConnectEx, DisconnectEx, SocketTraits, accept,
    bind, connect, connect_time, disconnect, family_of, handle_of, is_ip, is_listening, is_unix,
    make_dual_stack, max_message_size, new_socket, receive, receive_from, receive_nothing, send,
    send_to, socket_traits, update_accept_context, update_connect_context,
};

pub(crate) use thread::{Alerts, sleep_alertable};
pub(crate) use timer::Clock;
pub(crate) use transmit::{MOST_TRANSMITTED, TransmitFile, transmit_file};
pub use transmit::{TransmitHeader, TransmitRegion};
pub(crate) use unix::{UNIX_ADDRESS_SPACE, UnixAddress, connect_to, listen_at, new_unix_socket};
pub(crate) use wait::{NewWait, WaitRecord, WaitRegion, Waits, finish_wait, take_signal};
pub(crate) use watch::watch_directory;
pub(crate) use wine::{current_thread, has_ended, is_wine};

/// A handle or socket by value, which other threads may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(pub usize);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw().fmt(f)
    }
}

impl Handle {
    pub const NONE: Self = Self(0);

    /// Stands for a wait, which is cancelled in [another way](Waits::cancel). No handle has this
    /// value.
    pub const WAIT: Self = Self(usize::MAX);

    pub(crate) fn raw(self) -> windows_sys::Win32::Foundation::HANDLE {
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
    /// It said that a message did not fit into the memory that it was given, which has this
    /// length, in bytes: `WSAEMSGSIZE` of a receive.
    Cut(u32),
}

/// The code that the calling thread's last system call has failed with.
#[cold]
pub(crate) fn last_error() -> u32 {
    // SAFETY: Reads the calling thread's last error.
    unsafe { windows_sys::Win32::Foundation::GetLastError() }
}

/// The code that the calling thread's last Winsock call has failed with.
#[inline]
pub(crate) fn last_winsock_error() -> u32 {
    // SAFETY: Reads the calling thread's last error.
    let code = unsafe { windows_sys::Win32::Networking::WinSock::WSAGetLastError() };
    code as u32
}
