//! Reads a file by overlapped reads, from 64 tasks of tokio: `file_tasks FILE`.
//!
//! The tasks belong to tokio, and the reads to a port, from which a thread beside tokio's
//! dequeues. Nothing blocks a thread of tokio, and no pool of threads reads.

use std::fs::{File, OpenOptions};
use std::io;
use std::sync::Arc;

use completion_port::fs::OpenOverlapped;
use completion_port::{Associated, Driver, Iocp};

const TASKS: u64 = 64;
const BLOCK: usize = 64 * 1024;

#[tokio::main]
async fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("which file?"))?;
    let port = Iocp::typed()?;
    let _driver = Driver::spawn(&port)?;
    let file = OpenOptions::new().read(true).open_overlapped(path)?;
    let file = Arc::new(port.add_handle(file, 0)?);
    let tasks: Vec<_> = (0..TASKS)
        .map(|first| tokio::spawn(read(port.clone(), Arc::clone(&file), first)))
        .collect();
    let (mut bytes, mut sum) = (0, 0);
    for task in tasks {
        let (more, part) = task.await??;
        bytes += more;
        sum += part;
    }
    println!("{bytes} bytes, whose sum is {sum}");
    Ok(())
}

/// Reads each 64th block, from the `first` on; how many bytes that was, and their sum.
async fn read(port: Iocp<()>, file: Arc<Associated<File>>, first: u64) -> io::Result<(u64, u64)> {
    let (mut bytes, mut sum) = (0, 0);
    let mut buffer = Vec::with_capacity(BLOCK);
    for block in (first..).step_by(TASKS as usize) {
        let offset = block * BLOCK as u64;
        let (read, filled) = port.initiate_read_at(&file, (), buffer, offset)?.await?;
        if read == 0 {
            break;
        }
        bytes += u64::from(read);
        sum += filled.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        buffer = filled;
        buffer.clear();
    }
    Ok((bytes, sum))
}
