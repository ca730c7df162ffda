//! Overlapped reads and writes of ordinary files.
#![cfg(windows)]
#![allow(clippy::single_match_else, reason = "two outcomes, both allowed")]

mod support;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;

use completion_port::{Associated, ErrorKind, IoBuf, Iocp, OperationKind};
use support::{
    FILE_FLAG_OVERLAPPED, TempFile, complete, complete_all, eventually, few, nothing_more,
    overlapped_file, pattern, pattern_from, port, temp_file,
};
use windows_sys::Win32::System::IO::DeviceIoControl;

const GIB: u64 = 1 << 30;

/// A file with these contents, open for reading and writing on the port.
fn on_port(
    port: &Iocp,
    name: &str,
    contents: impl AsRef<[u8]>,
) -> (TempFile, Associated<std::fs::File>) {
    let temp = temp_file(name, contents);
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 7).unwrap();
    (temp, file)
}

/// What a read of `length` bytes at `offset` gives.
fn read(port: &Iocp, file: &Associated<std::fs::File>, length: usize, offset: u64) -> Vec<u8> {
    let mut pending = port.initiate_read_at(file, 1, Vec::with_capacity(length), offset).unwrap();
    let completion = complete(port);
    completion.error_status.unwrap();
    let buffer = pending.take_buffer().unwrap();
    assert_eq!(buffer.len(), completion.bytes_transferred as usize);
    buffer
}

/// Writes all of `bytes` at `offset`.
fn write(port: &Iocp, file: &Associated<std::fs::File>, bytes: &[u8], offset: u64) {
    port.initiate_write_at(file, 2, bytes.to_vec(), offset).unwrap();
    let completion = complete(port);
    completion.error_status.unwrap();
    assert_eq!(completion.bytes_transferred as usize, bytes.len());
}

#[test]
fn a_read_returns_the_bytes_from_the_offset_on() {
    let port = port();
    let (_temp, file) = on_port(&port, "read", "hello world");
    port.initiate_read_at(&file, 456, Vec::with_capacity(512), 6).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.context, 456);
    assert_eq!(completion.handle_context, 7);
    assert_eq!(completion.bytes_transferred, 5);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.kind(), OperationKind::Read);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"world");
    nothing_more(&port);
}

#[test]
fn a_write_puts_its_bytes_at_the_offset_and_nowhere_else() {
    let port = port();
    let (temp, file) = on_port(&port, "write", "hello world");
    port.initiate_write_at(&file, 456, "WOR", 6).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.context, 456);
    assert_eq!(completion.handle_context, 7);
    assert_eq!(completion.bytes_transferred, 3);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.operation.kind(), OperationKind::Write);
    assert_eq!(completion.operation.take_buffer::<&'static str>(), Some("WOR"));
    nothing_more(&port);
    drop(file);
    assert_eq!(temp.contents(), b"hello WORld");
}

#[test]
fn sequential_reads_cover_the_file_and_end_with_no_bytes() {
    let port = port();
    let contents = pattern(10_000);
    let (_temp, file) = on_port(&port, "sequential", &contents);
    let mut found = Vec::new();
    loop {
        let part = read(&port, &file, 999, found.len() as u64);
        if part.is_empty() {
            break;
        }
        found.extend_from_slice(&part);
    }
    assert!(found == contents, "{} bytes of {}", found.len(), contents.len());
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn reads_at_random_offsets_return_what_is_there() {
    const LENGTH: usize = 300_000;
    let port = port();
    let (_temp, file) = on_port(&port, "random", pattern(LENGTH));
    let mut random = 12345_u32;
    for _ in 0..few(200) {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let offset = (random >> 8) as usize % LENGTH;
        let length = (random >> 3) as usize % 5000 + 1;
        let expected = pattern_from(offset, length.min(LENGTH - offset));
        assert!(read(&port, &file, length, offset as u64) == expected, "{length} at {offset}");
    }
}

#[test]
fn writes_in_any_order_make_up_the_file() {
    const PARTS: usize = few(40);
    let port = port();
    let (temp, file) = on_port(&port, "parts", "");
    for i in 0..PARTS {
        // 17 and 40 have no common divisor.
        let offset = i * 17 % PARTS * 1000;
        write(&port, &file, &pattern_from(offset, 1000), offset as u64);
    }
    drop(file);
    assert!(temp.contents() == pattern(PARTS * 1000));
}

#[test]
fn a_write_past_the_end_leaves_zeros_between() {
    let port = port();
    let (temp, file) = on_port(&port, "gap", "abc");
    write(&port, &file, b"xyz", 100);
    drop(file);
    let contents = temp.contents();
    assert_eq!(contents.len(), 103);
    assert_eq!(&contents[..3], b"abc");
    assert!(contents[3..100].iter().all(|&byte| byte == 0));
    assert_eq!(&contents[100..], b"xyz");
}

#[test]
fn a_read_at_the_end_of_the_file_succeeds_with_no_bytes() {
    let port = port();
    let (_temp, file) = on_port(&port, "end", "hello");
    let mut pending = port.initiate_read_at(&file, 1, Vec::with_capacity(16), 5).unwrap();
    let completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.bytes_transferred, 0);
    assert!(completion.operation.is_at_end());
    assert_eq!(pending.result(), Some(Ok(0)));
    assert_eq!(pending.take_buffer().unwrap(), b"");
    nothing_more(&port);
}

