//! A handle that has been closed. This is a program of its own because the
//! value of a closed handle is given out again, to whichever test comes first.

mod support;

use std::os::windows::io::{AsRawHandle, AsRawSocket};

use completion_port::ErrorKind;
use support::{overlapped_file, port, stream_pair, temp_file};

#[test]
fn a_closed_handle_is_invalid() {
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
}
