//! The echo server.

use std::net::{TcpListener, TcpStream};

use completion_port::listener::{Accepted, Listener, Options};
use completion_port::{Associated, Batch, CompletionStatus, Inline, Iocp, Started};
use peers::{BATCH, BUFFER, Result};
use slab::Slab;

/// What an operation was. Whose, is the handle's context.
enum Step {
    Accept,
    Receive,
    Send,
}

struct Server {
    port: Iocp<Step>,
    listener: Listener<Step>,
    connections: Slab<Associated<TcpStream, Inline>>,
}

/// A connection that has been served, and its buffer.
type Served = (usize, Vec<u8>);

/// Serves all that is ready, and only then asks for more: so nobody is served
/// twice before all the others have been served once, and most of what is
/// asked for is there already.
pub fn serve(listener: TcpListener) -> Result {
    let port: Iocp<Step> = Iocp::builder().concurrency(1).build()?;
    let listener = port.add_handle(listener, 0)?;
    let listener = Options::new().accepts(BATCH).listen(&port, listener, || Step::Accept)?;
    let mut server = Server { port, listener, connections: Slab::new() };

    let mut batch = Batch::with_capacity(BATCH);
    let mut served = Vec::new();
    loop {
        server.port.get_completions(&mut batch, None)?;
        for completion in &mut batch {
            served.extend(server.complete(completion?)?);
        }
        for (connection, buffer) in served.drain(..) {
            server.receive(connection, buffer, &mut batch);
        }
    }
}

impl Server {
    /// Takes a connection one step further, if it is still there.
    fn complete(&mut self, mut completion: CompletionStatus<Step>) -> Result<Option<Served>> {
        let connection = completion.handle_context;
        Ok(match completion.context {
            Step::Accept => match self.listener.accepted(&mut completion) {
                Ok(accepted) => Some(self.adopt(accepted)?),
                // One client has gone away.
                Err(_) => None,
            },
            Step::Receive | Step::Send
                if completion.error_status.is_err() || completion.bytes_transferred == 0 =>
            {
                self.close(connection);
                None
            }
            Step::Receive => match completion.operation.take_buffer() {
                Some(buffer) => self.send(connection, buffer)?,
                None => None,
            },
            Step::Send => completion.operation.take_buffer().map(|mut buffer: Vec<u8>| {
                buffer.clear();
                (connection, buffer)
            }),
        })
    }

    fn adopt(&mut self, accepted: Accepted) -> Result<Served> {
        accepted.get_ref().set_nodelay(true)?;
        let place = self.connections.vacant_entry();
        let connection = place.key();
        let stream = accepted.associate(&self.port, connection)?.stream;
        place.insert(stream.skip_on_success()?);
        Ok((connection, Vec::with_capacity(BUFFER)))
    }

    /// Closes a connection, on which nothing is in flight that would have to be cancelled.
    fn close(&mut self, connection: usize) {
        drop(self.connections.remove(connection).into_inner());
    }

    fn send(&mut self, connection: usize, buffer: Vec<u8>) -> Result<Option<Served>> {
        let handle = &self.connections[connection];
        match self.port.initiate_write(handle, Step::Send, buffer) {
            // It is over already: no need to wait for the next round.
            Ok(Started::Completed(completion)) => self.complete(completion),
            Ok(Started::Pending(_)) => Ok(None),
            Err(_) => {
                self.close(connection);
                Ok(None)
            }
        }
    }

    fn receive(&mut self, connection: usize, buffer: Vec<u8>, batch: &mut Batch<Step>) {
        let handle = &self.connections[connection];
        match self.port.initiate_read(handle, Step::Receive, buffer) {
            Ok(started) => batch.push(started),
            Err(_) => self.close(connection),
        }
    }
}
