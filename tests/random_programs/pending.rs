//! `Pending`s that are kept, whatever they are of.

use std::net::TcpStream;
use std::sync::Arc;

use completion_port::{Pending, Result};

use crate::buffer::{Bytes, Marked};
use crate::log::Log;
use crate::operation::Operation;

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
    fn is_completed(&self) -> bool;
    fn result(&self) -> Option<Result<u32>>;
    /// Asks for what the operation has.
    fn take(&mut self, operation: &Arc<Operation>, log: &Log);
}

impl<T: Output> AnyPending for Pending<T> {
    fn cancel(&self) -> Result<bool> {
        Pending::cancel(self)
    }

    fn is_completed(&self) -> bool {
        Pending::is_completed(self)
    }

    fn result(&self) -> Option<Result<u32>> {
        Pending::result(self)
    }

    fn take(&mut self, operation: &Arc<Operation>, log: &Log) {
        T::take(self, operation, log);
    }
}

/// What comes out of an operation.
pub trait Output: Send + Sized + 'static {
    fn take(pending: &mut Pending<Self>, operation: &Arc<Operation>, log: &Log);
}

impl<B: Bytes> Output for Marked<B> {
    fn take(pending: &mut Pending<Self>, operation: &Arc<Operation>, log: &Log) {
        operation.take(log, || pending.take_buffer().map(Self::open));
    }
}

impl Output for TcpStream {
    fn take(pending: &mut Pending<Self>, operation: &Arc<Operation>, log: &Log) {
        operation.take_accepted(log, || pending.take_accepted());
    }
}

/// Of a connect, which has nothing.
impl Output for () {
    fn take(_: &mut Pending<Self>, _: &Arc<Operation>, _: &Log) {}
}
