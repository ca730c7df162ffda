//! The life of an operation, from the call that starts it to the packet that ends it,
//! and who owns its memory when.
//!
//! [`Cells::start`] fills a [cell](cell::Cell) and makes the call.
//! [`Found::try_complete`](completion::Found::try_complete) ends the operation that a
//! dequeued packet is of. [`Dequeued::complete`] makes a [`CompletionStatus`] of it.
//!
//! # The state word
//!
//! Each cell has one ([`state`](cell::state)). It says who holds the cell, and what else
//! has to be known of it.
//!
//! | bit | says | set | cleared |
//! |---|---|---|---|
//! | `KERNEL` | the system has the operation, or the queue its packet | before the call | by who ends the operation: it becomes `COMPLETION` |
//! | `PENDING` | the [`Pending`] holds the cell | before the call; not for what the program posts | when the `Pending` is dropped |
//! | `COMPLETION` | the completion holds the cell | by who ends the operation | when the completion is dropped, or its output taken |
//! | `SCOPE` | a scope holds the cell | before the call | by the scope, once the operation is over |
//! | `TAKEN` | the payload was claimed | by the first who claims it, if others hold the cell | when the cell is begun again |
//! | `DROPS` | the payload has a destructor, or is to be moved out | before the call | when the cell is begun again |
//! | `SLOW_PATH` | the payload wants to see the end, or the overflow block is large | before the call, and with `TIMED` | when the cell is begun again |
//! | `ENDING` | its scope is waiting for the operation | by the scope | when the cell is begun again |
//! | `WAKER` | a waker is in the cell, of who waits for the operation | by the `Pending`'s side, while it is in flight | by who ends the operation, in the same step, or by the `Pending`'s side; who clears it has the waker |
//! | `TIMED` | the port's timers may have an entry of the cell | by who sets one, while the operation is in flight | when the cell is begun again |
//! | `ASKED` | the program has asked for the operation to be cancelled, which has a deadline | by who asks, while the operation is in flight | when the cell is begun again |
//! | `EXPIRED` | the deadline has passed, and the operation is being cancelled for that | by who finds it due, while the operation is in flight | by that one if nothing could be cancelled, or when the cell is begun again |
//! | `AWAITS_LATE_PACKET` | the call failed, and a packet may come all the same | by the thread that made the call | by who dequeues the marker behind that packet, by that thread, or at the end of the port |
//! | `NOT_EMPTIED` | `AWAITS_LATE_PACKET`, and the cell is still filled | with it | by the thread that made the call |
//!
//! # The status word
//!
//! The first word of the `OVERLAPPED` ([`status_word`](cell::status_word)): pending, a
//! status that the system has written, taken, or asked about. Taking it decides who ends
//! the operation.
//!
//! # Waits
//!
//! What waits for an object is the system's thread pool. Its callback, and who cancels the wait,
//! do in the system's place what a driver does: one of them writes the status and queues the
//! packet (`sys/wait.rs`).
//!
//! # The fields
//!
//! | field | written by | read by |
//! |---|---|---|
//! | status word | the system, while it has the operation; who takes it | anybody |
//! | byte count | the system, before the status; then who has taken the status | who has taken the status; then who holds the cell |
//! | offset | the starter, before the call; who has taken the status notes it there | the system; then who holds the cell |
//! | event | nobody: it is null | the system |
//! | number ([`Number`](cell::Cell::number)) | who owns the free cell; who has locked the timers; before the call, the starter | who may write it; who ends the operation |
//! | header: handle, table | the owner of the empty cell | who holds the filled cell; what others read, by atomic loads, may be another operation's |
//! | inline memory, overflow block | the owner of the cell; the system, where memory was lent to it; the owner of context and payload | who may write it |
//!
//! # The rules
//!
//! A `SAFETY` comment names those that license its block.
//!
//! 1. **A cell stays where it is.** It lies in its pool's reservation, which is never
//!    moved, and from which each pointer to it is derived. Cells that have been used are
//!    initialised, and their memory stays until the pool is gone. A pool stays until it is
//!    closed and all its cells are free.
//! 2. **A cell is given away before the call.** Then the state is begun, and the
//!    `OVERLAPPED` and the lent memory are the system's. The memory is at its place before
//!    a pointer to it is made, and is not moved, borrowed or dropped while the system has
//!    it. The thread that made the call looks at nothing but atomics until it has taken
//!    the status.
//! 3. **One ends an operation: who has taken its status.** The status proves that the
//!    system has given cell and memory back, and so does a call that says that no packet
//!    comes. Until the end is published in the state, the result is that thread's to
//!    write.
//! 4. **An empty cell is its owner's alone** ([`EmptyCell`](cell::EmptyCell)), and so is a
//!    cell that was filled and not begun, or was withdrawn
//!    ([`FilledCell`](layout::FilledCell)). What is not atomic is written by the owner, and
//!    otherwise only read, by who holds the cell.
//! 5. **Context and payload leave a cell once** ([`Context`](cell::Context),
//!    [`Payload`](cell::Payload)). The context is the completion's. The payload is the
//!    first one's who claims it once the operation is over, or else the last holder's.
//! 6. **The last holder frees the cell** ([`Part`](complete::Part)). Each holder has a bit,
//!    and nobody joins after the call but the completion, which comes in the kernel's
//!    place. So who is the only holder owns the cell.
//! 7. **Free cells are the pool's.** A cell in the cache belongs to who has locked it, one
//!    on the list to who pops it, one in quarantine to nobody. A pool is closed once, by
//!    the last who allocates from it.
//! 8. **A scope holds the cells of its operations** until they are over, and their links
//!    are its own. Memory that it has lent is dropped in it, or not at all.
//! 9. **What crosses threads is `Send`**: contexts by the port's type, memory by
//!    [`Operation::Memory`]. An output is made on the thread that takes it.
//! 10. **Sizes and places are constants** ([`layout`]): both parts of a cell lie in its
//!     inline memory or its overflow block, aligned, and do not overlap. A waker has a
//!     place of its own beside them.
//! 11. **A waker is who cleared its bit's.** The bit is only set while the operation is in
//!     flight, by the one who has the `Pending`, and no other waker is in the cell. Until
//!     then its place is theirs alone, and so is an overflow block in which nothing else
//!     is. Wakers are foreign code: they are woken and dropped when nothing of others is
//!     in hand.

