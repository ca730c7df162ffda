//! Handles of which only the value is known.

use std::os::windows::io::{AsRawHandle, AsRawSocket, RawHandle, RawSocket};

use super::Handle;
use crate::error::{Rejected, Result};
use crate::handle::Associated;
use crate::port::Iocp;

/// A handle or socket that somebody else owns and closes; see
/// [`Iocp::add_raw_handle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawOverlapped(Handle);

impl RawOverlapped {
    pub(crate) fn value(self) -> Handle {
        self.0
    }
}

impl AsRawHandle for RawOverlapped {
    fn as_raw_handle(&self) -> RawHandle {
        self.0.raw()
    }
}

impl AsRawSocket for RawOverlapped {
    fn as_raw_socket(&self) -> RawSocket {
        self.0.0 as RawSocket
    }
}

/// The value of a handle or a socket: [`RawHandle`] and [`RawSocket`], the
/// `HANDLE` and `SOCKET` of the `winapi` and `windows-sys` crates, and what is
/// inside those of the `windows` crate.
pub trait RawValue: sealed::RawValue {}

impl<T: sealed::RawValue> RawValue for T {}

mod sealed {
    pub trait RawValue {
        fn value(self) -> usize;
    }

    impl<T> RawValue for *mut T {
        fn value(self) -> usize {
            self.addr()
        }
    }

    impl RawValue for usize {
        fn value(self) -> usize {
            self
        }
    }

    impl RawValue for isize {
        fn value(self) -> usize {
            self as usize
        }
    }

    #[cfg(target_pointer_width = "64")]
    impl RawValue for u64 {
        fn value(self) -> usize {
            self as usize
        }
    }

    #[cfg(target_pointer_width = "32")]
    impl RawValue for u32 {
        fn value(self) -> usize {
            self as usize
        }
    }
}

impl<C: Send + 'static> Iocp<C> {
    /// Associates a handle that somebody else owns with the port. Otherwise as
    /// [`add_handle`](Self::add_handle); it is not closed, and what is in
    /// flight not cancelled, when the [`Associated`] is dropped.
    ///
    /// # Safety
    ///
    /// Until the [`Associated`] is dropped, the handle stays open, and nobody
    /// uses it in a way that operations of this port would disturb.
    ///
    /// # Errors
    ///
    /// As for [`add_handle`](Self::add_handle).
    ///
    /// ```
    /// use std::net::UdpSocket;
    /// use std::os::windows::io::AsRawSocket;
    /// use completion_port::Iocp;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let port = Iocp::new()?;
    /// // SAFETY: The socket outlives the association.
    /// let associated = unsafe { port.add_raw_handle(socket.as_raw_socket(), 123) }?;
    /// # drop(associated);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn add_raw_handle(
        &self,
        handle: impl RawValue,
        context: usize,
    ) -> Result<Associated<RawOverlapped>> {
        self.add_handle(RawOverlapped(Handle(handle.value())), context)
            .map_err(|Rejected { error, .. }| error)
    }
}
