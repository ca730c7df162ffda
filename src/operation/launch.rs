//! Starting operations, and finding them again.

use std::marker::PhantomData;
use std::mem;
use std::ptr::NonNull;

use super::body::Body;
use super::cell::Cell;
use super::completion::{CompletionStatus, Dequeued};
use super::payload::{Filled, Payload, Post, Returns};
use super::pending::Pending;
use super::rule::{self, Failure, Verdict, verdict};
use super::slab::Slab;
use super::state::Holder;
use super::status_word::Taken;
use crate::error::{
    Call, Error, Misuse, Rejected, Result, STATUS_BUFFER_OVERFLOW, STATUS_CANCELLED,
    STATUS_END_OF_FILE, is_error,
};
use crate::panics::{FirstPanic, IfItPanics};
use crate::sys::{self, Answer, Handle, Landing, LentOverlapped, LentRegion, Packet, Port};

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

/// A cell that a packet may be of.
pub(crate) struct Found<C> {
    cell: NonNull<Cell>,
    contexts: PhantomData<fn() -> C>,
}

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

/// An operation after the call that starts it.
pub(crate) enum Launched<C, P: Payload> {
    /// A packet will come.
    InFlight(Pending<P::Output>),
    /// It is over, and no packet will come.
    Unqueued(Unqueued<C, P>),
    /// The call has failed, and no packet will come.
    Refused(Refused<C, P>),
}

/// An operation that finished within the call, without a packet.
pub(crate) struct Unqueued<C, P> {
    cell: NonNull<Cell>,
    status: u32,
    bytes: u32,
    types: PhantomData<fn() -> (C, P)>,
}

/// An operation that could not be started, or was over with the call.
pub(crate) struct Refused<C, P> {
    cell: NonNull<Cell>,
    code: u32,
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
    /// the call. They come back if there is no cell.
    ///
    /// `scoped`: the operation belongs to a scope, which holds the cell too.
    /// `admit` is asked last of all, because the payload runs code of the
    /// program's that may change the answer.
    #[inline(always)]
    pub fn launch<P: Payload>(
        &self,
        target: Target,
        scoped: bool,
        context: C,
        payload: P,
        admit: impl Fn() -> Result<(), &'static Misuse>,
        call: impl FnOnce(&LentRegion, LentOverlapped) -> Answer,
    ) -> Result<Launched<C, P>, Rejected<(C, P::Given)>> {
        let cell = match self.slab().allocate() {
            Ok(cell) => cell,
            Err(error) => {
                let error = admit().map_or_else(Error::misuse, |()| error);
                return Err(Rejected { error, returned: (context, payload.give_back()) });
            }
        };
        // SAFETY: The cell was just allocated: it is ours until the call, and
        // empty.
        let place = unsafe {
            Cell::set_handle(cell, target.handle);
            Cell::renew(cell, target.offset);
            Body::place(cell, context, payload)
        };
        // SAFETY: Ours, and filled with these types.
        let panicked = IfItPanics(|| unsafe { drop_placed::<C, P>(cell) });
        // SAFETY: Placed there.
        let (start, length) = unsafe { (*place).region() };
        mem::forget(panicked);
        // SAFETY: The payload is at its final place, and vouches for the
        // region until it is moved, which happens after the operation.
        let region = unsafe { LentRegion::new(start, length) };
        let others = Holder::Pending as u32
            | if scoped { Holder::Scope as u32 } else { 0 }
            | Body::<C, P>::TRAITS;
        // SAFETY: Ours until the call.
        unsafe { cell.as_ref() }.state.begin(others);
        if let Err(misuse) = admit() {
            let code = sys::code_of(misuse);
            return Ok(Launched::Refused(Refused { cell, code, types: PhantomData }));
        }
        // Given away from here on: the packet can be dequeued by another
        // thread before the call returns.
        // SAFETY: Filled and given to the kernel, for this call only.
        let overlapped = unsafe { Cell::lend(cell) };
        Ok(match verdict(call(&region, overlapped), target.skips) {
            Verdict::PacketComes => Launched::InFlight(Pending::new(cell)),
            Verdict::Finished { bytes } => {
                Launched::Unqueued(Unqueued { cell, status: 0, bytes, types: PhantomData })
            }
            Verdict::Failed { code } => {
                Launched::Refused(Refused { cell, code, types: PhantomData })
            }
        })
    }

