//! What can be read into and written from.
#![cfg(windows)]
#![allow(clippy::large_stack_arrays, reason = "they are what is tested")]

mod support;

use std::borrow::Cow;
use std::io::Write;
use std::ops::Bound;
use std::os::windows::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex};

use completion_port::{ErrorKind, IoBuf, IoBufMut, Iocp, Rejected, Slice};
use support::ledger::{Entry, Ledger};
use support::restless::Restless;
use support::{
    FILE_FLAG_OVERLAPPED, complete, complete_all, datagram_pair, dequeue_raw, nothing_more,
    overlapped_file, pattern, pattern_from, pipe_pair, port, post_raw, stream_pair, temp_file,
};

/// Reads from the start of a file with these contents, and returns the buffer,
/// taken from the `Pending`, and the byte count.
fn read_with<B: IoBufMut + Send + 'static>(buffer: B, contents: &[u8]) -> (B, usize) {
    let temp = temp_file("buffer", contents);
    let port = port();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let mut pending = port.initiate_read_at(&file, 1, buffer, 0).unwrap();
    assert!(pending.take_buffer().is_none());
    let completion = complete(&port);
    completion.error_status.unwrap();
    let buffer = pending.take_buffer().unwrap();
    assert!(pending.take_buffer().is_none());
    (buffer, completion.bytes_transferred as usize)
}

/// Writes to a file, and returns its contents and the buffer, taken from the
/// completion.
fn write_with<B: IoBuf + Send + 'static>(buffer: B) -> (Vec<u8>, B) {
    let temp = temp_file("buffer", "");
    let port = port();
    let file = port.add_handle(overlapped_file(temp.path(), false, true), 0).unwrap();
    let pending = port.initiate_write_at(&file, 1, buffer, 0).unwrap();
    let mut completion = complete(&port);
    completion.error_status.unwrap();
    let buffer = completion.operation.take_buffer::<B>().unwrap();
    assert!(completion.operation.take_buffer::<B>().is_none());
    drop((pending, file));
    let contents = temp.contents();
    assert_eq!(contents.len(), completion.bytes_transferred as usize);
    (contents, buffer)
}

#[test]
fn a_read_appends_to_a_vector_and_keeps_what_it_held() {
    let mut buffer = Vec::with_capacity(100);
    buffer.extend_from_slice(b"before ");
    let (buffer, count) = read_with(buffer, b"hello");
    assert_eq!(count, 5);
    assert_eq!(buffer, b"before hello");
    assert_eq!(buffer.capacity(), 100);
}

#[test]
fn a_read_never_puts_more_into_a_vector_than_its_spare_capacity() {
    let mut buffer = Vec::with_capacity(10);
    buffer.extend_from_slice(b"1234567");
    let room = buffer.capacity() - 7;
    let (buffer, count) = read_with(buffer, &[b'x'; 1000]);
    assert_eq!(count, room);
    assert_eq!(buffer.len(), 7 + room);
    assert_eq!(buffer.capacity(), 7 + room);
    assert_eq!(&buffer[..7], b"1234567");
    assert!(buffer[7..].iter().all(|&byte| byte == b'x'));
}

#[test]
fn a_vector_stays_where_it_is() {
    let buffer = Vec::with_capacity(100);
    let address = buffer.as_ptr();
    let (buffer, _) = read_with(buffer, b"hello");
    assert_eq!(buffer.as_ptr(), address);
    let (contents, buffer) = write_with(buffer);
    assert_eq!(contents, b"hello");
    assert_eq!(buffer.as_ptr(), address);
    assert_eq!(buffer.capacity(), 100);
}

/// It would complete with 0 bytes, as if the stream had ended, however much
/// there is to read.
#[test]
fn a_read_without_room_is_refused_whatever_it_is_of_and_into() {
    fn check<B: IoBufMut + Send + 'static>(make: impl Fn() -> B) {
        let refuses = |rejected: Rejected<(usize, B)>| {
            assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
            assert_eq!(rejected.error.raw_os_error(), None);
            let (context, mut buffer) = rejected.returned;
            assert_eq!((context, buffer.writable().1), (456, 0));
            assert_eq!(buffer.initialized().1, make().initialized().1);
        };
        let port = port();
        let (mut client, stream) = stream_pair();
        let (peer, datagrams) = datagram_pair();
        let (pipe, other_end) = pipe_pair(true);
        let temp = temp_file("no-room", "hello");
        let stream = port.add_handle(stream, 0).unwrap();
        let datagrams = port.add_handle(datagrams, 0).unwrap();
        let pipe = port.add_handle(pipe, 0).unwrap();
        let other_end = port.add_handle(other_end, 0).unwrap();
        let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
        client.write_all(b"hello").unwrap();
        peer.send(b"hello").unwrap();
        port.initiate_write(&other_end, 1, "hello").unwrap();
        complete(&port);
        refuses(port.initiate_read(&stream, 456, make()).map(drop).unwrap_err());
        refuses(port.initiate_read(&datagrams, 456, make()).map(drop).unwrap_err());
        refuses(port.initiate_read(&pipe, 456, make()).map(drop).unwrap_err());
        refuses(port.initiate_read_at(&file, 456, make(), 0).map(drop).unwrap_err());
        port.scope(|scope| {
            for rejected in [
                scope.initiate_read(&stream, 456, &mut []).map(drop),
                scope.initiate_read_at(&file, 456, &mut [], 0).map(drop),
            ] {
                let rejected = rejected.unwrap_err();
                assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
                assert_eq!(rejected.returned, 456);
            }
        });
        nothing_more(&port);
        // All of it is still there.
        port.initiate_read(&stream, 1, [0; 5]).unwrap();
        port.initiate_read(&datagrams, 1, [0; 5]).unwrap();
        port.initiate_read(&pipe, 1, [0; 5]).unwrap();
        for mut completion in complete_all(&port, 3) {
            assert_eq!(completion.operation.take_buffer(), Some(*b"hello"));
        }
    }
    check(Vec::new);
    check(|| b"full".to_vec().into_boxed_slice().into_vec());
    check(|| b"none".to_vec().slice(4..));
    check(Box::<[u8]>::default);
    check(|| [0; 0]);
    check::<&'static mut [u8]>(|| &mut []);
}

