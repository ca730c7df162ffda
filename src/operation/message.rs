//! Address and control data of a datagram, as a part of an operation's memory.

use super::lend::Lend;
use crate::sys::{InPlace, MessageHeader, MessageRegion};

// SAFETY: The memory is the value's own.
unsafe impl<const N: usize> Lend for MessageHeader<N> {
    type Lent = MessageRegion;

    fn lend(&mut self, place: &InPlace) -> MessageRegion {
        self.region(place)
    }
}
