//! A completed read: context 456, a buffer, and what the completion says of
//! it. Once with a buffer that moves in and out, once with a borrowed one in a
//! scope.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use completion_port::{Associated, CompletionStatus, Iocp};

const READ: usize = 456;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let port = Iocp::new()?;
    let server = port.add_handle(listener.accept()?.0, 123)?;

    client.write_all(b"an owned buffer")?;
    owned(&port, &server)?;
    client.write_all(b"a borrowed one")?;
    borrowed(&port, &server)
}

/// The buffer moves into the operation, and out of its completion.
fn owned(port: &Iocp, server: &Associated<TcpStream>) -> std::io::Result<()> {
    port.initiate_read(server, READ, Vec::with_capacity(1024))?;

    let mut completion = port.get_completion()?;
    if succeeded(&completion) {
        let buffer: Vec<u8> = completion.operation.take_buffer().expect("our buffer");
        process(&buffer);
    }
    Ok(())
}

/// The buffer stays where it is; the operation is over when the scope is.
fn borrowed(port: &Iocp, server: &Associated<TcpStream>) -> std::io::Result<()> {
    let mut buffer = vec![0; 1024];
    let length = port.scope(|scope| -> std::io::Result<_> {
        scope.initiate_read(server, READ, &mut buffer)?;

        let completion = port.get_completion()?;
        Ok(succeeded(&completion).then_some(completion.bytes_transferred as usize))
    })?;
    if let Some(length) = length {
        process(&buffer[..length]);
    }
    Ok(())
}

fn succeeded(completion: &CompletionStatus) -> bool {
    println!("context {}: {} bytes", completion.context, completion.bytes_transferred);
    completion.context == READ && completion.error_status.is_ok()
}

fn process(data: &[u8]) {
    println!("read: {}", String::from_utf8_lossy(data));
}
