//! The buffers of the crate `bytes`.

use bytes::{Bytes, BytesMut};

use super::{IoBuf, IoBufMut};

// SAFETY: The bytes are initialised, shared and immutable, and stay where they are while
// the value lives.
unsafe impl IoBuf for Bytes {
    fn initialized(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: The bytes are initialised up to `len`, and stay where they are until the value is
// used mutably or dropped. Other values of the same block have other parts of it.
unsafe impl IoBuf for BytesMut {
    fn initialized(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: The spare capacity is the value's own; nothing moves it until the value is used
// again.
unsafe impl IoBufMut for BytesMut {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        let spare = self.spare_capacity_mut();
        (spare.as_mut_ptr().cast(), spare.len())
    }

    unsafe fn advance(&mut self, bytes: usize) {
        // SAFETY: By the caller's promise so many bytes of the spare capacity
        // are initialised now.
        unsafe { self.set_len(self.len() + bytes) };
    }
}
