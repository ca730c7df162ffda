//! Starting operations.

use std::marker::PhantomData;
use std::mem;
use std::thread;
use std::time::Duration;

use super::cell::state::SLOW_PATH;
use super::cell::status_word::Taken;
use super::cell::{CellRef, EmptyCell};
use super::cells::Cells;
use super::complete::PendingPart;
use super::completion::{CompletionStatus, Dequeued};
use super::definition::{How, Operation, Types, Way};
use super::layout::{AbortOnUnwind, CellLayout, FilledCell};
use super::lend::Lend;
use super::object::Target;
use super::outcome::{self, Failure, Verdict, verdict};
use super::pending::Pending;
use super::pool::Pool;
use super::starter::Starter;
use crate::error::{
    Cause, Error, Errors, Facts, Rejected, Result, STATUS_BUFFER_OVERFLOW, UsageError,
    completion_error, is_error, refusal,
};
use crate::panics::FirstPanic;
use crate::sys::{self, Answer, Handle, InPlace, Port, Transferred};
use crate::trace;

/// An operation after the call that starts it.
pub(crate) enum StartOutcome<C, O: Operation, W> {
    /// A packet will come.
    InFlight(Pending<O::Output>),
    /// It is over, and no packet will come.
    CompletedInline(CompletedInline<C, O, W>),
    /// The call has failed, and no packet will come.
    FailedCall(FailedCall<C, O, W>),
}

/// A cell that was filled with these types and begun, and in which the `Pending`'s
/// part has not been given out.
pub(super) struct Begun<C, O: Operation, W> {
    pub cell: CellRef,
    pub types: Types<C, O, W>,
}

/// An operation that finished within the call, without a packet.
pub(crate) struct CompletedInline<C, O: Operation, W> {
    begun: Begun<C, O, W>,
    status: u32,
    bytes: u32,
}

/// An operation that could not be started, or was over with the call.
pub(crate) struct FailedCall<C, O: Operation, W> {
    begun: Begun<C, O, W>,
    code: u32,
    /// See [`Verdict::Failed`].
    cut: Option<u32>,
}

impl<C> Cells<C> {
    /// Puts context and memory into a cell, lends it to the kernel, and makes
    /// the call. They come back if there is no cell.
    /// `admit` is asked last of all, because the memory runs code of the program's
    /// that may change the answer.
    #[inline(always)]
    pub fn start<O: Operation, W: Way<O>>(
        &self,
        target: Target,
        context: C,
        (arguments, memory): (O::Arguments, O::Memory),
        admit: impl Fn() -> Result<(), &'static UsageError>,
    ) -> Result<StartOutcome<C, O, W>, Rejected<(C, O::Memory)>> {
        let target = Target { is_socket: W::SOCKET, ..target };
        let (lent, cell) = self.fill::<O, W>(target, context, memory, admit)?;
        let holders = CellLayout::<C, O, W>::HOLDERS;
        let unwinds = AbortOnUnwind;
        // SAFETY: Rule 2: the cell is filled, and ours until the starter gives it away.
        let starter = unsafe { Starter::new(target, W::FACTS, cell, holders) };
        let answer = O::start(arguments, lent, starter).answer;
        mem::forget(unwinds);
        Begun { cell, types: PhantomData }.outcome(answer, target.skips)
    }