#[test]
fn a_write_from_a_vector_sends_its_contents_and_not_its_spare_capacity() {
    let mut buffer = Vec::with_capacity(1000);
    buffer.extend_from_slice(b"hello");
    let (contents, buffer) = write_with(buffer);
    assert_eq!(contents, b"hello");
    assert_eq!((buffer.as_slice(), buffer.capacity()), (&b"hello"[..], 1000));
}

#[test]
fn a_boxed_slice_is_overwritten_from_its_start() {
    let buffer = vec![b'.'; 8].into_boxed_slice();
    let address = buffer.as_ptr();
    let (buffer, count) = read_with(buffer, b"hello");
    assert_eq!((&*buffer, count), (&b"hello..."[..], 5));
    assert_eq!(buffer.as_ptr(), address);
    let (contents, buffer) = write_with(buffer);
    assert_eq!(contents, b"hello...");
    assert_eq!(buffer.as_ptr(), address);
}

#[test]
fn a_boxed_array_is_overwritten_and_stays_where_it_is() {
    let buffer = Box::new([b'.'; 8]);
    let address = buffer.as_ptr();
    let (buffer, count) = read_with(buffer, b"hello");
    assert_eq!((*buffer, count), (*b"hello...", 5));
    let (contents, buffer) = write_with(buffer);
    assert_eq!(contents, b"hello...");
    assert_eq!(buffer.as_ptr(), address);
}

#[test]
fn a_small_array_moves_in_and_out() {
    assert_eq!(read_with([b'.'; 8], b"hello"), (*b"hello...", 5));
    assert_eq!(write_with(*b"hello"), (b"hello".to_vec(), *b"hello"));
}

#[test]
fn an_array_of_a_page_or_two_moves_in_and_out() {
    let (buffer, count) = read_with([0; 8192], &pattern(10_000));
    assert_eq!(count, 8192);
    assert!(buffer[..] == pattern(8192)[..]);
    let (contents, buffer) = write_with(buffer);
    assert!(contents == buffer);
}

/// More than a cell keeps for its next operation.
const LARGE: usize = 100_000;

