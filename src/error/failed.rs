//! The error of an operation that was awaited.

use std::any;
use std::fmt;
use std::io;

use super::{Error, Result};

/// The error of an awaited operation that has failed, with what the operation returns.
///
/// It converts into [`Error`] and [`std::io::Error`], which drops `returned`.
///
/// ```
/// # use completion_port::{ErrorKind, Failed, Iocp};
/// # let port = Iocp::<()>::typed()?;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// # let client = port.add_handle(client, 1)?;
/// let mut read = port.initiate_read(&client, (), Vec::with_capacity(1024))?;
/// read.cancel()?;
/// # port.get_completion()?;
/// # let polled = std::pin::pin!(std::future::IntoFuture::into_future(&mut read));
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # let std::task::Poll::Ready(awaited) = std::future::Future::poll(polled, &mut context) else { panic!() };
/// # let check = |awaited: Result<(u32, Vec<u8>), Failed<Vec<u8>>>| {
/// // let awaited = read.await;
/// let failed = awaited.unwrap_err();
/// assert_eq!(failed.error.kind(), ErrorKind::Cancelled);
/// let buffer: Vec<u8> = failed.returned.unwrap();
/// # };
/// # check(awaited);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Failed<B> {
    /// Why the operation failed.
    pub error: Error,
    /// The number of bytes that are valid in spite of the error: those of a message that was
    /// cut, or that a device transferred before it warned. Otherwise 0.
    pub bytes_transferred: u32,
    /// The operation's output: most often, the buffer. `None` if it has none, such as an
    /// accept that failed, or if it was taken from the completion.
    pub returned: Option<B>,
}

impl<B> fmt::Debug for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<B> fmt::Display for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<B> std::error::Error for Failed<B> {}

impl<B> From<Failed<B>> for Error {
    fn from(failed: Failed<B>) -> Self {
        failed.error
    }
}

impl<B> From<Failed<B>> for io::Error {
    fn from(failed: Failed<B>) -> Self {
        failed.error.into()
    }
}

/// What an operation has come to that has this result, and has returned this.
pub(crate) fn ended<B>(
    result: Result<()>,
    bytes_transferred: u32,
    returned: Option<B>,
) -> Result<(u32, B), Failed<B>> {
    match (result, returned) {
        (Ok(()), Some(output)) => Ok((bytes_transferred, output)),
        (result, returned) => {
            let taken = || Error::no_output(any::type_name::<B>, any::type_name::<B>);
            let error = result.err().unwrap_or_else(taken);
            Err(Failed { error, bytes_transferred, returned })
        }
    }
}
