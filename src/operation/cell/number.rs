//! The one number that a cell has room for beside its state.

use super::atomic::{AtomicU32, Ordering};

/// What it says depends on what the cell is doing:
///
/// | the cell is | the number is |
/// |---|---|
/// | on the list of free cells | the index of the next one there |
/// | in flight, and [timed](super::state::State::is_timed) | its place in the heap of the port's timers |
/// | in flight, not timed, and its operation receives | the thread that made the call, which Wine needs |
///
/// Otherwise it says nothing. Who reads it sees to it that a number of another kind does no
/// harm.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU32);

impl Number {
    #[inline(always)]
    pub fn next_free(&self) -> &AtomicU32 {
        &self.0
    }

    pub fn place(&self) -> usize {
        self.0.load(Ordering::Relaxed) as usize
    }

    pub fn set_place(&self, place: usize) {
        self.0.store(place as u32, Ordering::Relaxed);
    }

    pub fn thread(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub fn set_thread(&self, thread: u32) {
        self.0.store(thread, Ordering::Relaxed);
    }
}
