//! Named pipe servers: `ConnectNamedPipe`.

use super::on::Pipe;
use super::{Finish, Starter, Submitted};
use crate::error::Error;
use crate::error::{Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys;

/// Waits for a client of a named pipe: `ConnectNamedPipe`.
///
/// Returns nothing. A client that came before is a success like any other.
///
/// # Errors
///
/// The operation is refused with [`BrokenPipe`](crate::ErrorKind::BrokenPipe) if a
/// client came and went: disconnect the pipe, and start another.
///
/// ```no_run
/// use completion_port::{Associated, Iocp, op};
/// use std::os::windows::io::OwnedHandle;
///
/// # fn serve(port: &Iocp, pipe: &Associated<OwnedHandle>) -> completion_port::Result<()> {
/// port.initiate(pipe, 1, op::ConnectPipe::new())?; // from CreateNamedPipeW
/// port.get_completion()?.error_status?;
/// port.initiate_read(pipe, 2, Vec::with_capacity(1024))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ConnectPipe(());

impl ConnectPipe {
    /// Waits for the client that comes first.
    pub fn new() -> Self {
        Self(())
    }
}

impl Operation for ConnectPipe {
    const FACTS: FactsOn = FactsOn::Handles(Facts::ConnectNamedPipe);
    const FINISH: Finish<Self> = Finish::with(|(), _| Some(()));
    type On = Pipe;
    type Memory = ();
    type Arguments = ();
    type Output = ();

    fn split(self, _: &Object<'_>) -> Result<((), ()), (Error, ())> {
        Ok(((), ()))
    }

    fn start((): (), (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        starter.call_with(|pipe, overlapped, _| sys::connect_pipe(pipe, overlapped))
    }
}
