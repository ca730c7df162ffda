//! Basic setup and completion: create a port, associate a socket with the
//! context 123, loop on `get_completion`, and match on the context.
//!
//! The socket is added twice, in the two ways there are: as one of the
//! standard library's, and as the bare `SOCKET` of the `winapi` crate.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::IntoRawSocket;

use completion_port::{Associated, Iocp};
use winapi::um::winsock2::{SOCKET, closesocket};

const SOCKET_CONTEXT: usize = 123;

fn main() -> std::io::Result<()> {
    let (server, client) = connection()?;
    let port = Iocp::new()?;
    let server = port.add_handle(server, SOCKET_CONTEXT)?;
    say_hello(&port, &server, client)?;

    let (server, client) = connection()?;
    let raw: SOCKET = server.into_raw_socket() as SOCKET;
    // SAFETY: The socket is closed below, after the association has ended.
    let server = unsafe { port.add_raw_handle(raw, SOCKET_CONTEXT) }?;
    say_hello(&port, &server, client)?;
    drop(server);
    // SAFETY: It is ours, and nobody uses it any more.
    unsafe { closesocket(raw) };
    Ok(())
}

fn say_hello<H>(port: &Iocp, server: &Associated<H>, mut client: TcpStream) -> std::io::Result<()> {
    port.initiate_read(server, 1, Vec::with_capacity(64))?;
    client.write_all(b"hello")?;
    drop(client);

    loop {
        let mut completion = port.get_completion()?;
        match completion.handle_context {
            SOCKET_CONTEXT => {
                completion.error_status?;
                println!("socket: {} bytes", completion.bytes_transferred);
                if completion.bytes_transferred == 0 {
                    return Ok(());
                }
                let mut buffer: Vec<u8> = completion.operation.take_buffer().expect("our buffer");
                println!("socket: {}", String::from_utf8_lossy(&buffer));
                buffer.clear();
                port.initiate_read(server, 1, buffer)?;
            }
            other => println!("unknown context {other}"),
        }
    }
}

fn connection() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((listener.accept()?.0, client))
}
