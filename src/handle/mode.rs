//! How completions arrive: all through the port, or at once when they can.
#![allow(private_interfaces, private_bounds, reason = "the sealed trait is for this crate alone")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Associated, Object};
use crate::error::{Error, Rejected, Result, refusal};
use crate::operation::{Launched, Payload, Pending, Started};
use crate::port::Shared;
use crate::sys::{self, Nature};

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
    use super::{Associated, Launched, Payload, Rejected, Shared};

    pub trait Mode {
        /// Whether the handle skips the packets of inline successes.
        const SKIPS: bool;

        /// Turns a started operation into what its starter gets.
        fn deliver<C: Send + 'static, P: Payload, H, M>(
            launched: Launched<C, P>,
            handle: &Associated<H, M>,
            shared: &Shared<C>,
        ) -> Result<Self::Started<P::Output, C>, Rejected<(C, P::Given)>>
        where
            Self: super::Mode;
    }
}

impl sealed::Mode for Queued {
    const SKIPS: bool = false;

    #[inline(always)]
    fn deliver<C: Send + 'static, P: Payload, H, M>(
        launched: Launched<C, P>,
        handle: &Associated<H, M>,
        shared: &Shared<C>,
    ) -> Result<Pending<P::Output>, Rejected<(C, P::Given)>> {
        launched.into_pending(&shared.cells, &shared.port, handle.context())
    }
}

impl sealed::Mode for Inline {
    const SKIPS: bool = true;

    #[inline(always)]
    fn deliver<C: Send + 'static, P: Payload, H, M>(
        launched: Launched<C, P>,
        handle: &Associated<H, M>,
        shared: &Shared<C>,
    ) -> Result<Started<P::Output, C>, Rejected<(C, P::Given)>> {
        match launched {
            Launched::InFlight(pending) => {
                handle.inline_run.end();
                Ok(Started::Pending(pending))
            }
            Launched::Unqueued(done) => {
                let at_once = if handle.inline_run.goes_on(shared.looks.count()) {
                    done
                } else {
                    match done.post(&shared.port, handle.context()) {
                        Ok(pending) => return Ok(Started::Pending(pending)),
                        // No room for a packet: better at once than never.
                        Err(Rejected { returned: done, .. }) => done,
                    }
                };
                Ok(match at_once.complete(handle.context()) {
                    Ok(completion) => Started::Completed(completion),
                    Err(pending) => Started::Pending(pending),
                })
            }
            Launched::Refused(refused) => {
                let settled = refused.settle(&shared.cells, &shared.port, true)?;
                Self::deliver(settled, handle, shared)
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
            Object::Stream { has_kernel_handle: false, .. } => {
                Err(Error::misuse(&refusal::SKIP_UNSAFE_LAYERED))
            }
            Object::Datagram(_) => Err(Error::misuse(&refusal::SKIP_UNSAFE_MESSAGES)),
            // A pipe that does not say what it is may have messages.
            Object::Other
                if sys::nature(self.raw) == Nature::Pipe
                    && sys::has_messages(self.raw) != Some(false) =>
            {
                Err(Error::misuse(&refusal::SKIP_UNSAFE_MESSAGES))
            }
            object => {
                let is_socket = matches!(object, Object::Stream { .. });
                sys::skip_completion_port_on_success(self.raw, is_socket)
            }
        }
    }
}
