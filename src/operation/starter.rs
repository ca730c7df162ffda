//! The one call that starts an operation.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::windows::io::RawHandle;
use std::ptr;
use std::sync::Arc;

use super::cell::CellRef;
use super::object::Target;
use super::pool::Pool;
use crate::error::{Cause, Facts};
use crate::sys::{Answer, Handle, LentOverlapped, Waits, last_error, last_winsock_error};

/// The right to make one call, the one that starts an operation.
///
/// `'l` is this operation's alone, so that no other's [`Submitted`] can be passed
/// off as its:
///
/// ```compile_fail
/// # use completion_port::{Error, Operation, op};
/// # use op::{Facts, FactsOn, Finish, Keeps, Object, Starter, Submitted};
/// # static FACTS: Facts = Facts::new("None");
/// # struct Kept(Submitted<'static>);
/// # impl Operation for Kept {
/// #     const FACTS: FactsOn = FactsOn::Handles(&FACTS);
/// #     const FINISH: Finish<Self> = Finish::memory();
/// #     type On = op::on::Anything;
/// #     type Memory = Keeps<()>;
/// #     type Output = ();
/// #     fn split(self, _: &Object<'_>) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)> { Ok((self.0, Keeps(()))) }
/// type Arguments = Submitted<'static>;
/// fn start<'l>(other: Submitted<'static>, (): (), _: Starter<'l, Self>) -> Submitted<'l> {
///     other
/// }
/// # }
/// ```
///
/// `O` is its type, so that it cannot be started as an operation of another, of whose
/// function other things are known:
///
/// ```compile_fail,E0308
/// # use completion_port::{Error, Operation, op};
/// # use op::{Facts, FactsOn, Fills, Finish, Object, RegionMut, Starter, Submitted};
/// # static FACTS: Facts = Facts::new("None");
/// # struct Mine;
/// # impl Operation for Mine {
/// #     const FACTS: FactsOn = FactsOn::Handles(&FACTS);
/// #     const FINISH: Finish<Self> = Finish::memory();
/// #     type On = op::on::Anything;
/// #     type Memory = Fills<Vec<u8>>;
/// #     type Arguments = ();
/// #     type Output = Vec<u8>;
/// #     fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> { Ok(((), Fills(Vec::new()))) }
/// fn start<'l>((): (), region: RegionMut, starter: Starter<'l, Self>) -> Submitted<'l> {
///     op::Read::<Vec<u8>>::start((0, 0), region, starter)
/// }
/// # }
/// ```
#[must_use]
pub struct Starter<'l, O> {
    target: Target,
    facts: &'static Facts,
    offset: u64,
    cell: CellRef,
    /// Who is to hold it while the operation is in flight.
    holders: u32,
    operation: PhantomData<fn(O) -> O>,
    brand: PhantomData<fn(&'l ()) -> &'l ()>,
}

/// The result of [`Starter::call`]: what the call has returned, or why it was not made.
#[derive(Debug)]
#[must_use]
pub struct Submitted<'l> {
    pub(super) answer: Result<Answer, Cause>,
    brand: PhantomData<fn(&'l ()) -> &'l ()>,
}

/// What the closure of [`Starter::call`] passes to the function.
#[derive(Debug)]
#[non_exhaustive]
pub struct RawCall {
    /// The handle, or the socket.
    pub handle: RawHandle,
    /// The `OVERLAPPED`.
    pub overlapped: *mut c_void,
    /// Where the function is to write, before it returns, how many bytes it has
    /// transferred, if it can. Null where nobody needs to know.
    pub count: *mut u32,
}

impl<'l, O> Starter<'l, O> {
    /// # Safety
    ///
    /// Rule 2: the cell is filled with an `O`, is the caller's alone until the call is made,
    /// and is to be held as `holders` says from then on.
    #[inline(always)]
    pub(super) unsafe fn new(
        target: Target,
        facts: &'static Facts,
        cell: CellRef,
        holders: u32,
    ) -> Self {
        let (operation, brand) = (PhantomData, PhantomData);
        Self { target, facts, offset: 0, cell, holders, operation, brand }
    }

