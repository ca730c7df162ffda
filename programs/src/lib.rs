//! What several of the programs need: a listener that keeps accepting, and the end of a
//! program by Ctrl-C.
#![cfg(windows)]
#![forbid(unsafe_code)]

mod listener;

use std::io::{self, Write};

use anyhow::{Context, Result};
use completion_port::Iocp;

pub use listener::Listener;

/// Closes the port when Ctrl-C is pressed: whoever dequeues from it is told, and ends.
///
/// # Errors
///
/// If the system has no place for another handler.
pub fn close_on_ctrl_c<C: Send + 'static>(port: &Iocp<C>) -> Result<()> {
    let port = port.downgrade();
    let close = move || port.upgrade().map_or((), |port| port.close());
    ctrlc::set_handler(close).context("cannot wait for Ctrl-C")
}

/// Prints a line, whether or not somebody is left to read it.
pub fn say(line: impl std::fmt::Display) {
    // `println!` would panic.
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