    /// Fills a cell for a call: what is lent to that, and the cell.
    #[inline(always)]
    fn fill<O: Operation, W: Way<O>>(
        &self,
        target: Target,
        context: C,
        memory: O::Memory,
        admit: impl Fn() -> Result<(), &'static UsageError>,
    ) -> Result<(<O::Memory as Lend>::Lent, CellRef), Rejected<(C, O::Memory)>> {
        let mut cell = match self.pool().allocate() {
            Ok(cell) => cell,
            Err(error) => {
                let error = admit().map_or_else(Error::usage, |()| error);
                return Err(Rejected { error, returned: (context, memory) });
            }
        };
        cell.set_handle(target.handle);
        cell.cell().status_word().reset();
        if W::FACTS.receives {
            cell.cell().number.set_thread(sys::current_thread());
        }
        let mut filled = FilledCell::<C, O, W>::fill(cell, context, memory);
        trace::starting(W::FACTS, target.handle, filled.cell().address());
        // Without room, a read waits for data on a stream, and then reports the end.
        let has_room = !W::FACTS.fills || filled.memory().capacity() > 0;
        // SAFETY: Rule 2: it is at its place, and is not moved, borrowed or dropped
        // before the operation is over.
        let lent = filled.memory().lend(&unsafe { InPlace::new() });
        let admitted = admit().and(if has_room { Ok(()) } else { Err(&refusal::NO_ROOM) });
        match admitted {
            Ok(()) => Ok((lent, filled.into_cell())),
            Err(usage) => Err(not_called(filled, Cause::UsageError(usage))),
        }
    }
}

impl<C, O: Operation, W: Way<O>> StartOutcome<C, O, W> {
    /// The operation in flight: if it is over, its completion is sent through
    /// the port after all.
    #[inline(always)]
    pub fn into_pending(
        self,
        cells: &Cells<C>,
        port: &Port,
        key: usize,
    ) -> Result<Pending<O::Output>, Rejected<(C, O::Memory)>> {
        // What the cold parts take and return fits into registers, so that the
        // common result stays there too.
        let mut rejected = None;
        let pending = match self {
            Self::InFlight(pending) => return Ok(pending),
            Self::CompletedInline(done) => done.send(port, key, &mut rejected),
            Self::FailedCall(FailedCall { begun, code, cut }) => {
                FailedCall::send(begun, code, cut, cells, port, key, &mut rejected)
            }
        };
        match (pending, rejected) {
            (_, Some(rejected)) => Err(rejected),
            (Some(pending), None) => Ok(pending),
            (None, None) => unreachable!("neither started nor rejected"),
        }
    }
}

impl<C, O: Operation, W: Way<O>> CompletedInline<C, O, W> {
    /// The completion, for the caller of the call itself.
    #[inline]
    pub fn complete(self, key: usize) -> Result<CompletionStatus<C>, Pending<O::Output>> {
        let Self { begun, status, bytes } = self;
        let cell = begun.cell;
        let state = &cell.state;
        if cell.status_word().take_for_certain(|| state.is_in_flight()).is_none() {
            return Err(begun.into_pending());
        }
        // SAFETY: Rule 3: with the status taken, the cell is ours alone, and the result
        // is the call's: "the kernel may leave the OVERLAPPED in the pending state if an
        // I/O completes inline".
        let operation = unsafe {
            let (status, bytes) = match (status, bytes) {
                (0, bytes) if CellLayout::<C, O, W>::TRAITS & SLOW_PATH == 0 => (0, bytes),
                (status, bytes) => cell.completed(status, bytes),
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
        rejected: &mut Option<Rejected<(C, O::Memory)>>,
    ) -> Option<Pending<O::Output>> {
        let Rejected { error, returned: Self { begun, .. } } = match self.post(port, key) {
            Ok(pending) => return Some(pending),
            Err(not_posted) => not_posted,
        };
        match begun.withdraw() {
            Ok((filled, ..)) => {
                *rejected = Some(Rejected { error, returned: take_out(filled) });
                None
            }
            Err(pending) => Some(pending),
        }
    }

    /// Sends the completion through the port after all, like any other.
    #[cold]
    pub fn post(self, port: &Port, key: usize) -> Result<Pending<O::Output>, Rejected<Self>> {
        let Self { begun, status, bytes } = self;
        let (filled, others, _) = match begun.withdraw() {
            Ok(withdrawn) => withdrawn,
            Err(pending) => return Ok(pending),
        };
        let cell = filled.counted(bytes);
        // Held as before the call, by the system, for which the port stands in here, and
        // by the `Pending`.
        cell.state.begin(others);
        cell.status_word().write(status);
        let begun = Begun { cell, types: PhantomData };
        match port.post(key, bytes, cell.address()) {
            Ok(()) => Ok(begun.into_pending()),
            Err(error) => Err(Rejected { error, returned: Self { begun, status, bytes } }),
        }
    }
}

impl<C, O: Operation, W: Way<O>> Begun<C, O, W> {
    /// What has become of it with this answer, on a handle that `skips`.
    #[inline(always)]
    fn outcome(
        self,
        answer: Result<Answer, Cause>,
        skips: bool,
    ) -> Result<StartOutcome<C, O, W>, Rejected<(C, O::Memory)>> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(cause) => {
                // SAFETY: Rule 4: not called, so not begun.
                let filled = unsafe { FilledCell::<C, O, W>::new(self.cell) };
                return Err(not_called(filled, cause));
            }
        };
        Ok(match verdict(answer, skips) {
            Verdict::PacketComes => StartOutcome::InFlight(self.into_pending()),
            Verdict::Finished { bytes } => {
                StartOutcome::CompletedInline(CompletedInline { begun: self, status: 0, bytes })
            }
            Verdict::Failed { code, cut } => {
                StartOutcome::FailedCall(FailedCall { begun: self, code, cut })
            }
        })
    }

