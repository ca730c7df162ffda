//! What calls want beside buffers, as parts of an operation's memory.

use super::lend::Lend;
use crate::sys::{
    InPlace, MessageHeader, MessageRegion, PacketsHeader, PacketsRegion, TransmitHeader,
    TransmitRegion, WaitRecord, WaitRegion,
};

// SAFETY: The memory is the value's own.
unsafe impl<const N: usize> Lend for MessageHeader<N> {
    type Lent = MessageRegion;

    fn lend(&mut self, place: &InPlace) -> MessageRegion {
        self.region(place)
    }
}

// SAFETY: The memory is the value's own.
unsafe impl Lend for TransmitHeader {
    type Lent = TransmitRegion;

    fn lend(&mut self, place: &InPlace) -> TransmitRegion {
        self.region(place)
    }
}

// SAFETY: The memory is the value's own.
unsafe impl Lend for PacketsHeader {
    type Lent = PacketsRegion;

    fn lend(&mut self, place: &InPlace) -> PacketsRegion {
        self.region(place)
    }
}

// SAFETY: The memory is the value's own.
unsafe impl Lend for WaitRecord {
    type Lent = WaitRegion;

    fn lend(&mut self, place: &InPlace) -> WaitRegion {
        self.region(place)
    }
}
