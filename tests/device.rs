//! Reads and writes on a device that everybody has.
#![cfg(not(simulated_kernel))] // the model has no devices

mod support;

use completion_port::{Associated, Iocp, OperationKind};
use support::{complete, nothing_more, overlapped_file, port};

fn null_device(port: &Iocp) -> Associated<std::fs::File> {
    port.add_handle(overlapped_file("NUL", true, true), 7).unwrap()
}

#[test]
fn a_device_takes_writes_without_an_offset() {
    let port = port();
    let device = null_device(&port);
    for i in 0..10 {
        port.initiate_write(&device, i, vec![1; 100]).unwrap();
        let completion = complete(&port);
        assert_eq!((completion.context, completion.handle_context), (i, 7));
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 100));
    }
    nothing_more(&port);
}

/// Wine queues a packet for the end of a device, though the call says at once
/// that it failed; on Windows, none is queued after such an answer.
#[test]
fn the_end_of_a_device_completes_its_read_once() {
    let port = port();
    let device = null_device(&port);
    for i in 0..10 {
        let mut pending = port.initiate_read(&device, i, Vec::with_capacity(8)).unwrap();
        let completion = complete(&port);
        assert_eq!(completion.context, i);
        assert_eq!(completion.operation.kind(), OperationKind::Read);
        assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
        assert_eq!(pending.take_buffer().unwrap(), b"");
        nothing_more(&port);
    }
}

/// An operation that gets the memory of one before it is not completed by
/// that one's packet.
#[test]
fn what_follows_the_end_of_a_device_has_its_own_completion() {
    let port = port();
    let device = null_device(&port);
    let (mut client, server) = support::stream_pair();
    let server = port.add_handle(server, 8).unwrap();
    for i in 0..10 {
        port.initiate_read(&device, i, [0; 8]).unwrap();
        let completion = complete(&port);
        assert_eq!((completion.context, completion.handle_context), (i, 7));
        drop(completion);
        let mut pending = port.initiate_read(&server, i, [0; 8]).unwrap();
        // Here a packet too many would be taken for the socket's, or show up
        // as a foreign one.
        let early = port.try_get_completion();
        assert!(!pending.is_completed(), "nothing has been sent: {early:?}");
        std::io::Write::write_all(&mut client, b"12345678").unwrap();
        let completion = complete(&port);
        assert_eq!((completion.context, completion.handle_context), (i, 8));
        assert_eq!(pending.take_buffer(), Some(*b"12345678"));
    }
}
