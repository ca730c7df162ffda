//! Starting operations, and finding them again.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::cell::{Body, Cell};
use super::completion::Dequeued;
use super::payload::{Payload, Post};
use super::pending::Pending;
use super::rule::{Verdict, verdict};
use super::slab::Slab;
use super::state::Holder;
use crate::error::{Call, Error, Rejected, Result, STATUS_END_OF_FILE};
use crate::sys::{self, Answer, Handle, LentOverlapped, LentRegion, Packet, Port};

/// The cells of one port, whose operations all have contexts of type `C`.
#[derive(Debug)]
pub(crate) struct Cells<C> {
    slab: NonNull<Slab>,
    contexts: PhantomData<fn(C) -> C>,
}

// SAFETY: The slab may be used by any thread; contexts that move through it
// between threads are `Send`.
unsafe impl<C: Send> Send for Cells<C> {}
// SAFETY: As above.
unsafe impl<C: Send> Sync for Cells<C> {}

/// What an operation is started on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub handle: Handle,
    /// The completion key of the handle.
    pub key: usize,
    /// Where in a file; 0 for everything else.
    pub offset: u64,
    /// Whether the handle skips the packets of inline successes.
    pub skips: bool,
}

/// An operation that has been started.
pub(crate) enum Launched<C, P: Payload> {
    /// A packet will come.
    InFlight(Pending<P::Output>),
    /// It is over, and no packet will come.
    Unqueued(Unqueued<C, P>),
}

/// An operation that finished within the call, without a packet.
pub(crate) struct Unqueued<C, P> {
    cell: NonNull<Cell>,
    key: usize,
    bytes: u32,
    types: PhantomData<fn() -> (C, P)>,
}

impl<C> Cells<C> {
    pub fn reserve(operations: u32) -> Result<Self> {
        Ok(Self { slab: Slab::reserve(operations)?, contexts: PhantomData })
    }

    fn slab(&self) -> &Slab {
        // SAFETY: The slab lives at least until `self` is dropped.
        unsafe { self.slab.as_ref() }
    }

    /// Puts context and payload into a cell, lends it to the kernel, and makes
    /// the call. On failure both come back.
    ///
    /// `scoped`: the operation belongs to a scope, which holds the cell too.
    #[inline]
    pub fn launch<P: Payload>(
        &self,
        target: Target,
        scoped: bool,
        context: C,
        payload: P,
        call: impl FnOnce(&LentRegion, LentOverlapped) -> Answer,
    ) -> Result<Launched<C, P>, Rejected<(C, P)>> {
        let cell = match self.slab().allocate() {
            Ok(cell) => cell,
            Err(error) => return Err(Rejected { error, returned: (context, payload) }),
        };
        let body = Body::new(context, payload);
        // SAFETY: The cell was just allocated: it is ours, and empty.
        let mut body = unsafe { Cell::fill(cell, target.handle, target.offset, body) };
        // SAFETY: The body is ours until the call.
        let (start, length) = unsafe { body.as_mut() }.payload_mut().region();
        // SAFETY: The payload is at its final place, and vouches for the
        // region until it is moved, which happens after the operation.
        let region = unsafe { LentRegion::new(start, length) };
        let others = Holder::Pending as u32 | if scoped { Holder::Scope as u32 } else { 0 };
        // SAFETY: Ours until the call.
        unsafe { cell.as_ref() }.state.begin(others);
        // Given away from here on: the packet can be dequeued by another
        // thread before the call returns.
        // SAFETY: Filled and given to the kernel, for this call only.
        let overlapped = unsafe { Cell::lend(cell) };
        match verdict(call(&region, overlapped), P::CALL, target.skips) {
            Verdict::PacketComes => Ok(Launched::InFlight(Pending::new(cell))),
            Verdict::Finished { bytes } => {
                // SAFETY: No packet will come, so the cell is ours again.
                Ok(Launched::Unqueued(unsafe { Unqueued::new(cell, target.key, 0, bytes) }))
            }
            // SAFETY: The cell was launched with this target and payload.
            refused => unsafe { self.refused(cell, target, others, &refused) },
        }
    }

    /// The call has failed, and no packet will come: takes the cell back.
    ///
    /// # Safety
    ///
    /// The cell was filled with these types and given to the kernel and
    /// `others` just now.
    #[cold]
    unsafe fn refused<P: Payload>(
        &self,
        cell: NonNull<Cell>,
        target: Target,
        others: u32,
        verdict: &Verdict,
    ) -> Result<Launched<C, P>, Rejected<(C, P)>> {
        // SAFETY: The `Pending`'s part is still ours.
        if !unsafe { cell.as_ref() }.state.withdraw() {
            // A packet has come all the same, and somebody has it.
            return Ok(Launched::InFlight(Pending::new(cell)));
        }
        // SAFETY: Withdrawn, so the cell is ours alone.
        let body = unsafe { Cell::empty::<C, P>(cell) };
        if may_leave_a_packet(P::CALL) {
            // SAFETY: The slab keeps it until the packet comes, or never does.
            unsafe { cell.as_ref() }.state.abandon();
        } else {
            // SAFETY: Ours alone, and empty.
            unsafe { Cell::free(cell) };
        }
        let error = match *verdict {
            Verdict::AtEnd => match self.slab().allocate() {
                Ok(cell) => {
                    // SAFETY: The cell is new; no packet will come for it,
                    // unless it is posted.
                    let unqueued = unsafe {
                        Cell::fill(cell, target.handle, target.offset, body);
                        cell.as_ref().state.begin(others);
                        Unqueued::new(cell, target.key, STATUS_END_OF_FILE, 0)
                    };
                    return Ok(Launched::Unqueued(unqueued));
                }
                Err(error) => error,
            },
            Verdict::NotStarted { code } => Error::os(P::CALL, code),
            Verdict::PacketComes | Verdict::Finished { .. } => unreachable!("not refused"),
        };
        Err(Rejected { error, returned: body.into_parts() })
    }

