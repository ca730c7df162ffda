//! Time-outs and cancelling, without losing data: a short tour.

use std::future::IntoFuture;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use completion_port::{ErrorKind, Iocp};

const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut peer = TcpStream::connect(listener.local_addr()?)?;
    let port = Iocp::typed()?;
    let stream = port.add_handle(listener.accept()?.0, 0)?;
    port.block_on(async {
        // A timer is an operation, and can be awaited.
        port.after(MOMENT, ())?.await?;
        println!("a moment has passed");

        // A time-out cancels the read and waits for what the system says of it. Its buffer
        // comes back.
        let read = port.initiate_read(&stream, (), Vec::with_capacity(64))?;
        let failed = read.timeout(MOMENT).await.unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::TimedOut);
        let buffer: Vec<u8> = failed.returned.unwrap_or_default();
        println!("nothing came, and the buffer of {} bytes is back", buffer.capacity());

        // A read that was faster than its time-out is a success.
        let read = port.initiate_read(&stream, (), buffer)?;
        peer.write_all(b"in time")?;
        let (_, mut buffer) = read.timeout(LONG).await?;
        println!("read {:?}", String::from_utf8_lossy(&buffer));

        // What races is awaited by reference: the one that loses goes on.
        buffer.clear();
        let mut read = port.initiate_read(&stream, (), buffer)?;
        let mut timer = port.after(MOMENT, ())?;
        tokio::select! {
            _ = &mut read => unreachable!("nothing was sent"),
            _ = &mut timer => println!("still nothing, but the read goes on"),
        }
        peer.write_all(b"late")?;
        let (_, mut buffer) = read.await?;
        println!("read {:?}", String::from_utf8_lossy(&buffer));

        // A cancel is a request: the truth is what is awaited afterwards.
        buffer.clear();
        let read = port.initiate_read(&stream, (), buffer)?;
        peer.write_all(b"at once")?;
        read.cancel()?;
        let buffer = match read.await {
            Ok((_, buffer)) => buffer, // it was faster
            Err(failed) => {
                assert!(failed.error.is_cancelled());
                let buffer = failed.returned.unwrap_or_default();
                port.initiate_read(&stream, (), buffer)?.await?.1 // and nothing was lost
            }
        };
        println!("read {:?}", String::from_utf8_lossy(&buffer));

        // A future that owns its operation cancels it when it is dropped.
        let timer = port.after(LONG, ())?;
        drop(timer.into_future());
        println!("nobody waits for the last timer");
        Ok(())
    })?
}
