//! What an operation may know of the handle that it is to be started on.

use std::os::windows::io::RawHandle;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result, refusal};
use crate::sys::{self, Handle};

/// What kind of thing a handle refers to, as far as operations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A socket of one, and whether the kernel itself knows its handle.
    Stream {
        family: u16,
        has_kernel_handle: bool,
    },
    /// A socket, with the length of its longest message.
    Datagram(u32),
    Disk,
    /// A pipe or a device.
    Other,
}

/// What an operation is to be started on; see
/// [`Operation::prepare`](crate::Operation::prepare).
#[derive(Debug)]
pub struct Object<'a> {
    pub(super) is_socket: bool,
    pub(super) what: What,
    pub(super) handle: Handle,
    /// Whether it is known to be a listening socket.
    pub(super) listens: &'a AtomicBool,
}

impl Object<'_> {
    /// Whether it is a socket.
    #[inline(always)]
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// Whether it is a socket without connections, that of datagrams.
    #[inline]
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        matches!(self.what, What::Datagram(_))
    }

    /// Whether it is a file on a disk, or a directory.
    #[inline(always)]
    #[must_use]
    pub fn is_file(&self) -> bool {
        !self.is_socket && matches!(self.what, What::Disk)
    }

    /// The handle by value.
    #[must_use]
    pub fn handle(&self) -> RawHandle {
        self.handle.raw()
    }

    #[inline]
    pub(crate) fn value(&self) -> Handle {
        self.handle
    }

    /// Refuses a message that the socket cannot send: what the system does with one
    /// differs in whether a packet comes of it.
    #[inline(always)]
    pub(crate) fn check_message(&self, length: usize) -> Result<()> {
        match self.what {
            What::Datagram(longest) if self.is_socket && length > longest as usize => {
                Err(Error::misuse(&refusal::MESSAGE_TOO_LONG))
            }
            _ => Ok(()),
        }
    }

    /// A socket that does not listen is refused here, because the system may let
    /// the operation wait for ever; one that does has to be asked once. The address
    /// family of what it accepts.
    pub(crate) fn check_listener(&self) -> Result<u16> {
        let listens = || self.listens.load(Ordering::Relaxed) || sys::is_listening(self.handle);
        match self.what {
            What::Stream { family, .. } if listens() => {
                self.listens.store(true, Ordering::Relaxed);
                Ok(family)
            }
            _ => Err(Error::misuse(&refusal::NOT_LISTENING)),
        }
    }
}