/// Arrays move by value, and without optimisation leave many copies behind.
fn on_a_large_stack(test: fn()) {
    std::thread::Builder::new().stack_size(64 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn an_array_beyond_the_largest_block_that_is_kept_moves_in_and_out() {
    on_a_large_stack(|| {
        let (buffer, count) = read_with([0; LARGE], &pattern(LARGE));
        assert_eq!(count, LARGE);
        assert!(buffer[..] == pattern(LARGE)[..]);
        let (contents, _) = write_with(buffer);
        assert!(contents == pattern(LARGE));
    });
}

#[test]
fn an_empty_array_is_a_write_of_no_bytes() {
    assert_eq!(write_with([]), (vec![], []));
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn leaked_memory_is_read_into() {
    let buffer: &'static mut [u8] = Box::leak(vec![b'.'; 8].into_boxed_slice());
    let (buffer, count) = read_with(buffer, b"hello");
    assert_eq!((&*buffer, count), (&b"hello..."[..], 5));
    let (contents, buffer) = write_with(buffer);
    assert_eq!(contents, b"hello...");
    buffer[0] = b'H';
    let array: &'static mut [u8; 8] = buffer.try_into().unwrap();
    let (array, count) = read_with(array, b"J");
    assert_eq!((&*array, count), (b"Jello...", 1));
}

#[test]
fn everything_immutable_is_written() {
    static TEXT: LazyLock<String> = LazyLock::new(|| "text".into());
    assert_eq!(write_with(&b"static"[..]).0, b"static");
    assert_eq!(write_with(b"array").0, b"array");
    assert_eq!(write_with("text").0, b"text");
    assert_eq!(write_with(String::from("string")), (b"string".to_vec(), "string".into()));
    assert_eq!(write_with(Box::<str>::from("boxed")).0, b"boxed");
    assert_eq!(write_with(Cow::Borrowed(&b"lent"[..])).0, b"lent");
    assert_eq!(write_with(Cow::<[u8]>::Owned(b"owned".to_vec())).0, b"owned");
    assert_eq!(write_with(Cow::Borrowed("lent")).0, b"lent");
    assert_eq!(write_with(Cow::<str>::Owned("owned".into())).0, b"owned");
    assert_eq!(write_with(Arc::new(*b"array")).0, b"array");
    assert_eq!(write_with(Arc::new(b"vector".to_vec()).slice(2..)).0, b"ctor");
    assert_eq!(write_with(&*TEXT).0, b"text");
}

/// What else holds an `Arc` can neither change nor free it.
#[test]
fn a_shared_buffer_stays_what_it_is_while_it_is_written() {
    let (port, (pipe, other_end)) = (port(), pipe_pair(false));
    let pipe = port.add_handle(pipe, 0).unwrap();
    let other_end = port.add_handle(other_end, 0).unwrap();
    let mut shared = Arc::new(b"hello".to_vec());
    let address = shared.as_ptr();
    port.initiate_write(&pipe, 1, Arc::clone(&shared)).unwrap();
    assert_eq!(Arc::get_mut(&mut shared), None);
    Arc::make_mut(&mut shared).fill(b'.');
    drop(shared);
    port.initiate_read(&other_end, 2, [0; 5]).unwrap();
    for _ in 0..2 {
        let mut completion = complete(&port);
        if completion.context == 1 {
            let shared: Arc<Vec<u8>> = completion.operation.output().unwrap();
            assert_eq!((shared.as_ptr(), &**shared), (address, &b"hello"[..]));
        } else {
            assert_eq!(completion.operation.take_buffer(), Some(*b"hello"));
        }
    }
}

#[test]
fn shared_bytes_are_written_from_several_operations_at_once() {
    const COUNT: usize = 10;
    let shared: Arc<[u8]> = pattern(1000).into();
    let temp = temp_file("shared", "");
    let port = port();
    let file = port.add_handle(overlapped_file(temp.path(), false, true), 0).unwrap();
    for i in 0..COUNT {
        port.initiate_write_at(&file, i, Arc::clone(&shared), 1000 * i as u64).unwrap();
    }
    for _ in 0..COUNT {
        let mut completion = complete(&port);
        let buffer = completion.operation.take_buffer::<Arc<[u8]>>().unwrap();
        assert!(Arc::ptr_eq(&buffer, &shared));
    }
    assert_eq!(Arc::strong_count(&shared), 1);
    drop(file);
    assert!(temp.contents() == pattern(1000).repeat(COUNT));
    assert_eq!(write_with(Arc::<str>::from("text")).0, b"text");
}

/// An array at an address of a certain alignment.
macro_rules! aligned {
    ($name:ident, $align:literal, $size:literal) => {
        #[repr(align($align))]
        #[derive(Clone)]
        struct $name([u8; $size]);

        // SAFETY: The bytes are initialised, and the value's own.
        unsafe impl IoBuf for $name {
            fn initialized(&self) -> (*const u8, usize) {
                assert!(self.0.as_ptr().addr() % $align == 0, "misplaced");
                (self.0.as_ptr(), self.0.len())
            }
        }

        // SAFETY: As above.
        unsafe impl IoBufMut for $name {
            fn initialized_mut(&mut self) -> (*mut u8, usize) {
                self.writable()
            }
            fn writable(&mut self) -> (*mut u8, usize) {
                assert!(self.0.as_ptr().addr() % $align == 0, "misplaced");
                (self.0.as_mut_ptr(), self.0.len())
            }
            unsafe fn advance(&mut self, _bytes: usize) {}
        }
    };
}

aligned!(Line, 64, 64);
aligned!(SmallLine, 16, 16);
aligned!(Page, 4096, 8192);

#[test]
fn over_aligned_buffers_keep_their_alignment() {
    let (buffer, count) = read_with(Line([b'.'; 64]), b"hello");
    assert_eq!((&buffer.0[..8], count), (&b"hello..."[..], 5));
    assert_eq!(&write_with(buffer).0[..8], b"hello...");
    let (buffer, count) = read_with(SmallLine([b'.'; 16]), b"hello");
    assert_eq!((&buffer.0[..8], count), (&b"hello..."[..], 5));
    let (buffer, count) = read_with(Page([b'.'; 8192]), &pattern(5000));
    assert_eq!(count, 5000);
    assert!(buffer.0[..5000] == pattern(5000)[..]);
    assert!(write_with(buffer).0[..5000] == pattern(5000)[..]);
}

/// Where the context is in the same block, and ends anywhere.
#[test]
fn over_aligned_buffers_keep_their_alignment_next_to_contexts_of_odd_sizes() {
    fn read_next_to<const N: usize>() {
        let temp = temp_file("next-to", pattern(100));
        let port: Iocp<[u8; N]> = support::port_of();
        let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
        port.initiate_read_at(&file, [N as u8; N], Line([0; 64]), 1).unwrap();
        let mut completion = complete(&port);
        assert_eq!(completion.context, [N as u8; N]);
        let line = completion.operation.take_buffer::<Line>().unwrap();
        assert_eq!(line.0[..], pattern_from(1, 64));
    }
    read_next_to::<1>();
    read_next_to::<49>();
    read_next_to::<63>();
    read_next_to::<64>();
    read_next_to::<65>();
}

#[test]
fn buffers_of_every_size_and_alignment_take_turns_in_the_same_memory() {
    on_a_large_stack(take_turns);
}

fn take_turns() {
    let temp = temp_file("turns", pattern(10_000));
    // One operation at a time, so the same cell each time.
    let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for round in 0..3 {
        macro_rules! turn {
            ($buffer:expr, $type:ty, $bytes:expr) => {
                port.initiate_read_at(&file, round, $buffer, 100).unwrap();
                let mut completion = complete(&port);
                assert_eq!(completion.context, round);
                let count = completion.bytes_transferred as usize;
                let buffer = completion.operation.take_buffer::<$type>().unwrap();
                assert!($bytes(&buffer)[..count] == pattern_from(100, count)[..]);
                drop(completion);
            };
        }
        turn!([0; 8], [u8; 8], |buffer: &[u8; 8]| buffer.to_vec());
        turn!(Line([0; 64]), Line, |buffer: &Line| buffer.0.to_vec());
        turn!([0; LARGE], [u8; LARGE], |buffer: &[u8; LARGE]| buffer.to_vec());
        turn!(Page([0; 8192]), Page, |buffer: &Page| buffer.0.to_vec());
        turn!([0; 500], [u8; 500], |buffer: &[u8; 500]| buffer.to_vec());
        turn!(Vec::with_capacity(50), Vec<u8>, |buffer: &Vec<u8>| buffer.clone());
    }
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn an_aligned_buffer_reads_past_the_systems_cache() {
    const FILE_FLAG_NO_BUFFERING: u32 = 0x2000_0000;
    let temp = temp_file("unbuffered", pattern(12_000));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING)
        .open(temp.path())
        .unwrap();
    let port = port();
    let file = port.add_handle(file, 0).unwrap();
    // The buffer is placed where its type wants it, which is what the file
    // wants.
    port.initiate_read_at(&file, 1, Page([0; 8192]), 8192).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(completion.bytes_transferred, 12_000 - 8192);
    let page = completion.operation.take_buffer::<Page>().unwrap();
    assert!(page.0[..12_000 - 8192] == pattern(12_000)[8192..]);
}

#[test]
fn slices_take_every_kind_of_range() {
    let whole = || b"0123456789".to_vec();
    assert_eq!(whole().slice(..).as_ref(), b"0123456789");
    assert_eq!(whole().slice(3..).as_ref(), b"3456789");
    assert_eq!(whole().slice(..3).as_ref(), b"012");
    assert_eq!(whole().slice(..=3).as_ref(), b"0123");
    assert_eq!(whole().slice(3..5).as_ref(), b"34");
    assert_eq!(whole().slice(3..=5).as_ref(), b"345");
    assert_eq!(whole().slice(10..).as_ref(), b"");
    assert_eq!(whole().slice(4..4).as_ref(), b"");
    let range = (Bound::Excluded(3), Bound::Included(5));
    assert_eq!(whole().slice(range).as_ref(), b"45");
    assert_eq!("text".slice(1..3).as_ref(), b"ex");
    assert_eq!(whole().slice(3..5).into_inner(), b"0123456789");
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
fn slices_out_of_bounds_panic() {
    let panics =
        |slice: &dyn Fn() -> Slice<Vec<u8>>| catch_unwind(AssertUnwindSafe(slice)).is_err();
    let whole = || b"0123456789".to_vec();
    assert!(panics(&|| whole().slice(..11)));
    assert!(panics(&|| whole().slice(..=10)));
    assert!(panics(&|| whole().slice(11..)));
    assert!(panics(&|| whole().slice(5..4)));
    assert!(panics(&|| whole().slice(..=usize::MAX)));
    assert!(panics(&|| whole().slice((Bound::Excluded(usize::MAX), Bound::Unbounded))));
    // Spare capacity is not part of what can be sliced.
    assert!(panics(&|| Vec::with_capacity(100).slice(..1)));
    assert!(!panics(&|| whole().slice(10..10)));
    // Not by the arithmetic, which does not panic in every build.
    let panic = catch_unwind(|| whole().slice(5..4)).unwrap_err();
    assert_eq!(*panic.downcast::<String>().unwrap(), "slice starts at 5 but ends at 4");
}

#[test]
fn slices_of_slices_count_from_the_inner_one() {
    let slice = b"0123456789".to_vec().slice(2..8).slice(1..4);
    assert_eq!(slice.as_ref(), b"345");
    let inner = slice.into_inner();
    assert_eq!(inner.as_ref(), b"234567");
    assert_eq!(inner.into_inner(), b"0123456789");
    let beyond = || b"0123456789".to_vec().slice(2..8).slice(..7);
    assert!(catch_unwind(beyond).is_err());
}

#[test]
fn a_slice_keeps_its_length_though_less_is_read() {
    let (slice, count) = read_with(b"0123456789".to_vec().slice(2..8), b"abc");
    assert_eq!((slice.as_ref(), count), (&b"abc567"[..], 3));
    assert_eq!(slice.into_inner(), b"01abc56789");
}

#[test]
fn a_slice_of_a_slice_is_read_into_and_written() {
    let slice = b"0123456789".to_vec().slice(2..8).slice(1..4);
    let (slice, count) = read_with(slice, b"hello");
    assert_eq!(count, 3);
    assert_eq!(slice.as_ref(), b"hel");
    let (contents, slice) = write_with(slice);
    assert_eq!(contents, b"hel");
    assert_eq!(slice.into_inner().into_inner(), b"012hel6789");
}

#[test]
fn a_slice_of_an_array_moves_with_it() {
    let (slice, count) = read_with([b'.'; 6].slice(1..5), b"hello");
    assert_eq!(count, 4);
    assert_eq!(slice.into_inner(), *b".hell.");
    assert_eq!(write_with([b'a', b'b', b'c'].slice(1..)).0, b"bc");
}

#[test]
fn a_slice_of_a_vector_overwrites_and_never_grows() {
    let mut buffer = Vec::with_capacity(100);
    buffer.extend_from_slice(b"0123456789");
    let (slice, count) = read_with(buffer.slice(8..), b"hello");
    assert_eq!(count, 2);
    let buffer = slice.into_inner();
    assert_eq!((buffer.as_slice(), buffer.capacity()), (&b"01234567he"[..], 100));
}

/// What was asked of the buffer before it was moved counts for nothing.
#[test]
fn a_slice_is_what_a_buffer_has_of_it_where_it_is() {
    for (left, length) in [(64, 32), (40, 8), (32, 0), (4, 0), (0, 0)] {
        let boxed = || Box::new(Restless::new([64, left]).slice(32..64));
        assert_eq!(boxed().len(), length);
        assert_eq!(boxed().initialized().1, length);
        assert_eq!(boxed().initialized_mut().1, length);
        assert_eq!(boxed().writable().1, length);
        let (contents, _) = write_with(Restless::new([64, left]).slice(32..64));
        assert_eq!(contents.len(), length);
        if length > 0 {
            let (_, count) = read_with(Restless::new([64, left]).slice(32..64), &[7; 64]);
            assert_eq!(count, length);
        }
    }
    let nested = Box::new(Restless::new([64, 64, 40]).slice(16..48).slice(8..32));
    assert_eq!(nested.len(), 16);
}

/// As the empty buffers of many pools are.
struct Nowhere;

// SAFETY: There are no bytes.
unsafe impl IoBuf for Nowhere {
    fn initialized(&self) -> (*const u8, usize) {
        (ptr::null(), 0)
    }
}

#[test]
fn a_buffer_of_no_bytes_may_be_nowhere() {
    assert_eq!(*Nowhere.slice(..), []);
    assert_eq!(Nowhere.slice(..).slice(0..).as_ref(), b"");
    assert!(write_with(Nowhere).0.is_empty());
    assert!(write_with(Nowhere.slice(..)).0.is_empty());
}

type Block = Box<[u8; 512]>;

/// A pool, and a buffer that returns to it when it is dropped.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Block>>>);

struct Pooled {
    pool: Pool,
    bytes: Option<Block>,
    filled: usize,
}

impl Pool {
    fn get(&self) -> Pooled {
        let bytes = self.0.lock().unwrap().pop().unwrap_or_else(|| Box::new([0; 512]));
        Pooled { pool: self.clone(), bytes: Some(bytes), filled: 0 }
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.0.lock().unwrap().extend(self.bytes.take());
    }
}

// SAFETY: The bytes are on the heap, and the value's own.
unsafe impl IoBuf for Pooled {
    fn initialized(&self) -> (*const u8, usize) {
        (self.bytes.as_ref().unwrap().as_ptr(), self.filled)
    }
}

// SAFETY: As above. All bytes are initialised, so that `advance` may count any.
unsafe impl IoBufMut for Pooled {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        (self.bytes.as_mut().unwrap().as_mut_ptr(), self.filled)
    }
    fn writable(&mut self) -> (*mut u8, usize) {
        let rest = &mut self.bytes.as_mut().unwrap()[self.filled..];
        (rest.as_mut_ptr(), rest.len())
    }
    unsafe fn advance(&mut self, bytes: usize) {
        self.filled += bytes;
    }
}

#[test]
fn a_pooled_buffer_appends_and_returns_to_its_pool() {
    let pool = Pool::default();
    let (buffer, count) = read_with(pool.get(), b"hello");
    assert_eq!((buffer.filled, count), (5, 5));
    let (mut buffer, count) = read_with(buffer, b" world");
    assert_eq!((buffer.filled, count), (11, 6));
    assert_eq!(pool.len(), 0);
    let (contents, _) = write_with({
        buffer.bytes.as_mut().unwrap()[0] = b'J';
        buffer
    });
    assert_eq!(contents, b"Jello world");
    assert_eq!(pool.len(), 1);
}

/// Has its length, whatever is read into it.
struct Fixed(Box<[u8; 16]>);

// SAFETY: The bytes are on the heap, initialised, and the value's own.
unsafe impl IoBuf for Fixed {
    fn initialized(&self) -> (*const u8, usize) {
        self.0.initialized()
    }
}

// SAFETY: As above.
unsafe impl IoBufMut for Fixed {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.0.initialized_mut()
    }
    fn writable(&mut self) -> (*mut u8, usize) {
        self.0.writable()
    }
    unsafe fn advance(&mut self, _bytes: usize) {
        panic!("it has said that this does nothing");
    }
    const FIXED: bool = true;
}

#[test]
fn a_buffer_that_is_fixed_is_not_told_how_much_was_read() {
    let (buffer, count) = read_with(Fixed(Box::new([b'.'; 16])), b"hello");
    assert_eq!((&buffer.0[..8], count), (&b"hello..."[..], 5));
    let (contents, _) = write_with(buffer.slice(..8));
    assert_eq!(contents, b"hello...");
}

#[test]
fn a_full_buffer_of_ones_own_is_refused() {
    let port = port();
    let (server, _client) = pipe_pair(false);
    let server = port.add_handle(server, 0).unwrap();
    let pool = Pool::default();
    let mut buffer = pool.get();
    buffer.filled = 512;
    let rejected = port.initiate_read(&server, 456, buffer).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    assert_eq!(rejected.returned.1.filled, 512);
    assert_eq!(pool.len(), 0);
    drop(rejected);
    assert_eq!(pool.len(), 1);
}

#[test]
#[cfg(target_pointer_width = "64")]
#[cfg_attr(miri, ignore = "moves more bytes than Miri can in a while")]
fn a_buffer_beyond_4_gib_is_sent_as_far_as_one_call_can() {
    // Cut to 32 bits this would be 1.
    const LENGTH: usize = (4 << 30) + 1;
    let mut buffer = Vec::<u8>::new();
    if buffer.try_reserve_exact(LENGTH).is_err() {
        return support::skipped_without("room for a buffer of 4 GiB");
    }
    drop(buffer);
    // Untouched zeros take no memory.
    let buffer = vec![0; LENGTH];
    let address = buffer.as_ptr();
    let port = port();
    let (sender, mut receiver) = support::stream_pair();
    let sender = port.add_handle(sender, 0).unwrap();
    let buffer = match port.initiate_write(&sender, 456, buffer) {
        Ok(mut pending) => {
            let mut received = [1; 1000];
            receiver.set_read_timeout(Some(support::PATIENCE)).unwrap();
            let arrived = std::io::Read::read_exact(&mut receiver, &mut received).is_ok();
            pending.cancel().unwrap();
            let completion = complete(&port);
            assert_eq!(completion.context, 456);
            match completion.error_status {
                Ok(()) => assert!(completion.bytes_transferred >= 1000),
                // As below, but late.
                Err(error) if !arrived => assert_eq!(error.kind(), ErrorKind::ResourceExhausted),
                Err(_) => {}
            }
            assert_eq!(received, if arrived { [0; 1000] } else { [1; 1000] });
            pending.take_buffer().unwrap()
        }
        // The system may lack what it takes to lock so much.
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
            assert_eq!(rejected.returned.0, 456);
            rejected.returned.1
        }
    };
    assert_eq!((buffer.as_ptr(), buffer.len()), (address, LENGTH));
}

#[test]
fn a_buffer_is_not_given_out_as_another_type() {
    let port = port();
    let temp = temp_file("types", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    port.initiate_read_at(&file, 1, Vec::with_capacity(8), 0).unwrap();
    let mut completion = complete(&port);
    assert!(completion.operation.take_buffer::<Box<[u8]>>().is_none());
    assert!(completion.operation.take_buffer::<Slice<Vec<u8>>>().is_none());
    assert!(completion.operation.take_buffer::<Vec<i8>>().is_none());
    assert!(completion.operation.take_buffer::<()>().is_none());
    // It is still there.
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    assert!(completion.operation.take_buffer::<Vec<u8>>().is_none());
}

#[test]
fn a_buffer_is_given_out_once_whoever_asks_first() {
    let port = port();
    let temp = temp_file("once", "hello");
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    let mut pending = port.initiate_read_at(&file, 1, Vec::with_capacity(8), 0).unwrap();
    let mut completion = complete(&port);
    assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
    assert!(pending.take_buffer().is_none());
    let mut pending = port.initiate_read_at(&file, 1, Vec::with_capacity(8), 0).unwrap();
    let mut completion = complete(&port);
    assert_eq!(pending.take_buffer().unwrap(), b"hello");
    assert!(completion.operation.take_buffer::<Vec<u8>>().is_none());
    assert!(pending.take_buffer().is_none());
}

/// A buffer whose drops are counted.
struct Counted(Box<[u8; 16]>, #[expect(dead_code, reason = "it is dropped")] Entry);

impl Counted {
    fn new(ledger: &Ledger, index: usize) -> Self {
        Self(Box::new([b'.'; 16]), ledger.entry(index))
    }
}

// SAFETY: The bytes are on the heap, initialised, and the value's own.
unsafe impl IoBuf for Counted {
    fn initialized(&self) -> (*const u8, usize) {
        self.0.as_slice().initialized()
    }
}

// SAFETY: As above.
unsafe impl IoBufMut for Counted {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.writable()
    }
    fn writable(&mut self) -> (*mut u8, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }
    unsafe fn advance(&mut self, _bytes: usize) {}
}

#[test]
fn a_buffer_comes_back_from_every_way_to_end_an_operation() {
    let ledger = Ledger::new(7);
    let temp = temp_file("ways", "hello");
    {
        let port = port();
        let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
        let (server, _client) = pipe_pair(false);
        let server = port.add_handle(server, 0).unwrap();

        // From the completion.
        port.initiate_read_at(&file, 0, Counted::new(&ledger, 0), 0).unwrap();
        let buffer = complete(&port).operation.take_buffer::<Counted>().unwrap();
        assert_eq!(&buffer.0[..6], b"hello.");

        // From the `Pending`, when the completion is gone.
        let mut pending = port.initiate_read_at(&file, 0, Counted::new(&ledger, 1), 0).unwrap();
        drop(complete(&port));
        assert_eq!(&pending.take_buffer().unwrap().0[..6], b"hello.");

        // After a cancel.
        let mut pending = port.initiate_read(&server, 0, Counted::new(&ledger, 2)).unwrap();
        pending.cancel().unwrap();
        assert!(complete(&port).error_status.unwrap_err().is_cancelled());
        assert_eq!(*pending.take_buffer().unwrap().0, [b'.'; 16]);

        // After the handle is gone.
        let (other, _client) = pipe_pair(false);
        let other = port.add_handle(other, 0).unwrap();
        let mut pending = port.initiate_read(&other, 0, Counted::new(&ledger, 3)).unwrap();
        drop(other);
        support::assert_ended_by_drop(&complete(&port));
        assert_eq!(*pending.take_buffer().unwrap().0, [b'.'; 16]);

        // From a start that fails.
        let rejected =
            port.initiate_read(&file, 0, Counted::new(&ledger, 4)).map(drop).unwrap_err();
        assert_eq!(*rejected.returned.1.0, [b'.'; 16]);

        // From a closed port.
        let mut pending = port.initiate_read(&server, 0, Counted::new(&ledger, 5)).unwrap();
        port.close();
        let rejected =
            port.initiate_read(&server, 0, Counted::new(&ledger, 6)).map(drop).unwrap_err();
        assert!(rejected.error.is_closed());
        assert_eq!(*rejected.returned.1.0, [b'.'; 16]);

        // From the `Pending`, after the port is gone.
        assert!(pending.take_buffer().is_none());
        drop(port);
        assert!(pending.result().unwrap().unwrap_err().is_cancelled());
        assert_eq!(*pending.take_buffer().unwrap().0, [b'.'; 16]);
    }
    ledger.assert_each_dropped_once();
}

#[test]
fn a_buffer_that_nobody_takes_is_dropped_with_the_last_who_could() {
    let ledger = Ledger::new(3);
    let temp = temp_file("nobody", "hello");
    let port = port();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();

    let pending = port.initiate_read_at(&file, 0, Counted::new(&ledger, 0), 0).unwrap();
    let completion = complete(&port);
    drop(pending);
    assert_eq!(ledger.drops(), [0, 0, 0]);
    drop(completion);
    assert_eq!(ledger.drops(), [1, 0, 0]);

    let pending = port.initiate_read_at(&file, 0, Counted::new(&ledger, 1), 0).unwrap();
    drop(complete(&port));
    assert_eq!(ledger.drops(), [1, 0, 0]);
    drop(pending);
    assert_eq!(ledger.drops(), [1, 1, 0]);

    drop(port.initiate_read_at(&file, 0, Counted::new(&ledger, 2), 0).unwrap());
    let completion = complete(&port);
    assert_eq!(ledger.drops(), [1, 1, 0]);
    drop(completion);
    assert_eq!(ledger.drops(), [1, 1, 1]);
}

#[test]
fn what_a_failed_read_may_have_left_is_not_counted() {
    let port = port();
    let (server, _client) = pipe_pair(false);
    let server = port.add_handle(server, 0).unwrap();
    let mut buffer = Vec::with_capacity(64);
    buffer.extend_from_slice(b"before");
    let mut pending = port.initiate_read(&server, 1, buffer).unwrap();
    pending.cancel().unwrap();
    assert_eq!(complete(&port).bytes_transferred, 0);
    assert_eq!(pending.take_buffer().unwrap(), b"before");
}

/// As by a driver or a layered provider that counts wrongly.
#[test]
fn the_count_is_the_operations_whatever_its_packet_says() {
    let temp = temp_file("count", "hello");
    let port = port();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();
    for tracked in [false, true] {
        let pending = port.initiate_read_at(&file, 1, Vec::with_capacity(64), 0).unwrap();
        let mut pending = tracked.then_some(pending);
        let (bytes, key, overlapped) = dequeue_raw(&port);
        assert_eq!(bytes, 5);
        post_raw(&port, 60, key, overlapped);
        let mut completion = complete(&port);
        assert_eq!((completion.context, completion.bytes_transferred), (1, 5));
        let buffer: Option<Vec<u8>> = match &mut pending {
            Some(pending) => pending.take_buffer(),
            None => completion.operation.take_buffer(),
        };
        assert_eq!(buffer.unwrap(), b"hello");
    }
}

/// A buffer that panics when it is asked for its bytes, after so many times.
struct Panics(std::cell::Cell<u32>, Counted);

impl Panics {
    fn ask(&self) {
        assert_ne!(self.0.get(), 0, "a buffer panics for the test");
        self.0.set(self.0.get() - 1);
    }
}

// SAFETY: What the inner buffer vouches for, or a panic.
unsafe impl IoBuf for Panics {
    fn initialized(&self) -> (*const u8, usize) {
        self.ask();
        self.1.initialized()
    }
}

// SAFETY: As above.
unsafe impl IoBufMut for Panics {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.ask();
        self.1.initialized_mut()
    }
    fn writable(&mut self) -> (*mut u8, usize) {
        self.ask();
        self.1.writable()
    }
    unsafe fn advance(&mut self, _bytes: usize) {
        self.ask();
    }
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose: run apart, without the leak check")]
fn a_buffer_that_panics_may_leak_but_is_never_dropped_twice_and_does_not_spoil_the_port() {
    const TIMES: u32 = 6;
    let temp = temp_file("panics", "hello");
    for writes in [false, true] {
        let ledger = Ledger::new(TIMES as usize);
        let mut calm = 0;
        {
            let port = port();
            let file = port.add_handle(overlapped_file(temp.path(), true, true), 0).unwrap();
            for times in 0..TIMES {
                let buffer = Panics(times.into(), Counted::new(&ledger, times as usize));
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    if writes {
                        port.initiate_write_at(&file, 1, buffer, 0).unwrap();
                    } else {
                        port.initiate_read_at(&file, 1, buffer, 0).unwrap();
                    }
                    let mut completion = complete(&port);
                    drop(completion.operation.take_buffer::<Panics>().unwrap());
                }));
                calm += u32::from(caught.is_ok());
                // Whatever it did, nothing was started that does not come, and
                // the next operation is as good as ever.
                while port.try_get_completion().unwrap().is_some() {}
                port.initiate_read_at(&file, 2, [0; 4], 0).unwrap();
                assert_eq!(complete(&port).context, 2);
            }
        }
        assert!((1..TIMES).contains(&calm), "{calm} of {TIMES} did not panic");
        // In the middle of an operation it may be leaked.
        assert!(ledger.drops().iter().all(|&count| count <= 1), "{:?}", ledger.drops());
        let dropped: u32 = ledger.drops().iter().sum();
        assert!(dropped >= calm, "{:?}", ledger.drops());
    }
}

