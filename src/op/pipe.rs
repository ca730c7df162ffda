//! Named pipe servers: `ConnectNamedPipe`.

use super::on::Pipe;
use super::{Call, Called, Calls, Operation, Outcome, Starter};
use crate::sys;

/// Waits for a client of a named pipe. A client that is there already is a success
/// like any other.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectPipe(());

impl ConnectPipe {
    /// Whichever comes first.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Operation for ConnectPipe {
    const CALLS: Calls = Calls::handle(Call::ConnectNamedPipe);
    type On = Pipe;
    type Memory = ();
    type Arguments = ();
    type Output = ();
    type Given = ();

    fn split(self) -> ((), ()) {
        ((), ())
    }

    fn start((): (), (): (), starter: Starter<'_, Self>) -> Called<'_> {
        starter.call_with(|pipe, overlapped, _| sys::connect_pipe(pipe, overlapped))
    }

    fn finish((): (), outcome: Outcome) -> Option<()> {
        outcome.is_ok().then_some(())
    }

    fn give_back((): ()) {}
}
