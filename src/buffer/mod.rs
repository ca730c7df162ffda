//! Buffers that the kernel may read or write while nobody else touches them.

#[cfg(feature = "bytes")]
mod bytes;
mod changes;
mod pages;
mod slice;

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::sync::Arc;

pub use changes::{Action, Change, Changes, ChangesIter, Event, Renames};
pub use pages::{PageList, Pages};
pub use slice::Slice;

/// A buffer whose initialised bytes can be sent or written.
///
/// Implemented for `Vec<u8>`, `Box<[u8]>`, `[u8; N]`, `String`, `&'static [u8]`,
/// `&'static str`, `&'static mut [u8]`, `Cow`s, `Arc`s and references of them, and
/// [`Slice`]s of any of these; with the feature `bytes`, for its `Bytes` and `BytesMut`.
/// Implement it for a pooled or registered buffer of your own:
///
/// ```
/// use completion_port::{IoBuf, IoBufMut, Iocp};
///
/// /// A page from an allocator of our own.
/// struct Page(Box<[u8; 4096]>);
///
/// // SAFETY: The bytes are on the heap, all initialised, and neither moving
/// // the `Page` nor calling `initialized` moves them.
/// unsafe impl IoBuf for Page {
///     fn initialized(&self) -> (*const u8, usize) {
///         (self.0.as_ptr(), self.0.len())
///     }
/// }
/// // SAFETY: As above; all of the page may be overwritten.
/// unsafe impl IoBufMut for Page {
///     fn initialized_mut(&mut self) -> (*mut u8, usize) {
///         (self.0.as_mut_ptr(), self.0.len())
///     }
///     fn writable(&mut self) -> (*mut u8, usize) {
///         self.initialized_mut()
///     }
///     const FIXED: bool = true;
///     unsafe fn advance(&mut self, _bytes: usize) {}
/// }
/// ```
///
/// # Safety
///
/// Each call of [`initialized`](Self::initialized) returns a range within one
/// allocation. (The start of one without bytes may be anything, null included.)
/// From then until the value is next moved, borrowed mutably, or dropped, and
/// for ever if it is none of that:
/// - the range is initialised and may be read, from any thread;
/// - nothing changes or frees it, not even through other handles to the same
///   memory;
/// - further calls return the same range.
///
/// Once the value has been moved, the range may be another, of another length,
/// too: nothing that was asked before counts then.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a buffer that can be written from",
    label = "cannot be written from",
    note = "write from a `Vec<u8>`, `Box<[u8]>`, `[u8; N]`, `String`, `&'static str`, `Arc<[u8]>`, \
            or a part of one: `buffer.slice(..n)`",
    note = "borrowed bytes are written in a scope, as a slice: see `Iocp::scope`",
    note = "buffers of your own implement `IoBuf`"
)]
pub unsafe trait IoBuf {
    /// Returns the address and the number of the initialised bytes.
    fn initialized(&self) -> (*const u8, usize);

    /// Makes a buffer of the part `range` of the initialised bytes, which owns the whole
    /// buffer. A write sends that part, a read overwrites it.
    ///
    /// Where this trait is in scope, the method of `bytes::Bytes` with this name is
    /// called as `Bytes::slice(&bytes, 6..)`.
    ///
    /// # Panics
    ///
    /// If the range is out of bounds or ends before it starts, as indexing
    /// does.
    ///
    /// ```
    /// use completion_port::IoBuf;
    ///
    /// let tail = b"hello world".to_vec().slice(6..);
    /// assert_eq!(&*tail, b"world");
    /// assert_eq!(tail.into_inner(), b"hello world");
    /// ```
    fn slice(self, range: impl std::ops::RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        Slice::new(self, range)
    }
}

/// A buffer that can be read into.
///
/// Reads append to a `Vec<u8>` (and, with the feature `bytes`, to a `BytesMut`): they fill
/// its spare capacity, which need not be zeroed, and must not be empty. They overwrite
/// `Box<[u8]>`, `[u8; N]`, `&'static mut [u8]`, and [`Slice`]s of any of these. Box large
/// arrays: they move in and out by value. See [`IoBuf`] for an implementation of your own.
///
/// Text cannot be read into, because not all bytes are UTF-8:
///
/// ```compile_fail,E0277
/// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
/// port.initiate_read(stream, 456, String::with_capacity(1024));
/// # }
/// ```
///
/// # Safety
///
/// Each call of [`writable`](Self::writable) or
/// [`initialized_mut`](Self::initialized_mut) returns a range within one
/// allocation. (The start of one without bytes may be anything, null included.)
/// From then until the value is next moved, borrowed mutably other than by these
/// methods, or dropped, and for ever if it is none of that:
/// - the range may be written, from any thread, and nobody else reads, writes
///   or frees it;
/// - further calls return the same range, until [`advance`](Self::advance).
///
/// What `initialized_mut` returns is what [`initialized`](IoBuf::initialized)
/// would have returned in its place, and is initialised.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a buffer that can be read into",
    label = "cannot be read into",
    note = "read into a `Vec::with_capacity(n)`, a `Box<[u8]>` or a `[u8; N]`; what is shared or \
            immutable cannot be read into",
    note = "borrowed bytes are read into in a scope, as `&mut buffer[..]`: see `Iocp::scope`",
    note = "buffers of your own implement `IoBufMut`"
)]
pub unsafe trait IoBufMut: IoBuf {
    /// Returns the bytes of [`IoBuf::initialized`], for overwriting.
    fn initialized_mut(&mut self) -> (*mut u8, usize);

