//! Waiting for objects: `SetThreadpoolWait`.
#![allow(private_interfaces, reason = "the sealed trait is for this crate alone")]

use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::process::Child;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::on::Anything;
use super::{Finish, Keeps, Starter, Submitted};
use crate::error::{Error, Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys::{self, Handle, NewWait, WaitRecord, WaitRegion};

/// What [`Iocp::initiate_wait`](crate::Iocp::initiate_wait) waits for: what owns the handle of
/// an object that the system can signal.
///
/// An [`OwnedHandle`] of an event, a semaphore, a waitable timer, a process, a thread; a
/// [`Child`], a [`JoinHandle`]; and references to them, [`Arc`]s for one, where the
/// program goes on to use the handle. It stays open while the operation is in flight.
pub trait Waitable: sealed::Waitable {}

impl<T: sealed::Waitable> Waitable for T {}

pub(crate) mod sealed {
    use super::Handle;

    pub trait Waitable: Send {
        /// What the operation returns.
        type Output;

        /// The handle, which is open as long as the value is there, wherever that is.
        fn handle(&self) -> Handle;

        /// The wait is over, successfully or not.
        fn into_output(self, succeeded: bool) -> Option<Self::Output>;
    }
}

macro_rules! waitable {
    ($([$($parameters:tt)*] $type:ty: $handle:expr;)*) => {$(
        impl<$($parameters)*> sealed::Waitable for $type {
            type Output = Self;

            fn handle(&self) -> Handle {
                $handle(self)
            }

            fn into_output(self, _: bool) -> Option<Self> {
                Some(self)
            }
        }
    )*};
}

fn handle_of(object: &impl AsRawHandle) -> Handle {
    Handle(object.as_raw_handle().addr())
}

waitable! {
    [] OwnedHandle: handle_of;
    [] Child: handle_of;
    [T] JoinHandle<T>: handle_of;
    [W: sealed::Waitable + Sync] Arc<W>: |it: &Self| W::handle(it);
    [W: sealed::Waitable + Sync] &W: |it: &Self| W::handle(it);
}

/// Waits until an object is signalled.
pub(crate) struct Wait<W>(W, WaitRecord);

impl<W: sealed::Waitable> Wait<W> {
    pub fn new(object: W, record: WaitRecord) -> Self {
        Self(object, record)
    }

    pub fn into_parts(self) -> (Handle, (Keeps<W>, WaitRecord)) {
        let Self(object, record) = self;
        (object.handle(), (Keeps(object), record))
    }

    /// What comes back of one that could not be started.
    pub fn back<C>((context, (Keeps(object), _)): (C, (Keeps<W>, WaitRecord))) -> (C, W) {
        (context, object)
    }
}

impl<W: sealed::Waitable> Operation for Wait<W> {
    const FACTS: FactsOn = FactsOn::Handles(Facts::SetThreadpoolWait);
    const FINISH: Finish<Self> = Finish::with(|(Keeps(object), _): Self::Memory, outcome| {
        object.into_output(outcome.is_ok())
    });
    type On = Anything;
    type Memory = (Keeps<W>, WaitRecord);
    type Arguments = Handle;
    type Output = W::Output;

    fn split(self, _: &Object<'_>) -> Result<(Handle, Self::Memory), (Error, Self::Memory)> {
        Ok(self.into_parts())
    }

    fn start(
        object: Handle,
        ((), record): ((), WaitRegion),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        match sys::take_signal(object) {
            Ok(true) => {
                return starter.call_with(|_, overlapped, _| sys::finish_wait(record, overlapped));
            }
            Ok(false) => {}
            Err(cause) => return starter.refuse(cause),
        }
        match NewWait::create(&record) {
            Ok(wait) => {
                let waits = starter.waits();
                starter.call_with(|_, overlapped, _| waits.set(wait, object, record, overlapped))
            }
            Err(cause) => starter.refuse(cause),
        }
    }

    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> = Some(|(_, record)| {
        record.end();
        Ok(())
    });
}
