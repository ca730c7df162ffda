//! A listener that keeps accepts in flight.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use completion_port::{Associated, CompletionStatus, Error, ErrorKind, Iocp};

use crate::say;

/// How many clients can connect at the same time without waiting for the program.
const ACCEPTS: usize = 32;
/// How long to wait when memory or sockets are short: to try at once would be in vain.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket, and how many accepts are in flight on it.
pub struct Listener {
    socket: Associated<TcpListener>,
    accepts: usize,
    /// No accept is started before.
    pause: Option<Instant>,
}

impl Listener {
    /// Listens on an address such as `127.0.0.1:8080` or `localhost:0`, and says so.
    ///
    /// # Errors
    ///
    /// If the address cannot be had.
    pub fn bind<C: Send>(port: &Iocp<C>, address: &str) -> Result<Self> {
        let socket =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        say(format_args!("listening on {}", socket.local_addr()?));
        Ok(Self { socket: port.add_handle(socket, 0)?, accepts: 0, pause: None })
    }

    /// Starts accepts until there are enough of them, or as many as there may be
    /// connections more. To be called in each round of the program's loop.
    pub fn keep_accepting<C: Send>(
        &mut self,
        port: &Iocp<C>,
        connections_left: usize,
        context: impl Fn() -> C,
    ) {
        if self.pause.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.pause = None;
        while self.accepts < ACCEPTS.min(connections_left) {
            match port.initiate_accept(&self.socket, context()) {
                Ok(_) => self.accepts += 1,
                Err(rejected) if client_has_gone(&rejected.error) => {}
                Err(rejected) => return self.failed(&rejected.error),
            }
        }
    }

    /// The connection that an accept has brought, with the client's address.
    pub fn accepted<C>(
        &mut self,
        completion: &mut CompletionStatus<C>,
    ) -> Option<(TcpStream, SocketAddr)> {
        self.accepts -= 1;
        if let Err(error) = &completion.error_status {
            if !client_has_gone(error) {
                self.failed(error);
            }
            return None;
        }
        let stream = completion.operation.take_accepted()?;
        // A client that has gone meanwhile has no address any more.
        let peer = stream.peer_addr().ok()?;
        Some((stream, peer))
    }

    fn failed(&mut self, error: &Error) {
        self.pause = Some(Instant::now() + PAUSE);
        if !error.is_closed() && !error.is_cancelled() {
            say(format_args!("cannot accept: {error}"));
        }
    }
}

/// Whether an accept failed because its client has given up. The next may be there.
fn client_has_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}
