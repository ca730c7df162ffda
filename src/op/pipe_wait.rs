//! Waiting for a free instance of a named pipe: `FSCTL_PIPE_WAIT`.

use std::ffi::OsStr;

use super::on::Handle;
use super::{Finish, Region, Sends, Starter, Submitted};
use crate::error::{Error, Facts, FactsOn, Result};
use crate::operation::{Object, Operation};
use crate::sys;

/// Waits, as long as it takes, until a named pipe has an instance that is free:
/// `FSCTL_PIPE_WAIT`.
///
/// It is started on [`pipe::file_system`](crate::pipe::file_system), one handle for as many
/// waits as you like. Returns nothing. Then [open](crate::pipe::ClientOptions::open) the
/// client's end; another client may have been faster, so wait again if that is
/// [`Busy`](crate::ErrorKind::Busy).
///
/// # Errors
///
/// The operation is refused, or fails, with [`NotFound`](crate::ErrorKind::NotFound) if there
/// is no pipe of that name. It is refused with
/// [`Unsupported`](crate::ErrorKind::Unsupported) on handles that
/// [skip the port](crate::Associated::skip_on_success).
///
/// ```
/// use completion_port::{ErrorKind, Iocp, op, pipe};
///
/// # let name = format!(r"\\.\pipe\completion-port-wait-{}", std::process::id());
/// # let options = pipe::ServerOptions::new().max_instances(1);
/// let port = Iocp::new()?;
/// let server = port.add_handle(options.create(&name)?, 1)?;
/// let first = pipe::ClientOptions::new().open(&name)?;
/// let busy = pipe::ClientOptions::new().open(&name).unwrap_err();
/// assert_eq!(busy.kind(), ErrorKind::Busy);
///
/// let pipes = port.add_handle(pipe::file_system()?, 2)?;
/// port.initiate(&pipes, 3, op::WaitForPipe::new(&name)?)?;
/// pipe::disconnect(&server)?;
/// port.initiate(&server, 4, op::ConnectPipe::new())?; // the server is free again
/// let completion = port.get_completion()?;
/// assert_eq!(completion.context, 3);
/// completion.error_status?;
/// let second = pipe::ClientOptions::new().open(&name)?;
/// # Ok::<(), completion_port::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct WaitForPipe {
    question: Box<[u8]>,
}

impl WaitForPipe {
    /// Waits for an instance of the pipe of this name, which starts with `\\.\pipe\`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if that is no such name.
    pub fn new(name: impl AsRef<OsStr>) -> Result<Self> {
        Ok(Self { question: sys::question(name.as_ref())? })
    }
}

impl Operation for WaitForPipe {
    const FACTS: FactsOn = FactsOn::Handles(Facts::NtFsControlFile);
    const FINISH: Finish<Self> = Finish::with(|_, _| Some(()));
    type On = Handle;
    type Memory = Sends<Box<[u8]>>;
    type Arguments = ();
    type Output = ();

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), Sends(self.question)))
    }

    fn start((): (), question: Region, starter: Starter<'_, Self>) -> Submitted<'_> {
        starter
            .call_with(|pipes, overlapped, _| sys::wait_for_instance(pipes, &question, overlapped))
    }
}
