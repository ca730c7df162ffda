//! The first socket of a process, which has to start Winsock. This is a program
//! of its own because the standard library does so with its own first socket.
#![cfg(windows)]

mod support;

use completion_port::{ErrorKind, unconnected_stream};
use support::{complete, port};

#[test]
fn the_first_socket_of_a_process_may_be_this_librarys() {
    let port = port();
    let nobody = "127.0.0.1:1".parse().unwrap();
    let stream = port.add_handle(unconnected_stream(nobody).unwrap(), 1).unwrap();
    port.initiate_connect(&stream, 2, nobody).unwrap();
    assert_eq!(complete(&port).error_status.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