    /// Queues a packet of the program's own, which carries a context.
    #[inline(always)]
    pub fn post(&self, port: &Port, key: usize, bytes: u32, context: C) -> Result<(), Rejected<C>> {
        let cell = match self.slab().allocate() {
            Ok(cell) => cell,
            Err(error) => return Err(Rejected { error, returned: context }),
        };
        // SAFETY: The cell was just allocated: it is ours, and empty.
        unsafe {
            Cell::set_handle(cell, Handle::NONE);
            Cell::set_bytes(cell, bytes);
            Body::place(cell, context, Post);
            cell.as_ref().state.begin(Body::<C, Post>::TRAITS);
            cell.as_ref().status_word().write(0);
        }
        match port.post(key, bytes, Cell::address(cell)) {
            Ok(()) => Ok(()),
            Err(error) => Self::not_posted(cell, error),
        }
    }

    /// Gives back the context of a packet that could not be posted.
    #[cold]
    #[inline(never)]
    fn not_posted(cell: NonNull<Cell>, error: Error) -> Result<(), Rejected<C>> {
        // SAFETY: Nothing was posted, so the cell is still as it was begun,
        // unless somebody has forged its packet.
        match unsafe { take_back(cell) } {
            Some((returned, Post)) => Err(Rejected { error, returned }),
            None => Ok(()),
        }
    }

    /// The cell that what was dequeued may be of, and its packet.
    #[inline(always)]
    pub fn find_landed(&self, landing: &Landing) -> Option<(Found<C>, Packet)> {
        let found = self.find(landing.overlapped())?;
        // SAFETY: No cell has the address that stands for no packet.
        Some((found, unsafe { landing.packet() }))
    }

    /// The cell that a dequeued packet with this address may be of.
    #[inline(always)]
    pub fn find(&self, overlapped: usize) -> Option<Found<C>> {
        Some(Found { cell: self.slab().find(overlapped)?, contexts: PhantomData })
    }

    /// The operation that a dequeued packet completes, if it is one of ours.
    /// Each packet is claimed once. `taken`: by [`Found::claim_alone`].
    #[cold]
    pub fn claim(&self, packet: Packet, taken: Taken) -> Option<Dequeued<C>> {
        self.find(packet.overlapped)?.claim(taken, packet.bytes)
    }

    /// Whether a packet with this address is of an operation whose scope waits
    /// for it.
    pub fn is_awaited_by_scope(&self, overlapped: usize) -> bool {
        // SAFETY: Cells that have been used are initialised.
        self.slab().find(overlapped).is_some_and(|cell| unsafe { cell.as_ref() }.state.is_ending())
    }

    /// Whether a packet with this address is one that should not have come, and
    /// is not to be seen.
    pub fn swallow(&self, overlapped: usize) -> bool {
        self.slab().swallow(overlapped)
    }

    /// What the packets carry for their `OVERLAPPED` that wake threads when the
    /// port closes.
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

impl<C> Found<C> {
    /// The operation that its packet completes, if it has succeeded or was
    /// cancelled, and nobody has a part in it but the packet, and perhaps a
    /// scope. It goes to `then`, which is compiled for each of the two, with
    /// what is known of it. Otherwise, what was taken, for
    /// [`claim`](Self::claim).
    #[inline(always)]
    pub fn claim_alone<T>(&self, mut then: impl FnMut(Dequeued<C>) -> T) -> Result<T, Taken> {
        // SAFETY: Cells that have been used are initialised. Who has taken the
        // status ends the operation, and the status is the proof that the kernel
        // has given the cell back. Its part is the completion's then.
        unsafe {
            let Cell { state, .. } = self.cell.as_ref();
            let taken = self.cell.as_ref().status_word().take();
            if !state.is_alone_in_flight() {
                return Err(taken);
            }
            if taken.is_success() {
                let bytes = Cell::bytes(self.cell);
                state.complete_alone();
                return Ok(then(Dequeued::new(self.cell, 0, bytes)));
            }
            if taken.status() != STATUS_CANCELLED {
                return Err(taken);
            }
            // The other way round, or the compiler makes one of the two ways.
            let result = then(Dequeued::new(self.cell, STATUS_CANCELLED, 0));
            state.complete_alone();
            Ok(result)
        }
    }