#[test]
fn an_over_aligned_buffer_takes_the_place_of_a_larger_one() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);

    // SAFETY: The bytes are initialised, and the value's own.
    unsafe impl IoBuf for Page {
        fn initialized(&self) -> (*const u8, usize) {
            // What the compiler takes for granted of the type is looked up.
            assert_eq!(std::hint::black_box(self.0.as_ptr().addr()) % 4096, 0);
            (self.0.as_ptr(), self.0.len())
        }
    }

    on_a_large_stack(|| {
        let temp = temp_file("place", "");
        // One operation at a time, so the same cell each time.
        let port: Iocp = Iocp::builder().max_operations(1).build().unwrap();
        let file = port.add_handle(overlapped_file(temp.path(), false, true), 0).unwrap();
        port.initiate_write_at(&file, 1, [1; 20_000], 0).unwrap();
        drop(complete(&port));
        let pending = port.initiate_write_at(&file, 2, Page([2; 4096]), 0).unwrap();
        assert_eq!(complete(&port).bytes_transferred, 4096);
        drop((pending, file));
        assert!(temp.contents()[..4096] == [2; 4096]);
    });
}

#[test]
fn a_buffer_that_is_taken_is_dropped_once_by_its_taker() {
    let ledger = Ledger::new(2);
    let temp = temp_file("taker", "hello");
    let port = port();
    let file = port.add_handle(overlapped_file(temp.path(), true, false), 0).unwrap();

    let pending = port.initiate_read_at(&file, 1, Counted::new(&ledger, 0), 0).unwrap();
    let taken = complete(&port).operation.take_buffer::<Counted>().unwrap();
    drop(pending);
    assert_eq!(ledger.drops(), [0, 0]);
    drop(taken);

    let mut pending = port.initiate_read_at(&file, 1, Counted::new(&ledger, 1), 0).unwrap();
    let completion = complete(&port);
    let taken = pending.take_buffer().unwrap();
    drop(pending);
    drop(completion);
    assert_eq!(ledger.drops(), [1, 0]);
    drop(taken);
    ledger.assert_each_dropped_once();
}
