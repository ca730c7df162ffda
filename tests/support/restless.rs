//! A buffer that has other bytes wherever it is moved to, as it may.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;

use completion_port::{IoBuf, IoBufMut};

/// At each place at which it is asked, it has as many bytes as come next, and
/// those that it had before are gone.
pub struct Restless {
    place: Cell<usize>,
    lengths: RefCell<VecDeque<usize>>,
    bytes: RefCell<Vec<u8>>,
}

impl Restless {
    pub fn new(lengths: impl Into<VecDeque<usize>>) -> Self {
        Self {
            place: Cell::default(),
            lengths: RefCell::new(lengths.into()),
            bytes: RefCell::default(),
        }
    }

    fn settle(&self) {
        let here = ptr::from_ref(self).addr();
        if self.place.replace(here) != here
            && let Some(length) = self.lengths.borrow_mut().pop_front()
        {
            self.bytes.replace(vec![b'.'; length]);
        }
    }
}

// SAFETY: The bytes are on the heap and initialised, and replaced only after a
// move.
unsafe impl IoBuf for Restless {
    fn initialized(&self) -> (*const u8, usize) {
        self.settle();
        let bytes = self.bytes.borrow();
        (bytes.as_ptr(), bytes.len())
    }
}

// SAFETY: As above.
unsafe impl IoBufMut for Restless {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.settle();
        let bytes = self.bytes.get_mut();
        (bytes.as_mut_ptr(), bytes.len())
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.initialized_mut()
    }

    unsafe fn advance(&mut self, _bytes: usize) {}

    const FIXED: bool = true;
}
