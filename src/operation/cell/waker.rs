//! The waker of who waits for the operation, while it is in the cell.

use std::alloc::Layout;
use std::task::Waker;

use super::CellRef;
use super::state::Simple;

/// Where a filled cell has room for a waker.
#[derive(Clone, Copy)]
pub(in crate::operation) enum WakerPlace {
    /// So far from the start of the inline memory.
    Inline(usize),
    /// So far from the start of the overflow block, in which there is something else.
    Overflow(usize),
    /// At the start of an overflow block, which need not be there yet.
    OverflowAlone,
}

impl CellRef {
    /// Publishes the end of the operation, and returns the waker of who waits for it.
    /// What the thread wrote into the cell before is seen by who sees the end.
    #[inline(always)]
    pub fn complete(self) -> Option<Waker> {
        // SAFETY: Rule 11: the bit was removed here.
        self.state.complete().then(|| unsafe { self.waker().read() })
    }

    /// [`complete`](Self::complete) of an operation that takes the short way; `otherwise`, if its state has
    /// changed.
    #[inline(always)]
    pub fn complete_simply(
        self,
        state: Simple,
        otherwise: impl FnOnce() -> Option<Waker>,
    ) -> Option<Waker> {
        match self.state.complete_simply(state) {
            // SAFETY: Rule 11: the bit was removed here.
            Some(has_waker) => has_waker.then(|| unsafe { self.waker().read() }),
            None => otherwise(),
        }
    }

    /// Takes the place for a waker, and the one that is in it, for the one who has the
    /// `Pending`. `None` if the operation is over.
    #[inline(always)]
    pub fn take_waker(self) -> Option<(EmptyPlace, Option<Waker>)> {
        let is_there = self.state.take_waker()?;
        // SAFETY: Rule 11: the bit was removed here.
        let waker = is_there.then(|| unsafe { self.waker().read() });
        Some((EmptyPlace(self), waker))
    }

    #[inline(always)]
    fn waker(self) -> *mut Waker {
        match self.vtable().waker {
            WakerPlace::Inline(offset) => self.inline().wrapping_add(offset).cast(),
            WakerPlace::Overflow(offset) => self.overflow_start().wrapping_add(offset).cast(),
            WakerPlace::OverflowAlone => self.overflow_start().cast(),
        }
    }
}

/// The place for a waker in the cell of an operation that was in flight, with none in it.
/// It is that of the one who has the `Pending`.
pub(in crate::operation) struct EmptyPlace(CellRef);

impl EmptyPlace {
    /// Leaves a waker to who ends the operation. It comes back if that is over.
    #[inline(always)]
    pub fn put(self, waker: Waker) -> Option<Waker> {
        let Self(cell) = self;
        if let WakerPlace::OverflowAlone = cell.vtable().waker {
            // SAFETY: Rule 11.
            unsafe { make_room(cell) };
        }
        // SAFETY: Rule 11: nobody else uses the place until the bit is set.
        unsafe {
            cell.waker().write(waker);
            if cell.state.offer_waker() { None } else { Some(cell.waker().read()) }
        }
    }
}

/// Makes the block where the waker is to be, unless it is there.
///
/// # Safety
///
/// Rule 11: the caller has the place, which is all that is in the block.
#[cold]
#[inline(never)]
unsafe fn make_room(cell: CellRef) {
    // SAFETY: Rule 11: nobody else looks at a block in which nothing else is.
    unsafe { (*cell.overflow.get()).make_room(Layout::new::<Waker>()) };
}
