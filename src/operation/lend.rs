//! The memory that an operation lends to the kernel, in parts from which every
//! operation is put together.

use std::net::SocketAddr;

use crate::buffer::{IoBuf, IoBufMut};
use crate::sys::{AddressRegion, Region, RegionMut, SocketAddress};

/// Memory that can be lent to the kernel: what stays in the port's memory while
/// an operation is in flight.
///
/// Put it together from [`Fills`], [`Sends`], [`Overwrites`], [`Address`],
/// [`Keeps`], pairs and arrays of them. They are enough for most operations; then
/// nothing about the memory is unsafe.
///
/// # Safety
///
/// 1. From a call of [`lend`](Self::lend) until the value is next moved, borrowed
///    mutably or dropped, the memory that the returned pointers point to is valid,
///    for reads, or for reads and writes if their type says so, from any thread, and
///    nobody else disturbs it.
/// 2. [`filled`](Self::filled) makes nothing of more bytes than it is told, and
///    returns no more than it is told.
pub unsafe trait Lend {
    /// Pointers to it. They keep nothing alive.
    type Lent;

    /// Where the memory is.
    ///
    /// # Safety
    ///
    /// The value is at its final place: it is neither moved, borrowed mutably nor
    /// dropped before the operation is over.
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

/// Memory that holds a `T` and nothing else, which can be the output of an
/// operation as it is: see [`Finish::memory`](crate::op::Finish::memory).
///
/// # Safety
///
/// The two have the same representation, and `FILLED` does what
/// [`Lend::filled`] does, or is `None` if that does nothing.
pub unsafe trait Transparent<T>: Lend + sealed::Sealed {
    #[doc(hidden)]
    const FILLED: Option<unsafe fn(&mut Self, u32)> = None;
}

mod sealed {
    /// What is said of such memory is relied on where no promise of a stranger's
    /// reaches.
    pub trait Sealed {}

    impl<B> Sealed for super::Fills<B> {}
    impl<B> Sealed for super::Sends<B> {}
    impl<B> Sealed for super::Overwrites<B> {}
    impl<T> Sealed for super::Keeps<T> {}
}

/// A buffer that the operation fills: a `Vec` from its length on, other buffers from
/// their start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Fills<B>(pub B);

/// A buffer that the operation only reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Sends<B>(pub B);

/// A buffer whose initialised bytes the operation reads and overwrites as it likes,
/// whatever it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Overwrites<B>(pub B);

/// What is only kept until the operation is over: a socket, a file, a reference
/// count.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    #[inline]
    unsafe fn lend(&mut self) {}
}

// SAFETY: Nothing is lent.
unsafe impl Lend for () {
    type Lent = ();

    #[inline]
    unsafe fn lend(&mut self) {}
}

// SAFETY: The contract of `IoBufMut` says of the writable range what is needed, and
// no more of it is noted than there is.
unsafe impl<B: IoBufMut> Lend for Fills<B> {
    type Lent = RegionMut;

