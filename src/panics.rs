//! Panics of foreign code: of what is the program's and called from here, which
//! is the destructors of contexts and buffers, and the methods of buffers.
//!
//! What has to be done is done, whatever panics. The first panic goes on at the
//! end, and those after it are forgotten. Where the thread is panicking already,
//! that panic is the first.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;
use std::thread;

/// The first panic of several pieces of foreign code, all of which have to run.
/// To be [resumed](Self::resume) at the end.
#[derive(Debug)]
#[must_use]
pub(crate) struct FirstPanic(Option<Box<dyn Any + Send>>);

impl FirstPanic {
    pub const fn none() -> Self {
        Self(None)
    }

    /// Runs a piece of foreign code.
    pub fn catch(&mut self, foreign: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(foreign)) {
            if self.0.is_none() && !thread::panicking() {
                self.0 = Some(panic);
            } else {
                // The destructor of what it carries is foreign code, too.
                mem::forget(panic);
            }
        }
    }

    /// Whether a piece has panicked, and the panic is to go on.
    pub fn has_happened(&self) -> bool {
        self.0.is_some()
    }

    /// Lets the panic go on, if there is one.
    pub fn resume(self) {
        if let Some(panic) = self.0 {
            resume_unwind(panic);
        }
    }
}

/// Drops all that the iterator returns.
pub(crate) fn drop_all<T>(values: impl Iterator<Item = T>) {
    let mut panic = FirstPanic::none();
    for value in values {
        panic.catch(|| drop(value));
    }
    panic.resume();
}

/// Wakes all of them.
#[cold]
#[inline(never)]
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    let mut panic = FirstPanic::none();
    for waker in wakers.drain(..) {
        panic.catch(|| waker.wake());
    }
    panic.resume();
}

/// What has to be done if a piece of foreign code panics, which may run more.
/// If it does not, this is to be [forgotten](mem::forget), and costs nothing.
#[must_use]
pub(crate) struct OnPanic<F: Fn()>(pub F);

impl<F: Fn()> Drop for OnPanic<F> {
    #[cold]
    fn drop(&mut self) {
        // The thread is panicking, so nothing is left to resume.
        FirstPanic::none().catch(&self.0);
    }
}