mod awaiting;
mod cell;
mod cells;
mod complete;
mod completion;
mod deadline;
mod definition;
mod entries;
mod handle_guard;
mod headers;
mod layout;
mod lend;
mod object;
mod outcome;
mod pending;
mod pool;
mod posted;
mod scoped;
mod start;
mod starter;

// What the protocols are made of; `loom-tests` puts loom's in their place.
use std::sync::atomic;
use std::thread::yield_now;

pub(crate) use cell::status_word::Taken;
pub(crate) use cells::Cells;
pub(crate) use completion::Dequeued;
pub use completion::{CompletionStatus, Finished};
pub use definition::{Finish, Operation, Outcome};
pub(crate) use definition::{Owned, Way};
pub(crate) use entries::CompletionEntries;
pub use handle_guard::{Gone, HandleGuard};
pub(crate) use handle_guard::{HandleGuards, IdleGuards};
pub use lend::{Address, Fills, Keeps, Lend, Overwrites, Sends, Transparent};
pub use object::Object;
pub(crate) use object::{ObjectKind, Target};
pub use pending::{InScope, Pending, Started};
pub(crate) use pool::{DEFAULT_OPERATIONS, MAX_OPERATIONS};
pub(crate) use scoped::{Borrowing, borrow};
pub(crate) use start::StartOutcome;
pub use starter::{RawCall, Starter, Submitted, win32_result, winsock_result};