    /// Returns the address and the number of the bytes that a read may fill. They need not be
    /// initialised.
    fn writable(&mut self) -> (*mut u8, usize);

    /// Records that a read has put `bytes` bytes at the start of the
    /// [`writable`](Self::writable) range.
    ///
    /// # Safety
    ///
    /// It has, and `bytes` is at most the length of that range.
    unsafe fn advance(&mut self, bytes: usize);

    /// `true` if [`advance`](Self::advance) does nothing and need not be called, because no
    /// read changes the buffer's length.
    const FIXED: bool = false;
}

// SAFETY: The heap block is initialised up to `len` and stays where it is.
unsafe impl IoBuf for Vec<u8> {
    fn initialized(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: The spare capacity is the vector's own; nothing moves it until the
// vector is used again.
unsafe impl IoBufMut for Vec<u8> {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        let spare: &mut [MaybeUninit<u8>] = self.spare_capacity_mut();
        (spare.as_mut_ptr().cast(), spare.len())
    }

    unsafe fn advance(&mut self, bytes: usize) {
        // SAFETY: By the caller's promise so many bytes of the spare capacity
        // are initialised now.
        unsafe { self.set_len(self.len() + bytes) };
    }
}

/// Buffers whose bytes are all initialised, so that reads overwrite them.
macro_rules! fixed_buffer {
    ($($(#[$safety:meta])* [$($generics:tt)*] $type:ty;)*) => {
        $(
            // SAFETY: All bytes are initialised, and stay where they are until
            // the value is moved, used mutably, or dropped.
            unsafe impl<$($generics)*> IoBuf for $type {
                fn initialized(&self) -> (*const u8, usize) {
                    (self.as_ptr(), self.len())
                }
            }

            // SAFETY: All bytes are initialised, stay where they are, and are its own.
            unsafe impl<$($generics)*> IoBufMut for $type {
                fn initialized_mut(&mut self) -> (*mut u8, usize) {
                    (self.as_mut_ptr(), self.len())
                }

                fn writable(&mut self) -> (*mut u8, usize) {
                    self.initialized_mut()
                }

                unsafe fn advance(&mut self, _bytes: usize) {}

                const FIXED: bool = true;
            }
        )*
    };
}

fixed_buffer! {
    [] Box<[u8]>;
    [const N: usize] [u8; N];
    ['a] &'a mut [u8];
    ['a, const N: usize] &'a mut [u8; N];
    [const N: usize] Box<[u8; N]>;
}

/// Buffers that can only be written from.
macro_rules! read_only_buffer {
    ($([$($generics:tt)*] $type:ty;)*) => {
        $(
            // SAFETY: The bytes are initialised, shared and immutable, and
            // stay where they are while the value lives.
            unsafe impl<$($generics)*> IoBuf for $type {
                fn initialized(&self) -> (*const u8, usize) {
                    (self.as_ptr(), self.len())
                }
            }
        )*
    };
}

read_only_buffer! {
    [] String;
    [] Box<str>;
    [] Arc<[u8]>;
    [] Arc<str>;
    ['a] &'a [u8];
    ['a] &'a str;
    ['a] Cow<'a, [u8]>;
}

// SAFETY: Of both variants the bytes are initialised and immutable, and stay where they
// are while the value lives.
unsafe impl IoBuf for Cow<'_, str> {
    fn initialized(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: While the `Arc` lives, nobody can move, drop or mutably borrow what it shares,
// which then keeps to the contract.
unsafe impl<B: IoBuf> IoBuf for Arc<B> {
    fn initialized(&self) -> (*const u8, usize) {
        (**self).initialized()
    }
}

// SAFETY: While it is borrowed, nobody can move, drop or mutably borrow the buffer, which
// then keeps to the contract.
unsafe impl<B: IoBuf> IoBuf for &B {
    fn initialized(&self) -> (*const u8, usize) {
        (**self).initialized()
    }
}
