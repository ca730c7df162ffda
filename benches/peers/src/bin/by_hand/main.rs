//! By hand on windows-sys: one thread, batches, skip-on-success, nothing
//! allocated for an operation, breadth first.

mod echo;
mod port;

use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;

use peers::{BLOCK, FileReads, MESSAGE, Peer, PingPong, Posts, Read, Result, pipe_pair};
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError, HANDLE};
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, ReadFile, WriteFile};
use windows_sys::Win32::System::IO::OVERLAPPED;

use port::Port;

fn main() -> Result {
    Peer { echo: echo::serve, file: Some(file), pipe: Some(pipe), posts: Some(posts) }.main()
}

/// An operation and its buffer, at a place that does not change.
#[repr(C)]
struct Operation<const SIZE: usize, T> {
    overlapped: OVERLAPPED,
    context: T,
    length: u32,
    buffer: [u8; SIZE],
}

impl<const SIZE: usize, T> Operation<SIZE, T> {
    fn new(context: T) -> *mut Self {
        let (overlapped, buffer) = (OVERLAPPED::default(), [0; SIZE]);
        Box::into_raw(Box::new(Self { overlapped, context, length: 0, buffer }))
    }

    /// Whether it is over already: then no packet comes.
    ///
    /// # Safety
    ///
    /// The operation is not in flight, and stays until it has completed.
    unsafe fn read(operation: *mut Self, handle: HANDLE, offset: u64) -> io::Result<bool> {
        // SAFETY: By the caller's promise.
        unsafe {
            (*operation).overlapped = OVERLAPPED::default();
            (*operation).overlapped.Anonymous.Anonymous.Offset = offset as u32;
            (*operation).overlapped.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
            let buffer = (&raw mut (*operation).buffer).cast();
            let length = &raw mut (*operation).length;
            started(ReadFile(handle, buffer, SIZE as u32, length, operation.cast()))
        }
    }

    /// As [`read`](Self::read), of the first `length` bytes.
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn write(operation: *mut Self, handle: HANDLE, length: u32) -> io::Result<bool> {
        // SAFETY: By the caller's promise.
        unsafe {
            (*operation).overlapped = OVERLAPPED::default();
            let buffer = (&raw const (*operation).buffer).cast();
            let written = &raw mut (*operation).length;
            started(WriteFile(handle, buffer, length, written, operation.cast()))
        }
    }
}

fn started(result: i32) -> io::Result<bool> {
    if result != 0 {
        return Ok(true);
    }
    // SAFETY: Has no preconditions.
    if unsafe { GetLastError() } == ERROR_IO_PENDING {
        Ok(false)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn file(job: FileReads) -> Result {
    type Slot = Operation<BLOCK, Read>;
    let port = Port::new()?;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(FILE_FLAG_OVERLAPPED).open(job.path())?;
    let handle = file.as_raw_handle();
    port.associate(handle)?;

    let mut free: Vec<*mut Slot> = (0..job.depth).map(|slot| Slot::new(job.next(slot))).collect();
    let mut ready: Vec<*mut Slot> = Vec::with_capacity(job.depth);
    let mut entries = port::entries();
    let mut left = job.depth;
    while left > 0 {
        for slot in free.drain(..) {
            // SAFETY: Free slots are not in flight, and are never freed.
            unsafe {
                if Slot::read(slot, handle, (*slot).context.offset)? {
                    ready.push(slot);
                }
            }
        }
        for entry in port.dequeue(&mut entries, ready.is_empty())? {
            let slot: *mut Slot = entry.lpOverlapped.cast();
            // SAFETY: Its packet has come.
            unsafe {
                assert_eq!((*slot).overlapped.Internal, 0);
                (*slot).length = entry.dwNumberOfBytesTransferred;
            }
            ready.push(slot);
        }
        for slot in ready.drain(..) {
            // SAFETY: The operation is over.
            let operation = unsafe { &mut *slot };
            if job.done(&operation.context, &operation.buffer[..operation.length as usize]) {
                operation.context = job.next(operation.context.slot);
                free.push(slot);
            } else {
                left -= 1;
            }
        }
    }
    job.report();
    Ok(())
}

/// What an operation on the pipe is.
#[derive(Clone, Copy)]
enum Step {
    ServerReads,
    ServerWrites,
    ClientReads,
    ClientWrites,
}

fn pipe(mut job: PingPong) -> Result {
    type Transfer = Operation<MESSAGE, Step>;
    let port = Port::new()?;
    let (server_end, client_end) = pipe_pair(&job.name())?;
    let (server, client) = (server_end.as_raw_handle(), client_end.as_raw_handle());
    port.associate(server)?;
    port.associate(client)?;

    let server_transfer = Transfer::new(Step::ServerReads);
    let client_reads = Transfer::new(Step::ClientReads);
    let client_writes = Transfer::new(Step::ClientWrites);
    let mut ready: Vec<*mut Transfer> = Vec::with_capacity(4);
    let mut entries = port::entries();
    // SAFETY: An operation is started anew only when it is over, and never freed.
    unsafe {
        let read = |operation, end, ready: &mut Vec<_>| -> io::Result<()> {
            if Transfer::read(operation, end, 0)? {
                ready.push(operation);
            }
            Ok(())
        };
        let write = |operation, end, ready: &mut Vec<_>| -> io::Result<()> {
            if Transfer::write(operation, end, MESSAGE as u32)? {
                ready.push(operation);
            }
            Ok(())
        };
        read(server_transfer, server, &mut ready)?;
        read(client_reads, client, &mut ready)?;
        job.next(&mut (*client_writes).buffer);
        write(client_writes, client, &mut ready)?;
        loop {
            if ready.is_empty() {
                for entry in port.dequeue(&mut entries, true)? {
                    let operation: *mut Transfer = entry.lpOverlapped.cast();
                    assert_eq!((*operation).overlapped.Internal, 0);
                    (*operation).length = entry.dwNumberOfBytesTransferred;
                    ready.push(operation);
                }
            }
            let Some(operation) = ready.pop() else { continue };
            assert_eq!((*operation).length as usize, MESSAGE);
            match (*operation).context {
                Step::ServerReads => {
                    (*operation).context = Step::ServerWrites;
                    write(operation, server, &mut ready)?;
                }
                Step::ServerWrites => {
                    (*operation).context = Step::ServerReads;
                    read(operation, server, &mut ready)?;
                }
                Step::ClientReads => {
                    if !job.done(&*(&raw const (*operation).buffer)) {
                        return Ok(());
                    }
                    read(client_reads, client, &mut ready)?;
                    job.next(&mut (*client_writes).buffer);
                    write(client_writes, client, &mut ready)?;
                }
                Step::ClientWrites => {}
            }
        }
    }
}

fn posts(job: Posts) -> Result {
    let port = Port::with_concurrency(0)?;
    job.run(|| {
        port.post().expect("there is room");
        port.dequeue_one().expect("the port is open");
    });
    Ok(())
}
