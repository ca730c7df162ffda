//! What several of the programs need: listening, and the end of a program by Ctrl-C.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{self, Write};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use completion_port::Iocp;
use completion_port::listener::{Listener, Options};

/// Does something with the port when Ctrl-C is pressed.
///
/// # Errors
///
/// If the system has no place for another handler.
pub fn on_ctrl_c<C: Send + 'static>(
    port: &Iocp<C>,
    act: impl Fn(&Iocp<C>) + Send + 'static,
) -> Result<()> {
    let port = port.downgrade();
    let act = move || port.upgrade().iter().for_each(&act);
    ctrlc::set_handler(act).context("cannot wait for Ctrl-C")
}

/// Listens on an address such as `127.0.0.1:8080` or `localhost:0`, and says so.
///
/// # Errors
///
/// If the address cannot be had.
pub fn listen<C: Send + 'static>(
    port: &Iocp<C>,
    address: &str,
    connections: u32,
    context: impl Fn() -> C + Send + Sync + 'static,
) -> Result<Listener<C>> {
    let socket =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let options = Options::new().accepts(32).max_connections(connections as usize);
    let listener = options.listen(port, port.add_handle(socket, 0)?, context)?;
    say(format_args!("listening on {}", listener.local_addr()));
    Ok(listener)
}

/// Starts the accepts that are missing since sockets or memory were short, and a timer whose
/// completion calls this again.
pub fn refill<C: Send + 'static>(port: &Iocp<C>, listener: &Listener<C>, again: C) {
    match listener.refill() {
        Err(error) if !error.is_closed() => say(format_args!("cannot accept: {error}")),
        _ => {}
    }
    // A port that is closed needs no accepts any more.
    let _ = port.after(Duration::from_secs(1), again);
}

/// Prints a line, whether or not somebody is left to read it.
pub fn say(line: impl Display) {
    // `println!` would panic.
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
