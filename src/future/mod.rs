//! Operations as futures, of whatever executor.

mod awaited;

pub(crate) use awaited::ended;
pub use awaited::{Awaited, AwaitedMut, AwaitedStarted, Failed};
