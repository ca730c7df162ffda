//! What the system's codes mean, where they can be provoked for real and other
//! tests do not do so.

mod support;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;

use completion_port::{Error, ErrorKind, Iocp, Pending, Rejected};
use support::{
    FILE_FLAG_OVERLAPPED, complete, nothing_more, overlapped_file, pipe_client, pipe_server, port,
    temp_file, unique,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_BACKUP_SEMANTICS, LockFile};

/// How an operation that may fail at once or later ends.
fn outcome<B, R>(
    port: &Iocp,
    started: Result<Pending<B>, Rejected<(usize, R)>>,
) -> Result<u32, Error> {
    match started {
        Ok(_) => {
            let completion = complete(port);
            completion.error_status.map(|()| completion.bytes_transferred)
        }
        Err(rejected) => Err(rejected.error),
    }
}

#[test]
fn a_pipe_whose_client_has_not_come_is_not_connected() {
    let port = port();
    let name = format!(r"\\.\pipe\{}", unique("listening"));
    let server = port.add_handle(pipe_server(&name, false), 1).unwrap();
    let read = outcome(&port, port.initiate_read(&server, 1, [0; 8])).unwrap_err();
    assert_eq!(read.raw_os_error(), Some(536));
    assert_eq!(read.kind(), ErrorKind::NotConnected);
    let write = outcome(&port, port.initiate_write(&server, 1, [0; 8])).unwrap_err();
    assert_eq!(write.raw_os_error(), Some(536));
    assert_eq!(write.kind(), ErrorKind::NotConnected);
    nothing_more(&port);
    // With a client it works.
    let client = port.add_handle(pipe_client(&name, false).unwrap(), 2).unwrap();
    assert_eq!(outcome(&port, port.initiate_write(&server, 1, [1; 8])), Ok(8));
    assert_eq!(outcome(&port, port.initiate_read(&client, 1, [0; 8])), Ok(8));
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "uses what Miri does not have")]
fn what_another_handle_has_locked_is_locked() {
    let port = port();
    let temporary = temp_file("lock", [7; 100]);
    let locker = OpenOptions::new().read(true).write(true).open(temporary.path()).unwrap();
    lock(&locker, 50);
    let file = port.add_handle(overlapped_file(temporary.path(), true, true), 1).unwrap();
    // Wine does not hold reads and writes to the locks of files.
    for locked in [
        outcome(&port, port.initiate_read_at(&file, 1, [0; 8], 0)),
        outcome(&port, port.initiate_write_at(&file, 1, [7; 8], 0)),
    ] {
        match locked {
            Ok(bytes) => assert_eq!(bytes, 8),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
                assert_eq!(error.raw_os_error(), Some(33));
            }
        }
    }
    assert_eq!(outcome(&port, port.initiate_read_at(&file, 1, [0; 8], 60)), Ok(8));
    nothing_more(&port);
}

/// Locks the start of a file.
fn lock(file: &File, length: u32) {
    // SAFETY: The handle is open, and the call writes no memory.
    let locked = unsafe { LockFile(file.as_raw_handle(), 0, 0, length, 0) };
    assert_ne!(locked, 0, "{}", io::Error::last_os_error());
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn a_directory_cannot_be_read_like_a_file() {
    let port = port();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(FILE_FLAG_OVERLAPPED | FILE_FLAG_BACKUP_SEMANTICS);
    let directory = port.add_handle(options.open(std::env::temp_dir()).unwrap(), 1).unwrap();
    let error = outcome(&port, port.initiate_read_at(&directory, 1, [0; 8], 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.call(), Some("ReadFile"));
    nothing_more(&port);
}

#[test]
fn an_offset_beyond_what_files_have_is_invalid() {
    let port = port();
    let temporary = temp_file("offset", "contents");
    let file = port.add_handle(overlapped_file(temporary.path(), true, true), 1).unwrap();
    // `u64::MAX` appends, but for a read it is nothing.
    for offset in [1 << 63, u64::MAX - 1, u64::MAX] {
        let error = outcome(&port, port.initiate_read_at(&file, 1, [0; 8], offset)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    for offset in [1 << 63, u64::MAX - 1] {
        let error = outcome(&port, port.initiate_write_at(&file, 1, [0; 8], offset)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    nothing_more(&port);
    drop(file);
    assert_eq!(temporary.contents(), b"contents");
}

/// Whether the call or the completion says so is the system's choice, but not
/// both do. (Wine queues a packet for some calls that it fails at once.)
#[test]
fn a_write_where_no_file_can_have_bytes_ends_once() {
    let port = port();
    let temporary = temp_file("far", "contents");
    let file = port.add_handle(overlapped_file(temporary.path(), true, true), 1).unwrap();
    for offset in [1 << 62, i64::MAX as u64] {
        outcome(&port, port.initiate_write_at(&file, 1, [0; 8], offset)).unwrap_err();
        nothing_more(&port);
    }
}
