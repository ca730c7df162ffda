//! A part of an owned buffer.

use std::ops::{Bound, Deref, RangeBounds};
use std::ptr::NonNull;
use std::slice;

use super::{IoBuf, IoBufMut};

/// A part of the initialised bytes of a buffer, made by [`IoBuf::slice`]; it
/// owns the whole buffer.
///
/// If a buffer has fewer initialised bytes after it has been moved, as an [`IoBuf`] may, the
/// slice is what is left of the part.
#[derive(Debug)]
pub struct Slice<B> {
    buffer: B,
    start: usize,
    length: usize,
}

impl<B: IoBuf> Slice<B> {
    pub(super) fn new(buffer: B, range: impl RangeBounds<usize>) -> Self {
        let (_, whole) = buffer.initialized();
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.checked_add(1).expect("slice start overflows"),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.checked_add(1).expect("slice end overflows"),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => whole,
        };
        assert!(start <= end, "slice starts at {start} but ends at {end}");
        assert!(end <= whole, "slice ends at {end} in a buffer with {whole} initialised bytes");
        Self { buffer, start, length: end - start }
    }

    /// The part of a range of this length, as far as it has it, as an offset and
    /// a length. The bounds were checked when the slice was made; but the buffer
    /// has been moved since, and may have another range.
    fn part_of(&self, whole: usize) -> (usize, usize) {
        let start = self.start.min(whole);
        (start, self.length.min(whole - start))
    }

    /// Returns the whole buffer.
    pub fn into_inner(self) -> B {
        self.buffer
    }
}

impl<B: IoBuf> AsRef<[u8]> for Slice<B> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, length) = self.initialized();
        // Where there are no bytes, the start need not be a pointer.
        let start = if length == 0 { NonNull::dangling().as_ptr() } else { start };
        // SAFETY: The range is initialised and unchanging while `self` is
        // borrowed, by the contract of `IoBuf`.
        unsafe { slice::from_raw_parts(start, length) }
    }
}

// SAFETY: A part of a range that the inner buffer vouches for now.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn initialized(&self) -> (*const u8, usize) {
        let (whole, bytes) = self.buffer.initialized();
        let (start, length) = self.part_of(bytes);
        (whole.wrapping_add(start), length)
    }
}

// SAFETY: A part of what the buffer vouches for.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        let (whole, bytes) = self.buffer.initialized_mut();
        let (start, length) = self.part_of(bytes);
        (whole.wrapping_add(start), length)
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.initialized_mut()
    }

    unsafe fn advance(&mut self, _bytes: usize) {}

    const FIXED: bool = true;
}
