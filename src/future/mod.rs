//! Operations as futures, of whatever executor, and those who dequeue for them.

mod awaited;
mod block_on;
mod driver;
mod parker;
mod run;

pub(crate) use awaited::ended;
pub use awaited::{Awaited, AwaitedMut, AwaitedStarted, Failed};
pub use driver::Driver;
pub use parker::{Parker, Unparker};
pub use run::Completions;
