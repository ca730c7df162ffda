//! What an operation is: the trait that all of them implement, those of this
//! crate and those of others.

use std::any::TypeId;
use std::marker::PhantomData;
use std::os::windows::io::RawHandle;

use super::body::{FILLED, Form, ITSELF, MADE, returned};
use super::lend::{Lend, Transparent};
use crate::error::{Call, Calls, Result, is_error};
use crate::handle::Object;
use crate::sys::{Called, Starter};

/// What kind of operation a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// A read or a receive.
    Read,
    /// A write or a send.
    Write,
    /// An accept.
    Accept,
    /// A connect.
    Connect,
    /// [`Iocp::post`](crate::Iocp::post).
    Post,
    /// Any other.
    Other,
}

/// An operation that can be started: which call it is, what it lends to it, and
/// what becomes of that.
///
/// The values that implement it are in [`op`](crate::op). Implement it for any
/// other overlapped call: the trait itself is safe, because all that could go
/// wrong goes through [`Starter::call`], whose contract says what has to hold.
pub trait Operation: Sized {
    /// Which call it is. The runtime check of what it can be started on, too.
    const CALLS: Calls;
    /// What it can be started on, where the type of the handle tells: one of
    /// [`op::on`](crate::op::on).
    type On;
    /// What stays in the port's memory while the kernel works.
    type Memory: Lend + Send;
    /// What the call is told besides, and needs no longer than it runs.
    type Arguments;
    /// What the program gets when the operation is over.
    type Output;
    /// What the program gets back if the operation cannot be started.
    type Given;

    /// Looks at what it is to be started on, before anything else happens.
    ///
    /// # Errors
    ///
    /// If it cannot be started there.
    #[inline]
    fn prepare(&mut self, _on: &Object<'_>) -> Result<()> {
        Ok(())
    }

    /// Where in a file.
    #[inline]
    fn offset(&self) -> u64 {
        0
    }

    /// The operation in its two parts.
    fn split(self) -> (Self::Arguments, Self::Memory);

    /// Makes the call, with what [`Lend::lend`] has returned.
    ///
    /// Another thread may have finished the operation, and freed its memory,
    /// before the call returns. A panic ends the process.
    fn start(
        arguments: Self::Arguments,
        lent: <Self::Memory as Lend>::Lent,
        starter: Starter<'_, Self>,
    ) -> Called<'_>;

    /// What the memory is worth once the operation is over, also if it has failed
    /// or was cancelled: buffers come back in any case. What has been put into
    /// them is [noted](Lend::filled) already.
    fn finish(memory: Self::Memory, outcome: Outcome) -> Option<Self::Output>;

    /// What the memory is worth if the operation could not be started.
    fn give_back(memory: Self::Memory) -> Self::Given;

    /// Whether [`succeeded`](Self::succeeded) does anything.
    const SEES_SUCCESS: bool = false;

    /// The operation has succeeded, and nobody knows it yet. A panic ends the
    /// process.
    ///
    /// # Errors
    ///
    /// The `NTSTATUS` of an error, to make it one that has failed.
    fn succeeded(_memory: &mut Self::Memory, _handle: RawHandle) -> Result<(), u32> {
        Ok(())
    }

    /// How the output comes out of the memory.
    #[doc(hidden)]
    const RETURNS: Returns<Self> = Returns::made();

    #[doc(hidden)]
    const KIND: OperationKind = OperationKind::Other;
}

/// How an operation has ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub(super) status: u32,
    pub(super) bytes: u32,
}

impl Outcome {
    /// Whether it has succeeded, or has at least done something.
    #[must_use]
    pub fn is_ok(self) -> bool {
        !is_error(self.status)
    }

    /// The `NTSTATUS`.
    #[must_use]
    pub fn status(self) -> u32 {
        self.status
    }

    /// How many bytes it has transferred.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.bytes
    }
}

/// How what an operation returns comes out of its memory.
#[doc(hidden)]
pub struct Returns<O: Operation>(pub(super) Way2<O>);

pub(super) enum Way2<O: Operation> {
    /// It is the memory.
    Itself,
    /// It is the memory, after that has been told how many bytes the operation
    /// has put into it.
    ItselfFilled(unsafe fn(&mut O::Memory, u32)),
    /// [`Operation::finish`] makes it.
    Made,
}

impl<O: Operation> Returns<O> {
    /// What [`Operation::finish`] makes of it.
    #[must_use]
    pub const fn made() -> Self {
        Self(Way2::Made)
    }

    /// The memory itself.
    pub(crate) const fn itself() -> Self
    where
        O::Memory: Transparent<O::Output>,
    {
        match <O::Memory as Transparent<O::Output>>::FILLED {
            Some(filled) => Self(Way2::ItselfFilled(filled)),
            None => Self(Way2::Itself),
        }
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

    /// The call that it was started with.
    const CALL: &'static Call = match O::CALLS.on(Self::SOCKET) {
        Some(call) => call,
        None => Call::PostQueuedCompletionStatus, // never started
    };
}

/// With memory of its own.
pub(crate) struct Owned<const SOCKET: bool>;

/// With memory that the scope's environment lends. Only the `Pending` returns it,
/// which knows for how long.
pub(crate) struct Scoped<const SOCKET: bool>;

impl<O: Operation<Output: 'static>, const SOCKET: bool> Way<O> for Owned<SOCKET> {
    const SOCKET: bool = SOCKET;
    const SCOPED: bool = false;
    const RETURNED: fn() -> (TypeId, Form) = match O::RETURNS.0 {
        Way2::Itself => returned::<O::Output, ITSELF>,
        Way2::ItselfFilled(_) => returned::<O::Output, FILLED>,
        Way2::Made => returned::<O::Output, MADE>,
    };
}

impl<O: Operation, const SOCKET: bool> Way<O> for Scoped<SOCKET> {
    const SOCKET: bool = SOCKET;
    const SCOPED: bool = true;
    /// No code outside this crate can name the type.
    const RETURNED: fn() -> (TypeId, Form) = returned::<Scoped<true>, MADE>;
}

/// A packet of the program's own.
pub(crate) struct Post;

impl Operation for Post {
    const CALLS: Calls = Calls::handle(Call::PostQueuedCompletionStatus);
    type On = ();
    type Memory = ();
    type Arguments = ();
    type Output = ();
    type Given = ();
    const KIND: OperationKind = OperationKind::Post;

    fn split(self) -> ((), ()) {
        ((), ())
    }

    fn start((): (), (): (), _: Starter<'_, Self>) -> Called<'_> {
        unreachable!("it is posted")
    }

    fn finish((): (), _: Outcome) -> Option<()> {
        Some(())
    }

    fn give_back((): ()) {}
}

/// Only to be named.
pub(crate) type Types<C, O, W> = PhantomData<fn() -> (C, O, W)>;
