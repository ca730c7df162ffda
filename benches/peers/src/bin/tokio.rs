//! On tokio: the current-thread runtime, a task for each connection.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::sync::Arc;

use peers::{BLOCK, BUFFER, FileReads, MESSAGE, Peer, PingPong, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

fn main() -> Result {
    Peer { echo, file: Some(file), pipe: Some(pipe), posts: None }.main()
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

fn echo(listener: std::net::TcpListener) -> Result {
    runtime()?.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

/// Tokio has no overlapped files: blocking reads go to its thread pool.
fn file(job: FileReads) -> Result {
    runtime()?.block_on(async {
        let file = Arc::new(File::open(job.path())?);
        let job = Arc::new(job);
        let slots: Vec<_> = (0..job.depth)
            .map(|slot| tokio::spawn(read(Arc::clone(&file), Arc::clone(&job), slot)))
            .collect();
        for slot in slots {
            slot.await??;
        }
        job.report();
        Ok(())
    })
}

async fn read(file: Arc<File>, job: Arc<FileReads>, slot: usize) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    loop {
        let read = job.next(slot);
        let file = Arc::clone(&file);
        let count;
        (count, buffer) =
            spawn_blocking(move || (file.seek_read(&mut buffer, read.offset), buffer)).await?;
        if !job.done(&read, &buffer[..count?]) {
            return Ok(());
        }
    }
}

fn pipe(mut job: PingPong) -> Result {
    runtime()?.block_on(async {
        let server = ServerOptions::new().create(job.name())?;
        let mut client = ClientOptions::new().open(job.name())?;
        tokio::spawn(send_back(server));
        let mut message = [0; MESSAGE];
        loop {
            job.next(&mut message);
            client.write_all(&message).await?;
            client.read_exact(&mut message).await?;
            if !job.done(&message) {
                return Ok(());
            }
        }
    })
}

async fn send_back(mut server: NamedPipeServer) -> io::Result<()> {
    server.connect().await?;
    let mut message = [0; MESSAGE];
    loop {
        server.read_exact(&mut message).await?;
        server.write_all(&message).await?;
    }
}