#[test]
fn a_read_far_past_the_end_succeeds_with_no_bytes() {
    let port = port();
    let (_temp, file) = on_port(&port, "past", "hello");
    for offset in [6, 4096, 4 * GIB, 1 << 40] {
        assert_eq!(read(&port, &file, 16, offset), b"", "at {offset}");
    }
    nothing_more(&port);
}

#[test]
fn a_read_of_an_empty_file_succeeds_with_no_bytes() {
    let port = port();
    let (_temp, file) = on_port(&port, "empty", "");
    assert_eq!(read(&port, &file, 16, 0), b"");
}

#[test]
fn the_end_of_the_file_moves_with_its_length() {
    let port = port();
    let (_temp, file) = on_port(&port, "grow", "hello");
    assert_eq!(read(&port, &file, 16, 5), b"");
    write(&port, &file, b" world", 5);
    assert_eq!(read(&port, &file, 16, 5), b" world");
    file.set_len(7).unwrap();
    assert_eq!(read(&port, &file, 16, 5), b" w");
}

#[test]
fn a_read_across_the_end_returns_what_is_left() {
    let port = port();
    let (_temp, file) = on_port(&port, "partial", pattern(5000));
    assert_eq!(read(&port, &file, 4096, 4096), pattern_from(4096, 904));
}

#[test]
fn a_read_larger_than_the_file_returns_the_file() {
    let port = port();
    let (_temp, file) = on_port(&port, "large-read", pattern(5000));
    assert_eq!(read(&port, &file, 1 << 20, 0), pattern(5000));
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_megabyte_is_written_and_read_at_once() {
    let port = port();
    let (_temp, file) = on_port(&port, "megabyte", "");
    let contents = pattern(1 << 20);
    write(&port, &file, &contents, 3);
    assert!(read(&port, &file, 1 << 20, 3) == contents);
}

/// A large file takes no more of the disk than is written to it.
fn make_sparse(temp: &TempFile) {
    const FSCTL_SET_SPARSE: u32 = 0x0009_00C4;
    let file = OpenOptions::new().write(true).open(temp.path()).unwrap();
    let mut returned = 0;
    // Wine does not know the request, and its files are sparse anyway.
    // SAFETY: There are no buffers but the count, and the handle is
    // synchronous.
    unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_SET_SPARSE,
            std::ptr::null(),
            0,
            std::ptr::null_mut(),
            0,
            &raw mut returned,
            std::ptr::null_mut(),
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "uses what Miri does not have")]
fn offsets_around_4_gib_are_not_cut_to_32_bits() {
    let port = port();
    let temp = temp_file("sparse", "start");
    make_sparse(&temp);
    let file = port.add_handle(overlapped_file(temp.path(), true, true), 7).unwrap();
    for offset in [4 * GIB - 1, 4 * GIB, 4 * GIB + 1, 5 * GIB + 12345] {
        let written = pattern_from(offset as u8 as usize, 100);
        write(&port, &file, &written, offset);
        assert_eq!(file.metadata().unwrap().len(), offset + 100);
        assert_eq!(read(&port, &file, 100, offset), written, "at {offset}");
        assert_eq!(read(&port, &file, 200, offset + 50), written[50..], "at {offset}");
        assert_eq!(read(&port, &file, 100, offset + 100), b"", "at {offset}");
    }
    assert_eq!(read(&port, &file, 10, 0), b"start\0\0\0\0\0");
    assert_eq!(read(&port, &file, 8, GIB + 12344), [0; 8]);
}