    /// The same whoever has a part; `None` if the packet is foreign, or stray.
    #[cold]
    #[inline(never)]
    pub fn claim(self, taken: Taken, packet_bytes: u32) -> Option<Dequeued<C>> {
        // SAFETY: As above.
        unsafe {
            self.cell.as_ref().status_word().put_back(taken);
            let (status, bytes) = Cell::claim(self.cell, packet_bytes)?;
            Some(Dequeued::new(self.cell, status, bytes))
        }
    }
}

impl<C> Drop for Cells<C> {
    fn drop(&mut self) {
        self.slab().recover_all();
        // SAFETY: Whoever allocates borrows `self`.
        unsafe { Slab::close(self.slab) };
    }
}

impl<C, P: Payload> Launched<C, P> {
    /// The operation in flight: if it is over, its completion is sent through
    /// the port after all.
    #[inline(always)]
    pub fn into_pending(
        self,
        cells: &Cells<C>,
        port: &Port,
        key: usize,
    ) -> Result<Pending<P::Output>, Rejected<(C, P::Given)>> {
        // What the cold parts take and return fits into registers, so that the
        // common result stays there too.
        let mut rejected = None;
        let pending = match self {
            Self::InFlight(pending) => return Ok(pending),
            Self::Unqueued(done) => done.send(port, key, &mut rejected),
            Self::Refused(Refused { cell, code, .. }) => {
                Refused::<C, P>::send(cell, code, cells, port, key, &mut rejected)
            }
        };
        match (pending, rejected) {
            (_, Some(rejected)) => Err(rejected),
            (Some(pending), None) => Ok(pending),
            (None, None) => unreachable!("neither started nor rejected"),
        }
    }
}

impl<C, P: Payload> Unqueued<C, P> {
    /// The completion, for the caller of the call itself.
    #[inline]
    pub fn complete(self, key: usize) -> Result<CompletionStatus<C>, Pending<P::Output>> {
        let Self { cell, status, bytes, .. } = self;
        // SAFETY: The `Pending`'s part is still ours. With the status taken, the
        // cell is ours alone, and the result is the call's: "the kernel may leave
        // the OVERLAPPED in the pending state if an I/O completes inline".
        let operation = unsafe {
            let Cell { state, .. } = cell.as_ref();
            let word = cell.as_ref().status_word();
            if word.take_for_certain(|| state.is_in_flight()).is_none() {
                return Err(Pending::new(cell));
            }
            let (status, bytes) = match (status, bytes) {
                (0, bytes) if !P::SEES_COMPLETION => (0, bytes),
                (status, bytes) => Cell::completed(cell, status, bytes),
            };
            state.complete_at_once();
            Dequeued::new(cell, status, bytes)
        };
        Ok(operation.complete(key))
    }

    /// Sends the completion through the port after all, like any other, or
    /// gives back what the operation was started with.
    #[cold]
    #[inline(never)]
    fn send(
        self,
        port: &Port,
        key: usize,
        rejected: &mut Option<Rejected<(C, P::Given)>>,
    ) -> Option<Pending<P::Output>> {
        let Rejected { error, returned: Self { cell, .. } } = match self.post(port, key) {
            Ok(pending) => return Some(pending),
            Err(not_posted) => not_posted,
        };
        // SAFETY: Begun, not posted, and filled with these types.
        let Some((context, payload)) = (unsafe { take_back::<C, P>(cell) }) else {
            return Some(Pending::new(cell));
        };
        *rejected = Some(Rejected { error, returned: (context, payload.give_back()) });
        None
    }

