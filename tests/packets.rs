//! Buffers and parts of files that go to a socket together.

mod support;

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::os::windows::io::OwnedSocket;
use std::sync::Arc;
use std::thread;

use completion_port::{Associated, ErrorKind, Iocp, op};
use op::{FileRange, Keeps, Sends, TransmitPackets, TransmittedPackets};
use support::{TempFile, complete, nothing_more, overlapped_file, pattern, port, stream_pair};
use support::{shrink_buffers, skipped_without, temp_file};

/// A peer, and a stream that is associated with the port.
fn served(port: &Iocp) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, 1).unwrap())
}

fn open(file: &TempFile) -> Arc<File> {
    Arc::new(overlapped_file(file.path(), true, true))
}

#[track_caller]
fn receive(client: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

/// Whether the system has it: it starts, or is refused by name. Wine has not.
fn is_there(port: &Iocp) -> bool {
    let (mut client, server) = served(port);
    match port.initiate(&server, 1, TransmitPackets::new("!")) {
        Ok(_) => {
            assert_eq!(complete(port).bytes_transferred, 1);
            assert_eq!(receive(&mut client, 1), b"!");
            true
        }
        Err(rejected) => {
            assert!(support::is_wine(), "{rejected}");
            assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
            assert!(rejected.error.to_string().contains("provider"), "{rejected}");
            assert_eq!(rejected.returned.1.1, Sends("!"));
            nothing_more(port);
            skipped_without("TransmitPackets");
            false
        }
    }
}

/// What has come out of a success, and how many bytes it has sent.
#[track_caller]
fn output<E: 'static>(port: &Iocp) -> (TransmittedPackets<E>, u32) {
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    (completion.operation.output().unwrap(), completion.bytes_transferred)
}

type Range = FileRange<Arc<File>>;

#[test]
fn buffers_and_parts_of_files_are_sent_in_order() {
    let port = port();
    if !is_there(&port) {
        return;
    }
    let (mut client, server) = served(&port);
    let contents = pattern(1000);
    let (one, other) = (temp_file("packets", &contents), temp_file("packets", "hello"));
    let (one, other) = (open(&one), open(&other));
    let range = |offset, length| FileRange::new(Arc::clone(&one), offset, length);

    let elements = ("head", range(300, 500), b"between".to_vec(), FileRange::new(other, 1, 3));
    port.initiate(&server, 2, TransmitPackets::new(elements)).unwrap();
    let (it, bytes) = output::<(&str, Range, Vec<u8>, Range)>(&port);
    let all = [b"head", &contents[300..800], b"between", b"ell"].concat();
    assert!(receive(&mut client, all.len()) == all);
    assert_eq!((it.elements.0, &it.elements.2[..]), ("head", &b"between"[..]));
    assert_eq!((it.missing, bytes as usize), (0, all.len()));
    drop(it);

    // As the parts of a multipart message: 15 elements, of one file.
    let parts = [0, 100, 200, 300, 400].map(|offset| ("<", range(offset, 7), String::from(">")));
    port.initiate(&server, 2, TransmitPackets::new((parts, "."))).unwrap();
    let (it, _) = output::<([(&str, Range, String); 5], &str)>(&port);
    let part = |offset: usize| [b"<", &contents[offset..offset + 7], b">"].concat();
    let all = [0, 100, 200, 300, 400].map(part).concat();
    assert!(receive(&mut client, all.len() + 1) == [&all[..], b"."].concat());
    drop(it);
    port.initiate(&server, 2, TransmitPackets::new(("a", "b", ["c"; 14]))).unwrap();
    let (_, bytes) = output::<(&str, &str, [&str; 14])>(&port);
    assert_eq!((bytes, &receive(&mut client, 16)[..]), (16, &b"abcccccccccccccc"[..]));
    assert_eq!(Arc::strong_count(&one), 1);
    nothing_more(&port);
}