#[test]
fn a_write_at_the_largest_offset_appends() {
    let port = port();
    let (temp, file) = on_port(&port, "append", "one");
    write(&port, &file, b"two", u64::MAX);
    write(&port, &file, b"three", u64::MAX);
    drop(file);
    assert_eq!(temp.contents(), b"onetwothree");
}

#[test]
fn many_reads_overlap_and_each_gets_its_own_bytes() {
    const DEPTH: usize = few(64);
    const READS: usize = 10 * DEPTH;
    const LENGTH: usize = 4096;
    let port = port();
    let (_temp, file) = on_port(&port, "depth", pattern(READS * LENGTH / 2 + LENGTH));
    // The parts overlap, too.
    let start = |i: usize| {
        let offset = i * LENGTH / 2;
        port.initiate_read_at(&file, i, Vec::with_capacity(LENGTH), offset as u64).unwrap();
    };
    (0..DEPTH).for_each(start);
    let mut seen = [false; READS];
    for started in DEPTH..READS + DEPTH {
        let mut completion = complete(&port);
        completion.error_status.unwrap();
        let i = completion.context;
        let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
        assert!(buffer == pattern_from(i * LENGTH / 2, LENGTH), "read {i}");
        assert!(!std::mem::replace(&mut seen[i], true), "read {i} completed twice");
        if started < READS {
            start(started);
        }
    }
    assert_eq!(seen, [true; READS]);
    nothing_more(&port);
}

#[test]
fn many_writes_overlap_and_each_puts_its_own_bytes() {
    const DEPTH: usize = few(64);
    let port = port();
    let (temp, file) = on_port(&port, "write-depth", "");
    for i in (0..DEPTH).rev() {
        let offset = i * 4096;
        port.initiate_write_at(&file, i, pattern_from(offset, 4096), offset as u64).unwrap();
    }
    for completion in complete_all(&port, DEPTH) {
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(completion.bytes_transferred, 4096);
    }
    nothing_more(&port);
    drop(file);
    assert!(temp.contents() == pattern(DEPTH * 4096));
}

#[test]
fn threads_read_one_file_through_one_port() {
    const THREADS: usize = 4;
    const READS: usize = few(100);
    let port = port();
    let (_temp, file) = on_port(&port, "threads", pattern(THREADS * READS * 64));
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (port, file) = (&port, &file);
            threads.spawn(move || {
                for i in (thread..THREADS * READS).step_by(THREADS) {
                    port.initiate_read_at(file, i, [0; 64], i as u64 * 64).unwrap();
                    // Perhaps another thread's.
                    let mut completion = complete(port);
                    assert_eq!(completion.bytes_transferred, 64);
                    let buffer = completion.operation.take_buffer::<[u8; 64]>().unwrap();
                    assert_eq!(buffer.to_vec(), pattern_from(completion.context * 64, 64));
                }
            });
        }
    });
    nothing_more(&port);
}

#[test]
fn a_write_to_a_read_only_file_fails_and_gives_the_buffer_back() {
    let port = port();
    let temp = temp_file("read-only", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 7).unwrap();
    // The system may refuse at once, or by completion.
    match port.initiate_write_at(&file, 456, b"HELLO".to_vec(), 0) {
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::PermissionDenied);
            assert_eq!(rejected.error.raw_os_error(), Some(5));
            assert_eq!(rejected.error.call(), Some("WriteFile"));
            assert_eq!(rejected.returned, (456, b"HELLO".to_vec()));
        }
        Ok(_) => {
            let mut completion = complete(&port);
            let error = completion.error_status.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert_eq!(completion.bytes_transferred, 0);
            assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"HELLO");
        }
    }
    nothing_more(&port);
    assert_eq!(read(&port, &file, 16, 0), b"hello");
    assert_eq!(temp.contents(), b"hello");
}

