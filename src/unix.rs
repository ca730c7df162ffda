//! Sockets of the family `AF_UNIX`, where the system has it: Windows 10 of 2018 or later, and
//! not Wine.
//!
//! They are stream sockets, which [`add_handle`](crate::Iocp::add_handle) takes as
//! [`OwnedSocket`]s, and have the operations of those: [`op::Read`](crate::op::Read),
//! [`op::Write`](crate::op::Write). [`op::Accept::unix`](crate::op::Accept::unix) accepts
//! their connections.
//!
//! ```
//! use completion_port::{ErrorKind, Iocp, op, unix};
//! use std::os::windows::io::OwnedSocket;
//!
//! # let path = std::env::temp_dir().join(format!("completion-port-unix-{}", std::process::id()));
//! let port = Iocp::new()?;
//! let listener = match unix::listen(&path) {
//!     Ok(listener) => port.add_handle(listener, 1)?,
//!     Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
//!     Err(error) => return Err(error.into()),
//! };
//! port.initiate(&listener, 2, op::Accept::unix())?;
//! let client = port.add_handle(unix::connect(&path)?, 3)?;
//! let server: OwnedSocket = port.get_completion()?.operation.output()?;
//!
//! let server = port.add_handle(server, 4)?;
//! port.initiate_write(&client, 5, "hello")?;
//! # std::fs::remove_file(path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::os::windows::io::OwnedSocket;
use std::path::Path;

use crate::error::Result;
use crate::sys::{self, UnixAddress};

/// Creates a socket that listens at a path, which is not inherited by child processes.
///
/// The path becomes a file, which stays when the socket is closed: remove it then, or before
/// the next one listens there. Who may connect is who may write to that file.
///
/// # Errors
///
/// - [`Unsupported`](crate::ErrorKind::Unsupported), if the system does not have them;
/// - [`InvalidInput`](crate::ErrorKind::InvalidInput), if the path has more than 107 bytes in
///   UTF-8, or none, or a zero in it, or is not Unicode;
/// - [`AddressInUse`](crate::ErrorKind::AddressInUse), if there is such a file.
pub fn listen(path: impl AsRef<Path>) -> Result<OwnedSocket> {
    let address = UnixAddress::new(path.as_ref())?;
    let socket = sys::new_unix_socket()?;
    sys::listen_at(&socket, &address)?;
    Ok(socket)
}

/// Connects to the socket that listens at a path. The new socket is not inherited by child
/// processes.
///
/// This is no operation, because the system's own is not fit for these sockets. It waits for
/// nobody: a listener need not accept, and one whose backlog is full refuses.
///
/// # Errors
///
/// Those of [`listen`], but for `AddressInUse`, and
/// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused), if nobody listens there.
pub fn connect(path: impl AsRef<Path>) -> Result<OwnedSocket> {
    let address = UnixAddress::new(path.as_ref())?;
    let socket = sys::new_unix_socket()?;
    sys::connect_to(&socket, &address)?;
    Ok(socket)
}
