//! Files that go to a socket.

mod support;

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::os::windows::io::OwnedSocket;
use std::sync::Arc;
use std::thread;

use completion_port::{Associated, ErrorKind, Iocp, op};
use op::{Sends, TransmitFile, Transmitted};
use support::{
    TempFile, complete, nothing_more, overlapped_file, pattern, pattern_from, port, stream_pair,
    temp_file,
};

/// So many bytes have no room in the buffers of a socket.
const LONG: usize = match () {
    () if cfg!(miri) => 12_000,
    // The model reads all of it each time that it sends.
    () if cfg!(simulated_kernel) => 100_000,
    () => 16_000_000,
};

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 1).unwrap())
}

fn open(file: &TempFile) -> File {
    overlapped_file(file.path(), true, true)
}

/// What a successful operation returns, and how many bytes it has sent.
#[track_caller]
fn output<T: 'static>(port: &Iocp) -> (T, u32) {
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    (completion.operation.output().unwrap(), completion.bytes_transferred)
}

#[track_caller]
fn receive(client: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_part_of_a_file_is_sent_between_head_and_tail() {
    let port = port();
    let (mut client, server) = served(&port);
    let contents = pattern(1000);
    let temp = temp_file("transmit", &contents);
    let sent = TransmitFile::new(open(&temp), 300, 500).head("head").tail(b"tail".to_vec());
    port.initiate(&server, 2, sent).unwrap();
    assert_eq!(receive(&mut client, 508), [b"head", &contents[300..800], b"tail"].concat());
    let (it, bytes) = output::<Transmitted<File, &str, Vec<u8>>>(&port);
    assert_eq!((it.head, &it.tail[..], it.missing, bytes), ("head", &b"tail"[..], 0, 508));

    // With one of them, or none, and the file that has come back.
    port.initiate(&server, 2, TransmitFile::new(it.file, 0, 3).tail("tail")).unwrap();
    assert_eq!(receive(&mut client, 7), [&contents[..3], b"tail"].concat());
    let (it, _) = output::<Transmitted<File, (), &str>>(&port);
    port.initiate(&server, 2, TransmitFile::new(it.file, 999, 1)).unwrap();
    assert_eq!(receive(&mut client, 1), contents[999..]);
    let (it, bytes) = output::<Transmitted<File>>(&port);
    assert_eq!((it.missing, bytes), (0, 1));
    nothing_more(&port);
}

/// To the system, no bytes are the whole file.
#[test]
fn no_bytes_of_a_file_are_none() {
    let port = port();
    let (mut client, server) = served(&port);
    let temp = temp_file("transmit", "hello");
    port.initiate(&server, 2, TransmitFile::new(open(&temp), 0, 0).head("head").tail("tail"))
        .unwrap();
    assert_eq!(output::<Transmitted<File, &str, &str>>(&port).1, 8);
    assert_eq!(receive(&mut client, 8), b"headtail");
    port.initiate_write(&server, 3, "!").unwrap();
    assert_eq!(receive(&mut client, 1), b"!");
}

#[test]
fn each_operation_has_its_own_place_in_a_file() {
    let port = port();
    let (mut one, first) = served(&port);
    let (mut other, second) = served(&port);
    let contents = pattern(999);
    let temp = temp_file("transmit", &contents);
    let file = Arc::new(open(&temp));
    for place in (0..999).step_by(3) {
        let (there, back) = (place, 996 - place);
        for (stream, place) in [(&first, there), (&second, back)] {
            port.initiate(stream, 2, TransmitFile::new(Arc::clone(&file), place, 3)).unwrap();
        }
        assert_eq!(receive(&mut one, 3), contents[there as usize..][..3]);
        assert_eq!(receive(&mut other, 3), contents[back as usize..][..3]);
        for _ in 0..2 {
            assert_eq!(output::<Transmitted<Arc<File>>>(&port).1, 3);
        }
        if cfg!(miri) && place > 9 {
            break;
        }
    }
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn a_file_in_flight_stays_open_and_is_closed_once() {
    let port = port();
    let (mut client, server) = served(&port);
    let length = LONG;
    support::shrink_buffers(server.get_ref());
    support::shrink_buffers(&client);
    let contents = pattern(length);
    let temp = temp_file("transmit", &contents);
    let sent = TransmitFile::new(open(&temp), 0, length as u64);
    drop(port.initiate(&server, 2, sent).unwrap());
    // Others take the value of the handle, if it is closed.
    let others = [(); 16].map(|()| temp_file("other", "other"));
    let others = others.each_ref().map(open);
    let reading = thread::spawn(move || receive(&mut client, length));
    let completion = complete(&port);
    assert_eq!(completion.bytes_transferred as usize, length);
    assert!(reading.join().unwrap() == contents);
    drop(completion);
    for file in &others {
        assert_eq!(file.metadata().unwrap().len(), 5);
    }
    drop(others);
    drop(temp);
}

#[test]
fn a_file_that_ends_too_early_is_not_tried_for_ever() {
    let port = port();
    let (mut client, server) = served(&port);
    let temp = temp_file("transmit", "hello");
    port.initiate(&server, 2, TransmitFile::new(open(&temp), 2, 10).tail("!")).unwrap();
    let mut completion = complete(&port);
    let it: Transmitted<File, (), &str> = completion.operation.output().unwrap();
    match completion.error_status {
        Ok(()) => {
            let bytes = completion.bytes_transferred;
            assert_eq!(it.missing, 11 - u64::from(bytes));
            assert!(it.missing > 0);
            assert_eq!(receive(&mut client, bytes as usize)[..3], *b"llo");
        }
        Err(error) => {
            assert!(support::is_windows(), "{error}");
            assert_eq!(it.missing, 11);
        }
    }
}

#[test]
fn a_file_that_is_shortened_meanwhile_is_not_tried_for_ever() {
    let port = port();
    let (mut client, server) = served(&port);
    support::shrink_buffers(server.get_ref());
    support::shrink_buffers(&client);
    let length = LONG;
    let temp = temp_file("transmit", vec![7; length]);
    let sent = TransmitFile::new(open(&temp), 0, length as u64);
    port.initiate(&server, 2, sent).unwrap();
    File::options().write(true).open(temp.path()).unwrap().set_len(1).unwrap();
    let reading = thread::spawn(move || {
        let mut count = 0;
        let mut buffer = vec![0; 65536];
        loop {
            match client.read(&mut buffer) {
                Ok(0) | Err(_) => return count,
                Ok(more) => count += more as u64,
            }
        }
    });
    let mut completion = complete(&port);
    let it: Transmitted<File> = completion.operation.output().unwrap();
    match completion.error_status {
        Ok(()) => assert_eq!(it.missing, length as u64 - u64::from(completion.bytes_transferred)),
        Err(error) => assert!(support::is_windows(), "{error}"),
    }
    assert!(it.missing > 0);
    drop(server);
    assert!(reading.join().unwrap() < length as u64);
}

/// Shortened between the pieces: those behind its end send nothing, once.
#[test]
fn a_file_that_is_shortened_between_its_pieces_says_what_is_missing() {
    let port = port();
    let (mut client, server) = served(&port);
    let temp = temp_file("transmit", "hello world");
    let file = Arc::new(open(&temp));
    port.initiate(&server, 2, TransmitFile::new(Arc::clone(&file), 0, 5)).unwrap();
    assert_eq!(output::<Transmitted<Arc<File>>>(&port).0.missing, 0);
    File::options().write(true).open(temp.path()).unwrap().set_len(7).unwrap();
    for (offset, there) in [(5, 2), (7, 0), (10, 0)] {
        let sent = TransmitFile::new(Arc::clone(&file), offset, 6).tail("!");
        let error = match port.initiate(&server, 2, sent) {
            Ok(_) => {
                let mut completion = complete(&port);
                let it: Transmitted<Arc<File>, (), &str> = completion.operation.output().unwrap();
                let bytes = u64::from(completion.bytes_transferred);
                assert_eq!(it.missing, 7 - bytes);
                assert!(it.missing > 0);
                completion.error_status.map(|()| assert_eq!(bytes, there + 1)).err()
            }
            Err(rejected) => Some(rejected.error),
        };
        assert!(error.is_none() || support::is_windows(), "{error:?}");
    }
    if !support::is_windows() {
        assert_eq!(receive(&mut client, 10), b"hello w!!!");
    }
    nothing_more(&port);
}

#[test]
fn a_cancelled_transmission_returns_everything() {
    let port = port();
    let (client, server) = served(&port);
    support::shrink_buffers(server.get_ref());
    support::shrink_buffers(&client);
    let length = LONG;
    let temp = temp_file("transmit", vec![7; length]);
    let sent = TransmitFile::new(open(&temp), 0, length as u64).head("head");
    port.initiate(&server, 2, sent).unwrap();
    assert!(server.cancel_all().unwrap());
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    let it: Transmitted<File, &str> = completion.operation.output().unwrap();
    assert_eq!((it.head, it.missing), ("head", length as u64 + 4));
    drop(client);
}

#[test]
fn more_than_one_call_can_send_is_refused_before_anything_is_sent() {
    let port = port();
    let (mut client, server) = served(&port);
    let temp = temp_file("transmit", "hello");
    let most = TransmitFile::<File>::MAX_LENGTH;
    assert_eq!(most, (1 << 31) - 2);
    let file = Arc::new(open(&temp));
    for length in [most + 1, most + 2, 1 << 32, (1 << 32) + 5, u64::MAX] {
        let sent = TransmitFile::new(Arc::clone(&file), 0, length);
        let rejected = port.initiate(&server, 2, sent).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert!(rejected.error.to_string().contains("op::pieces"), "{rejected}");
    }
    let sent = TransmitFile::new(Arc::clone(&file), 0, most).head("h").tail("t");
    let rejected = port.initiate(&server, 2, sent).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    let (op::Keeps((it, length)), (_, (head, tail))) = rejected.returned.1;
    assert!(Arc::ptr_eq(&it, &file));
    assert_eq!((length, head, tail), (most, Sends("h"), Sends("t")));
    drop(it);
    assert_eq!(Arc::strong_count(&file), 1);
    port.initiate_write(&server, 3, "!").unwrap();
    assert_eq!(receive(&mut client, 1), b"!");
}

#[test]
fn a_file_is_sent_only_on_streams_that_do_not_skip_the_port() {
    let port = port();
    let temp = temp_file("transmit", "hello");
    let file = Arc::new(open(&temp));
    let sent = || TransmitFile::new(Arc::clone(&file), 0, 5);
    let datagrams = OwnedSocket::from(support::datagram_pair().0);
    let datagrams = port.add_handle(datagrams, 1).unwrap();
    let rejected = port.initiate(&datagrams, 2, sent()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    let (_client, server) = served(&port);
    let server = server.skip_on_success().unwrap();
    let rejected = port.initiate(&server, 2, sent()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    nothing_more(&port);
}

/// A file with a hole, and something at its end.
#[test]
fn a_part_behind_four_gigabytes_is_sent() {
    // Miri has no files with holes.
    const END: u64 = if cfg!(miri) { 80_000 } else { 5 << 30 };
    let port = port();
    let (mut client, server) = served(&port);
    let temp = temp_file("transmit", "");
    let file = File::options().write(true).open(temp.path()).unwrap();
    let tail = pattern_from(0, 1000);
    std::os::windows::fs::FileExt::seek_write(&file, &tail, END - 1000).unwrap();
    let sent = TransmitFile::new(open(&temp), END - 70_000, 70_000);
    port.initiate(&server, 2, sent).unwrap();
    let received = receive(&mut client, 70_000);
    assert!(received[..69_000].iter().all(|byte| *byte == 0));
    assert!(received[69_000..] == tail);
    assert_eq!(output::<Transmitted<File>>(&port).1, 70_000);
}