#[test]
fn a_read_from_a_write_only_file_fails_and_gives_the_buffer_back() {
    let port = port();
    let temp = temp_file("write-only", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), false, true), 7).unwrap();
    let buffer = match port.initiate_read_at(&file, 456, Vec::with_capacity(16), 0) {
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::PermissionDenied);
            assert_eq!(rejected.returned.0, 456);
            rejected.returned.1
        }
        Ok(_) => {
            let mut completion = complete(&port);
            let error = completion.error_status.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            completion.operation.take_buffer::<Vec<u8>>().unwrap()
        }
    };
    assert_eq!((buffer.len(), buffer.capacity()), (0, 16));
    nothing_more(&port);
}

#[test]
fn a_write_of_nothing_changes_nothing() {
    let port = port();
    let (temp, file) = on_port(&port, "empty-write", "hello");
    write(&port, &file, b"", 3);
    write(&port, &file, b"", 5);
    nothing_more(&port);
    drop(file);
    assert_eq!(temp.contents(), b"hello");
}

#[test]
fn operations_without_an_offset_are_refused() {
    let port = port();
    let (temp, file) = on_port(&port, "no-offset", "hello");
    let rejected = port.initiate_read(&file, 456, vec![1, 2]).map(drop).unwrap_err();
    // A full vector is refused as well, but that is not the first thing wrong.
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (456, vec![1, 2]));
    let rejected = port.initiate_write(&file, 457, "HELLO").map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(rejected.returned, (457, "HELLO"));
    assert_eq!(temp.contents(), b"hello");
    nothing_more(&port);
}

#[test]
fn length_and_flush_go_without_completions() {
    let port = port();
    let (temp, file) = on_port(&port, "metadata", "hello world");
    assert_eq!(file.metadata().unwrap().len(), 11);
    assert!(file.metadata().unwrap().is_file());
    file.set_len(5).unwrap();
    file.sync_all().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5);
    assert_eq!(temp.contents(), b"hello");
    file.set_len(8).unwrap();
    assert_eq!(temp.contents(), b"hello\0\0\0");
    nothing_more(&port);
}

#[test]
fn a_file_that_is_only_read_is_neither_cut_nor_flushed() {
    let port = port();
    let temp = temp_file("only-read", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 7).unwrap();
    file.set_len(1).unwrap_err();
    assert_eq!(file.sync_all().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(temp.contents(), b"hello");
}

#[test]
fn metadata_is_there_while_reads_are_in_flight() {
    let port = port();
    let (_temp, file) = on_port(&port, "metadata-busy", pattern(8192));
    for i in 0..8 {
        port.initiate_read_at(&file, i, Vec::with_capacity(1024), i as u64 * 1024).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 8192);
    }
    for mut completion in complete_all(&port, 8) {
        let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
        assert_eq!(buffer, pattern_from(completion.context * 1024, 1024));
    }
}

#[test]
fn a_file_dropped_with_operations_in_flight_completes_them_all() {
    const READS: usize = 20;
    let port = port();
    let (_temp, file) = on_port(&port, "dropped", pattern(READS * 1000));
    for i in 0..READS {
        port.initiate_read_at(&file, i, Vec::with_capacity(1000), i as u64 * 1000).unwrap();
    }
    drop(file);
    let mut seen = [false; READS];
    for mut completion in complete_all(&port, READS) {
        let i = completion.context;
        assert!(!std::mem::replace(&mut seen[i], true));
        let buffer = completion.operation.take_buffer::<Vec<u8>>().unwrap();
        // Each was either faster than the close or cancelled by it.
        match completion.error_status {
            Ok(()) => assert_eq!(buffer, pattern_from(i * 1000, 1000)),
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                assert_eq!(buffer, b"");
            }
        }
    }
    nothing_more(&port);
}

#[test]
fn a_cancelled_read_has_its_bytes_or_says_that_it_was_cancelled() {
    let port = port();
    let (_temp, file) = on_port(&port, "cancel", pattern(1000));
    for i in 0..few(50) {
        let mut pending = port.initiate_read_at(&file, i, Vec::with_capacity(1000), 0).unwrap();
        pending.cancel().unwrap();
        let completion = complete(&port);
        assert_eq!(completion.context, i);
        let buffer = pending.take_buffer().unwrap();
        match completion.error_status {
            Ok(()) => assert_eq!(buffer, pattern(1000)),
            Err(error) => assert!(error.is_cancelled() && buffer.is_empty(), "{error}"),
        }
        assert_eq!(pending.cancel(), Ok(false));
    }
    nothing_more(&port);
}

