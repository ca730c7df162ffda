//! Pages, and transfers of unbuffered files to and from several places.
#![cfg(windows)]

mod support;

use std::fs::{File, OpenOptions};

use completion_port::fs::OpenOverlapped;
use completion_port::{Associated, ErrorKind, IoBuf, Iocp, PageList, Pages, op};
use support::{TempFile, complete, nothing_more, overlapped_file, port, temp_file};

const PAGE: usize = Pages::SIZE;
const TRANSFER: usize = 1;

/// A file with these contents that is not buffered, where that makes a difference.
fn unbuffered(port: &Iocp, contents: impl AsRef<[u8]>) -> (TempFile, Associated<File>) {
    const FILE_FLAG_NO_BUFFERING: u32 = 0x2000_0000;
    let temp = temp_file("scatter", contents);
    let file = if cfg!(miri) {
        overlapped_file(temp.path(), true, true)
    } else {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.open_overlapped_with(temp.path(), FILE_FLAG_NO_BUFFERING).unwrap()
    };
    (temp, port.add_handle(file, 7).unwrap())
}

/// Bytes that tell the pages apart. (Those of `support::pattern` take Miri long.)
fn pattern(length: usize) -> Vec<u8> {
    let pages: Vec<_> = (1..).take(length.div_ceil(PAGE)).map(|number| [number; PAGE]).collect();
    pages.concat()[..length].to_vec()
}

fn list(pages: &[usize]) -> PageList {
    PageList::new(pages.iter().map(|count| Pages::new(*count)).collect())
}

/// The bytes of a list, in order.
fn bytes(list: &PageList) -> Vec<u8> {
    list.iter().map(|pages| &**pages).collect::<Vec<_>>().concat()
}

/// What a read gives, and how many bytes it has counted.
#[track_caller]
fn read(port: &Iocp, file: &Associated<File>, into: PageList, offset: u64) -> (PageList, usize) {
    port.initiate(file, TRANSFER, op::ReadScatter::new(into).at(offset)).unwrap();
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    (completion.operation.output().unwrap(), completion.bytes_transferred as usize)
}

#[test]
fn pages_are_aligned_and_as_many_as_were_asked_for() {
    for count in [0, 1, 2, 17] {
        let mut pages = Pages::new(count);
        assert_eq!(pages.len(), count * PAGE);
        assert_eq!(pages.as_ptr().addr() % PAGE, 0);
        assert!(*pages == *vec![0; count * PAGE]);
        pages.fill(7);
        assert!(*pages.clone() == *pages);
    }
    assert_eq!(format!("{:?}", Pages::new(3)), "Pages(3)");
}

#[test]
fn an_unbuffered_file_is_read_into_pages_and_written_from_them() {
    let port = port();
    let (temp, file) = unbuffered(&port, pattern(2 * PAGE + 100));
    port.initiate_read_at(&file, TRANSFER, Pages::new(4), 0).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.bytes_transferred as usize, 2 * PAGE + 100);
    let pages: Pages = completion.operation.take_buffer().unwrap();
    assert!(pages[..2 * PAGE + 100] == pattern(2 * PAGE + 100));
    assert!(pages[2 * PAGE + 100..] == [0; 2 * PAGE - 100]);

    // A part of them, as of any buffer.
    port.initiate_write_at(&file, TRANSFER, pages.slice(PAGE..2 * PAGE), 0).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    drop(file);
    assert!(temp.contents()[..PAGE] == pattern(2 * PAGE)[PAGE..]);
}

#[test]
fn pages_in_several_places_are_filled_in_order() {
    let port = port();
    let (_temp, file) = unbuffered(&port, pattern(8 * PAGE));
    let (pages, count) = read(&port, &file, list(&[1, 0, 3, 2]), PAGE as u64);
    assert_eq!(count, 6 * PAGE);
    assert!(bytes(&pages) == pattern(8 * PAGE)[PAGE..7 * PAGE]);
    // Again, and in another order.
    let mut runs = pages.into_inner();
    runs.reverse();
    let (pages, count) = read(&port, &file, PageList::new(runs), 0);
    assert_eq!((count, pages[0].len()), (6 * PAGE, 2 * PAGE));
    assert!(bytes(&pages) == pattern(6 * PAGE));
    nothing_more(&port);
}

#[test]
fn a_read_finds_the_end_of_the_file_as_others_do() {
    let port = port();
    let (_temp, file) = unbuffered(&port, pattern(2 * PAGE + 100));
    let (pages, count) = read(&port, &file, list(&[2, 2]), PAGE as u64);
    assert_eq!(count, PAGE + 100);
    assert!(bytes(&pages)[..count] == pattern(2 * PAGE + 100)[PAGE..]);
    // The end, and behind it.
    for offset in [3, 4, 1000] {
        let (_, count) = read(&port, &file, list(&[1, 1]), offset * PAGE as u64);
        assert_eq!(count, 0);
    }
    nothing_more(&port);
}