    /// Sends the completion through the port after all, like any other.
    #[cold]
    pub fn post(self, port: &Port, key: usize) -> Result<Pending<P::Output>, Rejected<Self>> {
        let Self { cell, status, bytes, .. } = self;
        // SAFETY: The `Pending`'s part is still ours; withdrawn, so is the cell.
        unsafe {
            let Some((others, _)) = withdraw(cell) else { return Ok(Pending::new(cell)) };
            Cell::set_bytes(cell, bytes);
            // Held as before the call, by the kernel, for which the port stands in
            // here, and by the `Pending`.
            cell.as_ref().state.begin(others);
            cell.as_ref().status_word().write(status);
        }
        match port.post(key, bytes, Cell::address(cell)) {
            Ok(()) => Ok(Pending::new(cell)),
            Err(error) => Err(Rejected { error, returned: self }),
        }
    }
}

impl<C, P: Payload> Refused<C, P> {
    /// As [`settle`](Self::settle), and what gets a completion gets it through
    /// the port.
    #[cold]
    #[inline(never)]
    fn send(
        cell: NonNull<Cell>,
        code: u32,
        cells: &Cells<C>,
        port: &Port,
        key: usize,
        rejected: &mut Option<Rejected<(C, P::Given)>>,
    ) -> Option<Pending<P::Output>> {
        let refused = Self { cell, code, types: PhantomData };
        let settled = refused.settle(cells, port, false);
        match settled.and_then(|launched| launched.into_pending(cells, port, key)) {
            Ok(pending) => Some(pending),
            Err(why) => {
                *rejected = Some(why);
                None
            }
        }
    }

    /// Gives back what the operation was started with; if it is over, it gets
    /// a completion after all. `skips`: see [`Target::skips`].
    pub fn settle(
        self,
        cells: &Cells<C>,
        port: &Port,
        skips: bool,
    ) -> Result<Launched<C, P>, Rejected<(C, P::Given)>> {
        let Self { cell, code, .. } = self;
        let failure = rule::failure(code, P::CALL, sys::last_status());
        let misuse = sys::misuse_of(code);
        let warned = failure == Failure::Warned;
        let is_done = |word: Taken| warned && word.is_status() && !is_error(word.status());
        // SAFETY: The `Pending`'s part is still ours.
        let withdrawn = unsafe { withdraw_unless(cell, |word| is_done(word) && !skips) };
        let Some((others, word)) = withdrawn else {
            // A packet comes, or has come all the same and somebody has it.
            return Ok(Launched::InFlight(Pending::new(cell)));
        };
        // SAFETY: Withdrawn, so the cell is ours alone, and filled with these
        // types.
        let result = unsafe {
            match failure {
                Failure::AtEnd => Some((STATUS_END_OF_FILE, 0)),
                Failure::Warned if is_done(word) => Some((word.status(), Cell::bytes(cell))),
                // "The buffer is filled with the first part of the datagram"
                // (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv).
                Failure::Warned if P::CALL == Call::WSARecv && is_datagram(cell) => {
                    let (_, length) = Self::run(cell, P::region);
                    Some((STATUS_BUFFER_OVERFLOW, LentRegion::cut(length)))
                }
                Failure::Warned | Failure::NotStarted => None,
            }
        };
        if let (Some((_, bytes)), Returns::ItselfFilled(fill)) = (result, P::RETURNS) {
            // Before it is moved, after which its range may be another.
            // SAFETY: As above; the operation has put so many bytes there.
            unsafe { Self::run(cell, |payload| fill(payload, bytes)) };
        }
        // SAFETY: As above.
        let ((context, payload), handle) =
            unsafe { (Body::<C, P>::remove(cell), Cell::handle(cell)) };
        if warned || misuse.is_none() && may_leave_a_packet(P::CALL, handle) {
            quarantine(cell, port);
        } else {
            // SAFETY: Ours alone, and empty.
            unsafe {
                cell.as_ref().state.free();
                Cell::free(cell);
            }
        }
        let Some((status, bytes)) = result else {
            let error = misuse.map_or_else(|| Error::os(P::CALL, code), Error::misuse);
            return Err(Rejected { error, returned: (context, payload.give_back()) });
        };
        let cell = match cells.slab().allocate() {
            Ok(cell) => cell,
            Err(error) => return Err(Rejected { error, returned: (context, payload.give_back()) }),
        };
        // SAFETY: The cell is new; no packet will come for it, unless it is posted.
        unsafe {
            Cell::set_handle(cell, Handle::NONE);
            Cell::renew(cell, 0);
            Body::place(cell, context, Filled(payload));
            cell.as_ref().state.begin(others);
        }
        Ok(Launched::Unqueued(Unqueued { cell, status, bytes, types: PhantomData }))
    }