#[test]
fn two_handles_to_one_file_see_each_others_writes() {
    let port = port();
    let temp = temp_file("shared", "hello world");
    let one = port.add_handle(overlapped_file(temp.path(), true, true), 1).unwrap();
    let other = port.add_handle(overlapped_file(temp.path(), true, true), 2).unwrap();
    port.initiate_write_at(&one, 10, "HELLO", 0).unwrap();
    let completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (10, 1));
    port.initiate_read_at(&other, 20, Vec::with_capacity(64), 0).unwrap();
    let mut completion = complete(&port);
    assert_eq!((completion.context, completion.handle_context), (20, 2));
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"HELLO world");
}

#[test]
fn two_handles_to_one_file_complete_on_two_ports() {
    let (port_one, port_other) = (port(), port());
    let temp = temp_file("two-ports", "hello world");
    let one = port_one.add_handle(overlapped_file(temp.path(), true, false), 1).unwrap();
    let other = port_other.add_handle(overlapped_file(temp.path(), true, false), 2).unwrap();
    port_one.initiate_read_at(&one, 10, Vec::with_capacity(5), 0).unwrap();
    port_other.initiate_read_at(&other, 20, Vec::with_capacity(5), 6).unwrap();
    let mut completion = complete(&port_other);
    assert_eq!(completion.context, 20);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"world");
    nothing_more(&port_other);
    let mut completion = complete(&port_one);
    assert_eq!(completion.context, 10);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    nothing_more(&port_one);
}

#[test]
fn a_file_that_is_deleted_meanwhile_can_still_be_read_and_written() {
    let port = port();
    let (temp, file) = on_port(&port, "deleted", "hello world");
    std::fs::remove_file(temp.path()).unwrap();
    assert_eq!(read(&port, &file, 64, 6), b"world");
    write(&port, &file, b"HELLO", 0);
    assert_eq!(read(&port, &file, 64, 0), b"HELLO world");
    drop(file);
    assert!(!temp.path().exists());
}

#[test]
fn a_read_appends_to_the_spare_capacity_of_a_vector() {
    let port = port();
    let (_temp, file) = on_port(&port, "spare", "hello world");
    let mut pending = port.initiate_read_at(&file, 1, Vec::with_capacity(5), 0).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 5);
    let mut buffer = pending.take_buffer().unwrap();
    assert_eq!(buffer, b"hello");
    buffer.reserve(100);
    let mut pending = port.initiate_read_at(&file, 1, buffer, 5).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 6);
    assert_eq!(pending.take_buffer().unwrap(), b"hello world");
}

#[test]
fn a_slice_is_read_into_in_the_middle_of_its_buffer() {
    let port = port();
    let (_temp, file) = on_port(&port, "slice", "hello world");
    let slice = b"0123456789".to_vec().slice(3..6);
    let mut pending = port.initiate_read_at(&file, 1, slice, 6).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 3);
    let slice = pending.take_buffer().unwrap();
    assert_eq!(slice.as_ref(), b"wor");
    assert_eq!(slice.into_inner(), b"012wor6789");
}

#[test]
fn a_slice_writes_only_its_part() {
    let port = port();
    let (temp, file) = on_port(&port, "write-slice", "hello world");
    let slice = b"0123456789".to_vec().slice(3..=5);
    let mut pending = port.initiate_write_at(&file, 1, slice, 1).unwrap();
    assert_eq!(complete(&port).bytes_transferred, 3);
    assert_eq!(pending.take_buffer().unwrap().into_inner(), b"0123456789");
    drop(file);
    assert_eq!(temp.contents(), b"h345o world");
}

#[test]
fn reads_and_writes_of_different_buffer_types_mix_on_one_handle() {
    let port = port();
    let (_temp, file) = on_port(&port, "mixed", pattern(4096));
    port.initiate_read_at(&file, 0, Vec::with_capacity(10), 0).unwrap();
    port.initiate_read_at(&file, 1, [0_u8; 10], 10).unwrap();
    port.initiate_read_at(&file, 2, vec![0_u8; 10].into_boxed_slice(), 20).unwrap();
    port.initiate_write_at(&file, 3, String::from("text"), 8000).unwrap();
    let mut completions: HashMap<usize, _> = complete_all(&port, 4)
        .into_iter()
        .map(|completion| (completion.context, completion))
        .collect();
    let mut take = |context| completions.remove(&context).unwrap().operation;
    assert_eq!(take(0).take_buffer::<Vec<u8>>().unwrap(), pattern(10));
    assert_eq!(take(1).take_buffer::<[u8; 10]>().unwrap().to_vec(), pattern_from(10, 10));
    assert_eq!(take(2).take_buffer::<Box<[u8]>>().unwrap().to_vec(), pattern_from(20, 10));
    assert_eq!(take(3).take_buffer::<String>().unwrap(), "text");
}