    /// The operation in flight.
    #[inline(always)]
    pub(super) fn into_pending(self) -> Pending<O::Output> {
        // SAFETY: Rule 6: the part is given out here.
        Pending::new(unsafe { PendingPart::new(self.cell) })
    }

    /// Takes the cell back from all its holders: what it was begun with, and what its
    /// status word said. If a packet has come for it all the same and somebody has it,
    /// the operation is in flight.
    pub(super) fn withdraw(self) -> Result<Withdrawn<C, O, W>, Pending<O::Output>> {
        self.withdraw_unless(|_| false)
    }

    /// As [`withdraw`](Self::withdraw), unless a look at the status word says that a packet comes.
    fn withdraw_unless(
        self,
        packet_comes: impl FnOnce(Taken) -> bool,
    ) -> Result<Withdrawn<C, O, W>, Pending<O::Output>> {
        let (state, word) = (&self.cell.state, self.cell.status_word());
        match word.take_for_certain(|| state.is_in_flight()) {
            Some(taken) if packet_comes(taken) => word.restore(taken),
            Some(taken) => {
                let others = state.withdraw();
                // SAFETY: Rules 3 and 4: the system has not got it, and nobody else holds it.
                return Ok((unsafe { FilledCell::new(self.cell) }, others, taken));
            }
            None => {}
        }
        Err(self.into_pending())
    }
}

/// What a cell was filled with, and begun with, and what its status word said.
pub(super) type Withdrawn<C, O, W> = (FilledCell<C, O, W>, u32, Taken);

impl<C, O: Operation, W: Way<O>> FailedCall<C, O, W> {
    /// As [`resolve`](Self::resolve), and what gets a completion gets it through
    /// the port.
    #[cold]
    #[inline(never)]
    fn send(
        begun: Begun<C, O, W>,
        code: u32,
        cut: Option<u32>,
        cells: &Cells<C>,
        port: &Port,
        key: usize,
        rejected: &mut Option<Rejected<(C, O::Memory)>>,
    ) -> Option<Pending<O::Output>> {
        let resolved = Self { begun, code, cut }.resolve(cells, port, false);
        match resolved.and_then(|outcome| outcome.into_pending(cells, port, key)) {
            Ok(pending) => Some(pending),
            Err(why) => {
                *rejected = Some(why);
                None
            }
        }
    }

