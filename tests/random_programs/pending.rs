//! `Pending`s that are kept, whatever they are of.

use std::future::{Future, IntoFuture};
use std::mem;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use completion_port::op::Datagram;
use completion_port::{Failed, Pending, Result};

use crate::buffer::{Bytes, Marked, Open, Pieces};
use crate::log::Log;
use crate::operation::{Operation, kind_of};

pub struct KeptPending {
    pub operation: Arc<Operation>,
    pub pending: Box<dyn AnyPending>,
}

impl KeptPending {
    pub fn take(&mut self, log: &Log) {
        self.pending.take(&self.operation, log);
    }
}

pub trait AnyPending: Send {
    fn cancel(&self) -> Result<bool>;
    fn set_deadline(&self, deadline: Option<Instant>) -> Result<()>;
    fn is_completed(&self) -> bool;
    fn result(&self) -> Option<Result<u32>>;
    /// Asks for what the operation has.
    fn take(&mut self, operation: &Arc<Operation>, log: &Log);
    /// Polls a future that borrows this, and drops it, or forgets it with its waker.
    /// Whether the operation was over.
    fn poll(&mut self, waker: &Waker, forgets: bool, of: &Arc<Operation>, log: &Log) -> bool;
    /// Polls a future that owns this, and drops it. Whether the operation was over.
    fn abandon(self: Box<Self>, operation: &Arc<Operation>, log: &Log) -> bool;
}

impl<T: Output> AnyPending for Pending<T> {
    fn cancel(&self) -> Result<bool> {
        Pending::cancel(self)
    }

    fn set_deadline(&self, deadline: Option<Instant>) -> Result<()> {
        Pending::set_deadline(self, deadline)
    }

    fn is_completed(&self) -> bool {
        Pending::is_completed(self)
    }

    fn result(&self) -> Option<Result<u32>> {
        Pending::result(self)
    }

    fn take(&mut self, operation: &Arc<Operation>, log: &Log) {
        T::take(operation, log, || Pending::take(self));
    }

    fn poll(&mut self, waker: &Waker, forgets: bool, of: &Arc<Operation>, log: &Log) -> bool {
        let _asking = of.asking();
        let mut future = mem::ManuallyDrop::new(self.into_future());
        let polled = pin!(&mut *future).poll(&mut Context::from_waker(waker));
        if !forgets {
            drop(mem::ManuallyDrop::into_inner(future));
        }
        ended::<T>(polled, of, log)
    }

    fn abandon(self: Box<Self>, operation: &Arc<Operation>, log: &Log) -> bool {
        let _asking = operation.asking();
        let future = pin!((*self).into_future());
        let polled = future.poll(&mut Context::from_waker(Waker::noop()));
        ended::<T>(polled, operation, log)
    }
}

/// Writes down what a future has come to, if it has ended.
fn ended<T: Output>(
    polled: Poll<std::result::Result<(u32, T), Failed<T>>>,
    operation: &Arc<Operation>,
    log: &Log,
) -> bool {
    let Poll::Ready(ended) = polled else { return false };
    let (told, output) = match ended {
        Ok((bytes, output)) => (Ok(bytes), Some(output)),
        Err(Failed { error, returned, .. }) => (Err(kind_of(&error)), returned),
    };
    // Otherwise the error may say that somebody else has it.
    if output.is_some() {
        operation.facts().told = Some(told);
    }
    T::take(operation, log, || output);
    true
}

/// What comes out of an operation.
pub trait Output: Send + Sized + 'static {
    /// Writes down what `ask` gets.
    fn take(operation: &Arc<Operation>, log: &Log, ask: impl FnOnce() -> Option<Self>);
}

impl<B: Bytes> Output for Marked<B> {
    fn take(operation: &Arc<Operation>, log: &Log, ask: impl FnOnce() -> Option<Self>) {
        operation.take(log, || ask().map(Open::open));
    }
}

impl Output for Pieces {
    fn take(operation: &Arc<Operation>, log: &Log, ask: impl FnOnce() -> Option<Self>) {
        operation.take(log, || ask().map(Open::open));
    }
}

impl<B: Bytes> Output for Datagram<Marked<B>> {
    fn take(operation: &Arc<Operation>, log: &Log, ask: impl FnOnce() -> Option<Self>) {
        operation.take(log, || ask().map(Open::open));
    }
}

impl Output for TcpStream {
    fn take(operation: &Arc<Operation>, log: &Log, ask: impl FnOnce() -> Option<Self>) {
        operation.take_accepted(log, ask);
    }
}

/// Of a connect or a timer, which has nothing.
impl Output for () {
    fn take(_: &Arc<Operation>, _: &Log, _: impl FnOnce() -> Option<Self>) {}
}