    /// Returns `true` if the handle is a socket.
    #[inline(always)]
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.target.is_socket
    }

    #[inline(always)]
    pub(crate) fn handle(&self) -> Handle {
        self.target.handle
    }

    /// The waits of the port.
    pub(crate) fn waits(&self) -> Arc<Waits> {
        Pool::waits_of(self.cell)
    }

    /// Sets where in a file the operation begins, in bytes; 0 unless this is called.
    #[inline(always)]
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Makes no call, because something before it has failed with this code. The
    /// program gets the memory back.
    pub fn fail(self, code: u32) -> Submitted<'l> {
        let facts = self.facts;
        self.refuse(Cause::Call { facts, code })
    }

    /// Makes no call, for whatever cause.
    #[cold]
    pub(crate) fn refuse(self, cause: Cause) -> Submitted<'l> {
        let Self { .. } = self;
        Submitted { answer: Err(cause), brand: PhantomData }
    }

    /// Whether a socket can send a message of so many bytes.
    #[inline(always)]
    pub(crate) fn can_send(&self, length: u32) -> bool {
        length <= self.target.longest_message
    }

    /// Makes the call: `call` returns whether the function has succeeded, or its
    /// error code. [`win32_result`] and [`winsock_result`] ask for that.
    ///
    /// # Safety
    ///
    /// 1. `call` calls one function, once, on this thread: the one that
    ///    [`FACTS`](crate::Operation::FACTS) names for this kind of handle, with this
    ///    handle and this `OVERLAPPED`, which it leaves alone otherwise, and without
    ///    a completion routine.
    /// 2. It returns `Ok` if the function has succeeded, and the function's own error
    ///    code if not.
    /// 3. What the system uses after the function has returned is what
    ///    [`Lend::lend`](crate::op::Lend::lend) has returned for this operation,
    ///    within bounds, and written only where that is for writing. What it uses
    ///    during the call alone may be anywhere.
    /// 4. The byte count that the operation ends with is how many bytes it has put
    ///    into the [`Fills`](crate::op::Fills) of its memory, each of which is full
    ///    before the next gets any. (Without `Fills` it may mean anything.)
    #[inline(always)]
    pub unsafe fn call(self, call: impl FnOnce(RawCall) -> Result<(), u32>) -> Submitted<'l> {
        self.call_with(|handle, overlapped, counts| {
            let (handle, overlapped) = (handle.raw(), overlapped.into_raw().cast());
            let mut bytes = 0;
            let count = if counts { &raw mut bytes } else { ptr::null_mut() };
            match call(RawCall { handle, overlapped, count }) {
                Ok(()) => Answer::Finished(bytes),
                Err(code) => Answer::Code(code),
            }
        })
    }

    /// Makes the call of a function of this crate, which gets the handle, the
    /// `OVERLAPPED`, and whether it is to count the bytes of an inline success.
    #[inline(always)]
    pub(crate) fn call_with(
        self,
        call: impl FnOnce(Handle, LentOverlapped, bool) -> Answer,
    ) -> Submitted<'l> {
        let Self { target, offset, cell, holders, .. } = self;
        // SAFETY: Rule 2: whoever has the starter has the cell, which is filled.
        let overlapped = unsafe {
            cell.state.begin(holders);
            // Given away from here on: the packet can be dequeued by another thread
            // before the call returns.
            cell.lend(offset)
        };
        let answer = Ok(call(target.handle, overlapped, target.skips));
        Submitted { answer, brand: PhantomData }
    }
}

/// One type for all lifetimes is not the same as one for a certain lifetime, and both
/// may be operations:
///
/// ```compile_fail,E0308
/// use completion_port::op::Starter;
/// struct Of<F>(F);
/// fn of_another<'l>(starter: Starter<'l, Of<for<'a> fn(&'a ())>>) -> Starter<'l, Of<fn(&'static ())>> {
///     starter
/// }
/// ```
///
/// ```compile_fail,E0308
/// use completion_port::op::Starter;
/// struct Of<F>(F);
/// fn of_another<'l>(starter: Starter<'l, Of<fn(&'static ())>>) -> Starter<'l, Of<for<'a> fn(&'a ())>> {
///     starter
/// }
/// ```
const _: () = ();

/// `Ok` if a function `succeeded`, or the code of `GetLastError`: to be called with
/// the function's result, before anything else.
///
/// # Errors
///
/// As it says.
#[inline(always)]
pub fn win32_result(succeeded: bool) -> Result<(), u32> {
    if succeeded { Ok(()) } else { Err(last_error()) }
}

/// `Ok` if a function `succeeded`, or the code of `WSAGetLastError`: to be called
/// with the function's result, before anything else.
///
/// # Errors
///
/// As it says.
#[inline(always)]
pub fn winsock_result(succeeded: bool) -> Result<(), u32> {
    if succeeded { Ok(()) } else { Err(last_winsock_error()) }
}
