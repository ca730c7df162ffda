//! How completions arrive: all through the port, or at once when they can.
#![allow(private_interfaces, private_bounds, reason = "the sealed trait is for this crate alone")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Associated, What};
use crate::error::{Error, Rejected, Result, refusal};
use crate::operation::{Launched, Operation, Pending, Started, Way};
use crate::port::Shared;
use crate::sys;

/// How the completions of a handle's operations arrive: [`Queued`] or
/// [`Inline`].
pub trait Mode: sealed::Mode {
    /// What starting an operation returns. In code for either kind of handle
    /// it becomes a [`Started`].
    type Started<B, C>: Into<Started<B, C>>;
}

/// All completions come through the port.
#[derive(Debug)]
pub enum Queued {}

/// The completions of operations that complete at once are handed to their
/// starter, and no packet is queued for them.
#[derive(Debug)]
pub enum Inline {}

impl Mode for Queued {
    type Started<B, C> = Pending<B>;
}

impl Mode for Inline {
    type Started<B, C> = Started<B, C>;
}

mod sealed {
    use super::{Associated, Launched, Operation, Rejected, Shared, Way};

    pub trait Mode {
        /// Whether the handle skips the packets of inline successes.
        const SKIPS: bool;

        /// Turns a started operation into what its starter gets.
        fn deliver<C: Send + 'static, O: Operation, W: Way<O>, H, M>(
            launched: Launched<C, O, W>,
            handle: &Associated<H, M>,
            shared: &Shared<C>,
        ) -> Result<Self::Started<O::Output, C>, Rejected<(C, O::Given)>>
        where
            Self: super::Mode;
    }
}

impl sealed::Mode for Queued {
    const SKIPS: bool = false;

    #[inline(always)]
    fn deliver<C: Send + 'static, O: Operation, W: Way<O>, H, M>(
        launched: Launched<C, O, W>,
        handle: &Associated<H, M>,
        shared: &Shared<C>,
    ) -> Result<Pending<O::Output>, Rejected<(C, O::Given)>> {
        match launched {
            Launched::InFlight(pending) => Ok(pending),
            launched => launched.into_pending(&shared.cells, &shared.port, handle.context()),
        }
    }
}

impl sealed::Mode for Inline {
    const SKIPS: bool = true;

    #[inline(always)]
    fn deliver<C: Send + 'static, O: Operation, W: Way<O>, H, M>(
        launched: Launched<C, O, W>,
        handle: &Associated<H, M>,
        shared: &Shared<C>,
    ) -> Result<Started<O::Output, C>, Rejected<(C, O::Given)>> {
        match launched {
            Launched::InFlight(pending) => {
                handle.inline_run.end();
                Ok(Started::Pending(pending))
            }
            Launched::Unqueued(done) => {
                if handle.inline_run.goes_on(shared.looks.count()) {
                    return Ok(Started::Completed(done.complete(handle.context())));
                }
                Ok(match done.post(&shared.port, handle.context()) {
                    Ok(pending) => Started::Pending(pending),
                    // No room for a packet: better at once than never.
                    Err(Rejected { returned: done, .. }) => {
                        Started::Completed(done.complete(handle.context()))
                    }
                })
            }
            Launched::Refused(refused) => {
                Self::deliver(refused.settle(&shared.cells)?, handle, shared)
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
pub(super) struct InlineRun {
    length: AtomicU32,
    since: AtomicU32,
}

impl InlineRun {
    /// Counts one more, or says that the run has been long enough.
    #[inline]
    fn goes_on(&self, looks: u32) -> bool {
        let length = if self.since.load(Ordering::Relaxed) == looks {
            self.length.load(Ordering::Relaxed)
        } else {
            self.since.store(looks, Ordering::Relaxed);
            0
        };
        let goes_on = length < INLINE_LIMIT;
        self.length.store(if goes_on { length + 1 } else { 0 }, Ordering::Relaxed);
        goes_on
    }

    #[inline]
    fn end(&self) {
        self.length.store(0, Ordering::Relaxed);
    }
}

impl<H> Associated<H> {
    /// How many operations in a row may complete without a packet on a handle
    /// that [skips the port](Self::skip_on_success), if nobody looks at the
    /// port meanwhile.
    pub const INLINE_LIMIT: u32 = INLINE_LIMIT;

    pub(super) fn set_skip_on_success(&self) -> Result<()> {
        match self.object {
            // A provider above the kernel's may complete an operation inline,
            // and queue the packet all the same.
            What::Stream { has_kernel_handle: false, .. } => {
                Err(Error::misuse(&refusal::SKIP_UNSAFE_LAYERED))
            }
            What::Datagram(_) => Err(Error::misuse(&refusal::SKIP_UNSAFE_MESSAGES)),
            What::Other if sys::is_message_pipe(self.raw) => {
                Err(Error::misuse(&refusal::SKIP_UNSAFE_MESSAGES))
            }
            _ => sys::skip_completion_port_on_success(self.raw),
        }
    }
}