/// To the system, no bytes are the whole file.
#[test]
fn elements_without_bytes_send_nothing() {
    let port = port();
    if !is_there(&port) {
        return;
    }
    let (mut client, server) = served(&port);
    let temp = temp_file("packets", "hello");
    let elements =
        ("", FileRange::new(open(&temp), 0, 0), "tail", FileRange::new(open(&temp), 2, 0));
    port.initiate(&server, 2, TransmitPackets::new(elements)).unwrap();
    let (it, bytes) = output::<(&str, Range, &str, Range)>(&port);
    assert_eq!((it.missing, bytes, &receive(&mut client, 4)[..]), (0, 4, &b"tail"[..]));
    port.initiate_write(&server, 3, "!").unwrap();
    assert_eq!(receive(&mut client, 1), b"!");
}

#[test]
fn what_one_call_cannot_send_is_refused_and_comes_back() {
    let port = port();
    let (_client, server) = served(&port);
    let temp = temp_file("packets", "hello");
    let file = open(&temp);
    let most = TransmitPackets::<()>::MAX_LENGTH;
    let cases = [
        (0, most + 1, "2,147,483,646"),
        (0, 1 << 32, "2,147,483,646"),
        (0, u64::MAX, "2,147,483,646"),
        (0, most, "2,147,483,646"),
        (u64::MAX, 5, "i64::MAX"),
    ];
    for (offset, length, message) in cases {
        let range = FileRange::new(Arc::clone(&file), offset, length);
        let sent = TransmitPackets::new((range, "more"));
        let rejected = port.initiate(&server, 2, sent).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert!(rejected.error.to_string().contains(message), "{rejected}");
        let (Keeps(it), Sends(more)) = rejected.returned.1.1;
        assert!(Arc::ptr_eq(&it.file, &file));
        assert_eq!((it.offset, it.length, more), (offset, length, "more"));
    }
    let rejected = port.initiate(&server, 2, TransmitPackets::new(["", ""])).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    assert_eq!(Arc::strong_count(&file), 1);

    let datagrams = OwnedSocket::from(support::datagram_pair().0);
    let datagrams = port.add_handle(datagrams, 1).unwrap();
    let rejected = port.initiate(&datagrams, 2, TransmitPackets::new("!")).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    let server = server.skip_on_success().unwrap();
    let rejected = port.initiate(&server, 2, TransmitPackets::new("!")).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    nothing_more(&port);
}

#[test]
fn files_in_flight_stay_open_and_a_cancel_returns_them() {
    // So many bytes have no room in the buffers of a socket.
    const LONG: usize = match () {
        () if cfg!(miri) => 12_000,
        () if cfg!(simulated_kernel) => 100_000,
        () => 16_000_000,
    };
    let port = port();
    if !is_there(&port) {
        return;
    }
    for is_cancelled in [false, true] {
        let (mut client, server) = served(&port);
        shrink_buffers(server.get_ref());
        shrink_buffers(&client);
        let contents = pattern(LONG);
        let temp = temp_file("packets", &contents);
        let file = open(&temp);
        let weak = Arc::downgrade(&file);
        let sent = TransmitPackets::new(("head", FileRange::new(file, 0, LONG as u64)));
        drop(port.initiate(&server, 2, sent).unwrap());
        assert_eq!(weak.strong_count(), 1);
        let mut completion = if is_cancelled {
            assert!(server.cancel_all().unwrap());
            complete(&port)
        } else {
            let reading = thread::spawn(move || receive(&mut client, LONG + 4));
            let completion = complete(&port);
            assert!(reading.join().unwrap()[4..] == contents);
            completion
        };
        let it: TransmittedPackets<(&str, Range)> = completion.operation.output().unwrap();
        if is_cancelled {
            assert!(completion.error_status.unwrap_err().is_cancelled());
            assert_eq!(it.missing, LONG as u64 + 4);
        } else {
            assert_eq!((it.missing, completion.bytes_transferred as usize), (0, LONG + 4));
        }
        drop(it);
        assert_eq!(weak.strong_count(), 0);
    }
}

#[test]
fn a_file_that_ends_too_early_says_so() {
    let port = port();
    if !is_there(&port) {
        return;
    }
    let (mut client, server) = served(&port);
    let temp = temp_file("packets", "hello");
    let sent = TransmitPackets::new((FileRange::new(open(&temp), 2, 10), "!"));
    port.initiate(&server, 2, sent).unwrap();
    let mut completion = complete(&port);
    let it: TransmittedPackets<(Range, &str)> = completion.operation.output().unwrap();
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
