//! Operations as futures, of whatever executor, and those who dequeue for them.

mod awaited;
mod block_on;
mod driver;
mod parker;
mod run;

pub use awaited::{Awaited, AwaitedMut, AwaitedStarted};
pub use driver::Driver;
pub use parker::{Parker, Unparker};
pub use run::Completions;
