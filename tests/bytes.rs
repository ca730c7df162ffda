//! The buffers of the crate `bytes`.
#![cfg(feature = "bytes")]

mod support;

use std::io::{Read, Write};

use bytes::{Bytes, BytesMut};
use completion_port::{ErrorKind, IoBuf as _, Slice};
use support::{complete, nothing_more, port, stream_pair};

#[test]
fn bytes_are_written_and_come_back_as_they_were() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let whole = Bytes::from(b"hello world".to_vec());
    let mut received = [0; 5];
    for (part, expected) in
        [(Bytes::slice(&whole, ..5), b"hello"), (Bytes::slice(&whole, 6..), b"world")]
    {
        port.initiate_write(&server, 2, part.clone()).unwrap();
        let back: Bytes = complete(&port).operation.output().unwrap();
        assert_eq!((back.as_ptr(), &back), (part.as_ptr(), &part));
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, expected);
    }
    port.initiate_write(&server, 2, Bytes::from_static(b"hello").slice(3..)).unwrap();
    complete(&port).error_status.unwrap();
    client.read_exact(&mut received[..2]).unwrap();
    assert_eq!(&received[..2], b"lo");
}

#[test]
fn reads_append_to_the_spare_capacity_of_bytes_and_no_further() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let mut buffer = BytesMut::with_capacity(64);
    buffer.extend_from_slice(b"before ");
    client.write_all(b"hello").unwrap();
    port.initiate_read(&server, 2, buffer).unwrap();
    let mut buffer: BytesMut = complete(&port).operation.output().unwrap();
    assert_eq!(buffer, b"before hello"[..]);

    // Two values of one block have each a part of it.
    let mut first = buffer.split_to(7);
    let tail = BytesMut::with_capacity(8);
    let room = tail.capacity();
    client.write_all(&vec![b'x'; room + 1]).unwrap();
    port.initiate_read(&server, 2, tail).unwrap();
    first.fill(b'.');
    let tail: BytesMut = complete(&port).operation.output().unwrap();
    assert_eq!((&tail[..], tail.capacity()), (&vec![b'x'; room][..], room));
    port.initiate_read(&server, 2, buffer).unwrap();
    let buffer: BytesMut = complete(&port).operation.output().unwrap();
    assert_eq!((&first[..], &buffer[..]), (&b"......."[..], &b"hellox"[..]));

    // And what was read becomes `Bytes` where it is.
    let address = buffer.as_ptr();
    port.initiate_write(&server, 2, buffer.freeze()).unwrap();
    let bytes: Bytes = complete(&port).operation.output().unwrap();
    assert_eq!(bytes.as_ptr(), address);
    nothing_more(&port);
}

#[test]
fn a_part_of_bytes_is_overwritten() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    client.write_all(b"hello").unwrap();
    port.initiate_read(&server, 2, BytesMut::from(&b"0123456789"[..]).slice(2..6)).unwrap();
    let mut completion = complete(&port);
    let part: Slice<BytesMut> = completion.operation.output().unwrap();
    assert_eq!(part.into_inner(), b"01hell6789"[..]);
}

#[test]
fn bytes_without_room_are_refused() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let rejected = port.initiate_read(&server, 2, BytesMut::new()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
}
