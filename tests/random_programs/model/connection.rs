//! Whom accepts may let in: those who connect, each of them once.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::log::Log;
use crate::operation::{Operation, What};

/// Complains about what the accepts at a listener have got.
pub fn judge(log: &Log, end: usize, address: SocketAddr) {
    let operations = log.operations();
    // The system uses ports again.
    let count = |what: What, client: u16| {
        let is_one = |operation: &&Arc<Operation>| {
            operation.what == what && operation.facts().client == Some(client)
        };
        operations.iter().filter(is_one).count()
    };
    for accept in operations.iter().filter(|accept| accept.what == What::Accept { end }) {
        let facts = accept.facts();
        let Some(stream) = &facts.accepted else { continue };
        let client = facts.client;
        if facts.completed.is_some_and(|completed| completed.outcome.error.is_some()) {
            log.wrong(format!("{accept:?} has failed, with a connection"));
        }
        if stream.local_addr().is_ok_and(|local| local != address) {
            log.wrong(format!("{accept:?} has a connection to somebody else"));
        }
        drop(facts);
        let Some(client) = client else { continue };
        let accepted = count(What::Accept { end }, client);
        let connected = count(What::Connect { end }, client);
        if accepted > connected {
            log.wrong(format!("{accept:?} is one of {accepted} with port {client}'s connection"));
        }
    }
}