    /// Queues a packet of the program's own, which carries a context.
    #[inline]
    pub fn post(&self, port: &Port, key: usize, bytes: u32, context: C) -> Result<(), Rejected<C>> {
        let cell = match self.slab().allocate() {
            Ok(cell) => cell,
            Err(error) => return Err(Rejected { error, returned: context }),
        };
        // SAFETY: The cell was just allocated: it is ours, and empty.
        unsafe {
            Cell::fill(cell, Handle(0), 0, Body::new(context, Post));
            Cell::set_result(cell, 0, bytes);
        }
        // SAFETY: Ours until it is posted.
        unsafe { cell.as_ref() }.state.begin(0);
        port.post(key, bytes, Cell::address(cell)).map_err(|error| {
            // SAFETY: Nothing was posted, so the cell is ours again.
            let (returned, Post) = unsafe { withdraw(cell) };
            Rejected { error, returned }
        })
    }

    /// The operation that a dequeued packet belongs to, if it is one of ours.
    /// Each packet is claimed once.
    #[inline]
    pub fn claim(&self, packet: &Packet) -> Option<Dequeued<C>> {
        let cell = self.slab().claim(packet.overlapped())?;
        Some(Dequeued::new(cell, packet.key(), packet.bytes()))
    }

    /// Whether a packet is one that should not have come, and is not to be
    /// seen.
    pub fn swallow(&self, packet: &Packet) -> bool {
        self.slab().swallow(packet.overlapped())
    }

    /// Whether a packet is one of those that wake threads when the port closes.
    pub fn is_close_marker(&self, packet: &Packet) -> bool {
        packet.overlapped() == self.close_marker()
    }

    /// What such a packet carries for its `OVERLAPPED`.
    pub fn close_marker(&self) -> usize {
        self.slab().close_marker()
    }

    /// Asks for everything in flight to be cancelled, and returns how many
    /// operations and posted packets that is. Nobody may start more meanwhile.
    pub fn cancel_all(&self) -> usize {
        self.slab()
            .all_in_flight()
            .map(|cell| {
                // SAFETY: A cell in flight is filled. Its handle may be closed,
                // even be another object's by now: then no operation with this
                // OVERLAPPED is found there.
                let handle = unsafe { Cell::handle(cell) };
                if handle.is_plausible() {
                    // A failure leaves the operation as it is.
                    let _ = sys::cancel(handle, Cell::address(cell));
                }
            })
            .count()
    }
}

impl<C> Drop for Cells<C> {
    fn drop(&mut self) {
        self.slab().recover_all();
        // SAFETY: Whoever allocates borrows `self`.
        unsafe { Slab::close(self.slab) };
    }
}

impl<C, P: Payload> Unqueued<C, P> {
    /// # Safety
    ///
    /// The cell was filled with these types and given to the kernel, and no
    /// packet will come for it.
    unsafe fn new(cell: NonNull<Cell>, key: usize, status: u32, bytes: u32) -> Self {
        // "The kernel may leave the OVERLAPPED in the pending state if an I/O
        // completes inline": the result is the call's.
        // SAFETY: The kernel is done with the cell.
        unsafe { Cell::set_result(cell, status, bytes) };
        Self { cell, key, bytes, types: PhantomData }
    }

    /// The completion, for the caller of the call itself.
    #[inline]
    pub fn into_dequeued(self) -> Dequeued<C> {
        // The program got no `Pending`.
        // SAFETY: No packet will come, so the cell is ours.
        unsafe { self.cell.as_ref() }.state.begin(0);
        Dequeued::new(self.cell, self.key, self.bytes)
    }

    /// Sends the completion through the port after all, like any other.
    #[cold]
    pub fn post(self, port: &Port) -> Result<Pending<P::Output>, Rejected<Self>> {
        // The state is still as it was before the call: held by the kernel,
        // for which the port stands in here, and by the `Pending`.
        match port.post(self.key, self.bytes, Cell::address(self.cell)) {
            Ok(()) => Ok(Pending::new(self.cell)),
            Err(error) => Err(Rejected { error, returned: self }),
        }
    }

    /// Sends the completion through the port, or takes back what was given to
    /// [`Cells::launch`].
    #[cold]
    pub fn post_or_take_back(self, port: &Port) -> Result<Pending<P::Output>, Rejected<(C, P)>> {
        self.post(port).map_err(|Rejected { error, returned: this }| {
            // SAFETY: No packet will come, so the cell is ours.
            let returned = unsafe { withdraw(this.cell) };
            Rejected { error, returned }
        })
    }
}

/// Whether a packet may come although the call has failed at once. On Windows
/// none does. Wine queues one for reads and writes of files and devices that it
/// fails once it has tried them: `NtReadFile` and `NtWriteFile` in
/// <https://gitlab.winehq.org/wine/wine/-/blob/wine-10.0/dlls/ntdll/unix/file.c>.
fn may_leave_a_packet(call: Call) -> bool {
    matches!(call, Call::ReadFile | Call::WriteFile) && sys::is_wine()
}

/// Empties and frees a cell that was posted to the port, in vain.
///
/// # Safety
///
/// The caller owns the cell alone, and filled it with these types.
#[cold]
unsafe fn withdraw<C, P: Payload>(cell: NonNull<Cell>) -> (C, P) {
    // SAFETY: By the caller's promise.
    unsafe {
        let body = Cell::empty(cell);
        Cell::free(cell);
        body.into_parts()
    }
}