    /// Gives back what the operation was started with; if it is over, it gets
    /// a completion after all. `skips`: see [`Target::skips`].
    pub fn resolve(
        self,
        cells: &Cells<C>,
        port: &Port,
        skips: bool,
    ) -> Result<StartOutcome<C, O, W>, Rejected<(C, O::Memory)>> {
        let Self { begun, code, cut } = self;
        let failure = outcome::failure(code, W::FACTS, sys::last_status());
        let warned = failure == Failure::Warned;
        // Then a packet comes, or has come.
        let is_queued = |word| warned && has_ended(word) && !skips;
        let (mut filled, others, word) = match begun.withdraw_unless(is_queued) {
            Ok(withdrawn) => withdrawn,
            Err(pending) => return Ok(StartOutcome::InFlight(pending)),
        };
        let handle = filled.cell().handle();
        let mut panic = FirstPanic::none();
        let result = Self::result(&mut filled, &failure, cut, word, &mut panic);
        let (context, memory, cell) = filled.empty();
        // Where no packet can come, the cell is used again.
        let cell = if warned || may_leave_a_packet(W::FACTS, handle) {
            quarantine(cell, port);
            None
        } else {
            Some(cell)
        };
        if panic.has_happened() {
            if let Some(cell) = cell {
                Pool::free_unused(cell);
            }
            panic.catch(|| drop(context));
            panic.catch(|| drop(memory));
            panic.resume();
            unreachable!("it has been resumed");
        }
        let Some((status, bytes)) = result else {
            if let Some(cell) = cell {
                Pool::free_unused(cell);
            }
            let returned = (context, memory);
            return Err(Rejected { error: Error::os(W::FACTS, code), returned });
        };
        let mut cell = match cell.map_or_else(|| cells.pool().allocate(), Ok) {
            Ok(cell) => cell,
            Err(error) => {
                // What has become of it, which is no success, rather than why nobody
                // can be told later.
                let error = completion_error(status, bytes, W::FACTS).err().unwrap_or(error);
                return Err(Rejected { error, returned: (context, memory) });
            }
        };
        cell.set_handle(Handle::NONE);
        let cell = FilledCell::<C, O, W::Filled>::fill(cell, context, memory).into_cell();
        // No packet will come for it, unless it is posted.
        cell.status_word().reset();
        cell.state.begin(others);
        let begun = Begun { cell, types: PhantomData };
        Ok(StartOutcome::CompletedInline(CompletedInline { begun, status, bytes }))
    }

    /// The status and byte count that an operation has ended with although its call has
    /// failed, if it was started. Its memory is told of the bytes.
    fn result(
        filled: &mut FilledCell<C, O, W>,
        failure: &Failure,
        cut: Option<u32>,
        word: Taken,
        panic: &mut FirstPanic,
    ) -> Option<(u32, u32)> {
        let (status, bytes) = match (failure, cut) {
            (&Failure::Over { status }, _) => (status, 0),
            (Failure::Warned, _) if has_ended(word) => (word.status(), filled.cell().bytes()),
            // "The buffer is filled with the first part of the datagram"
            // (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv).
            (Failure::Warned, Some(length)) if is_datagram(filled.cell().handle()) => {
                (STATUS_BUFFER_OVERFLOW, length)
            }
            (Failure::Warned | Failure::NotStarted, _) => return None,
        };
        if let How::Filled(_) | How::Converted(_) = O::FINISH.0 {
            // Before it is moved, after which its range may be another.
            // SAFETY: Rule 3: the operation has put so many bytes there.
            let transferred = unsafe { Transferred::new(bytes) };
            panic.catch(|| _ = filled.memory().filled(transferred));
        }
        Some((status, bytes))
    }
}

/// Whether a status word says how an operation has ended that warned.
fn has_ended(word: Taken) -> bool {
    word.is_status() && !is_error(word.status())
}

/// Whether a handle is of a datagram socket.
fn is_datagram(handle: Handle) -> bool {
    sys::socket_traits(handle).is_some_and(|socket| !socket.is_stream)
}

/// Gives back what an operation was to be started with for which no call was made:
/// the cell has never been the system's.
#[cold]
#[inline(never)]
fn not_called<C, O: Operation, W: Way<O>>(
    filled: FilledCell<C, O, W>,
    cause: Cause,
) -> Rejected<(C, O::Memory)> {
    Rejected { error: cause.into(), returned: take_out(filled) }
}

