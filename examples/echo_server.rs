//! A server that echoes: one thread, any number of connections. It lives through clients
//! that reset their connections, accepts that fail for a while, and packets of other code.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use completion_port::{Associated, CompletionStatus, Iocp, Result};

/// What an operation was for. A connection lives in the contexts of its operations, and is
/// closed when the last of them is dropped.
enum Event {
    Accepted,
    Received(Arc<Associated<TcpStream>>),
    Sent(Arc<Associated<TcpStream>>),
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:9000".into());
    let port = Iocp::<Event>::typed()?;
    let listener = port.add_handle(TcpListener::bind(address)?, 0)?;
    println!("listening on {}", listener.get_ref().local_addr()?);
    let mut accepts = 0;
    loop {
        // One that cannot be started is tried again, a second later at most.
        while accepts < 16 && port.initiate_accept(&listener, Event::Accepted).is_ok() {
            accepts += 1;
        }
        match port.get_completion_timeout(Duration::from_secs(1)) {
            Ok(Some(completion)) => {
                accepts -= usize::from(matches!(completion.context, Event::Accepted));
                if let Err(error) = serve(&port, completion) {
                    eprintln!("a connection has failed: {error}");
                }
            }
            Ok(None) => {}
            Err(error) if error.is_closed() => return Ok(()),
            Err(error) => eprintln!("{error}"), // a packet of other code
        }
    }
}

/// Starts what comes next on a connection. After an error it is dropped.
fn serve(port: &Iocp<Event>, mut completion: CompletionStatus<Event>) -> Result<()> {
    completion.error_status?;
    match completion.context {
        Event::Accepted => {
            let stream: TcpStream = completion.operation.output()?;
            let stream = Arc::new(port.add_handle(stream, 0)?);
            let buffer = Vec::with_capacity(4096);
            port.initiate_read(&stream, Event::Received(Arc::clone(&stream)), buffer)?;
        }
        Event::Received(_) if completion.bytes_transferred == 0 => {} // the client is done
        Event::Received(stream) => {
            let buffer: Vec<u8> = completion.operation.output()?;
            port.initiate_write(&stream, Event::Sent(Arc::clone(&stream)), buffer)?;
        }
        Event::Sent(stream) => {
            let mut buffer: Vec<u8> = completion.operation.output()?;
            buffer.clear();
            port.initiate_read(&stream, Event::Received(Arc::clone(&stream)), buffer)?;
        }
    }
    Ok(())
}
