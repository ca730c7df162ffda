//! What an operation is: the trait that all of them implement, those of this
//! crate and those of others.

use std::any::{self, TypeId};
use std::marker::PhantomData;

use super::cell::{self, CONVERTED, Form, WHOLE, returned};
use super::lend::{Lend, Transparent};
use super::object::Object;
use super::starter::{Starter, Submitted};
use crate::error::{Error, Facts, FactsOn, refusal};
use crate::sys::Transferred;

/// An operation that can be started: the function that it calls, the memory that it lends to
/// it, and its output.
///
/// The values that implement it are in [`op`](crate::op). Implement it for any
/// other overlapped function, as [`op`](crate::op#operations-of-your-own) shows. The
/// trait is safe: what has to be promised stands at [`Starter::call`], the only
/// `unsafe` that an operation needs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an operation",
    label = "not an operation",
    note = "operations are the values of `completion_port::op`, such as `op::Read::new(buffer)`",
    note = "buffers are passed to `initiate_read` and `initiate_write`, or to the operation"
)]
pub trait Operation: Sized {
    /// The function that it calls.
    const FACTS: FactsOn;

    /// What it can be started on, where the type of the handle tells: one of
    /// [`op::on`](crate::op::on).
    type On;
    /// What stays in the port's memory while the operation is in flight. It is
    /// [`Send`], because whichever thread dequeues the packet may drop it:
    ///
    /// ```compile_fail,E0277
    /// # use completion_port::{Error, Operation, op};
    /// # use op::{Facts, FactsOn, Finish, Keeps, Object, Starter, Submitted};
    /// # use std::rc::Rc;
    /// # static FACTS: Facts = Facts::new("None");
    /// # struct Mine;
    /// # impl Operation for Mine {
    /// #     const FACTS: FactsOn = FactsOn::Handles(&FACTS);
    /// #     const FINISH: Finish<Self> = Finish::memory();
    /// #     type On = op::on::Anything;
    /// #     type Arguments = ();
    /// #     type Output = Rc<()>;
    /// #     fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> { Ok(((), Keeps(Rc::new(())))) }
    /// #     fn start<'l>((): (), (): (), starter: Starter<'l, Self>) -> Submitted<'l> { starter.fail(1) }
    /// type Memory = Keeps<Rc<()>>;
    /// # }
    /// ```
    type Memory: Lend + Send;
    /// What the call needs besides, and no longer than it runs.
    type Arguments;
    /// What the program gets when the operation is over. It need not be `Send`: the
    /// thread that takes it has made it.
    ///
    /// ```compile_fail,E0277
    /// # fn send(pending: completion_port::Pending<std::rc::Rc<()>>) {
    /// std::thread::spawn(move || drop(pending)); // it could take it there
    /// # }
    /// ```
    type Output;

    /// Divides the operation into its two parts, once it has looked at what it is
    /// to be started on.
    ///
    /// It may be that the operation is not started after all, for want of a
    /// free place. So leave alone what it is to be started on.
    ///
    /// # Errors
    ///
    /// Why it cannot be started there. The program gets the memory back.
    fn split(
        self,
        on: &Object<'_>,
    ) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)>;

    /// Makes the call, with the pointers that [`Lend::lend`] has returned.
    ///
    /// Another thread may have dequeued the packet, and dropped the memory, before
    /// the call returns. A panic ends the process.
    #[allow(clippy::elidable_lifetime_names, reason = "arguments and pointers may have others")]
    fn start<'l>(
        arguments: Self::Arguments,
        lent: <Self::Memory as Lend>::Lent,
        starter: Starter<'l, Self>,
    ) -> Submitted<'l>;

    /// Makes the output from the memory.
    const FINISH: Finish<Self>;

    /// Called when the operation has succeeded, before anybody knows: it can make an
    /// error of that, by returning its `NTSTATUS`; what is none is taken for
    /// `STATUS_CANCELLED`. A panic ends the process.
    ///
    /// It runs in the middle of a dequeue, so it must neither dequeue from the port, nor end a
    /// scope, nor wait for what other threads do there: it would wait for itself.
    ///
    /// What has to be done on the handle then wants a [guard](Object::guard) of it in
    /// the memory, because the handle may have been closed since.
    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> = None;
}

/// The result of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub(super) status: u32,
    pub(super) bytes: u32,
    pub(super) is_ok: bool,
}

impl Outcome {
    /// Returns `true` if the operation has succeeded, as the completion's
    /// [`error_status`](crate::CompletionStatus::error_status) says.
    #[must_use]
    pub fn is_ok(self) -> bool {
        self.is_ok
    }

    /// Returns the `NTSTATUS`.
    #[must_use]
    pub fn status(self) -> u32 {
        self.status
    }

    /// Returns the number of bytes transferred.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.bytes
    }
}

