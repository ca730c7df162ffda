//! On smol: a local executor, a task for each connection. It has no pipes.

use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::windows::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

use peers::{BLOCK, BUFFER, FileReads, Peer, Result};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, unblock};

fn main() -> Result {
    Peer { echo, file: Some(file), pipe: None, posts: None }.main()
}

fn echo(listener: TcpListener) -> Result {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = Async::new(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            executor.spawn(serve(stream)).detach();
        }
    }))
}

async fn serve(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

/// Smol has no overlapped files: blocking reads go to its thread pool.
fn file(job: FileReads) -> Result {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let file = Arc::new(File::open(job.path())?);
        let job = Rc::new(job);
        let slots: Vec<_> = (0..job.depth)
            .map(|slot| executor.spawn(read(Arc::clone(&file), Rc::clone(&job), slot)))
            .collect();
        for slot in slots {
            slot.await?;
        }
        job.report();
        Ok(())
    }))
}

async fn read(file: Arc<File>, job: Rc<FileReads>, slot: usize) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    loop {
        let read = job.next(slot);
        let file = Arc::clone(&file);
        let count;
        (count, buffer) = unblock(move || (file.seek_read(&mut buffer, read.offset), buffer)).await;
        if !job.done(&read, &buffer[..count?]) {
            return Ok(());
        }
    }
}
