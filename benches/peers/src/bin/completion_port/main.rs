//! On completion-port: one thread, typed contexts, batches, skip-on-success,
//! breadth first.

mod echo;

use std::fs::OpenOptions;
use std::os::windows::fs::OpenOptionsExt;

use completion_port::{Batch, Iocp};
use peers::{BATCH, BLOCK, FileReads, MESSAGE, Peer, PingPong, Posts, Read, Result, pipe_pair};
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OVERLAPPED;

fn main() -> Result {
    Peer { echo: echo::serve, file: Some(file), pipe: Some(pipe), posts: Some(posts) }.main()
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
    // What has completed at once comes first: nobody else is waiting.
    let mut ready = Vec::with_capacity(4);
    ready.extend(port.initiate_read(&server, Step::ServerReads, read())?.completed());
    ready.extend(port.initiate_read(&client, Step::ClientReads, read())?.completed());
    job.next(&mut message);
    ready.extend(port.initiate_write(&client, Step::ClientWrites, message)?.completed());
    loop {
        let mut completion = match ready.pop().map(Ok).or_else(|| batch.next()) {
            Some(completion) => completion?,
            None => {
                port.get_completions(&mut batch, None)?;
                continue;
            }
        };
        completion.error_status?;
        let mut buffer = || completion.operation.take_buffer::<Vec<u8>>().ok_or("no buffer");
        let completed = match completion.context {
            Step::ServerReads => {
                port.initiate_write(&server, Step::ServerWrites, buffer()?)?.completed()
            }
            Step::ServerWrites => {
                let mut buffer = buffer()?;
                buffer.clear();
                port.initiate_read(&server, Step::ServerReads, buffer)?.completed()
            }
            Step::ClientReads => {
                let mut buffer = buffer()?;
                if !job.done(&buffer) {
                    return Ok(());
                }
                buffer.clear();
                ready.extend(port.initiate_read(&client, Step::ClientReads, buffer)?.completed());
                job.next(&mut message);
                port.initiate_write(&client, Step::ClientWrites, message)?.completed()
            }
            Step::ClientWrites => None,
        };
        ready.extend(completed);
    }
}

fn posts(job: Posts) -> Result {
    let port = Iocp::new()?;
    job.run(|| {
        port.post(0, 0, 0).expect("there is room");
        let completion = port.get_completion().expect("the port is open");
        assert!(completion.error_status.is_ok());
    });
    Ok(())
}