    /// Runs code of the payload's. If it panics, both parts are dropped, and the
    /// cell is free.
    ///
    /// # Safety
    ///
    /// The cell is the caller's alone, and filled with these types.
    unsafe fn run<T>(cell: NonNull<Cell>, code: impl FnOnce(&mut P) -> T) -> T {
        // SAFETY: By the caller's promise.
        let lost = IfItPanics(|| unsafe { drop_placed::<C, P>(cell) });
        // SAFETY: As above.
        let result = code(unsafe { &mut *Body::<C, P>::payload_place(cell) });
        mem::forget(lost);
        result
    }
}

/// Whether the operation is on a datagram socket.
///
/// # Safety
///
/// The cell is filled.
unsafe fn is_datagram(cell: NonNull<Cell>) -> bool {
    // SAFETY: By the caller's promise.
    let handle = unsafe { Cell::handle(cell) };
    sys::socket_traits(handle).is_some_and(|socket| !socket.is_stream)
}

/// Whether a packet may come although the call has failed at once with an
/// error. On Windows none does. Wine queues one for reads and writes of
/// Unix files and devices that it fails once it has tried them: `NtReadFile` and
/// `NtWriteFile` in
/// <https://gitlab.winehq.org/wine/wine/-/blob/wine-10.0/dlls/ntdll/unix/file.c>.
/// Named pipes are its server's, which queues none.
fn may_leave_a_packet(call: Call, handle: Handle) -> bool {
    matches!(call, Call::ReadFile | Call::WriteFile)
        && sys::is_wine()
        && sys::has_messages(handle).is_none()
}

/// Drops what an operation was to be started with.
///
/// # Safety
///
/// As for [`empty`].
#[cold]
#[inline(never)]
unsafe fn drop_placed<C, P: Payload>(cell: NonNull<Cell>) {
    // SAFETY: By the caller's promise.
    let (context, payload) = unsafe { empty::<C, P>(cell) };
    let mut panic = FirstPanic::none();
    panic.catch(|| drop(context));
    panic.catch(|| drop(payload));
    panic.resume();
}

/// Empties and frees a cell.
///
/// # Safety
///
/// The cell is the caller's alone, and filled with these types.
unsafe fn empty<C, P: Payload>(cell: NonNull<Cell>) -> (C, P) {
    // SAFETY: By the caller's promise.
    unsafe {
        let parts = Body::remove(cell);
        cell.as_ref().state.free();
        Cell::free(cell);
        parts
    }
}

/// Keeps a cell that was withdrawn and emptied from being used, until all
/// packets that are queued by now have been dequeued: one may be for it.
fn quarantine(cell: NonNull<Cell>, port: &Port) {
    // SAFETY: The slab keeps the cell.
    unsafe { cell.as_ref() }.state.abandon();
    // Without this packet it stays there, until the port ends.
    let _ = port.post(0, 0, Slab::release_marker(cell));
}

/// Takes a cell that was begun back from all its holders, unless a packet has
/// come for it all the same and somebody has it: what it was begun with, and
/// what its status word said.
///
/// # Safety
///
/// A part in the cell is the caller's.
unsafe fn withdraw(cell: NonNull<Cell>) -> Option<(u32, Taken)> {
    // SAFETY: By the caller's promise.
    unsafe { withdraw_unless(cell, |_| false) }
}

/// The same, unless a look at the status word says that a packet comes.
///
/// # Safety
///
/// As for [`withdraw`].
unsafe fn withdraw_unless(
    cell: NonNull<Cell>,
    packet_comes: impl FnOnce(Taken) -> bool,
) -> Option<(u32, Taken)> {
    // SAFETY: By the caller's promise.
    let (state, word) = unsafe { (&cell.as_ref().state, cell.as_ref().status_word()) };
    let taken = word.take_for_certain(|| state.is_in_flight())?;
    if packet_comes(taken) {
        word.put_back(taken);
        return None;
    }
    Some((state.withdraw(), taken))
}

/// Empties and frees a cell that was begun, unless a packet has come for it all
/// the same and somebody has it.
///
/// # Safety
///
/// The caller filled the cell with these types, and a part in it is the
/// caller's.
#[cold]
unsafe fn take_back<C, P: Payload>(cell: NonNull<Cell>) -> Option<(C, P)> {
    // SAFETY: By the caller's promise; withdrawn, the cell is the caller's
    // alone.
    unsafe {
        withdraw(cell)?;
        Some(empty(cell))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell as Counter;
    use std::mem::ManuallyDrop;

    use windows_sys::Win32::Foundation::{ERROR_INVALID_HANDLE, ERROR_IO_PENDING};

    use super::super::payload::{OperationKind, Returns};
    use super::*;
    use crate::error::{STATUS_CANCELLED, STATUS_PENDING};

    /// Does this when it sees its completion, which has that status.
    struct Watching<F>(F);

    // SAFETY: There is no memory.
    unsafe impl<F: FnMut(&mut u32)> Payload for Watching<F> {
        type Output = ();
        type Given = ();
        const CALL: Call = Call::ConnectEx;
        const KIND: OperationKind = OperationKind::Connect;
        const RETURNS: Returns<Self> = Returns::Made(|_, _| None);
        const SEES_COMPLETION: bool = true;

        fn give_back(self) {}

        fn completed(&mut self, status: &mut u32) {
            (self.0)(status);
        }
    }

    /// Ends an operation in the kernel's place.
    fn end(cell: NonNull<Cell>, status: u32) {
        // SAFETY: The kernel knows nothing of the operation.
        unsafe {
            Cell::set_bytes(cell, 0);
            cell.as_ref().status_word().write(status);
        }
    }

    fn packet_of(cell: NonNull<Cell>) -> Packet {
        Packet { overlapped: Cell::address(cell), key: 0, bytes: 0 }
    }

    #[test]
    fn an_operation_is_pending_until_the_kernel_says_otherwise() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let target = Target { handle: Handle::NONE, key: 0, offset: 0, skips: false };
        let call = |_: &LentRegion, _| {
            let cell = cells.slab().all_in_flight().next().unwrap();
            // SAFETY: There is no kernel.
            let word = unsafe { cell.as_ref() }.status_word();
            let taken = word.take();
            assert_eq!(taken.status(), STATUS_PENDING);
            word.put_back(taken);
            Answer::Code(ERROR_INVALID_HANDLE)
        };
        let watching = Watching(|_: &mut u32| ());
        let launched = cells.launch(target, false, (), watching, || Ok(()), call);
        let Ok(Launched::Refused(refused)) = launched else { panic!("it is refused") };
        let port = Port::create(0).unwrap();
        assert!(refused.settle(&cells, &port, false).is_err());
    }

    #[test]
    fn a_count_of_an_operation_that_failed_is_none() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let cell = cells.slab().allocate().unwrap();
        // SAFETY: The cell is ours.
        unsafe {
            Cell::set_result(cell, STATUS_CANCELLED, 50);
            assert_eq!(Cell::result(cell), (STATUS_CANCELLED, 0));
            Cell::free(cell);
        }
    }

