//! Going through a file in order.

mod support;

use std::fs::File;

use completion_port::fs::Cursor;
use completion_port::{Associated, Iocp};
use support::{TempFile, complete, nothing_more, overlapped_file, pattern, port, temp_file};

fn open(port: &Iocp, file: &TempFile) -> Associated<File> {
    port.add_handle(overlapped_file(file.path(), true, true), 1).unwrap()
}

/// Reads up to so many bytes from where the cursor is, and moves it.
#[track_caller]
fn read(port: &Iocp, file: &Associated<File>, cursor: &mut Cursor, most: usize) -> Vec<u8> {
    port.initiate(file, 2, cursor.read(vec![0; most].into_boxed_slice())).unwrap();
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    cursor.advance(completion.bytes_transferred);
    let buffer: Box<[u8]> = completion.operation.output().unwrap();
    buffer[..completion.bytes_transferred as usize].to_vec()
}

#[track_caller]
fn write(port: &Iocp, file: &Associated<File>, cursor: &mut Cursor, text: &'static str) {
    port.initiate(file, 2, cursor.write(text)).unwrap();
    let completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    cursor.advance(completion.bytes_transferred);
}

#[test]
fn reads_follow_each_other_up_to_the_end_which_is_0_bytes() {
    let port = port();
    let contents = pattern(100);
    let temp = temp_file("cursor", &contents);
    let file = open(&port, &temp);
    let (mut cursor, mut all) = (Cursor::new(), Vec::new());
    loop {
        assert_eq!(cursor.position(), all.len() as u64);
        let mut part = read(&port, &file, &mut cursor, 7);
        if part.is_empty() {
            break;
        }
        all.append(&mut part);
    }
    assert_eq!(all, contents);
    // The end is where it was, until the file grows.
    assert_eq!(read(&port, &file, &mut cursor, 7), b"");
    write(&port, &file, &mut cursor.clone(), "more");
    assert_eq!(read(&port, &file, &mut cursor, 7), b"more");
    assert_eq!(cursor.position(), 104);
    nothing_more(&port);
}

#[test]
fn writes_follow_each_other_and_cursors_are_independent() {
    let port = port();
    let temp = temp_file("cursor", "");
    let file = open(&port, &temp);
    let (mut writing, mut reading) = (Cursor::new(), Cursor::at(3));
    for text in ["one", "", "two", "three"] {
        write(&port, &file, &mut writing, text);
    }
    assert_eq!(temp.contents(), b"onetwothree");
    assert_eq!(read(&port, &file, &mut reading, 3), b"two");
    write(&port, &file, &mut reading, "THREE");
    assert_eq!(reading, writing);
    let mut back = Cursor::at(6);
    assert_eq!(read(&port, &file, &mut back, 64), b"THREE");
}

#[test]
fn what_has_failed_moves_no_cursor() {
    let port = port();
    let temp = temp_file("cursor", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 1).unwrap();
    let mut cursor = Cursor::new();
    let bytes = match port.initiate(&file, 2, cursor.write("not to be written")) {
        Ok(_) => {
            let completion = complete(&port);
            assert!(completion.error_status.is_err());
            completion.bytes_transferred
        }
        Err(_) => 0,
    };
    cursor.advance(bytes);
    assert_eq!(cursor.position(), 0);
    assert_eq!(read(&port, &file, &mut cursor, 64), b"hello");
}

/// `u64::MAX` would append, to the system.
#[test]
fn a_cursor_does_not_go_behind_the_largest_offset() {
    let largest = i64::MAX as u64;
    for position in [largest, largest + 1, u64::MAX - 1, u64::MAX] {
        let mut cursor = Cursor::at(position);
        assert_eq!(cursor.position(), largest);
        cursor.advance(u32::MAX);
        assert_eq!(cursor.position(), largest);
    }
    let mut cursor = Cursor::at(largest - 1);
    cursor.advance(1);
    assert_eq!(cursor, Cursor::at(largest));
}

#[test]
fn borrowed_buffers_go_through_a_file_too() {
    let port = port();
    let temp = temp_file("cursor", "hello world");
    let file = open(&port, &temp);
    let (mut cursor, mut buffer) = (Cursor::at(6), [0; 5]);
    port.scope(|scope| {
        scope.initiate(&file, 2, cursor.read(&mut buffer[..])).unwrap();
        cursor.advance(complete(&port).bytes_transferred);
    });
    assert_eq!((&buffer, cursor.position()), (b"world", 11));
}
