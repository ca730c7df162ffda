//! The lock-free protocols of the library, in all orders and with all
//! stale values that the memory model allows.
//!
//! These are the library's own files, `state.rs`, `status_word.rs`, `cache.rs`,
//! `free_list.rs` and `park_state.rs`, on loom's atomics. [`model`] builds around them what the library builds: cells,
//! holders, a port. Where the library has memory, the model has loom's
//! `UnsafeCell`, which fails a test when two threads use it and nothing orders
//! them.
#![cfg(test)]
#![cfg(target_pointer_width = "64")]

#[path = "../../src/operation/pool/cache.rs"]
mod cache;
#[path = "../../src/operation/pool/free_list.rs"]
mod free_list;
#[path = "../../src/future/park_state.rs"]
#[allow(dead_code, reason = "what a thread does alone needs no exploring")]
mod park_state;
#[path = "../../src/operation/cell/state.rs"]
#[allow(dead_code, reason = "what a thread does alone needs no exploring")]
mod state;
#[path = "../../src/operation/cell/status_word.rs"]
#[allow(dead_code, reason = "what a thread does alone needs no exploring")]
mod status_word;

mod atomic;
mod error;
mod explore;
mod model;

mod awaiting;
mod cells;
mod deadlines;
mod operations;
mod parking;
mod port;

use loom::thread::yield_now;
