//! Handles of which only the value is known.

use std::os::windows::io::{
    AsRawHandle, AsRawSocket, IntoRawHandle, IntoRawSocket, RawHandle, RawSocket,
};

use super::Associated;
use crate::error::Result;
use crate::port::Iocp;
use crate::sys::Handle;

/// A handle or socket that somebody else owns and closes; see [`Iocp::add_raw_handle`].
///
/// It cannot be taken out of its [`Associated`], so that no safe value outlives the contract
/// of `add_raw_handle`:
///
/// ```compile_fail,E0599
/// # use completion_port::{Associated, RawOverlapped};
/// fn take_out(associated: Associated<RawOverlapped>) -> RawOverlapped {
///     associated.into_inner()
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use completion_port::{Iocp, RawOverlapped};
/// fn associate_again(port: &Iocp, handle: RawOverlapped) {
///     port.add_handle(handle, 1);
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use completion_port::RawOverlapped;
/// fn copied<T: Clone>() {}
/// copied::<RawOverlapped>();
/// ```
///
/// The bare value can be copied, like any other; to use it is `unsafe` again:
///
/// ```
/// # use std::os::windows::io::{IntoRawHandle, RawHandle};
/// # use completion_port::{Associated, RawOverlapped};
/// fn end_association(associated: Associated<RawOverlapped>) -> RawHandle {
///     associated.into_raw_handle()
/// }
/// ```
#[derive(Debug)]
pub struct RawOverlapped(Handle);

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

/// Returns the handle. What is in flight on it goes on, and the file object stays associated.
impl<M> IntoRawHandle for Associated<RawOverlapped, M> {
    fn into_raw_handle(self) -> RawHandle {
        self.as_raw_handle()
    }
}

/// Returns the handle. What is in flight on it goes on, and the file object stays associated.
impl<M> IntoRawSocket for Associated<RawOverlapped, M> {
    fn into_raw_socket(self) -> RawSocket {
        self.as_raw_socket()
    }
}

/// The value of a handle or a socket: [`RawHandle`] and [`RawSocket`], the
/// `HANDLE` and `SOCKET` of the `winapi` and `windows-sys` crates, and what is
/// inside those of the `windows` crate.
///
/// It is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the value of a handle",
    note = "pass what `as_raw_handle` or `as_raw_socket` returns, or the field `0` of the \
            `windows` crate's types"
)]
pub trait RawValue: sealed::RawValue {}

impl<T> RawValue for *mut T {}
impl RawValue for usize {}
impl RawValue for isize {}
#[cfg(target_pointer_width = "64")]
impl RawValue for u64 {}
#[cfg(target_pointer_width = "32")]
impl RawValue for u32 {}

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
    /// Associates a handle that somebody else owns with the port, like
    /// [`add_handle`](Self::add_handle). Dropping the [`Associated`] neither closes the
    /// handle nor cancels what is in flight on it.
    ///
    /// # Safety
    ///
    /// From this call until the [`Associated`] is dropped (for ever, if it is
    /// leaked):
    /// - the handle stays open, so that its value stands for nothing else;
    /// - nobody who owns or borrows it otherwise relies on being its only user:
    ///   safe code can read, write, accept and connect through the
    ///   [`Associated`], and cancel all that this process does on it;
    /// - nobody sets its completion notification modes
    ///   (`SetFileCompletionNotificationModes`) but
    ///   [`skip_on_success`](Associated::skip_on_success), nor associates the
    ///   file object with another port (`FileReplaceCompletionInformation`).
    ///
    /// Operations that are in flight when the [`Associated`] is dropped need no
    /// more: the handle may be closed, which cancels them unless a duplicate is
    /// open.
    ///
    /// # Errors
    ///
    /// Those of [`add_handle`](Self::add_handle).
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
        let raw = Handle(handle.value());
        let of_port = self.associate(raw, context)?;
        Ok(Associated::new(RawOverlapped(raw), raw, false, context, of_port))
    }
}
