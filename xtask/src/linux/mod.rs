//! Windows programs on Linux: the set-up, and running them under Wine.

pub mod build;
mod mini_root;
mod packages;
pub mod progress;
pub mod runner;
pub mod session;
pub mod setup;
pub mod supervise;
pub mod target;
pub mod valgrind;
