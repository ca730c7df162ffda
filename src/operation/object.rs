//! What an operation may know of the handle that it is started on.

use std::fmt;
use std::os::windows::io::RawHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handle_guard::{HandleGuard, HandleGuards, IdleGuards};
use crate::error::{Error, Result, refusal};
use crate::sys::{self, Handle, Provider};

/// What kind of thing a handle refers to, as far as operations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    /// A socket of one, and whether the kernel itself knows its handle.
    Stream {
        family: u16,
        has_kernel_handle: bool,
        provider: Provider,
    },
    /// A socket of datagrams.
    Datagram {
        provider: Provider,
    },
    Disk,
    /// A pipe or a device.
    Other,
}

impl ObjectKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream { .. } => "stream socket",
            Self::Datagram { .. } => "datagram socket",
            Self::Disk => "file",
            Self::Other => "pipe or device",
        }
    }
}

/// What an operation is started on, by value: the handle that it is of may be gone
/// before the call is made, or while it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub handle: Handle,
    pub is_socket: bool,
    /// Whether the handle skips the packets of inline successes.
    pub skips: bool,
    /// The longest message that can be sent through it, in bytes.
    pub longest_message: u32,
}

impl Target {
    /// Of a wait, which is started on no handle of the port's.
    pub const WAIT: Self =
        Self { handle: Handle::WAIT, is_socket: false, skips: false, longest_message: 0 };
}

/// The object that an operation is to be started on; see
/// [`Operation::split`](crate::Operation::split).
#[derive(Clone, Copy)]
pub struct Object<'a> {
    pub(crate) is_socket: bool,
    pub(crate) what: ObjectKind,
    /// The longest message that can be sent through it, in bytes.
    pub(crate) longest_message: u32,
    pub(crate) handle: Handle,
    /// Whether it is known to be a listening socket.
    pub(crate) listens: &'a AtomicBool,
    /// Its guard, and where that comes from.
    pub(crate) guards: (&'a HandleGuards, &'a Arc<IdleGuards>),
    /// Whether the handle skips the packets of inline successes.
    pub(crate) skips: bool,
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("handle", &self.handle)
            .field("kind", &self.what.name())
            .finish_non_exhaustive()
    }
}

impl Object<'_> {
    /// Returns `true` for a socket.
    #[inline(always)]
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// Returns `true` for a datagram socket.
    #[inline(always)]
    #[must_use]
    pub fn is_datagram_socket(&self) -> bool {
        self.is_socket && matches!(self.what, ObjectKind::Datagram { .. })
    }

    /// Returns `true` for a file on a disk, or a directory.
    #[inline(always)]
    #[must_use]
    pub fn is_file(&self) -> bool {
        !self.is_socket && matches!(self.what, ObjectKind::Disk)
    }

    /// Returns the handle by value.
    #[must_use]
    pub fn raw(&self) -> RawHandle {
        self.handle.raw()
    }

    /// A guard of the handle, for what is left to be done on it when the operation
    /// has [succeeded](crate::Operation::SUCCEEDED): keep it in the operation's memory.
    #[must_use]
    pub fn guard(&self) -> HandleGuard {
        let (guard, idle) = self.guards;
        let new = || (idle.take(self.handle), Arc::clone(idle));
        HandleGuard(Arc::clone(&guard.get_or_init(new).0))
    }

    /// The provider of a socket.
    pub(crate) fn provider(&self) -> Provider {
        match self.what {
            ObjectKind::Stream { provider, .. } | ObjectKind::Datagram { provider } => provider,
            ObjectKind::Disk | ObjectKind::Other => Provider::NONE,
        }
    }

    /// Refuses sockets of families whose addresses are not known.
    pub(crate) fn check_family(&self) -> Result<()> {
        match self.what {
            ObjectKind::Stream { family, .. } if !sys::is_ip(family) => {
                Err(Error::usage(&refusal::FAMILY))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what is connected without an operation: datagram sockets.
    pub(crate) fn check_connect(&self) -> Result<()> {
        self.check_family()?;
        match self.what {
            ObjectKind::Datagram { .. } => Err(Error::usage(&refusal::CONNECTS_DATAGRAMS)),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    pub(crate) fn target(&self) -> Target {
        let &Self { handle, is_socket, skips, longest_message, .. } = self;
        Target { handle, is_socket, skips, longest_message }
    }

    /// A socket that does not listen is refused here, because the system may let
    /// the operation wait for ever; one that does has to be asked once. The address
    /// family of what it accepts.
    pub(crate) fn check_listener(&self) -> Result<u16> {
        self.check_family()?;
        self.check_listens()
    }

    /// As [`check_listener`](Self::check_listener), for those of the family `AF_UNIX`.
    pub(crate) fn check_unix_listener(&self) -> Result<u16> {
        match self.what {
            ObjectKind::Stream { family, .. } if sys::is_unix(family) => self.check_listens(),
            _ => Err(Error::usage(&refusal::NOT_UNIX)),
        }
    }

    fn check_listens(&self) -> Result<u16> {
        let listens = || self.listens.load(Ordering::Relaxed) || sys::is_listening(self.handle);
        match self.what {
            ObjectKind::Stream { family, .. } if listens() => {
                self.listens.store(true, Ordering::Relaxed);
                Ok(family)
            }
            _ => Err(Error::usage(&refusal::NOT_LISTENING)),
        }
    }
}
