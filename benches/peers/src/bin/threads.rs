//! The standard library: a blocking thread for each connection, read and end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::fs::FileExt;
use std::thread;

use peers::{BLOCK, BUFFER, FileReads, MESSAGE, Peer, PingPong, Result};

fn main() -> Result {
    Peer { echo, file: Some(file), pipe: Some(pipe), posts: None }.main()
}

fn echo(listener: TcpListener) -> Result {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        thread::spawn(move || serve(stream));
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

fn file(job: FileReads) -> Result {
    let file = File::open(job.path())?;
    thread::scope(|scope| {
        let slots: Vec<_> = (0..job.depth)
            .map(|slot| {
                scope.spawn({
                    let (file, job) = (&file, &job);
                    move || read(file, job, slot)
                })
            })
            .collect();
        slots.into_iter().try_for_each(|slot| slot.join().expect("a thread has panicked"))
    })?;
    job.report();
    Ok(())
}

fn read(file: &File, job: &FileReads, slot: usize) -> io::Result<()> {
    let mut buffer = [0; BLOCK];
    loop {
        let read = job.next(slot);
        let count = file.seek_read(&mut buffer, read.offset)?;
        if !job.done(&read, &buffer[..count]) {
            return Ok(());
        }
    }
}

fn pipe(mut job: PingPong) -> Result {
    let mut server = peers::blocking_pipe(&job.name())?;
    let mut client = OpenOptions::new().read(true).write(true).open(job.name())?;
    thread::spawn(move || -> io::Result<()> {
        let mut message = [0; MESSAGE];
        loop {
            server.read_exact(&mut message)?;
            server.write_all(&message)?;
        }
    });
    let mut message = [0; MESSAGE];
    loop {
        job.next(&mut message);
        client.write_all(&message)?;
        client.read_exact(&mut message)?;
        if !job.done(&message) {
            return Ok(());
        }
    }
}