/// Makes the output of an [`Operation`] from its memory.
pub struct Finish<O: Operation>(pub(super) How<O>);

pub(super) enum How<O: Operation> {
    /// It is what the memory holds.
    Whole,
    /// It is what the memory holds, after that has been told how many bytes the
    /// operation has put into it.
    Filled(fn(&mut O::Memory, Transferred)),
    /// This function makes it.
    Converted(fn(O::Memory, Outcome) -> Option<O::Output>),
}

impl<O: Operation> Finish<O> {
    /// Returns what the memory holds: the buffer, whether the operation has succeeded or not.
    #[must_use]
    pub const fn memory() -> Self
    where
        O::Memory: Transparent<O::Output>,
    {
        match <O::Memory as Transparent<O::Output>>::FILLED {
            Some(filled) => Self(How::Filled(filled)),
            None => Self(How::Whole),
        }
    }

    /// Makes the output by this function, on the thread that takes it.
    ///
    /// It is called once the operation is over, even if that has failed or was
    /// cancelled: return buffers in any case. What was put into them is
    /// [noted](Lend::filled) already.
    #[must_use]
    pub const fn with(convert: fn(O::Memory, Outcome) -> Option<O::Output>) -> Self {
        Self(How::Converted(convert))
    }
}

impl Object<'_> {
    /// Divides an operation, if it can be started on this.
    ///
    /// # Errors
    ///
    /// Why not, if that is known, or what the operation says.
    #[inline(always)]
    pub(crate) fn split<O: Operation, const SOCKET: bool>(
        &self,
        operation: O,
    ) -> Result<(O::Arguments, O::Memory), (Error, O::Memory)> {
        let on = Object { is_socket: SOCKET, ..*self };
        let refusal = match const { O::FACTS.get(SOCKET) } {
            None if SOCKET => &refusal::NOT_FOR_SOCKETS,
            None => &refusal::NOT_A_SOCKET,
            Some(facts) if on.skips && !facts.skips => &refusal::NOT_FOR_SKIPPING,
            Some(_) => return operation.split(&on),
        };
        let (Ok((_, memory)) | Err((_, memory))) = operation.split(&on);
        Err((Error::usage(refusal), memory))
    }
}

/// How an operation was started: what its cell says of it.
pub(crate) trait Way<O: Operation> {
    /// Whether on a socket.
    const SOCKET: bool;
    /// Whether in a scope, which holds the cell too.
    const SCOPED: bool;
    /// Stands for what the completion returns; see [`returned`].
    const RETURNED: fn() -> (TypeId, Form);
    /// The way once the memory has been told how many bytes it has got.
    type Filled: Way<O>;
    const IS_FILLED: bool;
    /// What that is called.
    const OUTPUT_NAME: fn() -> &'static str;

    /// The function that it was started with.
    const FACTS: &'static Facts = match O::FACTS.get(Self::SOCKET) {
        Some(facts) => facts,
        None => Facts::PostQueuedCompletionStatus, // never started
    };
}

/// With memory of its own.
pub(crate) struct Owned<const SOCKET: bool, const FILLED: bool = false>;

/// With memory that the scope's environment lends. Only the `Pending` returns it,
/// which knows for how long.
pub(crate) struct Scoped<const SOCKET: bool, const FILLED: bool = false>;

impl<O: Operation<Output: 'static>, const SOCKET: bool, const FILLED: bool> Way<O>
    for Owned<SOCKET, FILLED>
{
    const SOCKET: bool = SOCKET;
    const SCOPED: bool = false;
    type Filled = Owned<SOCKET, true>;
    const IS_FILLED: bool = FILLED;
    const RETURNED: fn() -> (TypeId, Form) = match O::FINISH.0 {
        How::Filled(_) if !FILLED => returned::<O::Output, { cell::FILLED }>,
        How::Whole | How::Filled(_) => returned::<O::Output, WHOLE>,
        How::Converted(_) => returned::<O::Output, CONVERTED>,
    };
    const OUTPUT_NAME: fn() -> &'static str = any::type_name::<O::Output>;
}

impl<O: Operation, const SOCKET: bool, const FILLED: bool> Way<O> for Scoped<SOCKET, FILLED> {
    const SOCKET: bool = SOCKET;
    const SCOPED: bool = true;
    type Filled = Scoped<SOCKET, true>;
    const IS_FILLED: bool = FILLED;
    /// No code outside this crate can name the type.
    const RETURNED: fn() -> (TypeId, Form) = returned::<Borrowed, CONVERTED>;
    const OUTPUT_NAME: fn() -> &'static str = || "it to the `Pending` in its scope alone";
}

/// What the completion of an operation in a scope returns: nothing.
struct Borrowed;

/// Only to be named.
pub(crate) type Types<C, O, W> = PhantomData<fn() -> (C, O, W)>;
