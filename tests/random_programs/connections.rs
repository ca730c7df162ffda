//! Sockets that are connected to the listeners, and whether they really are.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use crate::ends::{End, on};
use crate::log::Log;
use crate::model;
use crate::operation::Operation;
use crate::program::Closing;
use crate::support::PATIENCE;

/// A socket that was to connect.
pub struct Connector {
    pub operation: Arc<Operation>,
    pub socket: End,
}

impl Connector {
    pub fn cancel(&self, log: &Log) {
        self.operation.facts().cancelled.get_or_insert(log.now());
        if let Err(error) = on!(&self.socket, handle => handle.cancel_all()) {
            log.wrong(format!("cancelling {:?}: {error}", self.operation));
        }
    }

    pub fn close(self, log: &Log, how: Closing) {
        let now = log.now();
        self.operation.facts().cancelled.get_or_insert(now);
        let end = &log.ends[self.operation.listener().expect("it connects")];
        end.partings.lock().expect("nobody panics with it").push(now);
        self.socket.close(how);
    }

    /// Complains if it has been connected to what an accept has got, but nothing
    /// comes through.
    pub fn expect_connection(&self, log: &Log) {
        let Some(client) = self.socket.client() else { return };
        if !model::has_succeeded(&self.operation) {
            return;
        }
        let operations = log.operations();
        let is_other = |operation: &&Arc<Operation>| {
            operation.listener() == self.operation.listener()
                && operation.facts().client == Some(client)
                && !Arc::ptr_eq(operation, &self.operation)
        };
        let others: Vec<_> = operations.iter().filter(is_other).collect();
        // Ports are used again.
        let [accept] = others[..] else { return };
        let facts = accept.facts();
        let (Some(here), Some(there)) = (self.socket.stream(), &facts.accepted) else { return };
        if let Err(error) = converse(here, there, client) {
            log.wrong(format!("{:?} is not connected to {accept:?}: {error}", self.operation));
        }
    }
}

/// Sends a number that no other connection has each way.
fn converse(one: &TcpStream, other: &TcpStream, number: u16) -> io::Result<()> {
    for (mut from, mut to, number) in [(one, other, number), (other, one, !number)] {
        let mut received = [0; 2];
        from.write_all(&number.to_ne_bytes())?;
        to.set_read_timeout(Some(PATIENCE))?;
        to.read_exact(&mut received)?;
        if received != number.to_ne_bytes() {
            return Err(io::Error::other(format!("{received:?} for {number}")));
        }
    }
    Ok(())
}
