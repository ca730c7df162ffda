//! The memory of a cell on the heap, for what does not fit into it.

use std::alloc::{self, Layout};
use std::mem;
use std::ptr::NonNull;

/// Larger blocks are not kept: an idle cell should not pin megabytes.
pub(in crate::operation) const KEPT: usize = 64 * 1024;

/// A block on the heap, or none.
pub(crate) struct Overflow {
    /// Dangling while the size is 0.
    start: NonNull<u8>,
    size: u32,
    align: u32,
}

impl Overflow {
    pub const NONE: Self = Self { start: NonNull::dangling(), size: 0, align: 1 };

    fn layout(&self) -> Layout {
        Layout::from_size_align(self.size as usize, self.align as usize)
            .expect("a layout that was allocated")
    }

    /// Where the block is.
    #[inline]
    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Frees a block that is too large to be kept by an idle cell. Nothing is
    /// in it.
    pub fn shrink(&mut self) {
        if self.size as usize > KEPT {
            self.release();
        }
    }

    /// Makes sure that there is a block for this layout, whose size is not zero.
    /// Nothing is in it.
    #[cold]
    pub fn make_room(&mut self, layout: Layout) {
        if self.size as usize >= layout.size() && self.align as usize >= layout.align() {
            return;
        }
        self.release();
        assert!(layout.size() > 0, "a block of no size");
        // SAFETY: Rule 10: the size is not zero.
        let start = unsafe { alloc::alloc(layout) };
        let Some(start) = NonNull::new(start) else { alloc::handle_alloc_error(layout) };
        *self = Self { start, size: layout.size() as u32, align: layout.align() as u32 };
    }

    /// Frees the block, if there is one. Nothing is in it.
    pub fn release(&mut self) {
        let overflow = mem::replace(self, Self::NONE);
        if overflow.size != 0 {
            // SAFETY: Rule 10: the block was allocated with this layout.
            unsafe { alloc::dealloc(overflow.start.as_ptr(), overflow.layout()) };
        }
    }
}
