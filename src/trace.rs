//! What the crate `tracing` is told of operations. Without the feature of that name, none
//! of these functions does anything.
//!
//! Subscribers are foreign code, which may panic: they are called where nothing of an
//! operation is in hand.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables, clippy::needless_pass_by_value))]

use crate::error::{Facts, Rejected, Result};
use crate::operation::CompletionStatus;
use crate::sys::Handle;

#[cfg(feature = "tracing")]
thread_local! {
    /// Whether this thread is in [`silently`].
    static IS_SILENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// One event of this crate.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($($event:tt)*) => {
        if !IS_SILENT.get() {
            ::tracing::trace!(target: "completion_port", $($event)*);
        }
    };
}
#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($($event:tt)*) => {};
}

/// Starts or cancels something with a lock held that a subscriber may want, too: no event is
/// emitted on this thread meanwhile. It must not panic.
pub(crate) fn silently<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tracing")]
    IS_SILENT.set(true);
    let result = work();
    #[cfg(feature = "tracing")]
    IS_SILENT.set(false);
    result
}

/// An operation is about to be started (a listener tells it afterwards).
#[inline(always)]
pub(crate) fn starting(facts: &Facts, handle: Handle, operation: usize) {
    event!(call = facts.name, ?handle, operation = format_args!("{operation:#x}"), "starting");
}

/// An operation has been started, or not.
#[inline(always)]
pub(crate) fn rejected<S, R>(handle: Handle, started: &Result<S, Rejected<R>>) {
    #[cfg(feature = "tracing")]
    if let Err(Rejected { error, .. }) = started {
        event!(?handle, %error, "not started");
    }
}

/// An operation is over, and its completion goes to the program.
#[inline(always)]
pub(crate) fn completed<C>(completion: &CompletionStatus<C>) {
    event!(
        call = completion.operation.call(),
        operation = format_args!("{:#x}", completion.operation.address()),
        handle_context = completion.handle_context,
        bytes = completion.bytes_transferred,
        error = completion.error_status.as_ref().err().map(::tracing::field::display),
        "completed"
    );
}

/// The program has asked for one operation to be cancelled.
#[inline(always)]
pub(crate) fn cancelling(operation: usize, asked: &Result<bool>) {
    event!(operation = format_args!("{operation:#x}"), ?asked, "cancel");
}

/// The program has asked for all operations on a handle to be cancelled.
#[inline(always)]
pub(crate) fn cancelling_all(handle: Handle, asked: &Result<bool>) {
    event!(?handle, ?asked, "cancel all");
}
