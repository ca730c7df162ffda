//! How completions arrive: all through the port, or at once when they can.
#![allow(private_interfaces, private_bounds, reason = "the sealed trait is for this crate alone")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::Associated;
use crate::error::{Error, Rejected, Result, refusal};
use crate::operation::{ObjectKind, Operation, Pending, StartOutcome, Started, Way};
use crate::port::Shared;
use crate::sys::{self, HandleKind};
use crate::trace;

/// How the completions of a handle's operations arrive: [`Queued`] or
/// [`Inline`].
pub trait Mode: sealed::Mode {
    /// What starting an operation returns. Code for either kind of handle converts it into a
    /// [`Started`].
    type Started<B, C>: Into<Started<B, C>>;
}

/// All completions come through the port.
#[derive(Debug)]
pub enum Queued {}

/// An operation that completes immediately returns its completion to its starter, and queues
/// no packet.
#[derive(Debug)]
pub enum Inline {}

impl Mode for Queued {
    type Started<B, C> = Pending<B>;
}

impl Mode for Inline {
    type Started<B, C> = Started<B, C>;
}

mod sealed {
    use super::{InlineRun, Operation, Rejected, Shared, StartOutcome, Way};

    pub trait Mode {
        /// Whether the handle skips the packets of inline successes.
        const SKIPS: bool;

        /// Turns a started operation into what its starter gets. `may_be_inline` says
        /// whether it may get the completion of one that is over; then it counts
        /// that, and one that is not.
        fn deliver<C: Send + 'static, O: Operation, W: Way<O>>(
            outcome: StartOutcome<C, O, W>,
            shared: &Shared<C>,
            key: usize,
            may_be_inline: bool,
            run: impl FnOnce(Option<&C>, fn(&InlineRun)),
        ) -> Result<Self::Started<O::Output, C>, Rejected<(C, O::Memory)>>
        where
            Self: super::Mode;
    }
}

impl sealed::Mode for Queued {
    const SKIPS: bool = false;

    #[inline(always)]
    fn deliver<C: Send + 'static, O: Operation, W: Way<O>>(
        outcome: StartOutcome<C, O, W>,
        shared: &Shared<C>,
        key: usize,
        _: bool,
        _: impl FnOnce(Option<&C>, fn(&InlineRun)),
    ) -> Result<Pending<O::Output>, Rejected<(C, O::Memory)>> {
        match outcome {
            StartOutcome::InFlight(pending) => Ok(pending),
            outcome => outcome.into_pending(&shared.cells, &shared.port, key),
        }
    }
}

impl sealed::Mode for Inline {
    const SKIPS: bool = true;

    #[inline(always)]
    fn deliver<C: Send + 'static, O: Operation, W: Way<O>>(
        outcome: StartOutcome<C, O, W>,
        shared: &Shared<C>,
        key: usize,
        may_be_inline: bool,
        run: impl FnOnce(Option<&C>, fn(&InlineRun)),
    ) -> Result<Started<O::Output, C>, Rejected<(C, O::Memory)>> {
        match outcome {
            StartOutcome::InFlight(pending) => {
                run(None, InlineRun::end);
                Ok(Started::Pending(pending))
            }
            StartOutcome::CompletedInline(done) => {
                let done = if may_be_inline {
                    done
                } else {
                    match done.post(&shared.port, key) {
                        Ok(pending) => return Ok(Started::Pending(pending)),
                        // No room for a packet: better at once than never.
                        Err(Rejected { returned: done, .. }) => done,
                    }
                };
                Ok(match done.complete(key) {
                    Ok(completion) => {
                        trace::completed(&completion);
                        run(Some(&completion.context), InlineRun::count);
                        Started::Completed(completion)
                    }
                    Err(pending) => Started::Pending(pending),
                })
            }
            StartOutcome::FailedCall(refused) => {
                let settled = refused.resolve(&shared.cells, &shared.port, true)?;
                Self::deliver(settled, shared, key, may_be_inline, run)
            }
        }
    }
}

const INLINE_LIMIT: u32 = 32;

/// How many operations of a handle in a row have completed without a packet,
/// since somebody last looked at the port.
///
/// Counted without synchronisation: a bound for a loop need not be exact
/// between threads.
#[derive(Debug, Default)]
pub(crate) struct InlineRun {
    length: AtomicU32,
    since: AtomicU32,
}

impl InlineRun {
    /// Whether one more may complete without a packet. If not, the run ends.
    #[inline]
    pub fn goes_on(&self, looks: u32) -> bool {
        if self.since.load(Ordering::Relaxed) != looks {
            self.since.store(looks, Ordering::Relaxed);
            self.end();
        }
        let goes_on = self.length.load(Ordering::Relaxed) < INLINE_LIMIT;
        if !goes_on {
            self.end();
        }
        goes_on
    }

    /// One more has completed without a packet.
    #[inline]
    pub fn count(&self) {
        self.length.store(self.length.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[inline]
    pub fn end(&self) {
        self.length.store(0, Ordering::Relaxed);
    }
}

impl<H> Associated<H> {
    /// The number of operations in a row that may complete without a packet on a handle that
    /// [skips the port](Self::skip_on_success), while nobody looks at the port.
    pub const INLINE_LIMIT: u32 = INLINE_LIMIT;

    pub(super) fn set_skip_on_success(&self) -> Result<()> {
        match self.object {
            // A provider above the kernel's may complete an operation inline,
            // and queue the packet all the same.
            ObjectKind::Stream { has_kernel_handle: false, .. } => {
                Err(Error::usage(&refusal::SKIP_UNSAFE_LAYERED))
            }
            ObjectKind::Datagram { .. } => Err(Error::usage(&refusal::SKIP_UNSAFE_MESSAGES)),
            // A pipe that does not say what it is may have messages.
            ObjectKind::Other
                if sys::handle_kind(self.raw) == HandleKind::Pipe
                    && sys::has_messages(self.raw) != Some(false) =>
            {
                Err(Error::usage(&refusal::SKIP_UNSAFE_MESSAGES))
            }
            what => {
                let is_socket = matches!(what, ObjectKind::Stream { .. });
                sys::skip_completion_port_on_success(self.raw, is_socket)
            }
        }
    }
}