/// Empties and frees a cell.
#[cold]
pub(super) fn take_out<C, O: Operation, W: Way<O>>(filled: FilledCell<C, O, W>) -> (C, O::Memory) {
    let (context, memory, cell) = filled.empty();
    Pool::free_unused(cell);
    (context, memory)
}

/// Whether a packet may come although the call has failed at once with an
/// error. On Windows none does, of functions that are known. Wine queues one for reads
/// and writes of Unix files and devices that it fails once it has tried them:
/// `NtReadFile` and `NtWriteFile` in
/// <https://gitlab.winehq.org/wine/wine/-/blob/wine-10.0/dlls/ntdll/unix/file.c>.
/// Named pipes are its server's, which queues none.
fn may_leave_a_packet(facts: &'static Facts, handle: Handle) -> bool {
    match facts.errors {
        Errors::AllBut(_) => false,
        Errors::AllButDeviceWarnings => sys::is_wine() && sys::has_messages(handle).is_none(),
        Errors::Unknown => true,
    }
}

/// Keeps a cell that was withdrawn from being used, until all packets that are queued
/// by now have been dequeued: one may be for it.
fn quarantine(cell: EmptyCell, port: &Port) {
    let cell = cell.into_quarantine();
    // Every packet takes a little of the non-paged pool, which others give back sooner
    // or later. If none gets through, the cell stays there until the port ends.
    for _ in 0..100 {
        match port.post(0, 0, Pool::release_marker(cell)) {
            Ok(()) => return,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell as Counter;
    use std::mem::ManuallyDrop;

    use windows_sys::Win32::Foundation::{ERROR_INVALID_HANDLE, ERROR_IO_PENDING};

    use super::super::definition::{Finish, Owned};
    use super::super::lend::Keeps;
    use super::super::object::Object;
    use super::super::posted::Posted;
    use super::super::starter::Submitted;
    use super::*;
    use crate::error::FactsOn;
    use crate::error::{STATUS_CANCELLED, STATUS_PENDING};

    /// Does this when it sees that it has succeeded, and ends with that status.
    struct Watching<F>(F);

    impl<F: Fn() -> u32> Operation for Watching<F> {
        const FACTS: FactsOn =
            FactsOn::Either { sockets: Facts::ConnectEx, handles: Facts::ConnectEx };
        const FINISH: Finish<Self> = Finish::with(|_, _| None);
        type On = ();
        type Memory = Unchecked<F>;
        type Arguments = ();
        type Output = ();

        fn split(self, _: &Object<'_>) -> Result<((), Unchecked<F>), (Error, Unchecked<F>)> {
            Ok(((), Unchecked(Keeps(self.0))))
        }

        fn start((): (), (): (), _: Starter<'_, Self>) -> Submitted<'_> {
            unreachable!("there is no kernel")
        }

        const SUCCEEDED: Option<fn(&Unchecked<F>) -> Result<(), u32>> =
            Some(|watching| match (watching.0.0)() {
                0 => Ok(()),
                status => Err(status),
            });
    }

    /// Of one thread.
    struct Unchecked<F>(Keeps<F>);

    // SAFETY: The tests have one thread.
    unsafe impl<F> Send for Unchecked<F> {}

    // SAFETY: Nothing is lent.
    unsafe impl<F> Lend for Unchecked<F> {
        type Lent = ();

        fn lend(&mut self, _: &InPlace) {}
    }

    const fn nothing(skips: bool) -> Target {
        Target { handle: Handle::NONE, is_socket: false, skips, longest_message: 0 }
    }

    /// As a starter does.
    fn begin<C, O: Operation<Output: 'static>>(cell: CellRef) {
        cell.state.begin(CellLayout::<C, O, Owned<false>>::HOLDERS);
    }

    fn launch<C, F: Fn() -> u32>(
        cells: &Cells<C>,
        target: Target,
        context: C,
        operation: Watching<F>,
        call: impl FnOnce() -> Answer,
    ) -> Result<StartOutcome<C, Watching<F>, Owned<false>>, Rejected<(C, Unchecked<F>)>> {
        let memory = Unchecked(Keeps(operation.0));
        let filled = cells.fill::<Watching<F>, Owned<false>>(target, context, memory, || Ok(()));
        let ((), cell) = filled?;
        begin::<C, Watching<F>>(cell);
        Begun { cell, types: PhantomData }.outcome(Ok(call()), target.skips)
    }

    /// Ends an operation in the kernel's place.
    fn end(cell: CellRef, status: u32) {
        // SAFETY: The kernel knows nothing of the operation.
        unsafe { EmptyCell::new(cell) }.set_bytes(0);
        cell.status_word().write(status);
    }

    fn packet_of(cell: CellRef) -> sys::Packet {
        sys::Packet { overlapped: cell.address(), key: 0, bytes: 0 }
    }

    #[test]
    fn an_operation_is_pending_until_the_kernel_says_otherwise() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let target = nothing(false);
        let outcome = launch(&cells, target, (), Watching(|| 0), || {
            let cell = cells.pool().all_in_flight().next().unwrap();
            let word = cell.status_word();
            let taken = word.take();
            assert_eq!(taken.status(), STATUS_PENDING);
            word.restore(taken);
            Answer::Code(ERROR_INVALID_HANDLE)
        });
        let Ok(StartOutcome::FailedCall(refused)) = outcome else { panic!("it is refused") };
        let port = Port::create(0).unwrap();
        assert!(refused.resolve(&cells, &port, false).is_err());
    }

    #[test]
    fn a_count_of_an_operation_that_failed_is_none() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let cell = cells.pool().allocate().unwrap();
        // SAFETY: The cell is ours.
        unsafe { cell.cell().set_result(STATUS_CANCELLED, 50) };
        assert_eq!(cell.cell().result(), (STATUS_CANCELLED, 0));
        Pool::free(cell);
    }

    #[test]
    fn a_payload_sees_its_completion_though_nobody_tracks_the_operation() {
        let cells = Cells::reserve(1).unwrap();
        let target = nothing(false);
        let seen = Counter::new(0);
        let watching = Watching(|| {
            seen.set(seen.get() + 1);
            0
        });
        let outcome = launch(&cells, target, 7, watching, || Answer::Code(ERROR_IO_PENDING));
        assert!(matches!(outcome, Ok(StartOutcome::InFlight(_))));
        drop(outcome);
        let cell = cells.pool().all_in_flight().next().unwrap();
        end(cell, 0);
        let address = cell.address();
        let found = cells.find(address).expect("it is one of ours");
        let taken = found.try_complete_exclusive(drop).expect_err("it takes the long way");
        let (dequeued, _) = found.try_complete(taken, 0).expect("it is in flight");
        assert_eq!(dequeued.complete(0).context, 7);
        assert_eq!(seen.get(), 1);
    }

    #[test]
    fn a_payload_may_turn_a_success_into_an_error_at_once_and_later() {
        let cells = Cells::reserve(1).unwrap();
        let failing = || Watching(|| STATUS_CANCELLED);
        for skips in [false, true] {
            let target = nothing(skips);
            let answer = if skips { Answer::Finished(0) } else { Answer::Code(ERROR_IO_PENDING) };
            let completion = match launch(&cells, target, 7, failing(), || answer) {
                Ok(StartOutcome::CompletedInline(done)) => done.complete(0).unwrap(),
                Ok(StartOutcome::InFlight(pending)) => {
                    end(pending.cell(), 0);
                    let dequeued = cells.try_complete(packet_of(pending.cell()), Taken::NONE);
                    assert!(pending.result().is_some_and(|result| result.is_err()));
                    dequeued.expect("it is in flight").0.complete(0)
                }
                _ => panic!("it is not refused"),
            };
            assert!(completion.error_status.is_err());
        }
    }

    #[test]
    fn a_cell_that_was_withdrawn_is_stale_and_of_use_only_once_it_was_emptied_and_released() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let pends = || Answer::Code(ERROR_IO_PENDING);
        let watching: Watching<fn() -> u32> = Watching(|| 0);
        let outcome = launch(&cells, nothing(false), (), watching, pends);
        let Ok(StartOutcome::InFlight(pending)) = outcome else { panic!("it is in flight") };
        let cell = ManuallyDrop::new(pending).cell();
        let (late, release) = (cell.address(), Pool::release_marker(cell));
        let begun = Begun::<(), Watching<fn() -> u32>, Owned<false>> { cell, types: PhantomData };
        let Ok((filled, ..)) = begun.withdraw() else { panic!("nobody has its packet") };
        assert!(
            cells.discard_late_packet(late) && !cells.discard_late_packet(release),
            "it is not empty yet"
        );
        let ((), _, cell) = filled.empty();
        quarantine(cell, &Port::create(0).unwrap());
        assert!(cells.pool().allocate().is_err());
        assert!(cells.discard_late_packet(late) && cells.discard_late_packet(late));
        assert!(cells.discard_late_packet(release) && !cells.discard_late_packet(release));
        let again = cells.pool().allocate().unwrap();
        Pool::free(again);
    }

    /// A status that differs in any bit says something.
    #[test]
    fn only_a_status_of_nothing_but_zeros_goes_the_short_way() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let target = nothing(false);
        for status in (0..32).map(|bit| 1 << bit) {
            let filled = cells.fill::<Posted<false>, Owned<false>>(target, (), (), || Ok(()));
            let Ok(((), cell)) = filled else { panic!("there is a cell") };
            begin::<(), Posted<false>>(cell);
            let begun = Begun::<(), Posted<false>, Owned<false>> { cell, types: PhantomData };
            let outcome = begun.outcome(Ok(Answer::Code(ERROR_IO_PENDING)), target.skips);
            let Ok(StartOutcome::InFlight(pending)) = outcome else { panic!("it is in flight") };
            let address = pending.cell().address();
            end(pending.cell(), status);
            drop(pending);
            let found = cells.find(address).expect("it is one of ours");
            let taken = found.try_complete_exclusive(drop).expect_err("it says something");
            assert_eq!(found.try_complete(taken, 0).is_some(), status != STATUS_PENDING);
        }
    }

    /// Otherwise a connection could be used that has inherited nothing yet.
    #[test]
    fn a_payload_sees_its_completion_before_the_pending_does() {
        let cells = Cells::reserve(1).unwrap();
        let target = nothing(false);
        let in_flight = Counter::new(0);
        let watching = Watching(|| {
            in_flight.set(cells.pool().all_in_flight().count());
            0
        });
        let outcome = launch(&cells, target, 7, watching, || Answer::Code(ERROR_IO_PENDING));
        let Ok(StartOutcome::InFlight(pending)) = outcome else { panic!("it is in flight") };
        end(pending.cell(), 0);
        let dequeued = cells.try_complete(packet_of(pending.cell()), Taken::NONE);
        assert!(dequeued.is_some() && pending.is_completed());
        assert_eq!(in_flight.get(), 1, "it is not over before");
    }

    /// Otherwise the operation would be in flight for ever.
    #[test]
    fn a_stray_packet_that_is_looked_at_meanwhile_loses_nobodys_status() {
        let cells = Cells::<()>::reserve(1).unwrap();
        let pends = || Answer::Code(ERROR_IO_PENDING);
        let outcome = launch(&cells, nothing(false), (), Watching(|| 0), pends);
        let Ok(StartOutcome::InFlight(pending)) = outcome else { panic!("it is in flight") };
        let address = pending.cell().address();
        let (stray, own) = (cells.find(address).unwrap(), cells.find(address).unwrap());
        let nothing = stray.try_complete_exclusive(drop).expect_err("it is pending");
        end(pending.cell(), 0);
        let status = own.try_complete_exclusive(drop).expect_err("it is tracked");
        assert!(stray.try_complete(nothing, 1).is_none());
        assert!(own.try_complete(status, 1).is_some());
    }
}
