//! The heart: the life of an operation, from the call that starts it to the
//! packet that gives it back.
//!
//! [`Cells::launch`] fills a cell, gives it to the kernel and makes the call;
//! [`Cells::claim`] finds the cell of a dequeued packet;
//! [`Dequeued::complete`] turns it into a [`CompletionStatus`]. What stands
//! between, and who may touch what when, is the protocol of [`state`].

mod arrivals;
mod at_hand;
mod body;
mod borrowed;
mod cell;
mod completion;
mod definition;
mod end;
mod free_list;
#[cfg(test)]
mod free_list_tests;
mod headers;
mod launch;
mod lend;
mod object;
mod pending;
mod rule;
mod slab;
mod socket_guard;
mod starter;
mod state;
mod status_word;

// What the protocols are made of; `loom-tests` puts loom's in their place.
use std::sync::atomic;
use std::thread::yield_now;

pub(crate) use arrivals::Arrivals;
pub(crate) use borrowed::{Borrowing, borrow};
pub(crate) use completion::Dequeued;
pub use completion::{CompletionStatus, Finished};
pub use definition::{Finish, Operation, Outcome};
pub(crate) use definition::{Owned, Way};
pub(crate) use launch::{Cells, Launched};
pub use lend::{Address, Fills, Keeps, Lend, Overwrites, Sends, Transparent};
pub use object::Object;
pub(crate) use object::What;
pub use pending::{InScope, Pending, Started};
pub(crate) use slab::{DEFAULT_OPERATIONS, MAX_OPERATIONS};
pub use socket_guard::{Gone, HandleGuard};
pub(crate) use socket_guard::{HandleGuards, IdleGuards};
pub use starter::{RawCall, Starter, Submitted, win32_result, winsock_result};
pub(crate) use status_word::Taken;
