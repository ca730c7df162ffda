//! What the measured programs share.
#![cfg(windows)]

#[cfg(target_arch = "x86_64")]
pub mod marks;
pub mod objects;
