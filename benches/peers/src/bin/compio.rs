//! On compio: its runtime, a task for each connection.

use std::io;
use std::rc::Rc;

use compio::BufResult;
use compio::fs::File;
use compio::fs::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};
use compio::io::{AsyncRead, AsyncReadAt, AsyncReadExt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, spawn};
use peers::{BLOCK, BUFFER, FileReads, MESSAGE, Peer, PingPong, Result};

fn main() -> Result {
    Peer { echo, file: Some(file), pipe: Some(pipe), posts: None }.main()
}

fn echo(listener: std::net::TcpListener) -> Result {
    Runtime::new()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn(serve(stream)).detach();
        }
    })
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let (count, received) = stream.read(buffer).await.into();
        if count? == 0 {
            return Ok(());
        }
        let BufResult(sent, mut returned) = stream.write_all(received).await;
        sent?;
        returned.clear();
        buffer = returned;
    }
}

fn file(job: FileReads) -> Result {
    Runtime::new()?.block_on(async {
        let file = Rc::new(File::open(job.path()).await?);
        let job = Rc::new(job);
        let slots: Vec<_> = (0..job.depth)
            .map(|slot| spawn(read(Rc::clone(&file), Rc::clone(&job), slot)))
            .collect();
        for slot in slots {
            slot.await.map_err(|_| "a task has panicked")??;
        }
        job.report();
        Ok(())
    })
}

async fn read(file: Rc<File>, job: Rc<FileReads>, slot: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BLOCK);
    loop {
        let read = job.next(slot);
        let BufResult(count, mut block) = file.read_at(buffer, read.offset).await;
        count?;
        if !job.done(&read, &block) {
            return Ok(());
        }
        block.clear();
        buffer = block;
    }
}

fn pipe(mut job: PingPong) -> Result {
    Runtime::new()?.block_on(async {
        let server = ServerOptions::new().create(job.name())?;
        let mut client = ClientOptions::new().open(job.name()).await?;
        spawn(send_back(server)).detach();
        let mut message = [0; MESSAGE];
        loop {
            job.next(&mut message);
            let BufResult(sent, returned) = client.write_all(message).await;
            sent?;
            let BufResult(received, returned) = client.read_exact(returned).await;
            received?;
            message = returned;
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
        let BufResult(received, returned) = server.read_exact(message).await;
        received?;
        let BufResult(sent, returned) = server.write_all(returned).await;
        sent?;
        message = returned;
    }
}
