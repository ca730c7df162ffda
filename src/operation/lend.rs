//! The memory that an operation lends to the kernel, in parts from which every
//! operation is put together.

use std::net::SocketAddr;

use crate::buffer::{IoBuf, IoBufMut, PageList};
use crate::sys::{
    AddressRegion, InPlace, Region, RegionMut, SegmentRegion, SocketAddress, Transferred, cut,
};

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
///    mutably or dropped, the regions that it has returned are what
///    [`InPlace::region`] and [`InPlace::region_mut`] say.
/// 2. It passes what it is given, the [`InPlace`] and the [`Transferred`], to nothing
///    but its own parts.
pub unsafe trait Lend {
    /// Pointers to it. They keep nothing alive.
    type Lent;

    /// Returns pointers to the memory.
    fn lend(&mut self, place: &InPlace) -> Self::Lent;

    /// Returns the number of bytes that an operation can put there.
    #[inline]
    fn capacity(&mut self) -> u32 {
        0
    }

    /// Records what an operation has put into the memory, and returns what it had no room
    /// for, which is in the next part.
    #[inline]
    fn filled(&mut self, bytes: Transferred) -> Transferred {
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
    const FILLED: Option<fn(&mut Self, Transferred)> = None;
}

mod sealed {
    /// What is said of such memory is relied on where no promise of a stranger's
    /// reaches.
    pub trait Sealed {}

    impl<B> Sealed for super::Fills<B> {}
    impl<B> Sealed for super::Sends<B> {}
    impl<B> Sealed for super::Overwrites<B> {}
    impl<T> Sealed for super::Keeps<T> {}
    impl Sealed for () {}
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
    /// Returns the address, if the operation has written one.
    #[must_use]
    pub fn get(&self) -> Option<SocketAddr> {
        self.0.get()
    }
}

// SAFETY: Nothing is lent.
unsafe impl<T> Lend for Keeps<T> {
    type Lent = ();

    #[inline]
    fn lend(&mut self, _: &InPlace) {}
}

// SAFETY: Nothing is lent.
unsafe impl Lend for () {
    type Lent = ();

    #[inline]
    fn lend(&mut self, _: &InPlace) {}
}

// SAFETY: The contract of `IoBufMut` says so of the writable range.
unsafe impl<B: IoBufMut> Lend for Fills<B> {
    type Lent = RegionMut;

    #[inline]
    fn lend(&mut self, place: &InPlace) -> RegionMut {
        let (start, length) = self.0.writable();
        place.region_mut(start, length)
    }

    fn capacity(&mut self) -> u32 {
        cut(self.0.writable().1)
    }

    #[inline]
    fn filled(&mut self, bytes: Transferred) -> Transferred {
        let (filled, left) = bytes.split(self.0.writable().1);
        // SAFETY: Rule 3: the operation has put so many bytes there.
        unsafe { self.0.advance(filled) };
        left
    }
}

// SAFETY: The contract of `IoBuf` says so of the initialised range.
unsafe impl<B: IoBuf> Lend for Sends<B> {
    type Lent = Region;

    #[inline]
    fn lend(&mut self, place: &InPlace) -> Region {
        let (start, length) = self.0.initialized();
        place.region(start, length)
    }
}

// SAFETY: The contract of `IoBufMut` says so of the initialised range.
unsafe impl<B: IoBufMut> Lend for Overwrites<B> {
    type Lent = RegionMut;

    #[inline]
    fn lend(&mut self, place: &InPlace) -> RegionMut {
        let (start, length) = self.0.initialized_mut();
        place.region_mut(start, length)
    }

    fn capacity(&mut self) -> u32 {
        cut(self.0.initialized_mut().1)
    }
}

// SAFETY: The memory is the value's own.
unsafe impl Lend for Address {
    type Lent = AddressRegion;

    #[inline]
    fn lend(&mut self, place: &InPlace) -> AddressRegion {
        place.address(&raw mut self.0)
    }
}

// SAFETY: The segments are those of the pages, which are the value's own, initialised,
// and stay where they are until it is used mutably or dropped.
unsafe impl Lend for PageList {
    type Lent = SegmentRegion;

    fn lend(&mut self, place: &InPlace) -> SegmentRegion {
        let (segments, length) = self.segments();
        place.segments(segments, length)
    }

    fn capacity(&mut self) -> u32 {
        cut(self.length())
    }

    fn filled(&mut self, bytes: Transferred) -> Transferred {
        bytes.split(self.length()).1
    }
}

// SAFETY: Each part says so of its own memory, and stays where the whole does.
unsafe impl<A: Lend, B: Lend> Lend for (A, B) {
    type Lent = (A::Lent, B::Lent);

    #[inline]
    fn lend(&mut self, place: &InPlace) -> Self::Lent {
        (self.0.lend(place), self.1.lend(place))
    }

    fn capacity(&mut self) -> u32 {
        self.0.capacity().saturating_add(self.1.capacity())
    }

    #[inline]
    fn filled(&mut self, bytes: Transferred) -> Transferred {
        let left = self.0.filled(bytes);
        self.1.filled(left)
    }
}

// SAFETY: Each part says so of its own memory, and stays where the whole does.
unsafe impl<L: Lend, const N: usize> Lend for [L; N] {
    type Lent = [L::Lent; N];

    #[inline]
    fn lend(&mut self, place: &InPlace) -> Self::Lent {
        self.each_mut().map(|part| part.lend(place))
    }

    fn capacity(&mut self) -> u32 {
        self.iter_mut().fold(0, |room, part| part.capacity().saturating_add(room))
    }

    #[inline]
    fn filled(&mut self, bytes: Transferred) -> Transferred {
        self.iter_mut().fold(bytes, |left, part| part.filled(left))
    }
}

// SAFETY: `repr(transparent)`; a buffer that is fixed takes note of nothing.
unsafe impl<B: IoBufMut> Transparent<B> for Fills<B> {
    const FILLED: Option<fn(&mut Self, Transferred)> =
        if B::FIXED { None } else { Some(|buffer, bytes| _ = buffer.filled(bytes)) };
}

// SAFETY: `repr(transparent)`.
unsafe impl<B: IoBuf> Transparent<B> for Sends<B> {}

// SAFETY: `repr(transparent)`.
unsafe impl<B: IoBufMut> Transparent<B> for Overwrites<B> {}

// SAFETY: `repr(transparent)`.
unsafe impl<T> Transparent<T> for Keeps<T> {}

// SAFETY: They are one type.
unsafe impl Transparent<()> for () {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_to_one_part_after_the_other_and_no_more_than_there_are() {
        let mut memory = [2, 3, 4].map(|room| Fills(Vec::with_capacity(room)));
        for Fills(vector) in &mut memory {
            vector.resize(vector.capacity(), 7);
            vector.clear();
        }
        // SAFETY: The capacity is initialised.
        let left = memory.filled(unsafe { Transferred::new(6) });
        assert_eq!((left.split(100).0, memory.map(|Fills(vector)| vector.len())), (0, [2, 3, 1]));

        let mut memory = (Fills([0; 4]), Keeps(()));
        // SAFETY: All bytes are initialised.
        let left = memory.filled(unsafe { Transferred::new(6) });
        assert_eq!(left.split(1).0, 1);
    }
}