#[test]
fn pages_from_several_places_are_written_in_order() {
    let port = port();
    let (temp, file) = unbuffered(&port, pattern(4 * PAGE));
    let mut pages = list(&[1, 2]);
    pages[0].fill(b'a');
    pages[1].fill(b'b');
    let write = op::WriteGather::new(pages).at(2 * PAGE as u64);
    port.initiate(&file, TRANSFER, write).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.bytes_transferred as usize, 3 * PAGE);
    let pages: PageList = completion.operation.output().unwrap();
    assert!(*pages[1] == [b'b'; 2 * PAGE]);
    drop(file);
    let expected = [&pattern(2 * PAGE)[..], &[b'a'; PAGE], &[b'b'; 2 * PAGE]].concat();
    assert!(temp.contents() == expected);
    nothing_more(&port);
}

/// What is exchanged between two lists goes with its own pages.
#[test]
fn pages_that_change_places_are_filled_where_they_are() {
    let port = port();
    let (_temp, file) = unbuffered(&port, pattern(4 * PAGE));
    let (mut one, _) = read(&port, &file, list(&[1, 1]), 0);
    let (mut other, _) = read(&port, &file, list(&[1, 1]), 2 * PAGE as u64);
    std::mem::swap(&mut one[1], &mut other[0]);
    let (one, _) = read(&port, &file, one, 0);
    assert!(bytes(&one) == pattern(2 * PAGE));
    assert!(bytes(&other)[..PAGE] == pattern(2 * PAGE)[PAGE..]);
    // One that has become longer.
    let mut one = one;
    one[1] = Pages::new(3);
    let (one, _) = read(&port, &file, one, 0);
    assert!(bytes(&one) == pattern(4 * PAGE));
}

#[test]
fn what_cannot_be_scattered_is_refused_and_comes_back() {
    let port = port();
    let (_temp, file) = unbuffered(&port, pattern(2 * PAGE));
    let read = op::ReadScatter::new(list(&[2])); // from nowhere
    let rejected = port.initiate(&file, TRANSFER, read).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert_eq!(bytes(&rejected.returned.1).len(), 2 * PAGE);
    let read = op::ReadScatter::new(list(&[])).at(0);
    assert_eq!(
        port.initiate(&file, TRANSFER, read).unwrap_err().error.kind(),
        ErrorKind::InvalidInput
    );

    // A file that is buffered, which the model does not tell apart.
    if !cfg!(simulated_kernel) {
        let temp = temp_file("buffered", pattern(2 * PAGE));
        let buffered = port.add_handle(overlapped_file(temp.path(), true, true), 7).unwrap();
        let read = op::ReadScatter::new(list(&[1])).at(0);
        let rejected = port.initiate(&buffered, TRANSFER, read).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert_eq!(rejected.error.call(), Some("ReadFileScatter"));
        let write = op::WriteGather::new(rejected.returned.1).at(0);
        let rejected = port.initiate(&buffered, TRANSFER, write).unwrap_err();
        assert_eq!(rejected.error.call(), Some("WriteFileGather"));
        assert_eq!(bytes(&rejected.returned.1).len(), PAGE);
    }
    nothing_more(&port);
}

#[cfg(simulated_kernel)] // other kernels cannot be told
mod told {
    use simulated_kernel::{Chance, behave};

    use super::*;

    #[test]
    fn late_or_at_once_the_pages_are_those_of_the_file() {
        for inline in [Chance::Always, Chance::Never] {
            for written_at_dequeue in [Chance::Always, Chance::Never] {
                let port = port();
                let (_temp, file) = unbuffered(&port, pattern(3 * PAGE));
                let _behaving = behave(|kernel| {
                    kernel.inline = inline;
                    kernel.written_at_dequeue = written_at_dequeue;
                });
                let (pages, _) = read(&port, &file, list(&[2, 1]), 0);
                assert!(bytes(&pages) == pattern(3 * PAGE));
            }
        }
    }

    #[test]
    fn a_failure_gives_the_pages_back_whenever_it_comes() {
        let port = port();
        let (_temp, file) = unbuffered(&port, pattern(2 * PAGE));
        let behaving = behave(|kernel| kernel.refuse.push_back(1450));
        let read = op::ReadScatter::new(list(&[1, 1])).at(0);
        let rejected = port.initiate(&file, TRANSFER, read).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
        drop(behaving);
        let _behaving = behave(|kernel| {
            kernel.inline = Chance::Never;
            kernel.fail.push_back(0xC000_009A);
        });
        let write = op::WriteGather::new(rejected.returned.1).at(0);
        port.initiate(&file, TRANSFER, write).unwrap();
        let mut completion = complete(&port);
        assert!(completion.error_status.is_err());
        assert_eq!(completion.operation.output::<PageList>().unwrap().len(), 2);
    }

    #[test]
    fn a_read_that_reports_more_than_it_was_asked_for_does_no_harm() {
        let port = port();
        let (_temp, file) = unbuffered(&port, pattern(4 * PAGE));
        let _behaving = behave(|kernel| kernel.over_report = PAGE as u32);
        let (pages, _) = read(&port, &file, list(&[1, 1]), 0);
        assert!(bytes(&pages) == pattern(2 * PAGE));
    }

    #[test]
    fn the_end_is_found_where_the_system_calls_the_offset_invalid() {
        let port = port();
        let (_temp, file) = unbuffered(&port, pattern(2 * PAGE));
        let _behaving = behave(|kernel| kernel.unbuffered = true);
        assert_eq!(read(&port, &file, list(&[1]), 2 * PAGE as u64).1, 0);
    }
}
