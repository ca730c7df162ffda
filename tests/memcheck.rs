//! What `cargo xtask memcheck` has to see: each of these does it, past the
//! library, and the command fails if it is not told of it.
#![cfg(memcheck)]

mod support;

use std::os::windows::io::AsRawHandle;
use std::ptr;

use support::{complete, dequeue_raw, pipe_pair, port, post_raw};
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError, HANDLE};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{GetOverlappedResult, OVERLAPPED};

#[test]
fn a_read_into_a_buffer_that_is_freed() {
    let mut overlapped = OVERLAPPED::default();
    let buffer = vec![0_u8; 1234];
    let start = buffer.as_ptr().cast_mut();
    read_a_pipe(start, &raw mut overlapped, || drop(buffer));
}

#[test]
fn a_read_with_the_overlapped_of_a_cell_that_is_free() {
    let port = port();
    port.post(0, 0, 0).unwrap();
    let (bytes, key, cell) = dequeue_raw(&port);
    post_raw(&port, bytes, key, cell);
    complete(&port);

    let mut buffer = [0; 8];
    let overlapped = ptr::with_exposed_provenance_mut(cell);
    read_a_pipe(buffer.as_mut_ptr(), overlapped, || {});
}

/// Reads 8 bytes, which come after `meanwhile`.
fn read_a_pipe(buffer: *mut u8, overlapped: *mut OVERLAPPED, meanwhile: impl FnOnce()) {
    let (reader, writer) = pipe_pair(false);
    let handle: HANDLE = reader.as_raw_handle();
    let mut bytes = 0;
    // SAFETY: Not sound, on purpose: nothing reuses what was freed.
    unsafe {
        assert_eq!(ReadFile(handle, buffer, 8, ptr::null_mut(), overlapped), 0);
        assert_eq!(GetLastError(), ERROR_IO_PENDING);
        meanwhile();
        let mut written = OVERLAPPED::default();
        let data = [1_u8; 8];
        WriteFile(writer.as_raw_handle(), data.as_ptr(), 8, ptr::null_mut(), &raw mut written);
        assert_ne!(GetOverlappedResult(handle, overlapped, &raw mut bytes, 1), 0);
    }
    assert_eq!(bytes, 8);
}
