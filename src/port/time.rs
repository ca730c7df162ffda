//! Timers.

use std::time::{Duration, Instant};

use super::{Iocp, Shared};
use crate::error::{Error, Rejected, Result, refusal};
use crate::operation::Pending;
use crate::sys::Packet;

impl<C: Send + 'static> Iocp<C> {
    /// Starts a timer: an operation that completes after so much time, with this context
    /// and the handle context 0. It can be [cancelled](Pending::cancel) and awaited as any
    /// other.
    ///
    /// It goes off not before its time, and to the millisecond where the system has
    /// timers of that resolution (Windows 10, version 1803, and later; elsewhere some 16
    /// milliseconds). Somebody has to dequeue from the port for that. The first timer or
    /// [deadline](Pending::set_deadline) of a port has the system make a timer object, for
    /// which a thread of its thread pool waits.
    ///
    /// Timers do not wake a machine that sleeps, and may not count the time that it sleeps:
    /// those of the system that this uses are relative, and from Windows 8 on such a timer
    /// "[does not include time spent in low-power states]", though an [`Instant`] may go on
    /// meanwhile. A change of the date or of the time of the
    /// day changes nothing.
    ///
    /// [does not include time spent in low-power states]: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setwaitabletimer
    ///
    /// # Errors
    ///
    /// If the port is closed, [too many operations](crate::Builder::max_operations) are in
    /// flight, or the system has no memory for the port's timers. The context comes back.
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::time::{Duration, Instant};
    /// let port = Iocp::new()?;
    /// let start = Instant::now();
    /// port.after(Duration::from_millis(5), 7)?;
    /// let timer = port.after(Duration::from_secs(3600), 8)?;
    /// assert_eq!(port.get_completion()?.context, 7);
    /// assert!(start.elapsed() >= Duration::from_millis(5));
    /// timer.cancel()?;
    /// assert!(port.get_completion()?.error_status.unwrap_err().is_cancelled());
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn after(&self, duration: Duration, context: C) -> Result<Pending<()>, Rejected<C>> {
        self.start_timer(Instant::now().checked_add(duration), context)
    }

    /// Starts a timer that goes off at this time, or at once if that has passed: otherwise
    /// as [`after`](Self::after).
    ///
    /// # Errors
    ///
    /// Those of [`after`](Self::after).
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::time::{Duration, Instant};
    /// # let port: Iocp<()> = Iocp::builder().build()?;
    /// let start = Instant::now();
    /// port.block_on(async {
    ///     for tick in 1..=3 {
    ///         port.at(start + tick * Duration::from_millis(2), ())?.await?;
    ///     }
    ///     Ok::<(), completion_port::Error>(())
    /// })??;
    /// assert!(start.elapsed() >= Duration::from_millis(6));
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn at(&self, instant: Instant, context: C) -> Result<Pending<()>, Rejected<C>> {
        self.start_timer(Some(instant), context)
    }

    /// `None`: never.
    fn start_timer(&self, at: Option<Instant>, context: C) -> Result<Pending<()>, Rejected<C>> {
        let shared = self.shared();
        if shared.state.is_closed() {
            return Err(Rejected { error: Error::usage(&refusal::CLOSED), returned: context });
        }
        shared.cells.start_timer(at, context)
    }
}

impl<C: Send + 'static> Shared<C> {
    /// Whether a packet says that a timer may be due, which is seen to.
    #[cold]
    pub(super) fn turn_clock(&self, packet: Packet) -> bool {
        packet.overlapped == self.cells.clock_marker() && self.cells.turn_clock()
    }
}
