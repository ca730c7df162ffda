//! The heart: the life of an operation, from the call that starts it to the
//! packet that gives it back.
//!
//! [`Cells::launch`] fills a cell, gives it to the kernel and makes the call;
//! [`Cells::try_complete`] finds the cell of a dequeued packet;
//! [`Dequeued::complete`] turns it into a [`CompletionStatus`]. What stands
//! between, and who may touch what when, is the protocol of [`state`].

mod cell;
mod complete;
mod completion;
mod definition;
mod entries;
mod handle_guard;
mod layout;
mod lend;
mod object;
mod outcome;
mod pending;
mod pool;
mod scoped;
mod start;
mod starter;

// What the protocols are made of; `loom-tests` puts loom's in their place.
use std::sync::atomic;
use std::thread::yield_now;

pub(crate) use cell::status_word::Taken;
pub(crate) use completion::Dequeued;
pub use completion::{CompletionStatus, Finished};
pub use definition::{Finish, Operation, Outcome};
pub(crate) use definition::{Owned, Way};
pub(crate) use entries::CompletionEntries;
pub use handle_guard::{Gone, HandleGuard};
pub(crate) use handle_guard::{HandleGuards, IdleGuards};
pub use lend::{Address, Fills, Keeps, Lend, Overwrites, Sends, Transparent};
pub use object::Object;
pub(crate) use object::ObjectKind;
pub use pending::{InScope, Pending, Started};
pub(crate) use pool::{DEFAULT_OPERATIONS, MAX_OPERATIONS};
pub(crate) use scoped::{Borrowing, borrow};
pub(crate) use start::{Cells, StartOutcome};
pub use starter::{RawCall, Starter, Submitted, win32_result, winsock_result};
