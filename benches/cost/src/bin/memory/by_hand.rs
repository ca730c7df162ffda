//! By hand: an operation has a block on the heap, which its packet leads back
//! to, and is started again in the same block.

use std::fs::File;
use std::os::windows::io::AsRawHandle;
use std::ptr;

use cost::objects::{SIZE, file};
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, GetLastError, HANDLE, INVALID_HANDLE_VALUE, STATUS_SUCCESS,
};
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatus, OVERLAPPED,
};

use crate::{heap, measure};

const INFINITE: u32 = u32::MAX;

#[repr(C)]
struct Operation {
    overlapped: OVERLAPPED,
    context: usize,
    buffer: Vec<u8>,
}

/// The bytes that so many idle handles take.
pub fn idle(count: usize) -> usize {
    let port = create();
    let mut files: Vec<_> = (0..count).map(|_| file()).collect();
    let before = heap::bytes();
    let mut handles = Vec::with_capacity(count);
    handles.extend(files.drain(..).inspect(|file| associate(port, file.as_raw_handle())));
    heap::bytes() - before
}

/// The bytes that so many operations in flight take, without their buffers.
pub fn in_flight(depth: usize, region: usize) -> usize {
    let port = create();
    let file = file();
    associate(port, file.as_raw_handle());
    let mut buffers: Vec<_> = (0..depth).map(|_| vec![7; SIZE]).collect();

    let before = heap::bytes();
    for (context, buffer) in buffers.drain(..).enumerate() {
        let operation = Operation { overlapped: OVERLAPPED::default(), context, buffer };
        start(&file, Box::new(operation));
    }
    let bytes = heap::bytes() - before;

    measure(region, || {
        let operation = dequeue(port);
        assert!(operation.overlapped.Internal as u32 == STATUS_SUCCESS as u32);
        start(&file, operation);
    });

    for _ in 0..depth {
        let operation = dequeue(port);
        assert!(operation.overlapped.Internal as u32 == STATUS_SUCCESS as u32);
        buffers.push(operation.buffer);
    }
    bytes
}

fn create() -> HANDLE {
    // SAFETY: Creates a port that is associated with nothing.
    unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 0) }
}

fn associate(port: HANDLE, handle: HANDLE) {
    // SAFETY: Writes no memory; handles are checked.
    assert!(!unsafe { CreateIoCompletionPort(handle, port, 0, 0) }.is_null());
}

#[inline]
fn start(file: &File, mut operation: Box<Operation>) {
    operation.overlapped = OVERLAPPED::default();
    let (buffer, length) = (operation.buffer.as_mut_ptr(), operation.buffer.len() as u32);
    let overlapped = Box::into_raw(operation).cast();
    // SAFETY: The block is given up until its packet comes.
    unsafe {
        let read = ReadFile(file.as_raw_handle(), buffer, length, ptr::null_mut(), overlapped);
        assert!(read != 0 || GetLastError() == ERROR_IO_PENDING);
    }
}

#[inline]
#[expect(clippy::unnecessary_box_returns, reason = "it is the same block")]
fn dequeue(port: HANDLE) -> Box<Operation> {
    let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
    // SAFETY: The out-parameters are locals; only operations of this kind go
    // to this port, and each comes back once.
    unsafe {
        let (bytes, key) = (&raw mut bytes, &raw mut key);
        GetQueuedCompletionStatus(port, bytes, key, &raw mut overlapped, INFINITE);
        assert!(!overlapped.is_null());
        Box::from_raw(overlapped.cast())
    }
}
