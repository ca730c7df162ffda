//! On completion-port: one thread, typed contexts, batches, skip-on-success,
//! breadth first.

mod echo;

use std::fs::OpenOptions;
use std::os::windows::fs::OpenOptionsExt;

use completion_port::{Batch, Iocp};
use peers::{BATCH, BLOCK, FileReads, MESSAGE, Peer, PingPong, Read, Result, pipe_pair};
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OVERLAPPED;

fn main() -> Result {
    Peer { echo: echo::serve, file: Some(file), pipe: Some(pipe) }.main()
}

fn file(job: FileReads) -> Result {
    let port: Iocp<Read> = Iocp::builder().concurrency(1).build()?;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(FILE_FLAG_OVERLAPPED).open(job.path())?;
    let file = port.add_handle(file, 0)?.skip_on_success()?;
    let mut batch = Batch::with_capacity(BATCH);
    for slot in 0..job.depth {
        let read = job.next(slot);
        batch.push(port.initiate_read_at(&file, read, Vec::with_capacity(BLOCK), read.offset)?);
    }
    let mut left = job.depth;
    let mut free = Vec::with_capacity(job.depth);
    while left > 0 {
        port.get_completions(&mut batch, None)?;
        for completion in &mut batch {
            let mut completion = completion?;
            completion.error_status?;
            let mut buffer: Vec<u8> = completion.operation.take_buffer().ok_or("no buffer")?;
            if job.done(&completion.context, &buffer) {
                buffer.clear();
                free.push((completion.context.slot, buffer));
            } else {
                left -= 1;
            }
        }
        for (slot, buffer) in free.drain(..) {
            let read = job.next(slot);
            batch.push(port.initiate_read_at(&file, read, buffer, read.offset)?);
        }
    }
    job.report();
    Ok(())
}

/// What an operation on the pipe was.
enum Step {
    ServerReads,
    ServerWrites,
    ClientReads,
    ClientWrites,
}

fn pipe(mut job: PingPong) -> Result {
    let port: Iocp<Step> = Iocp::builder().concurrency(1).build()?;
    let (server, client) = pipe_pair(&job.name())?;
    let server = port.add_handle(server, 0)?.skip_on_success()?;
    let client = port.add_handle(client, 0)?.skip_on_success()?;
    let read = || Vec::with_capacity(MESSAGE);
    let mut message = [0; MESSAGE];

    let mut batch = Batch::with_capacity(BATCH);
    batch.push(port.initiate_read(&server, Step::ServerReads, read())?);
    batch.push(port.initiate_read(&client, Step::ClientReads, read())?);
    job.next(&mut message);
    batch.push(port.initiate_write(&client, Step::ClientWrites, message)?);
    loop {
        port.get_completions(&mut batch, None)?;
        while let Some(completion) = batch.next() {
            let mut completion = completion?;
            completion.error_status?;
            match completion.context {
                Step::ServerReads => {
                    let buffer: Vec<u8> = completion.operation.take_buffer().ok_or("no buffer")?;
                    batch.push(port.initiate_write(&server, Step::ServerWrites, buffer)?);
                }
                Step::ServerWrites => {
                    let mut buffer: Vec<u8> =
                        completion.operation.take_buffer().ok_or("no buffer")?;
                    buffer.clear();
                    batch.push(port.initiate_read(&server, Step::ServerReads, buffer)?);
                }
                Step::ClientReads => {
                    let mut buffer: Vec<u8> =
                        completion.operation.take_buffer().ok_or("no buffer")?;
                    if !job.done(&buffer) {
                        return Ok(());
                    }
                    buffer.clear();
                    batch.push(port.initiate_read(&client, Step::ClientReads, buffer)?);
                    job.next(&mut message);
                    batch.push(port.initiate_write(&client, Step::ClientWrites, message)?);
                }
                Step::ClientWrites => {}
            }
        }
    }
}
