//! The memory that an operation lends to the kernel, in parts from which every
//! operation is put together.

use std::net::SocketAddr;

use crate::buffer::{IoBuf, IoBufMut};
use crate::sys::{LentAddress, LentRegion, SocketAddress};

/// Memory that can be lent to the kernel: what stays in the port's memory while
/// an operation is in flight.
///
/// Put it together from [`Fills`], [`Sends`], [`Address`], [`Keeps`], pairs and
/// arrays of them. They are enough for most operations; then nothing about the
/// memory is unsafe.
///
/// # Safety
///
/// 1. From a call of [`lend`](Self::lend) until the value is next moved, borrowed
///    or dropped, the memory that the returned pointers point to is valid, for
///    reads, or for reads and writes if its type says so, from any thread, and
///    nobody else disturbs it.
/// 2. [`filled`](Self::filled) makes nothing of more bytes than it is told.
pub unsafe trait Lend {
    /// Pointers to it. They keep nothing alive.
    type Lent;

    /// Where the memory is.
    ///
    /// # Safety
    ///
    /// The value is at its final place: it is neither moved, borrowed nor dropped
    /// before the operation is over.
    unsafe fn lend(&mut self) -> Self::Lent;

    /// Takes note that an operation has put so many bytes into the memory, and
    /// returns how many of them it had no room for: they are the next part's.
    ///
    /// # Safety
    ///
    /// It has, or says so.
    unsafe fn filled(&mut self, bytes: usize) -> usize {
        bytes
    }
}

/// Memory whose first field is all that the program wants back: it is, in memory,
/// a `T`.
///
/// # Safety
///
/// `Self` is transparent over `T`; `FILLED` does what [`Lend::filled`] does.
pub(crate) unsafe trait Transparent<T>: Lend {
    const FILLED: Option<unsafe fn(&mut Self, u32)>;
}

/// A buffer that the operation fills.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Fills<B>(pub B);

/// A buffer that the operation only reads.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Sends<B>(pub B);

/// What is only kept until the operation is over: a socket, a file, a reference
/// count.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Keeps<T>(pub T);

/// Room for a socket address that the operation writes.
#[derive(Clone, Debug, Default)]
pub struct Address(SocketAddress);

impl Address {
    /// The address, if the operation has written one.
    #[must_use]
    pub fn get(&self) -> Option<SocketAddr> {
        self.0.get()
    }
}

// SAFETY: Nothing is lent.
unsafe impl<T> Lend for Keeps<T> {
    type Lent = ();

    unsafe fn lend(&mut self) {}
}

// SAFETY: As above.
unsafe impl Lend for () {
    type Lent = ();

    unsafe fn lend(&mut self) {}
}

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBufMut> Lend for Fills<B> {
    type Lent = LentRegion;

    #[inline]
    unsafe fn lend(&mut self) -> LentRegion {
        let (start, length) = self.0.writable();
        // SAFETY: By the caller's promise.
        unsafe { LentRegion::new(start, length) }
    }

    #[inline]
    unsafe fn filled(&mut self, bytes: usize) -> usize {
        // A broken layered provider may report more than was asked for.
        let filled = bytes.min(self.0.writable().1);
        // SAFETY: The operation put so many bytes there.
        unsafe { self.0.advance(filled) };
        bytes - filled
    }
}

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBuf> Lend for Sends<B> {
    type Lent = LentRegion;

    #[inline]
    unsafe fn lend(&mut self) -> LentRegion {
        let (start, length) = self.0.initialized();
        // SAFETY: By the caller's promise.
        unsafe { LentRegion::new(start.cast_mut(), length) }
    }
}

// SAFETY: The memory is the value's own.
unsafe impl Lend for Address {
    type Lent = LentAddress;

    unsafe fn lend(&mut self) -> LentAddress {
        // SAFETY: By the caller's promise.
        unsafe { LentAddress::new(&raw mut self.0) }
    }
}

// SAFETY: What the two vouch for.
unsafe impl<A: Lend, B: Lend> Lend for (A, B) {
    type Lent = (A::Lent, B::Lent);

    #[inline]
    unsafe fn lend(&mut self) -> Self::Lent {
        // SAFETY: By the caller's promise.
        unsafe { (self.0.lend(), self.1.lend()) }
    }

    #[inline]
    unsafe fn filled(&mut self, bytes: usize) -> usize {
        // SAFETY: By the caller's promise.
        unsafe {
            let left = self.0.filled(bytes);
            self.1.filled(left)
        }
    }
}

// SAFETY: What each vouches for.
unsafe impl<L: Lend, const N: usize> Lend for [L; N] {
    type Lent = [L::Lent; N];

    #[inline]
    unsafe fn lend(&mut self) -> Self::Lent {
        // SAFETY: By the caller's promise.
        self.each_mut().map(|part| unsafe { part.lend() })
    }

    #[inline]
    unsafe fn filled(&mut self, bytes: usize) -> usize {
        // SAFETY: By the caller's promise.
        self.iter_mut().fold(bytes, |left, part| unsafe { part.filled(left) })
    }
}

// SAFETY: It is.
unsafe impl<B: IoBufMut> Transparent<B> for Fills<B> {
    const FILLED: Option<unsafe fn(&mut Self, u32)> = if B::FIXED {
        None
    } else {
        Some(|buffer, bytes| {
            // SAFETY: By the contract.
            unsafe { buffer.filled(bytes as usize) };
        })
    };
}

// SAFETY: It is.
unsafe impl<B: IoBuf> Transparent<B> for Sends<B> {
    const FILLED: Option<unsafe fn(&mut Self, u32)> = None;
}