    #[test]
    fn a_payload_sees_its_completion_though_nobody_tracks_the_operation() {
        let cells = Cells::reserve(1).unwrap();
        let target = Target { handle: Handle::NONE, key: 0, offset: 0, skips: false };
        let seen = Counter::new(0);
        let watching = Watching(|_: &mut u32| seen.set(seen.get() + 1));
        let launched = cells.launch(
            target,
            false,
            7,
            watching,
            || Ok(()),
            |_, _| Answer::Code(ERROR_IO_PENDING),
        );
        assert!(matches!(launched, Ok(Launched::InFlight(_))));
        drop(launched);
        let cell = cells.slab().all_in_flight().next().unwrap();
        end(cell, 0);
        let address = Cell::address(cell);
        let found = cells.find(address).expect("it is one of ours");
        let taken = found.claim_alone(drop).expect_err("it takes the long way");
        let dequeued = found.claim(taken, 0).expect("it is in flight");
        assert_eq!(dequeued.complete(0).context, 7);
        assert_eq!(seen.get(), 1);
    }

    #[test]
    fn a_payload_may_turn_a_success_into_an_error_at_once_and_later() {
        let cells = Cells::reserve(1).unwrap();
        let failing = || Watching(|status: &mut u32| *status = STATUS_CANCELLED);
        for skips in [false, true] {
            let target = Target { handle: Handle::NONE, key: 0, offset: 0, skips };
            let answer = if skips { Answer::Finished(0) } else { Answer::Code(ERROR_IO_PENDING) };
            let launched = cells.launch(target, false, 7, failing(), || Ok(()), |_, _| answer);
            let completion = match launched {
                Ok(Launched::Unqueued(done)) => done.complete(0).unwrap(),
                Ok(Launched::InFlight(pending)) => {
                    end(pending.cell(), 0);
                    let dequeued = cells.claim(packet_of(pending.cell()), Taken::NOTHING);
                    assert!(pending.result().is_some_and(|result| result.is_err()));
                    dequeued.expect("it is in flight").complete(0)
                }
                _ => panic!("it is not refused"),
            };
            assert!(completion.error_status.is_err());
        }
    }