    #[inline]
    unsafe fn lend(&mut self) -> RegionMut {
        let (start, length) = self.0.writable();
        // SAFETY: By the contract of `IoBufMut`, as the value stays as it is.
        unsafe { RegionMut::new(start, length) }
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

// SAFETY: The contract of `IoBuf` says of the initialised range what is needed.
unsafe impl<B: IoBuf> Lend for Sends<B> {
    type Lent = Region;

    #[inline]
    unsafe fn lend(&mut self) -> Region {
        let (start, length) = self.0.initialized();
        // SAFETY: By the contract of `IoBuf`, as the value stays as it is.
        unsafe { Region::new(start, length) }
    }
}

// SAFETY: The contract of `IoBufMut` says of the initialised range what is needed.
unsafe impl<B: IoBufMut> Lend for Overwrites<B> {
    type Lent = RegionMut;

    #[inline]
    unsafe fn lend(&mut self) -> RegionMut {
        let (start, length) = self.0.initialized_mut();
        // SAFETY: By the contract of `IoBufMut`, as the value stays as it is.
        unsafe { RegionMut::new(start, length) }
    }
}

// SAFETY: The memory is the value's own.
unsafe impl Lend for Address {
    type Lent = AddressRegion;

    #[inline]
    unsafe fn lend(&mut self) -> AddressRegion {
        // SAFETY: The value stays where it is, by the caller's promise.
        unsafe { AddressRegion::new(&raw mut self.0) }
    }
}

// SAFETY: Each part keeps the contract for its own memory; a part of somebody
// else's that returns more than it was told is not believed.
unsafe impl<A: Lend, B: Lend> Lend for (A, B) {
    type Lent = (A::Lent, B::Lent);

    #[inline]
    unsafe fn lend(&mut self) -> Self::Lent {
        // SAFETY: The parts stay as the whole does.
        unsafe { (self.0.lend(), self.1.lend()) }
    }

    #[inline]
    unsafe fn filled(&mut self, bytes: usize) -> usize {
        // SAFETY: The bytes that one has no room for are the next one's.
        unsafe {
            let left = self.0.filled(bytes).min(bytes);
            self.1.filled(left).min(left)
        }
    }
}

// SAFETY: Each part keeps the contract for its own memory; a part of somebody
// else's that returns more than it was told is not believed.
unsafe impl<L: Lend, const N: usize> Lend for [L; N] {
    type Lent = [L::Lent; N];

    #[inline]
    unsafe fn lend(&mut self) -> Self::Lent {
        // SAFETY: The parts stay as the whole does.
        self.each_mut().map(|part| unsafe { part.lend() })
    }

    #[inline]
    unsafe fn filled(&mut self, bytes: usize) -> usize {
        // SAFETY: The bytes that one has no room for are the next one's.
        self.iter_mut().fold(bytes, |left, part| unsafe { part.filled(left) }.min(left))
    }
}

// SAFETY: `repr(transparent)`; a buffer that is fixed takes note of nothing.
unsafe impl<B: IoBufMut> Transparent<B> for Fills<B> {
    const FILLED: Option<unsafe fn(&mut Self, u32)> = if B::FIXED {
        None
    } else {
        Some(|buffer, bytes| {
            // SAFETY: The operation has put so many bytes there.
            unsafe { buffer.filled(bytes as usize) };
        })
    };
}

// SAFETY: `repr(transparent)`.
unsafe impl<B: IoBuf> Transparent<B> for Sends<B> {}

// SAFETY: `repr(transparent)`.
unsafe impl<B: IoBufMut> Transparent<B> for Overwrites<B> {}

// SAFETY: `repr(transparent)`.
unsafe impl<T> Transparent<T> for Keeps<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns more bytes than it was told of, against its contract.
    struct Liar;

    // SAFETY: Nothing is lent; the tests show what becomes of the broken promise.
    unsafe impl Lend for Liar {
        type Lent = ();

        unsafe fn lend(&mut self) {}

        unsafe fn filled(&mut self, bytes: usize) -> usize {
            bytes + 100
        }
    }

    #[test]
    fn a_part_that_returns_more_bytes_than_there_were_gives_the_next_none_of_them() {
        let mut memory = (Liar, Fills(Vec::with_capacity(8)));
        memory.1.0.extend([1; 4]);
        // SAFETY: Nobody reads what was noted.
        assert_eq!(unsafe { memory.filled(2) }, 0);
        assert_eq!(memory.1.0.len(), 6);
        // SAFETY: As above.
        assert_eq!(unsafe { [Liar, Liar].filled(2) }, 2);
    }

    #[test]
    fn bytes_go_to_one_part_after_the_other() {
        let mut memory = [2, 3, 4].map(|room| Fills(Vec::with_capacity(room)));
        for Fills(vector) in &mut memory {
            vector.resize(vector.capacity(), 7);
            vector.clear();
        }
        // SAFETY: The capacity is initialised.
        assert_eq!(unsafe { memory.filled(6) }, 0);
        assert_eq!(memory.map(|Fills(vector)| vector.len()), [2, 3, 1]);
    }
}
