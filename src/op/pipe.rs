//! Named pipes: `ConnectNamedPipe`, `TransactNamedPipe`.

use super::on::Pipe;
use super::{Fills, Finish, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys;

/// Waits for a client of a named pipe: `ConnectNamedPipe`.
///
/// Returns nothing. If a client is there already, the operation succeeds like any other.
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
/// port.initiate(pipe, 1, op::ConnectPipe::new())?; // from pipe::ServerOptions
/// port.get_completion()?.error_status?;
/// port.initiate_read(pipe, 2, Vec::with_capacity(1024))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ConnectPipe(());

impl ConnectPipe {
    /// Waits for the next client.
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

/// Sends a message and receives the answer in one call: `TransactNamedPipe`.
///
/// Returns both buffers. The completion has the byte count of the answer. After a cancel or a
/// deadline the request may have been sent, and its answer still come: close the pipe. An
/// answer that is longer than its buffer is cut, with [`MoreData`](crate::ErrorKind::MoreData), and the next
/// read gets the rest of it.
///
/// # Errors
///
/// The operation is refused with
/// - [`Unsupported`](crate::ErrorKind::Unsupported) if the pipe has no messages, or
///   this end was not opened to [read them](crate::pipe::ClientOptions::messages);
/// - [`Busy`](crate::ErrorKind::Busy) if there is a message that has not been read
///   yet, which would be taken for the answer;
/// - [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is no room for an
///   answer;
/// - [`BrokenPipe`](crate::ErrorKind::BrokenPipe) if the other end is closed, which is
///   an error here even if that happens later: there was no answer.
///
/// ```
/// use completion_port::{Associated, Iocp, op};
/// use std::os::windows::io::OwnedHandle;
///
/// /// The pipe is `ClientOptions::new().messages(true).open(..)`.
/// fn ask(port: &Iocp, pipe: &Associated<OwnedHandle>) -> completion_port::Result<Vec<u8>> {
///     port.initiate(pipe, 1, op::Transact::new("status?", Vec::with_capacity(512)))?;
///     let mut completion = port.get_completion()?;
///     completion.error_status?;
///     let (_, answer) = completion.operation.output::<(&str, Vec<u8>)>()?;
///     Ok(answer)
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Transact<Q, A> {
    request: Q,
    answer: A,
}

impl<Q: IoBuf, A: IoBufMut> Transact<Q, A> {
    /// Sends `request`, and receives into `answer`.
    pub fn new(request: Q, answer: A) -> Self {
        Self { request, answer }
    }
}

impl<Q: IoBuf + Send, A: IoBufMut + Send> Operation for Transact<Q, A> {
    const FACTS: FactsOn = FactsOn::Handles(Facts::TransactNamedPipe);
    const FINISH: Finish<Self> =
        Finish::with(|(Sends(request), Fills(answer)), _| Some((request, answer)));
    type On = Pipe;
    type Memory = (Sends<Q>, Fills<A>);
    type Arguments = ();
    type Output = (Q, A);

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), (Sends(self.request), Fills(self.answer))))
    }

    fn start(
        (): (),
        (request, answer): (Region, RegionMut),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        starter.call_with(|pipe, overlapped, _| sys::transact(pipe, &request, &answer, overlapped))
    }
}
