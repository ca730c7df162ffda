//! Files opened for overlapped I/O, and what several handles append to one.
#![cfg(windows)]

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use completion_port::fs::OpenOverlapped;
use completion_port::{ErrorKind, op};
use support::{
    child, complete, few, is_windows, nothing_more, port, skipped_without, temp_file, unique,
};

#[test]
#[cfg_attr(miri, ignore = "Miri's own CreateFileW opens no overlapped files")]
fn a_file_is_opened_for_overlapped_io_with_the_options_that_were_set() {
    let port = port();
    let path = std::env::temp_dir().join(unique("open"));
    let mut options = OpenOptions::new();
    let error = options.read(true).open_overlapped(&path).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let file = options.write(true).create_new(true).open_overlapped(&path).unwrap();
    let again = options.open_overlapped(&path).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    let file = port.add_handle(file, 1).unwrap();
    port.initiate(&file, 2, op::Write::new("hello").at(3)).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    drop(file);
    // What was opened otherwise is refused.
    let plain = OpenOptions::new().read(true).open(&path).unwrap();
    assert_eq!(port.add_handle(plain, 1).unwrap_err().error.kind(), ErrorKind::NotOverlapped);
    assert_eq!(fs::read(&path).unwrap(), b"\0\0\0hello");
    fs::remove_file(path).unwrap();
}

/// The records of one writer: each of another length, and all of one letter.
fn record(writer: usize, index: usize) -> Vec<u8> {
    let letter = b'a' + writer as u8;
    let mut record = vec![letter; 1 + (index * 7 + writer) % 90];
    record.push(b'\n');
    record
}

/// Appends so many records, each in one write, with several in flight.
fn append(path: &Path, writer: usize, records: usize, by_right: bool) {
    let port = port();
    let mut options = OpenOptions::new();
    // Either right or offset will do.
    let options = if by_right { options.append(true) } else { options.write(true) };
    let file = port.add_handle(options.open_overlapped(path).unwrap(), 1).unwrap();
    let mut in_flight = 0;
    for index in 0..records {
        let write = op::Write::new(record(writer, index));
        let write = if by_right { write.at(0) } else { write.append() };
        port.initiate(&file, index, write).unwrap();
        in_flight += 1;
        if in_flight == 4 || index + 1 == records {
            for _ in 0..in_flight {
                let completion = complete(&port);
                assert_eq!(completion.error_status, Ok(()));
                let length = record(writer, completion.context).len();
                assert_eq!(completion.bytes_transferred as usize, length);
            }
            in_flight = 0;
        }
    }
    nothing_more(&port);
}

/// Asserts that the file has all records of all writers, whole.
#[track_caller]
fn assert_whole(contents: &[u8], writers: usize, records: usize) {
    let mut lines: Vec<_> = contents.split_inclusive(|byte| *byte == b'\n').collect();
    let mut expected: Vec<_> = (0..writers)
        .flat_map(|writer| (0..records).map(move |index| record(writer, index)))
        .collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert!(lines == expected, "{} lines, not {}", lines.len(), expected.len());
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own CreateFileW opens no overlapped files")]
fn what_several_handles_append_comes_behind_each_other() {
    let port = port();
    let temp = temp_file("append", "first");
    let by_offset = OpenOptions::new().write(true).open_overlapped(temp.path()).unwrap();
    let by_right = OpenOptions::new().append(true).open_overlapped(temp.path()).unwrap();
    let by_offset = port.add_handle(by_offset, 1).unwrap();
    let by_right = port.add_handle(by_right, 2).unwrap();
    let mut expected = temp.contents();
    for index in 0..few(50) {
        for (writer, file) in [&by_offset, &by_right].into_iter().enumerate() {
            let write = op::Write::new(record(writer, index));
            let write = if writer == 0 { write.append() } else { write.at(0) };
            port.initiate(file, 3, write).unwrap();
            assert_eq!(complete(&port).error_status, Ok(()));
            expected.extend(record(writer, index));
        }
    }
    assert!(temp.contents() == expected);
    nothing_more(&port);
}

const PATH: &str = "COMPLETION_PORT_TEST_APPENDS_TO";

#[test]
#[cfg_attr(simulated_kernel, ignore = "the model has no other processes")]
fn what_several_processes_append_is_whole() {
    const NAME: &str = "what_several_processes_append_is_whole";
    const WRITERS: usize = 4;
    const RECORDS: usize = 1000;
    if child::is_child(NAME) {
        let path = PathBuf::from(std::env::var_os(PATH).unwrap());
        let writer: usize = std::env::var("COMPLETION_PORT_TEST_WRITER").unwrap().parse().unwrap();
        return append(&path, writer, RECORDS, writer % 2 == 0);
    }
    if !is_windows() {
        return skipped_without(
            "a system that finds the end of a file and writes there in one step",
        );
    }
    let temp = temp_file("processes", "");
    let mut children: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let mut command = child::command(NAME);
            command.env(PATH, temp.path()).env("COMPLETION_PORT_TEST_WRITER", writer.to_string());
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    // And one that knows nothing of the library.
    let mut foreign = OpenOptions::new().append(true).open(temp.path()).unwrap();
    for index in 0..RECORDS {
        foreign.write_all(&record(WRITERS, index)).unwrap();
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_whole(&temp.contents(), WRITERS + 1, RECORDS);
}
