//! A handle that has been closed. This is a program of its own because the
//! value of a closed handle is given out again, to whichever test comes first.

mod support;

use std::os::windows::io::{AsRawHandle, AsRawSocket};
use std::ptr;
use std::sync::Mutex;

use completion_port::ErrorKind;
use support::{overlapped_file, port, stream_pair, temp_file};
use windows_sys::Win32::System::IO::PostQueuedCompletionStatus;

/// One test at a time opens and closes handles.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_port_that_is_dropped_is_closed() {
    let _turn = TURN.lock();
    let port = port();
    let clone = port.clone();
    let handle = port.as_raw_handle();
    // SAFETY: What is no handle is answered with an error.
    let is_open = || unsafe { PostQueuedCompletionStatus(handle, 0, 0, ptr::null()) != 0 };
    drop(port);
    assert!(is_open());
    drop(clone);
    assert!(!is_open());
}

#[test]
fn a_closed_handle_is_invalid() {
    let _turn = TURN.lock();
    let port = port();
    let temporary = temp_file("closed", "");
    let file = overlapped_file(temporary.path(), true, false);
    let value = file.as_raw_handle();
    drop(file);
    // SAFETY: Nothing else runs in this program that could have the value now.
    let error = unsafe { port.add_raw_handle(value, 1) }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidHandle, "{error}");
    assert_eq!(error.raw_os_error(), Some(6));

    let (_client, server) = stream_pair();
    let value = server.as_raw_socket();
    drop(server);
    // SAFETY: As above.
    let error = unsafe { port.add_raw_handle(value, 1) }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidHandle, "{error}");

    // One that is closed later does not skip the port, and comes back.
    let file = overlapped_file(temporary.path(), true, false);
    // SAFETY: As above, once it is closed.
    let raw = unsafe { port.add_raw_handle(file.as_raw_handle(), 5) }.unwrap();
    drop(file);
    let rejected = raw.skip_on_success().unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidHandle, "{}", rejected.error);
    assert_eq!(rejected.error.call(), Some("SetFileCompletionNotificationModes"));
    assert_eq!(rejected.returned.context(), 5);
}