#[test]
#[cfg_attr(miri, ignore = "uses what Miri does not have")]
fn what_other_handles_write_synchronously_is_read() {
    let port = port();
    let (temp, file) = on_port(&port, "synchronous", "hello");
    let mut writer = OpenOptions::new().write(true).open(temp.path()).unwrap();
    writer.seek(SeekFrom::Start(5)).unwrap();
    writer.write_all(b" world").unwrap();
    assert_eq!(read(&port, &file, 64, 0), b"hello world");
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn a_file_opened_to_append_appends_at_any_offset() {
    let port = port();
    let temp = temp_file("append-mode", "hello");
    let mut options = OpenOptions::new();
    let file = options.append(true).custom_flags(FILE_FLAG_OVERLAPPED).open(temp.path()).unwrap();
    let file = port.add_handle(file, 7).unwrap();
    write(&port, &file, b" world", 0);
    drop(file);
    assert_eq!(temp.contents(), b"hello world");
}

#[test]
fn an_operation_through_another_port_is_refused() {
    let (mine, other) = (port(), port());
    let (temp, file) = on_port(&mine, "wrong-port", "hello");
    let rejected = other.initiate_read_at(&file, 456, [9_u8; 4], 0).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    assert_eq!(rejected.returned, (456, [9; 4]));
    let rejected = other.initiate_write_at(&file, 457, "HELLO", 0).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WrongPort);
    assert_eq!(rejected.returned, (457, "HELLO"));
    nothing_more(&mine);
    nothing_more(&other);
    assert_eq!(temp.contents(), b"hello");
}

#[test]
fn no_number_of_failed_calls_uses_up_the_operations_of_a_port() {
    let temp = temp_file("failures", "x");
    let port: Iocp = Iocp::builder().max_operations(4).build().unwrap();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 1).unwrap();
    for _ in 0..20 {
        let rejected = port.initiate_write_at(&file, 1, "x", 0).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::PermissionDenied);
        // A packet that a failed call may have left comes before this.
        nothing_more(&port);
    }
    for context in 0..4 {
        port.post(context, 0, 0).unwrap();
    }
    assert_eq!(complete_all(&port, 4).len(), 4);
}

/// What a failed call may have left, and what follows it, are nobody's.
#[test]
fn a_wait_goes_on_after_a_packet_that_is_not_to_be_seen() {
    let temp = temp_file("wait", "x");
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 1).unwrap();
    port.initiate_write_at(&file, 1, "x", 0).unwrap_err();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| port.get_completion().unwrap().context);
        eventually("the operation is of use again", || port.post(4, 0, 0).is_ok());
        assert_eq!(waits.join().unwrap(), 4);
    });
}

/// Wine fails such reads once it has tried them, and queues a packet all the same.
#[test]
#[cfg(not(simulated_kernel))] // the model has no Unix files
fn a_late_packet_of_a_failed_read_is_no_other_operations() {
    let Ok(null) =
        OpenOptions::new().read(true).custom_flags(FILE_FLAG_OVERLAPPED).open(r"\\?\unix\dev\null")
    else {
        return support::skipped_without("a Unix device");
    };
    let port = port();
    let null = port.add_handle(null, 1).unwrap();
    let (mut client, server) = support::stream_pair();
    let server = port.add_handle(server, 2).unwrap();
    for round in 0..5 {
        port.initiate_read(&null, 10, Vec::with_capacity(64)).unwrap();
        // It may get the memory of the one before.
        let mut pending = port.initiate_read(&server, 11, Vec::with_capacity(64)).unwrap();
        let end = complete(&port);
        assert_eq!((end.context, end.result()), (10, Ok(0)));
        nothing_more(&port);
        assert!(!pending.is_completed());
        client.write_all(b"hello").unwrap();
        assert_eq!(complete(&port).result(), Ok(5), "{round}");
        assert_eq!(pending.take_buffer().unwrap(), b"hello");
    }
}
