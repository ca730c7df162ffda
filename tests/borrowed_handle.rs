//! Handles of ports and of what is associated with them, as others borrow them.

mod support;

use std::io::Write;
use std::os::windows::io::{
    AsHandle, AsRawHandle, AsRawSocket, AsSocket, BorrowedHandle, BorrowedSocket,
};

use completion_port::{ErrorKind, op};
use support::{complete, overlapped_file, port, stream_pair, temp_file};

fn borrow_handle(handle: &impl AsHandle) -> BorrowedHandle<'_> {
    handle.as_handle()
}

fn borrow_socket(socket: &impl AsSocket) -> BorrowedSocket<'_> {
    socket.as_socket()
}

#[test]
fn what_is_associated_can_be_borrowed_and_duplicated() {
    let port = port();
    let (mut client, server) = stream_pair();
    let socket = server.as_raw_socket();
    let server = port.add_handle(server, 1).unwrap();
    assert_eq!(borrow_socket(&server).as_raw_socket(), socket);
    // The duplicate is of the socket, which is associated already.
    let duplicate = borrow_socket(&server).try_clone_to_owned().unwrap();
    let rejected = port.add_handle(duplicate, 2).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::AlreadyAssociated);
    client.write_all(b"hello").unwrap();
    port.initiate_read(&server, 3, [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer(), Some(*b"hello"));

    let temp = temp_file("borrowed", "hello");
    let file = overlapped_file(temp.path(), true, false);
    let handle = file.as_raw_handle();
    let file = port.add_handle(file, 4).unwrap();
    assert_eq!(borrow_handle(&file).as_raw_handle(), handle);
}

#[test]
fn a_port_can_be_borrowed_and_is_nothing_to_associate_with_itself() {
    let port = port();
    assert_eq!(borrow_handle(&port).as_raw_handle(), port.as_raw_handle());
    let duplicate = borrow_handle(&port).try_clone_to_owned().unwrap();
    let rejected = port.add_handle(duplicate, 1).unwrap_err();
    assert_ne!(rejected.error.raw_os_error(), None, "{}", rejected.error);
    port.post(2, 0, 0).unwrap();
    assert_eq!(complete(&port).context, 2);
    // A duplicate keeps the port's object, and nothing of ours.
    drop(port);
    drop(rejected.returned);
}

#[test]
fn a_handle_that_others_own_has_every_operation() {
    let port = port();
    let (mut client, server) = stream_pair();
    // SAFETY: The socket outlives the association, and nobody else uses it.
    let raw = unsafe { port.add_raw_handle(server.as_raw_socket(), 1) }.unwrap();
    client.write_all(b"hello").unwrap();
    port.initiate(&raw, 2, op::Read::new([0; 5])).unwrap();
    assert_eq!(complete(&port).operation.take_buffer(), Some(*b"hello"));
}

#[test]
fn handles_are_shown_as_windows_shows_them() {
    let port = port();
    let temp = temp_file("shown", "");
    let file = overlapped_file(temp.path(), true, false);
    let value = format!("{:?}", file.as_raw_handle());
    assert!(value.starts_with("0x"), "{value}");
    // SAFETY: The file outlives the association.
    let raw = unsafe { port.add_raw_handle(file.as_raw_handle(), 1) }.unwrap();
    assert!(format!("{raw:?}").contains(&format!("handle: {value},")), "{raw:?}");
    assert!(format!("{raw:?}").contains(r#"kind: "file""#), "{raw:?}");
    let of_port = format!("{:?}", port.as_raw_handle());
    assert!(format!("{port:?}").contains(&format!("handle: {of_port},")), "{port:?}");
}
