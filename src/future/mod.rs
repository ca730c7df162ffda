//! Operations as futures, of whatever executor, and those who dequeue for them.

mod awaited;
mod block_on;
mod driver;
mod park_state;
mod parker;
mod run;

// What the protocol of parking is made of; `loom-tests` puts loom's in its place.
use std::sync::atomic;

pub use awaited::{Awaited, AwaitedMut, AwaitedStarted};
pub use block_on::NoContext;
pub use driver::Driver;
pub use parker::{Parker, Unparker};
pub use run::Completions;