    #[test]
    fn a_cell_that_was_withdrawn_is_stale_and_of_use_only_once_it_was_emptied_and_released() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let target = Target { handle: Handle::NONE, key: 0, offset: 0, skips: false };
        let pends = |_: &LentRegion, _| Answer::Code(ERROR_IO_PENDING);
        let launched = cells.launch(target, false, (), Post, || Ok(()), pends);
        let Ok(Launched::InFlight(pending)) = launched else { panic!("it is in flight") };
        let cell = ManuallyDrop::new(pending).cell();
        let (late, release) = (Cell::address(cell), Slab::release_marker(cell));
        // SAFETY: The `Pending`'s part is ours.
        assert!(unsafe { withdraw(cell) }.is_some());
        assert!(cells.swallow(late) && !cells.swallow(release), "it is not empty yet");
        // SAFETY: Withdrawn, and filled with these types.
        let ((), Post) = unsafe { Body::remove(cell) };
        quarantine(cell, &Port::create(0).unwrap());
        assert!(cells.slab().allocate().is_err());
        assert!(cells.swallow(late) && cells.swallow(late));
        assert!(cells.swallow(release) && !cells.swallow(release));
        let again = cells.slab().allocate().unwrap();
        // SAFETY: It was just allocated.
        unsafe { Cell::free(again) };
    }

    /// A status that differs in any bit says something.
    #[test]
    fn only_a_status_of_nothing_but_zeros_goes_the_short_way() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let target = Target { handle: Handle::NONE, key: 0, offset: 0, skips: false };
        for status in (0..32).map(|bit| 1 << bit) {
            let launched = cells.launch(
                target,
                false,
                (),
                Post,
                || Ok(()),
                |_, _| Answer::Code(ERROR_IO_PENDING),
            );
            let Ok(Launched::InFlight(pending)) = launched else { panic!("it is in flight") };
            let address = Cell::address(pending.cell());
            end(pending.cell(), status);
            drop(pending);
            let found = cells.find(address).expect("it is one of ours");
            let taken = found.claim_alone(drop).expect_err("it says something");
            assert_eq!(found.claim(taken, 0).is_some(), status != STATUS_PENDING);
        }
    }

    /// Otherwise a connection could be used that has inherited nothing yet.
    #[test]
    fn a_payload_sees_its_completion_before_the_pending_does() {
        let cells = Cells::reserve(1).unwrap();
        let target = Target { handle: Handle::NONE, key: 0, offset: 0, skips: false };
        let in_flight = Counter::new(0);
        let watching = Watching(|_: &mut u32| in_flight.set(cells.slab().all_in_flight().count()));
        let launched = cells.launch(
            target,
            false,
            7,
            watching,
            || Ok(()),
            |_, _| Answer::Code(ERROR_IO_PENDING),
        );
        let Ok(Launched::InFlight(pending)) = launched else { panic!("it is in flight") };
        end(pending.cell(), 0);
        let dequeued = cells.claim(packet_of(pending.cell()), Taken::NOTHING);
        assert!(dequeued.is_some() && pending.is_completed());
        assert_eq!(in_flight.get(), 1, "it is not over before");
    }
}
