//! The echo server.

use std::net::{TcpListener, TcpStream};

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
    listener: Associated<TcpListener>,
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
    let mut server = Server { port, listener, connections: Slab::new() };
    for _ in 0..BATCH {
        server.accept()?;
    }

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
    fn accept(&self) -> Result {
        self.port.initiate_accept(&self.listener, Step::Accept)?;
        Ok(())
    }

    /// Takes a connection one step further, if it is still there.
    fn complete(&mut self, mut completion: CompletionStatus<Step>) -> Result<Option<Served>> {
        let connection = completion.handle_context;
        Ok(match completion.context {
            Step::Accept => {
                self.accept()?;
                match completion.operation.take_accepted() {
                    Some(stream) if completion.error_status.is_ok() => Some(self.adopt(stream)?),
                    // One client has gone away.
                    _ => None,
                }
            }
            Step::Receive | Step::Send
                if completion.error_status.is_err() || completion.bytes_transferred == 0 =>
            {
                self.connections.remove(connection);
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

    fn adopt(&mut self, stream: TcpStream) -> Result<Served> {
        stream.set_nodelay(true)?;
        let place = self.connections.vacant_entry();
        let connection = place.key();
        place.insert(self.port.add_handle(stream, connection)?.skip_on_success()?);
        Ok((connection, Vec::with_capacity(BUFFER)))
    }

    fn send(&mut self, connection: usize, buffer: Vec<u8>) -> Result<Option<Served>> {
        let handle = &self.connections[connection];
        match self.port.initiate_write(handle, Step::Send, buffer) {
            // It is over already: no need to wait for the next round.
            Ok(Started::Completed(completion)) => self.complete(completion),
            Ok(Started::Pending(_)) => Ok(None),
            Err(_) => {
                self.connections.remove(connection);
                Ok(None)
            }
        }
    }

    fn receive(&mut self, connection: usize, buffer: Vec<u8>, batch: &mut Batch<Step>) {
        let handle = &self.connections[connection];
        match self.port.initiate_read(handle, Step::Receive, buffer) {
            Ok(started) => batch.push(started),
            Err(_) => drop(self.connections.remove(connection)),
        }
    }
}
